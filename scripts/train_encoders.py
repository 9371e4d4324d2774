"""Train the networks of a prepared workspace: bayesaffect train WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
