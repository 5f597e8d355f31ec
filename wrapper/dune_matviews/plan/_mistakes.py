"""The mistakes in a plan file, all at once, each with its place.

This module must not know how views are refreshed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, get_args

from .._http.rate_limits import Plan
from .._tiers import TIERS
from .._validate import IF_LOST, IF_RUNNING
from ..errors import InvalidArgumentError
from ._durations import parse_duration
from ._paths import expand_path
from ._toml_lines import Step

LONGEST_SHOWN = 100
"""Characters of a value in a message."""
LONGEST_CIRCLE = 10
"""Views of a circle that a message names."""


class Mistake(NamedTuple):
    """A mistake, and the keys and indices that lead to it."""

    path: tuple[Step, ...]
    message: str


def quoted(text: str) -> str:
    """*text* as a TOML string, without anything that a terminal would act on."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    harmless = "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped)
    return f'"{harmless}"'


def shown(value: object) -> str:
    """A value for a message, shortened if it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints neither thousands of digits nor thousands of brackets
        text = f"this {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def mistakes(data: dict[str, Any]) -> Iterator[Mistake]:
    """Every mistake in a plan, given as Python's TOML parser returns it."""
    yield from _wrong_in(data, OF_THE_RUN, (), "a plan")
    views = data.get("views")
    if not isinstance(views, dict) or not views:
        yield Mistake(("views",), 'it has no views; write one as [views."dune.my_team.result_daily_volume"]')
        return
    for name, view in views.items():
        yield from _wrong_with_view(name, view, views)
    yield from _circle(views)


def _wrong_in(table: dict[str, Any], known: Mapping[str, Read], path: tuple[Step, ...], what: str) -> Iterator[Mistake]:
    """Unknown keys of a table, and invalid values."""
    for key, value in table.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"it may have {', '.join(known)}"
            yield Mistake((*path, key), f"{what} has no {key!r}; {meant}")
            continue
        try:
            known[key](value)
        except InvalidArgumentError as problem:
            yield Mistake((*path, key), f"{key} {problem}")


def _wrong_with_view(name: str, view: Any, views: dict[str, Any]) -> Iterator[Mistake]:
    path: tuple[Step, ...] = ("views", name)
    if not name.strip() or not name.isprintable():
        yield Mistake(path, f"{name!r} is not the name of a view")
    if not isinstance(view, dict):
        yield Mistake(path, f"{name!r} must be a table: write [views.{quoted(name)}], and below it what it reads")
        return
    if below := _tables_below(view):
        meant = quoted(".".join([name, *below]))
        yield Mistake((*path, *below), f"the name of a view stands in quotes: write [views.{meant}]")
        return
    yield from _wrong_in(view, OF_A_VIEW, path, "a view")
    reads = view.get("reads", [])
    for place, upstream in enumerate(reads if isinstance(reads, list) else []):
        if not isinstance(upstream, str):
            yield Mistake((*path, "reads", place), f"reads must be names of views, not {shown(upstream)}")
        elif upstream not in views:
            close = get_close_matches(upstream, views, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"add [views.{quoted(upstream)}], or take it out"
            yield Mistake((*path, "reads", place), f"the plan has no view {upstream!r}; {meant}")


def _tables_below(view: dict[str, Any]) -> list[str]:
    """The keys of nested tables instead of a view's keys: TOML makes these of a dotted name without quotes."""
    way: list[str] = []
    while found := next(((key, table) for key, table in view.items() if isinstance(table, dict)), None):
        key, view = found
        way.append(key)
    return [] if way[:1] and way[0] in OF_A_VIEW else way


def _circle(views: dict[str, Any]) -> Iterator[Mistake]:
    """A circle of views that read each other, reported at one of them."""
    reads = {
        name: [each for each in view["reads"] if isinstance(each, str)]
        for name, view in views.items()
        if isinstance(view, dict) and isinstance(view.get("reads"), list)
    }
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as cycle:
        circle: list[str] = cycle.args[1][::-1]
        names = [name if name.isprintable() else repr(name) for name in circle]
        if len(names) > LONGEST_CIRCLE:
            names[LONGEST_CIRCLE // 2 : -1] = ["…"]
        yield Mistake(("views", circle[0], "reads"), f"views read each other in a circle: {' reads '.join(names)}")


Read = Callable[[Any], Any]
"""Returns a value as `refresh_all` takes it, or raises the problem with it, to follow its key in a message."""


def _must(be: str, fits: Callable[[Any], bool]) -> Read:
    def read(value: Any) -> Any:
        if not fits(value):
            raise InvalidArgumentError(f"must be {be}, not {shown(value)}")
        return value

    return read


def _one_of(words: tuple[str, ...]) -> Read:
    return _must(f"one of {', '.join(words)}", lambda value: value in words)


def _text(be: str, parse: Callable[[str], object]) -> Read:
    check = _must(be, lambda value: isinstance(value, str) and value.strip() != "" and value.isprintable())

    def read(value: Any) -> Any:
        text = check(value)
        try:
            return parse(text)
        except InvalidArgumentError as problem:
            raise InvalidArgumentError(f"cannot be used: {problem}") from problem

    return read


_CREDITS = _must(
    "a number of credits, zero or more", lambda value: type(value) in (int, float) and 0 <= value < math.inf
)
_TIME = _text('a text such as "90s", "30m", "6h" or "2d"', parse_duration)

OF_THE_RUN: Mapping[str, Read] = {
    "views": _must("a table of views", lambda value: isinstance(value, dict)),
    "performance": _one_of(TIERS),
    "max_parallel": _must("a whole number, one or more", lambda value: type(value) is int and value >= 1),
    "max_credits": _CREDITS,
    "max_forecast": _CREDITS,
    "max_age": _TIME,
    "timeout": _TIME,
    "journal": _text("the path of a file", expand_path),
    "if_running": _one_of(IF_RUNNING),
    "dune_plan": _one_of(get_args(Plan)),
    "if_lost": _one_of(IF_LOST),
    "retry_failed": _must("true or false", lambda value: isinstance(value, bool)),
}
OF_A_VIEW: Mapping[str, Read] = {
    "reads": _must("an array of names of views", lambda value: isinstance(value, list)),
    "performance": _one_of(TIERS),
}
