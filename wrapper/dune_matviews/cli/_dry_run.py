"""The dry run of a plan: its layers, the fresh views to skip, and the expected time and cost.

This module must not start anything, nor know how a forecast is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from dune_matviews.plan import RefreshPlan

from . import _text
from ._exits import Exit
from ._output import Result
from ._running import look

if TYPE_CHECKING:
    from dune_matviews import Forecast, MatviewsClient, Range, ViewForecast

BAR = 40
"""Cells of the time line."""


def dry_run(dune: MatviewsClient, plan: RefreshPlan) -> Result:
    """Describe a run without starting it."""
    limits = {name: plan.options[name] for name in ("max_parallel", "max_age") if name in plan.options}
    found = dune.forecast(plan.views, **limits)
    layers = layers_of(plan.views)
    lines = [*_table(found, layers), *_totals(found)]
    impossible = any(each.refreshes is None for each in found.views.values())
    code = Exit.FAILED if impossible else Exit.OK
    document = {"layers": layers, "forecast": found.to_dict()}
    return Result(code, document, "\n".join(lines), tuple(_of_journal(plan)))


def layers_of(views: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """The views in layers: each view reads only views of earlier layers."""
    sorter = TopologicalSorter(views)
    sorter.prepare()
    place = {name: number for number, name in enumerate(views)}
    layers: list[list[str]] = []
    while sorter.is_active():
        layer = sorted(sorter.get_ready(), key=place.__getitem__)
        sorter.done(*layer)
        layers.append(layer)
    return layers


def _table(found: Forecast, layers: list[list[str]]) -> list[str]:
    whole = max((each.ends_after for each in found.views.values()), default=0.0)
    rows: list[tuple[str, ...]] = [("LAYER", "VIEW", "", "EXPECTED", "CREDITS", "")]
    for number, layer in enumerate(layers, 1):
        for place, name in enumerate(layer):
            each = found.views[name]
            cells = _verdict(each), _time(each.seconds), _credits(each.cost_credits), _bar(each, whole)
            rows.append((str(number) if place == 0 else "", _text.line(name), *cells))
    if found.seconds is None:
        rows = [(*row[:3], row[5]) for row in rows]
    return _text.columns(rows, "><<>><" if found.seconds is not None else "><<<")


def _totals(found: Forecast) -> Iterator[str]:
    due = sum(each.refreshes is True for each in found.views.values())
    yield f"{due} of {len(found.views)} views would be refreshed; nothing was started."
    if found.seconds is None:
        if due:
            yield "None of them has succeeded before, so the time and the cost are unknown."
        return
    if due:
        yield f"Expected time: {_time(found.seconds)}, with at most {found.max_parallel} executions at once."
        yield f"Expected cost: {_credits(found.cost_credits) or 'unknown'}."
    if found.critical_path:
        yield f"Critical path: {' > '.join(map(_text.line, found.critical_path))}"


def _verdict(each: ViewForecast) -> str:
    return {True: "refresh", False: "skip, fresh", None: "impossible"}[each.refreshes]


def _time(seconds: Range | None) -> str:
    if seconds is None:
        return ""
    expected, low, high = (_text.lasted(each) for each in seconds)
    return f"{expected} ({low} to {high})"


def _credits(cost: Range | None) -> str:
    return "" if cost is None else f"{_text.credits(cost.expected)} ({cost.low:,.2f} to {cost.high:,.2f})"


def _bar(each: ViewForecast, whole: float) -> str:
    """The view's place in the time line; where it has none, the reason for its verdict."""
    if each.seconds is None or not whole:
        return _text.line(each.reason or "")
    cell = "#" if look().ascii else "█"
    first, last = (int(moment / whole * (BAR - 1)) for moment in (each.starts_after, each.ends_after))
    return " " * first + cell * (last + 1 - first)


def _of_journal(plan: RefreshPlan) -> Iterator[str]:
    journal: Path | None = plan.options.get("journal")
    if journal is not None and journal.is_file() and journal.stat().st_size:
        yield f"The journal {journal} may hold an earlier run to continue. The dry run leaves it out."
