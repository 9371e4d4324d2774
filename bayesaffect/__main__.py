"""``python -m bayesaffect`` is the command ``bayesaffect``."""

from bayesaffect.cli import main

if __name__ == "__main__":
    main()
