"""Write the report of a fused workspace: bayesaffect report WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
