"""The commands `forecast` and `history`: the expected time and cost of a run, and the past that says so.

This module must not know how a forecast is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _data, _text
from ._exits import Exit
from ._options import Command, options_of_dune, plan_of
from ._output import Answer
from ._running import look
from ._settings import Settings
from ._types import FilePath, Name

if TYPE_CHECKING:
    from dune_matviews import Forecast, Range, ViewForecast

BAR = 40
"""Cells of the time line."""


@click.command(cls=Command)
@click.argument("plan_file", metavar="PLAN.toml", type=FilePath())
@options_of_dune
@click.pass_obj
def forecast(settings: Settings, /, plan_file: Path) -> Answer:
    """Forecast the time and cost of a plan; start nothing.

    The forecast draws on past executions. The first time, reading them takes up to five free requests per view.
    """
    plan = plan_of(settings, plan_file)
    limits: dict[str, Any] = {name: plan.options[name] for name in ("max_parallel", "max_age") if name in plan.options}
    with settings.client() as dune:
        found = dune.forecast(plan.views, **limits)
    impossible = any(each.refreshes is None for each in found.views.values())
    return Answer(Exit.FAILED if impossible else Exit.OK, {"forecast": found.to_dict()}, "\n".join(_lines(found)))


def _lines(found: Forecast) -> Iterator[str]:
    cell = "#" if look().ascii else "█"
    whole = max((each.ends_after for each in found.views.values()), default=0.0)
    rows: list[tuple[str, ...]] = [("VIEW", "", "EXPECTED", "4 OF 5 TAKE", "CREDITS", "")]
    rows += [
        (_text.line(name), _verdict(each), *_time(each.seconds), _credits(each.cost_credits), _bar(each, whole, cell))
        for name, each in found.views.items()
    ]
    yield from _text.columns(rows, "<<>>><")
    if found.seconds is None:
        yield "No view has succeeded before, so time and cost are unknown."
        return
    expected, usual = _time(found.seconds)
    cost = _credits(found.cost_credits) or "cost unknown"
    yield f"In all {expected} ({usual}) with {found.max_parallel} at once, {cost}."
    if found.critical_path:
        yield f"Critical path: {' > '.join(map(_text.line, found.critical_path))}"


def _verdict(each: ViewForecast) -> str:
    return {True: "refresh", False: "fresh", None: "impossible"}[each.refreshes]


def _time(seconds: Range | None) -> tuple[str, str]:
    if seconds is None:
        return "", ""
    return _text.lasted(seconds.expected), f"{_text.lasted(seconds.low)} to {_text.lasted(seconds.high)}"


def _credits(cost: Range | None) -> str:
    return "" if cost is None else f"{_text.credits(cost.expected)} ({cost.low:,.2f} to {cost.high:,.2f})"


def _bar(each: ViewForecast, whole: float, cell: str) -> str:
    if each.seconds is None or not whole:
        return ""
    first, last = (int(moment / whole * (BAR - 1)) for moment in (each.starts_after, each.ends_after))
    return " " * first + cell * (last + 1 - first)


@click.command(cls=Command)
@click.argument("name", type=Name())
@options_of_dune
@click.pass_obj
def history(settings: Settings, /, name: str) -> Answer:
    """Show past executions of a view, with queue, duration and cost."""
    with settings.client() as dune:
        found = dune.history(name)
    rows: list[tuple[str, ...]] = [("ENDED", "STATE", "QUEUED", "RAN", "CREDITS")]
    for each in found:
        began = each.started_at or each.submitted_at
        rows.append(
            (
                "" if each.ended_at is None else _text.moment(each.ended_at),
                each.state.value,
                _text.lasted(began - each.submitted_at) if began and each.submitted_at else "",
                _text.lasted(each.ended_at - began) if began and each.ended_at else "",
                "" if each.cost_credits is None else _text.credits(each.cost_credits),
            )
        )
    text = "\n".join(_text.columns(rows, "<<>>>")) if found else f"No execution of {_text.line(name)} has ended yet."
    return Answer(Exit.OK, {"executions": [_data.plain(each) for each in found]}, text)


COMMANDS = (forecast, history)
