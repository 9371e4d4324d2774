"""Read, synchronise and cache recordings: bayesaffect prepare DATASET WORKSPACE."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
