"""The command `dune-matviews`: everything that the SDK does, for people, cron and CI.

This module knows how to start the command where its libraries are missing, and must not import them, nor anything
else that is not cheap.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("click", "rich")
"""The libraries of the extra `cli`."""


def main() -> int:
    """Run the command with the arguments of this process; returns its exit code."""
    try:
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            how = "python -m pip install 'dune-matviews[cli]'"
            sys.stderr.write(f"Error: the command line needs {' and '.join(missing)}, to be had by: {how}\n")
            return 2
        from ._app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # before there was anything to tell, or while it was being told
        return 130
