"""A plan file: views, what each reads, tiers and limits, in TOML. Reads and writes it.

This module must not know how views are refreshed. Every mistake is told with its line, and all of them at once.

    max_parallel = 3
    max_credits = 200
    max_age = "6h"
    timeout = "2h"
    journal = "refresh.jsonl"       # beside the plan file
    if_running = "adopt"
    if_lost = "resend"
    retry_failed = true
    performance = "medium"          # of the views that have none of their own
    dune_plan = "plus"              # the account's, for its request limits

    [views."dune.my_team.result_base"]

    [views."dune.my_team.result_daily"]
    reads = ["dune.my_team.result_base"]
    performance = "large"
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from . import _durations, _text
from ._options import IF_LOST, IF_RUNNING, PLANS, TIERS
from ._toml_lines import Step, line_of

MOST_MISTAKES = 20

_AS_THEY_ARE = ("max_parallel", "max_credits", "if_running", "if_lost", "retry_failed")


class Plan(NamedTuple):
    """What a plan file says, ready for a run: each view with what it reads, its tier if it has one, and the limits.

    *dune_plan* is the account's plan; None where the file does not tell it.
    """

    views: Mapping[str, tuple[str, ...]]
    tiers: Mapping[str, str]
    limits: dict[str, Any]
    dune_plan: str | None = None


class PlanError(Exception):
    """A plan file cannot be used. The text has a line for each mistake, with file and line."""


class Mistake(NamedTuple):
    """What is wrong, and where: the keys and indices that lead there."""

    path: tuple[Step, ...]
    message: str


def read(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        PlanError: there is no such file, or it has mistakes.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors of Windows begin with a mark
    except OSError as problem:
        raise PlanError(f"{path}: it cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise PlanError(f"{path}:{line}: this is no UTF-8 text") from problem
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise PlanError(f"{path}:{_line_of_syntax(problem, text)}") from problem
    if mistakes := list(_mistakes(data)):
        told = sorted({(line_of(text, mistake.path), mistake.message) for mistake in mistakes[:MOST_MISTAKES]})
        rest = [f"{path}: and {len(mistakes) - MOST_MISTAKES} more mistakes"] * (len(mistakes) > MOST_MISTAKES)
        raise PlanError("\n".join([*(f"{path}:{line}: {message}" for line, message in told), *rest]))
    return _plan(data, path.parent)


def written(views: Mapping[str, tuple[str, ...]]) -> str:
    """A plan file for views and what they read, those that are read first."""
    lines: list[str] = []
    for name in TopologicalSorter(views).static_order():
        lines += [f"[views.{_quoted(name)}]"]
        if views.get(name):
            lines += [f"reads = [{', '.join(map(_quoted, views[name]))}]"]
        lines += [""]
    return "\n".join(lines).rstrip("\n")


def _line_of_syntax(problem: tomllib.TOMLDecodeError, text: str) -> str:
    """The line and the message of a mistake that the parser found."""
    message = str(problem)
    if place := re.fullmatch(r"(?s)(.*) \(at line (\d+), column (\d+)\)", message):
        return f"{place[2]}: {place[1]} (column {place[3]})"
    return f"{text.count(chr(10)) + 1}: {message}"


def _quoted(text: str) -> str:
    """*text* as TOML has it, with nothing that a terminal would act on."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped)
    return f'"{shown}"'


def _plan(data: dict[str, Any], folder: Path) -> Plan:
    views: dict[str, dict[str, Any]] = data["views"]
    tiers = {name: tier for name, view in views.items() if (tier := view.get("performance", data.get("performance")))}
    limits: dict[str, Any] = {key: data[key] for key in _AS_THEY_ARE if key in data}
    limits |= {key: _durations.duration(data[key]) for key in ("max_age", "timeout") if key in data}
    if "journal" in data:
        limits["journal"] = folder / data["journal"]
    reads = {name: tuple(dict.fromkeys(view.get("reads", ()))) for name, view in views.items()}
    return Plan(reads, tiers, limits, data.get("dune_plan"))


# What may be wrong


def _mistakes(data: dict[str, Any]) -> Iterator[Mistake]:
    yield from _wrong_in(data, _OF_THE_RUN, (), "a plan")
    views = data.get("views")
    if not isinstance(views, dict) or not views:
        yield Mistake(("views",), 'it has no views; write one as [views."dune.my_team.result_daily_volume"]')
        return
    for name, view in views.items():
        yield from _wrong_with_view(name, view, views)
    yield from _circle(views)


