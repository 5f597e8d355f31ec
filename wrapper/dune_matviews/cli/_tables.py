"""The report of a run, for people: a table with a time line, and the next steps for unfinished executions.

This module must not know how views are refreshed, nor where the text goes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from . import _remedies, _text

if TYPE_CHECKING:
    from dune_matviews import RefreshReport, ViewResult

WIDEST_BAR = 40
NARROWEST_BAR = 21  # the width of the heading above the bars
_STYLES = {"succeeded": "32", "fresh": "32", "failed": "31", "canceled": "31", "expired": "31", "ambiguous": "31"}
_STYLE_OF_OTHERS = "33"


class Look(NamedTuple):
    """The style of a table: the width of the terminal (None: any), colours, characters."""

    width: int | None = None
    coloured: bool = False
    ascii: bool = False


class Axis(NamedTuple):
    """The stretch of time that the bars lie on."""

    start: datetime
    end: datetime

    def cells(self, moment: datetime, width: int) -> int:
        """How many of *width* cells lie before *moment*."""
        whole = (self.end - self.start) or timedelta(microseconds=1)
        return round((min(moment, self.end) - self.start) / whole * width)

    def __str__(self) -> str:
        start, end = self.start.astimezone(UTC), self.end.astimezone(UTC)
        form = "%H:%M:%S" if start.date() == end.date() else "%d %b %H:%M"
        return f"{start:{form}}-{end:{form}} UTC"


def table(report: RefreshReport, look: Look) -> str:
    """A line a view with its bar, beside or below it why it stands as it does; and the totals."""
    results = report.results.values()
    names = ["VIEW", *map(_text.line, report.results)]
    cells = _text.columns([("OUTCOME", "TOOK", "CREDITS"), *map(figures, results)], "<>>")
    name_width, bar_width = _widths(max(map(len, names)), max(map(len, cells)), look.width)
    axis = axis_of(report.results) if bar_width else None
    bars = [str(axis or ""), *(bar(each, axis, bar_width, look.ascii) if axis else "" for each in results)]
    cells_width = max(map(len, cells))
    lines: list[str] = []
    for name, cell, drawn, result in zip(names, cells, bars, [None, *results], strict=True):
        reason = _text.line(_remedies.why(result)) if result else ""
        room = (look.width or math.inf) - name_width - cells_width - 4
        beside, below = (reason, "") if not drawn and len(reason) <= room else (drawn, reason)
        shown = _coloured(cell, result) if look.coloured and result else cell
        padding = " " * (cells_width - len(cell))
        fitting = _text.shortened(name, name_width, look.ascii)
        lines.append(f"{fitting:<{name_width}}  {shown}{padding}  {beside}".rstrip())
        lines += [f"  {below}"] * bool(below)
    return "\n".join([*lines, totals(report)])


def totals(report: RefreshReport) -> str:
    """The number of views by outcome, the duration, and the cost; below it, where the time went."""
    counts = Counter(map(outcome, report.results.values()))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no views"
    told = f"{outcomes}; {_text.lasted(report.seconds)}, {_text.credits(report.cost_credits)}"
    spent = report.time_spent
    if not any(spent.values()):
        return told
    return f"{told}\nTime spent: {', '.join(f'{part} {_text.lasted(seconds)}' for part, seconds in spent.items())}"


def axis_of(results: Mapping[str, ViewResult]) -> Axis | None:
    """From the first submission to the last end in this run; None if nothing ran."""
    moments = [moment for result in results.values() for moment in _moments(result)]
    return Axis(min(moments), max(moments)) if moments else None


def bar(result: ViewResult, axis: Axis, width: int, ascii: bool) -> str:
    """When a view waited and when it ran, against the whole run; one that goes on ends with an arrow."""
    moments = _moments(result)
    if not moments:
        return ""
    waited, ran, goes_on = (".", "#", ">") if ascii else ("░", "█", "▶")
    first = axis.cells(min(moments), width - 1)
    last = width - 1 if result.ended_at is None else axis.cells(result.ended_at, width - 1)
    begins = axis.cells(result.started_at, width - 1) if result.started_at else last + 1
    drawn = " " * first + waited * (begins - first) + ran * (last + 1 - begins)
    return drawn if result.ended_at else drawn[:-1] + goes_on


def _moments(result: ViewResult) -> list[datetime]:
    """When the execution was submitted, began and ended, by Dune's clock; empty if it did not run in this run."""
    status = result.status
    if status is None or result.outcome.value == "fresh":
        return []
    return [each for each in (status.submitted_at, result.started_at, result.ended_at) if each is not None]


def outcome(result: ViewResult) -> str:
    """The outcome in words."""
    return result.outcome.value.replace("_", " ")


def figures(result: ViewResult) -> tuple[str, ...]:
    """The outcome, how long it took, and how many credits it cost."""
    took = "-"
    if result.started_at and result.ended_at:
        took = _text.lasted(result.ended_at - result.started_at)
    cost = "-" if result.cost_credits is None else f"{result.cost_credits:,.2f}"
    return outcome(result), took, cost


def _widths(names: int, rest: int, whole: int | None) -> tuple[int, int]:
    """How wide the names and the bars may be; a terminal that is too small has no bars."""
    if whole is None:
        return names, WIDEST_BAR
    room = whole - rest - 4
    shortest = min(names, _text.SHORTEST_NAME)
    if room - NARROWEST_BAR < shortest:
        return max(min(names, room + 2), shortest), 0
    names = min(names, room - NARROWEST_BAR)
    return names, min(room - names, WIDEST_BAR)


def _coloured(cells: str, result: ViewResult) -> str:
    word = outcome(result)
    return f"\x1b[{_STYLES.get(word, _STYLE_OF_OTHERS)}m{word}\x1b[0m{cells.removeprefix(word)}"


def what_to_do(results: Mapping[str, ViewResult]) -> Iterator[str]:
    """How to follow, cancel or find executions that run, or may run: commands to paste."""
    for name, result in results.items():
        view = _text.line(name)
        if result.outcome.value == "running" and result.execution_id:
            known = result.execution_id
            yield f"{view} goes on. Follow it, or end it:"
            yield f"  {_text.command('wait', known)}"
            yield f"  {_text.command('cancel', known)}"
        elif result.outcome.value == "ambiguous":
            yield f"{view} may be running. Its latest executions, for `status` and `wait`:"
            yield f"  {_text.command('get', name)}"
            yield "Follow the one under way; where there is none, this starts another, which may be billed:"
            yield f"  {_text.command('refresh', name, '--if-running', 'adopt')}"
