"""In which line of a TOML text something stands, which Python's own parser does not tell.

This module must not know what the text is for.

The parser itself is asked: a beginning of the text that holds the thing, while the one that is a line shorter does
not, ends with the line in question. A beginning may end in the middle of an array or a text, which is then closed for
it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Sequence

Step = str | int

_CLOSINGS = tuple(f"{string}{rest}" for string in ("", '"""', "'''") for rest in ("", "]", "}", "]}", "}]"))
_MOST_TRIES = 100
"""Beginnings that are tried before one is taken for unreadable: of a file that nests more than a plan does."""


def line_of(text: str, path: Sequence[Step]) -> int:
    """The line, counted from 1, in which what *path* leads to is first there: keys of tables, indices of arrays.

    For what is not there it is the line of the deepest thing on the path that is; 1 if there is nothing.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    whole = tomllib.loads(text)
    while path and not _has(whole, path):
        path = path[:-1]
    if not path:
        return 1
    # Whether the beginning of so many lines has it: false up to some number, true from there on.
    return bisect_left(range(len(lines)), True, key=lambda count: _has(_beginning(lines[:count]), path))


def _beginning(lines: Sequence[str]) -> object:
    """What the longest beginning of *lines* holds that can be read."""
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
            found = found[step]  # type: ignore[index]  # what cannot be indexed does not have it either
        except (LookupError, TypeError):
            return False
    return True
