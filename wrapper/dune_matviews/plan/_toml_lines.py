"""The line of a value in a TOML text, which Python's own parser does not report.

This module must not know the purpose of the text.

It asks the parser about beginnings of the text: the shortest one that has the value ends with the line in question. A
beginning may end within an array or a string, which is then closed for it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Sequence

Step = str | int

_CLOSINGS = tuple(f"{string}{rest}" for string in ("", '"""', "'''") for rest in ("", "]", "}", "]}", "}]"))
_MOST_TRIES = 100
"""The number of beginnings to try before giving up, in a file that nests deeper than a plan."""


def line_of(text: str, path: Sequence[Step]) -> int:
    """The line, from 1, of the value at *path*, a sequence of keys and indices.

    If there is none, the line of the deepest value on the path; 1 if there is none at all.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    whole = tomllib.loads(text)
    while path and not _has(whole, path):
        path = path[:-1]
    if not path:
        return 1
    # Beginnings up to some number of lines lack the value, and all longer ones have it.
    return bisect_left(range(len(lines)), True, key=lambda count: _has(_beginning(lines[:count]), path))


def _beginning(lines: Sequence[str]) -> object:
    """The content of the longest readable beginning of *lines*."""
    for count in range(len(lines), max(len(lines) - _MOST_TRIES, 0), -1):
        for closing in _CLOSINGS if count == len(lines) else ("",):
            try:
                return tomllib.loads("".join(lines[:count]) + closing)
            except tomllib.TOMLDecodeError:
                continue
    return {}


def _has(found: object, path: Sequence[Step]) -> bool:
    for step in path:
        try:
            found = found[step]  # type: ignore[index]  # a value that cannot be indexed does not have it
        except (LookupError, TypeError):
            return False
    return True