def _wrong_in(
    table: dict[str, Any], checks: Mapping[str, Check], path: tuple[Step, ...], what: str
) -> Iterator[Mistake]:
    """What is wrong with the keys of a table, and with their values."""
    for key, value in table.items():
        if key not in checks:
            close = get_close_matches(key, checks, n=1)
            meant = f"did you mean {close[0]}?" if close else f"it may have {', '.join(checks)}"
            yield Mistake((*path, key), f"{what} has no {key!r}; {meant}")
        elif wrong := checks[key](value):
            yield Mistake((*path, key), f"{key} {wrong}")


def _wrong_with_view(name: str, view: Any, views: dict[str, Any]) -> Iterator[Mistake]:
    path: tuple[Step, ...] = ("views", name)
    if not name.strip() or not name.isprintable():
        yield Mistake(path, f"{name!r} is not the name of a view")
    if not isinstance(view, dict):
        yield Mistake(path, f"{name!r} must be a table: write [views.{_quoted(name)}], and below it what it reads")
        return
    if below := _tables_below(view):
        meant = _quoted(".".join([name, *below]))
        yield Mistake((*path, *below), f"the name of a view stands in quotes: write [views.{meant}]")
        return
    yield from _wrong_in(view, _OF_A_VIEW, path, "a view")
    reads = view.get("reads", [])
    for place, upstream in enumerate(reads if isinstance(reads, list) else []):
        if not isinstance(upstream, str):
            yield Mistake((*path, "reads", place), f"reads must be names of views, not {upstream!r}")
        elif upstream not in views:
            close = get_close_matches(upstream, views, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"add [views.{_quoted(upstream)}], or take it out"
            yield Mistake((*path, "reads", place), f"the plan has no view {upstream!r}; {meant}")


def _tables_below(view: dict[str, Any]) -> list[str]:
    """The way down into tables in the place of a view's keys: what TOML makes of a name with dots outside of quotes."""
    way: list[str] = []
    while found := next(((key, table) for key, table in view.items() if isinstance(table, dict)), None):
        key, view = found
        way.append(key)
    return [] if way[:1] and way[0] in _OF_A_VIEW else way


def _circle(views: dict[str, Any]) -> Iterator[Mistake]:
    """A circle of views that read each other, told at one of them."""
    reads = {
        name: [each for each in view["reads"] if isinstance(each, str)]
        for name, view in views.items()
        if isinstance(view, dict) and isinstance(view.get("reads"), list)
    }
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as cycle:
        circle: list[str] = cycle.args[1][::-1]
        yield Mistake(
            ("views", circle[0], "reads"),
            f"views read each other in a circle: {' reads '.join(map(_text.line, circle))}",
        )


Check = Callable[[Any], str | None]
"""Says what is wrong with a value, to be read after its key; None if nothing is."""


def _one_of(words: tuple[str, ...]) -> Check:
    def check(value: Any) -> str | None:
        return None if value in words else f"must be one of {', '.join(words)}, not {value!r}"

    return check


def _count(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if fits else f"must be a whole number, one or more, not {value!r}"


def _credits(value: Any) -> str | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return None if fits else f"must be a number of credits, zero or more, not {value!r}"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {value!r}"


def _time(value: Any) -> str | None:
    if not isinstance(value, str):
        return f'must be a text such as "90s", "30m", "6h" or "2d", not {value!r}'
    try:
        _durations.duration(value)
    except ValueError as problem:
        return f"cannot be used: {problem}"
    return None


def _file(value: Any) -> str | None:
    fits = isinstance(value, str) and value.strip() and value.isprintable()
    return None if fits else f"must be the path of a file, not {value!r}"


def _table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be a table of views"


def _names(value: Any) -> str | None:
    return None if isinstance(value, list) else f"must be an array of names of views, not {value!r}"


_OF_THE_RUN: Mapping[str, Check] = {
    "views": _table,
    "performance": _one_of(TIERS),
    "max_parallel": _count,
    "max_credits": _credits,
    "max_age": _time,
    "timeout": _time,
    "journal": _file,
    "if_running": _one_of(IF_RUNNING),
    "dune_plan": _one_of(PLANS),
    "if_lost": _one_of(IF_LOST),
    "retry_failed": _flag,
}
_OF_A_VIEW: Mapping[str, Check] = {"reads": _names, "performance": _one_of(TIERS)}
