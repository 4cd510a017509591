"""``python -m covary``: the command line where the script ``covary`` is not installed."""

import sys

from covary.cli import main

if __name__ == "__main__":
    sys.exit(main())
