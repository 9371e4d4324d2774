"""Print the posterior modality weights of a workspace: bayesaffect weights WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["weights", *sys.argv[1:]])
