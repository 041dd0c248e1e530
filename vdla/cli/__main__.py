"""`python -m vdla.cli`, where the `vdla` script is not on the path."""

import sys

from vdla.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
