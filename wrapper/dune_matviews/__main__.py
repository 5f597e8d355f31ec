"""`python -m dune_matviews`: the command `dune-matviews`, where its script is not on the path.

This module must not know what the command does.
"""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
