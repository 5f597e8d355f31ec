"""The targets of the SDK, each with its measured figure and verdict.

This module must not know the methods of measurement, nor the format of the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .figures import Rounds
from .virtual import Makespan, Polls


class Measured(NamedTuple):
    """The measurements of one run of the benchmarks."""

    imports: Rounds
    starts: Rounds
    calls: Mapping[str, Rounds]
    waits: Rounds
    memory: Rounds
    polls: Sequence[Polls]
    makespans: Sequence[Makespan]
    scheduling: Rounds
    generation: Rounds
    versions: Mapping[str, str]

    @property
    def counts(self) -> list[int]:
        """The numbers of views in the runs that measure scheduling."""
        return sorted(map(int, self.scheduling.contenders))


class Target(NamedTuple):
    """A figure with an upper *limit*. *httpx* is the same figure for httpx alone, on which the SDK is built, if
    measured."""

    what: str
    measured: float
    limit: float
    httpx: float | None = None
    digits: int = 2

    @property
    def is_met(self) -> bool:
        """The figure is within its limit."""
        return self.measured <= self.limit

    def row(self) -> tuple[str, ...]:
        """The target as cells of a table."""
        values = self.measured, self.limit, self.httpx
        measured, limit, httpx = ("" if value is None else f"{value:,.{self.digits}f}" for value in values)
        return self.what, measured, limit, "yes" if self.is_met else "**no**", httpx


def targets(measured: Measured) -> list[Target]:
    """The targets, with the measured figures."""
    imports, starts, calls = measured.imports, measured.starts, measured.calls
    growth = [measured.scheduling[str(count), "cpu"].median for count in measured.counts]
    found = [
        Target("import, in CPU: of httpx's", imports.ratio("import dune_matviews", "import httpx", "cpu").median, 0.5),
    ]
    for suffix, kind in (("", ""), ("_async", ", async")):
        for other, name, cold, warm in (
            ("httpx_alone", "httpx alone", 1.35, 1.1),
            ("dune_client", "dune-client's", 0.7, 0.5),
        ):
            for what, rounds, limit in (
                ("cold start", starts, cold),
                *((what, rounds, warm) for what, rounds in calls.items()),
            ):
                ours, httpx = (
                    rounds.ratio(f"{each}{suffix}", f"{other}{suffix}", "cpu").median
                    for each in ("matviews", "httpx_alone")
                )
                found.append(Target(f"{what}{kind}, in CPU: of {name}", ours, limit, httpx))
    found += [
        Target("scheduling 10,000 views, CPU per view: of that for 100", growth[-1] / growth[0], 1.25),
        Target(
            "a run of 100 views, time: of one that notices every end at once, worst plan",
            max(each.taken / each.at_once for each in measured.makespans),
            1.05,
            digits=3,
        ),
    ]
    ten_minutes = next(each for each in measured.polls if each.length == 600)
    found += [
        Target("polls of an execution of ten minutes: of once a second", ten_minutes.polls / 600, 0.1, digits=3),
        Target(
            "lateness: of the limit (1 s, or 10 % of the length), worst length",
            max(each.most_lateness / max(1.0, each.length / 10) for each in measured.polls),
            1.0,
        ),
    ]
    return found
