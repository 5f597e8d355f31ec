"""The spans of a run's parts, and its critical path.

This module must not know the nature of the parts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple


class Span(NamedTuple):
    """The start and the end of a part, in seconds."""

    start: float
    end: float


def critical_path(reads: Mapping[str, tuple[str, ...]], spans: Mapping[str, Span]) -> tuple[str, ...]:
    """The views, one after another, whose times make up the whole: each waited for the end of the one before it."""
    ends = sorted((span.end, name) for name, span in spans.items())
    path: list[str] = []
    place = len(ends)
    while place:
        path.append(ends[place - 1][1])
        start = spans[path[-1]].start
        read = max(((spans[each].end, each) for each in reads.get(path[-1], ()) if each in spans), default=(-1.0, ""))
        until = read if read[0] >= start - 1.0 else (start + 1e-6, "")
        place = min(bisect_right(ends, until), place - 1)
    return tuple(reversed(path))
