"""Paths as people write them in files, where no shell reads them first: `~/refresh.jsonl`, `$STATE/refresh.jsonl`.

This module must not know the purpose of the path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import InvalidArgumentError


def expand_path(text: str) -> Path:
    """Expand a path as plan files have it: `~` is a home, and environment variables are replaced.

    Raises:
        InvalidArgumentError: an environment variable is not set.
    """
    found = os.path.expanduser(os.path.expandvars(text))
    if unset := re.search(r"\$(?:\w+|\{[^}]*\})", found):
        raise InvalidArgumentError(f"{text!r} names a variable that is not set: {unset[0]}")
    return Path(found)
