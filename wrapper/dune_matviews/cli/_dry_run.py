"""The forecast of a run: its layers, and the views that it would skip as fresh.

This module must not start anything: it asks how old views are, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dune_matviews import NotFoundError, PermissionDeniedError
from dune_matviews.plan import RefreshPlan

from . import _data, _remedies, _text
from ._exits import Exit
from ._output import Answer

if TYPE_CHECKING:
    from dune_matviews import Freshness

Views = Mapping[str, tuple[str, ...]]


class Forecast(NamedTuple):
    """The forecast for a view. *refreshes* is None if Dune would refuse."""

    refreshes: bool | None
    reason: str
    freshness: Freshness | None = None


def dry_run(plan: RefreshPlan, ask: Callable[[str], Freshness] | None = None) -> Answer:
    """Describe a run without starting it. *ask* returns the age of a view; a plan with a `max_age` needs it."""
    forecasts = dict(_forecasts(plan, ask))
    layers = layers_of(plan.views)
    document = {"layers": [[_document(plan, name, forecasts[name]) for name in layer] for layer in layers]}
    rows = [
        (str(number) if place == 0 else "", _text.line(name), _verdict(forecasts[name]), forecasts[name].reason)
        for number, layer in enumerate(layers, 1)
        for place, name in enumerate(layer)
    ]
    due = sum(each.refreshes is True for each in forecasts.values())
    lines = _text.columns([("LAYER", "VIEW", "", ""), *rows], "><<<")
    lines.append(f"{due} of {len(forecasts)} views would be refreshed; nothing was started.")
    impossible = any(each.refreshes is None for each in forecasts.values())
    return Answer(Exit.FAILED if impossible else Exit.OK, document, "\n".join(lines), tuple(_of_journal(plan)))


def layers_of(views: Views) -> list[list[str]]:
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


def _forecasts(plan: RefreshPlan, ask: Callable[[str], Freshness] | None) -> Iterator[tuple[str, Forecast]]:
    max_age, changed = plan.options.get("max_age"), set[str]()
    for layer in layers_of(plan.views):
        for name in layer:
            forecast = Forecast(True, "")
            if ask is not None and max_age is not None:
                forecast = _forecast(name, [each for each in plan.views[name] if each in changed], max_age, ask)
            if forecast.refreshes is not False:
                changed.add(name)
            yield name, forecast


def _forecast(name: str, changed: list[str], max_age: timedelta, ask: Callable[[str], Freshness]) -> Forecast:
    """The same decision as in a run: a view that reads a refreshed one is refreshed, whatever its age."""
    if changed:
        return Forecast(True, f"reads {_text.line(changed[0])}")
    try:
        freshness = ask(name)
    except (NotFoundError, PermissionDeniedError) as error:
        return Forecast(None, _text.line(error.describe(_remedies.words)))
    if freshness.age is None:
        return Forecast(True, "never refreshed", freshness)
    return Forecast(freshness.age > max_age, f"refreshed {_text.lasted(freshness.age)} ago", freshness)


def _verdict(forecast: Forecast) -> str:
    return {True: "refresh", False: "skip, fresh", None: "impossible"}[forecast.refreshes]


def _document(plan: RefreshPlan, name: str, forecast: Forecast) -> dict[str, Any]:
    return {
        "name": name,
        "refreshes": forecast.refreshes,
        "reason": forecast.reason or None,
        "performance": plan.options.get("performance", {}).get(name),
        "freshness": _data.plain(forecast.freshness),
    }


def _of_journal(plan: RefreshPlan) -> Iterator[str]:
    journal: Path | None = plan.options.get("journal")
    if journal is not None and journal.is_file() and journal.stat().st_size:
        yield f"The journal {journal} may hold an earlier run, to go on with; this picture leaves it out."
