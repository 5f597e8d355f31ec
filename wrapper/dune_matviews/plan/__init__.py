"""Plan files, for programs to read and write: views, the views that each reads, tiers and limits, in TOML.

This module must not know how views are refreshed.

    max_parallel = 3
    max_credits = 200
    max_forecast = 150
    max_age = "6h"
    timeout = "2h"
    journal = "refresh.jsonl"       # beside the plan file
    if_running = "adopt"
    if_lost = "resend"
    retry_failed = true
    performance = "medium"          # for views without a tier of their own
    dune_plan = "plus"              # the account's, for its request limits

    [views."dune.my_team.result_base"]

    [views."dune.my_team.result_daily"]
    reads = ["dune.my_team.result_base"]
    performance = "large"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import attrs

from .. import _validate
from ..errors import InvalidArgumentError
from ._durations import parse_duration
from ._mistakes import OF_THE_RUN, mistakes, quoted
from ._paths import expand_path
from ._toml_lines import line_of

__all__ = ["RefreshPlan", "expand_path", "format_plan", "parse_duration", "read_plan"]

_LARGEST = 1_000_000
"""Bytes: enough for thousands of views. Python's parser takes minutes for much larger files, and devices never end."""
_DEEPEST = 100
"""Parts of a dotted name without quotes: plans have a handful, and the parser takes minutes for thousands."""
_TOO_DEEP = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]++\s*+\.\s*+){{{_DEEPEST}}}""")
_MOST_MISTAKES = 20
_MOST_MISTAKES_OF_A_LARGE_FILE = 3  # finding the line of each takes seconds there
_LARGE = 100_000


@attrs.frozen(kw_only=True)
class RefreshPlan:
    """The content of a plan file: `dune.refresh_all(plan.views, **plan.options)` carries it out.

    Attributes:
        views: each view with the views that it reads, in the order of the file.
        options: the keyword arguments for `refresh_all` that the file sets. `performance` is a mapping of views to
            tiers, `max_age` and `timeout` are a `timedelta`, `journal` is a path beside the plan file.
        dune_plan: the account's plan, for `MatviewsClient(plan=…)`; None if the file has none.
    """

    views: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]
    dune_plan: str | None


def read_plan(path: str | PathLike[str]) -> RefreshPlan:
    """Read a plan file. Nothing is sent.

    >>> plan = read_plan("plan.toml")
    >>> report = dune.refresh_all(plan.views, **plan.options)

    Raises:
        InvalidArgumentError: the file cannot be read, or has mistakes. The message has a line for each of them, with
            the file and the number of the line.
    """
    file = _validate.path(path, "path")
    text = _text_of(file)
    if _TOO_DEEP.search(text):
        raise InvalidArgumentError(f"{file}: a name has more than {_DEEPEST} parts; put names with dots in quotes")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise InvalidArgumentError(f"{file}:{_line_of_syntax(problem, text)}") from problem
    except RecursionError:
        raise InvalidArgumentError(f"{file}: its arrays or tables are nested too deeply for a plan") from None
    except ValueError:
        raise InvalidArgumentError(f"{file}: it has a number of thousands of digits") from None
    most = _MOST_MISTAKES if len(text) < _LARGE else _MOST_MISTAKES_OF_A_LARGE_FILE
    if found := list(islice(mistakes(data), most + 1)):
        told = sorted({(line_of(text, mistake.path), mistake.message) for mistake in found[:most]})
        rest = [f"{file}: there are more mistakes"] * (len(found) > most)
        raise InvalidArgumentError("\n".join([*(f"{file}:{line}: {message}" for line, message in told), *rest]))
    return _plan(data, file.parent)


def format_plan(views: Mapping[str, Iterable[str]]) -> str:
    """Return the text of a plan file for *views*, each with the views that it reads, upstream views first.

    >>> print(format_plan({"dune.my_team.result_daily": ["dune.my_team.result_base"]}))
    [views."dune.my_team.result_base"]
    <BLANKLINE>
    [views."dune.my_team.result_daily"]
    reads = ["dune.my_team.result_base"]

    Args:
        views: for example the result of `MatviewsClient.lineage`.
    """
    reads = {name: tuple(upstream) for name, upstream in views.items()}
    lines: list[str] = []
    for name in TopologicalSorter(reads).static_order():
        lines += [f"[views.{quoted(name)}]"]
        if reads.get(name):
            lines += [f"reads = [{', '.join(map(quoted, reads[name]))}]"]
        lines += [""]
    return "\n".join(lines).rstrip("\n")


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as problem:
        raise InvalidArgumentError(f"{file}: it cannot be read: {problem.strerror}") from problem
    if len(content) > _LARGEST:
        raise InvalidArgumentError(f"{file}: it is larger than {_LARGEST // 1_000_000} MB, which no plan is")
    try:
        return content.decode("utf-8-sig")  # editors of Windows begin with a mark
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise InvalidArgumentError(f"{file}:{line}: this is no UTF-8 text") from problem


def _line_of_syntax(problem: tomllib.TOMLDecodeError, text: str) -> str:
    """The line and the message of a syntax error."""
    message = str(problem)
    if place := re.fullmatch(r"(?s)(.*) \(at line (\d+), column (\d+)\)", message):
        return f"{place[2]}: {place[1]} (column {place[3]})"
    return f"{text.count(chr(10)) + 1}: {message}"


def _plan(data: dict[str, Any], folder: Path) -> RefreshPlan:
    views: dict[str, dict[str, Any]] = data["views"]
    about_views = ("views", "performance", "dune_plan")
    options = {key: OF_THE_RUN[key](value) for key, value in data.items() if key not in about_views}
    if "journal" in options:
        options["journal"] = folder / options["journal"]
    tiers = {name: tier for name, view in views.items() if (tier := view.get("performance", data.get("performance")))}
    if tiers:
        options["performance"] = tiers
    reads = {name: tuple(dict.fromkeys(view.get("reads", ()))) for name, view in views.items()}
    return RefreshPlan(views=reads, options=options, dune_plan=data.get("dune_plan"))
