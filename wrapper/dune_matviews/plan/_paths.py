"""Paths as people write them in files, where no shell reads them first: `~/refresh.jsonl`, `$STATE/refresh.jsonl`.

This module must not know what the path is for.
"""

from __future__ import annotations

import os
import re


def expanded(text: str) -> str:
    """*text* with homes and variables of the environment in their places.

    Raises:
        ValueError: it names a variable that is not set. The message says which.
    """
    found = os.path.expanduser(os.path.expandvars(text))
    if unset := re.search(r"\$(?:\w+|\{[^}]*\})", found):
        raise ValueError(f"{text!r} names a variable that is not set: {unset[0]}")
    return found
