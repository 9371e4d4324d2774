"""Write the features of a prepared workspace as tables: bayesaffect export features WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["export", "features", *sys.argv[1:]])
