"""The order of views: which may be refreshed next, and which a failure blocks.

This module must not know time, requests or refreshes.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import chain, combinations

from .._execution.intents import bare, same_view, unquoted
from .._validate import view_name
from ..errors import InvalidArgumentError


def reads(views: object) -> dict[str, tuple[str, ...]]:
    """The views that each view reads, from names or a mapping of names; views that are only read have an entry, too.

    Raises:
        InvalidArgumentError: a name cannot be used, or views read each other in a circle.
    """
    if isinstance(views, str) or not isinstance(views, Iterable):
        raise InvalidArgumentError(f"views must be names, or a mapping of a name to the names it reads, not {views!r}")
    given: Mapping[object, object] = views if isinstance(views, Mapping) else dict.fromkeys(views, ())
    found: dict[str, tuple[str, ...]] = {}
    for name, upstream in given.items():
        if isinstance(upstream, str) or not isinstance(upstream, Iterable):
            raise InvalidArgumentError(f"what {name!r} reads must be a list of names, not {upstream!r}")
        found[view_name(name)] = tuple(dict.fromkeys(map(view_name, upstream)))
    for upstream in list(found.values()):
        for name in upstream:
            found.setdefault(name, ())
    _check_spellings(found)
    try:
        TopologicalSorter(found).prepare()
    except CycleError as cycle:
        circle = " reads ".join(reversed(cycle.args[1]))
        raise InvalidArgumentError(f"views read each other in a circle: {circle}") from None
    return found


def _check_spellings(names: Iterable[str]) -> None:
    """One view under two names would be refreshed, and paid, twice."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[bare(unquoted(name))].append(name)
    for one, other in chain.from_iterable(combinations(each, 2) for each in alike.values()):
        if same_view(one, other):
            raise InvalidArgumentError(f"{one!r} and {other!r} are one view under two names; use the full one only")


class Order:
    """Hands out views, each after those that it reads; of several, the one with the longest chain behind it first."""

    def __init__(self, views: Mapping[str, tuple[str, ...]]) -> None:
        self._sorter = TopologicalSorter(views)
        self._readers: defaultdict[str, list[str]] = defaultdict(list)
        for name, upstream in views.items():
            for each in upstream:
                self._readers[each].append(name)
        self._places = {name: place for place, name in enumerate(views)}
        self.downwards = list(TopologicalSorter(views).static_order())
        self._ready: list[tuple[float, int, str]] = []
        self._blocked: set[str] = set()
        self._sorter.prepare()
        self.weigh({})

    def weigh(self, seconds: Mapping[str, float]) -> None:
        """Go by chains in expected time, as far as it is known: of other views, the mean is expected."""
        mean = math.fsum(seconds.values()) / len(seconds) if seconds else 1.0
        chain: dict[str, float] = {}
        for name in reversed(self.downwards):
            behind = max((chain[reader] for reader in self._readers[name]), default=0.0)
            chain[name] = seconds.get(name, mean) + behind
        self._rank = {name: (-chain[name], place) for name, place in self._places.items()}
        self._ready = [(*self._rank[name], name) for *_, name in self._ready]
        heapq.heapify(self._ready)

    def by_rank(self) -> list[str]:
        """All views, those first that are to start first."""
        return sorted(self._rank, key=self._rank.__getitem__)

    def take(self, most: int, fresh: Iterable[str] = ()) -> list[str]:
        """The next views that may start, at most so many, now that these are *fresh*."""
        self._sorter.done(*fresh)
        for name in self._sorter.get_ready():
            heapq.heappush(self._ready, (*self._rank[name], name))
        return [heapq.heappop(self._ready)[-1] for _ in range(min(most, len(self._ready)))]

    def block(self, name: str) -> list[str]:
        """The views that can no longer start once this one has failed: its readers, direct or not, nearest first.

        Each view is blocked once, so that many failures cost no more than one.
        """
        found: list[str] = []
        for each in (pending := [name]):
            for reader in self._readers[each]:
                if reader not in self._blocked:
                    self._blocked.add(reader)
                    found.append(reader)
                    pending.append(reader)
        return found
