"""python -m model.train, which torch's own launchers and Lightning's start again per process."""

import sys

from model.train.command import main

if __name__ == "__main__":
    sys.exit(main())
