"""Fit the Bayesian fusion of a trained workspace or of a table of opinions: bayesaffect fuse SOURCE [WORKSPACE]."""

import sys

from bayesaffect.cli import main

if __name__ == "__main__":
    main(["fuse", *sys.argv[1:]])
