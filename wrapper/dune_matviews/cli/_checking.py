"""The command `check`: whether views are fresh, as an alarm for monitoring.

This module must not start, change or cancel anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dune_matviews import APIError, AuthenticationError, NotFoundError, PermissionDeniedError

from . import _data, _names, _remedies, _text
from ._exits import Exit
from ._options import Command, options_of_dune, plan_of
from ._output import Result
from ._settings import Settings
from ._types import Duration, Name

if TYPE_CHECKING:
    from dune_matviews import ExecutionStatus, Freshness, Matview, MatviewsClient


class Finding(NamedTuple):
    """The state of a view. *problem* is None if there is none."""

    problem: str | None
    freshness: Freshness | None = None
    last_execution: ExecutionStatus | None = None


@click.command(cls=Command)
@click.argument("names", metavar="PLAN.toml | NAME...", nargs=-1, required=True, type=Name())
@click.option("--max-age", type=Duration(), metavar="TIME", help="A view that was refreshed longer ago is stale.")
@options_of_dune
@click.pass_obj
def check(settings: Settings, names: tuple[str, ...], max_age: timedelta | None) -> Result:
    """Tell whether views are fresh: an alarm for monitoring. Nothing is started, and nothing is billed.

    The exit code is 1 if a view is older than --max-age, was never refreshed, or if its last execution has failed. Of a
    plan file, the views and the max_age are taken. With --quiet, nothing is printed while all is well.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.
    """
    if len(names) == 1 and names[0].endswith(".toml"):
        plan = plan_of(settings, names[0])
        names, max_age = tuple(plan.views), max_age or plan.options.get("max_age")
    with settings.client() as dune:
        found = {name: _found(dune, name, max_age) for name in _names.completed(dune, settings.output, names)}
    problems = [name for name, finding in found.items() if finding.problem is not None]
    code = Exit.FAILED if problems else Exit.OK
    document = {"views": {name: _document(finding) for name, finding in found.items()}}
    if settings.output.quiet:
        found = {name: found[name] for name in problems}
    for name in problems if settings.output.is_step else ():
        settings.output.annotate("error", found[name].problem or "", _text.line(name))
    return Result(code, document, "\n".join(_table(found)))


def _found(dune: MatviewsClient, name: str, max_age: timedelta | None) -> Finding:
    try:
        freshness, last = dune.freshness(name), last_execution(dune, dune.get(name))
    except AuthenticationError:
        raise  # each view would be told the same
    except (NotFoundError, PermissionDeniedError) as refusal:
        return Finding(_text.line(refusal.describe(_remedies.words)))
    return Finding(" ".join(_problems(freshness, last, max_age)) or None, freshness, last)


def last_execution(dune: MatviewsClient, view: Matview) -> ExecutionStatus | None:
    """The newest execution of a view; None where it has none, or Dune keeps it no longer."""
    ids = view.last_execution_ids
    try:
        return dune.attach(ids[0], view.name).status() if ids else None
    except APIError:
        return None


def _problems(freshness: Freshness, last: ExecutionStatus | None, max_age: timedelta | None) -> Iterator[str]:
    if freshness.age is None:
        yield "It was never refreshed."
    elif max_age is not None and freshness.age > max_age:
        yield f"It is stale: its last refresh ended {_text.lasted(freshness.age)} ago."
    if failure := how_it_failed(last):
        yield f"Its last execution {failure}"


def how_it_failed(last: ExecutionStatus | None) -> str | None:
    """How an execution has failed, when and why; None where it has not."""
    if last is None or not last.is_finished or last.succeeded:
        return None
    when = f" at {_text.moment(last.ended_at)}" if last.ended_at else ""
    why = f": {_data.error(last.error)}" if last.error else ""
    return f"({_text.line(last.execution_id)}) {last.state.value}{when}{why}."


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "ok": finding.problem is None,
        "problem": finding.problem,
        "freshness": _data.plain(finding.freshness),
        "last_execution": _data.plain(finding.last_execution),
    }


def _table(found: dict[str, Finding]) -> Iterator[str]:
    rows = [(_text.line(name), "ok" if each.problem is None else "problem", _age(each)) for name, each in found.items()]
    if rows:
        lines = _text.columns([("VIEW", "", "REFRESHED"), *rows], "<<<")
        yield lines[0]
        for line, finding in zip(lines[1:], found.values(), strict=True):
            yield line
            if finding.problem is not None:
                yield f"  {finding.problem}"


def _age(finding: Finding) -> str:
    age = finding.freshness.age if finding.freshness is not None else None
    return f"{_text.lasted(age)} ago" if age is not None else "-"


COMMANDS = (check,)
