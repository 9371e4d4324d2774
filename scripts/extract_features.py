"""Write the features of a prepared workspace as tables: bayesaffect features WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["features", *sys.argv[1:]])
