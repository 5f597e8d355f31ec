"""The commands `refresh` and `run`.

This module must not know how views are refreshed, nor how their progress is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dune_matviews import AuthenticationError, DuneError, InvalidArgumentError, PaymentRequiredError
from dune_matviews.plan import RefreshPlan, read_plan

from . import _dry_run, _exits, _github, _running, _text
from ._exits import Exit
from ._failures import PlanError, failure
from ._options import (
    IF_RUNNING,
    Command,
    Credits,
    Duration,
    Name,
    Number,
    Settings,
    options_of_dune,
    options_of_journal,
    options_of_small,
    options_of_tiers,
    refuse_what_waits,
)
from ._output import Answer, Output

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=Name())
@click.option("--upstream", is_flag=True, help="Refresh everything that the views read, too, in order.")
@options_of_tiers
@click.option("--max-credits", type=Credits(), help="Cancel what runs once all has cost more than this.")
@click.option(
    "--max-age", type=Duration(), metavar="TIME", help="Leave a view as it is that was refreshed within this."
)
@click.option("--timeout", type=Duration(), metavar="TIME", help="Stop waiting after this; what runs goes on.")
@click.option("--max-parallel", type=Number(min=1), metavar="N", help="Executions at once.  [default: 3]")
@click.option(
    "--if-running",
    type=click.Choice(IF_RUNNING),
    help="What to do if a view is being refreshed already: start another refresh, adopt (follow) that one, or refuse."
    "  [default: start]",
)
@options_of_journal
@click.option("--no-wait", is_flag=True, help="Start the refreshes, print their execution ids, and return.")
@options_of_dune
@click.pass_obj
def refresh(
    settings: Settings,
    names: tuple[str, ...],
    upstream: bool,
    performance: str | None,
    max_credits: float | None,
    max_age: timedelta | None,
    timeout: timedelta | None,
    max_parallel: int | None,
    if_running: str | None,
    if_lost: str | None,
    journal: Path | None,
    label: str | None,
    retry_failed: bool,
    no_wait: bool,
) -> Answer:
    """Refresh views, and wait until they are fresh.

    NAME is a view's full name, such as dune.my_team.result_daily_volume. A refresh that Dune accepts
    may be billed, even if it fails.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.

    \b
    For example, everything under a view that is older than six hours:
      dune-matviews refresh --upstream --max-age 6h dune.my_team.result_daily_volume
    """
    options: dict[str, Any] = {
        "max_credits": max_credits,
        "max_age": max_age,
        "timeout": timeout,
        "max_parallel": max_parallel,
        **_of_journal(journal, label, retry_failed),
    }
    given = {name: value for name, value in options.items() if value is not None}
    how: dict[str, Any] = {
        "performance": performance,
        "if_running": if_running or "start",
        "if_lost": if_lost or "raise",
    }
    if no_wait:
        refuse_what_waits(given | {"upstream": upstream or None})
        with settings.client() as dune:
            return _started(dune, settings.output, names, how)
    with settings.client() as dune:
        views = _with_upstream(dune, names) if upstream else names
        return _running.refresh(dune, settings.output, views, **given, **how)


@click.command(cls=Command)
@click.argument("plan_file", metavar="PLAN.toml", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show the order, and what would be skipped as fresh; start nothing.")
@options_of_journal
@options_of_small
@options_of_dune
@click.pass_obj
def run(
    settings: Settings,
    plan_file: Path,
    dry_run: bool,
    if_lost: str | None,
    journal: Path | None,
    label: str | None,
    retry_failed: bool,
) -> Answer:
    """Refresh the views of a plan file, in order. What the options say counts more than what the plan says.

    'dune-matviews lineage NAME --format toml' writes such a file.
    """
    given = {"if_lost": if_lost, **_of_journal(journal, label, retry_failed)}
    plan = _plan_of(plan_file, {name: value for name, value in given.items() if value is not None})
    if dry_run and plan.options.get("max_age") is None:
        return _dry_run.dry_run(plan)
    if settings.plan == "auto":
        settings.plan = plan.dune_plan or "auto"
    with settings.client() as dune:
        if dry_run:
            return _dry_run.dry_run(plan, dune.freshness)
        return _running.refresh(dune, settings.output, plan.views, **plan.options)


def _plan_of(plan_file: Path, given: dict[str, Any]) -> RefreshPlan:
    """The plan in a file, in which the options given on the command line count more than those of the file.

    Raises:
        PlanError: the file cannot be used.
    """
    try:
        plan = read_plan(plan_file)
    except InvalidArgumentError as mistakes:
        raise PlanError(str(mistakes)) from mistakes
    return RefreshPlan(views=plan.views, options={**plan.options, **given}, dune_plan=plan.dune_plan)


def _of_journal(journal: Path | None, label: str | None, retry_failed: bool) -> dict[str, Any]:
    """The journal, and what is repeated with it, as the SDK names them; None where it was not said."""
    return {"journal": journal, "run": label, "retry_failed": retry_failed or None}


def _with_upstream(dune: MatviewsClient, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The views and all that they read, each with what it reads."""
    views: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name not in views:
            views.update(dune.lineage(name))
    return views


def _started(dune: MatviewsClient, output: Output, names: Iterable[str], how: dict[str, Any]) -> Answer:
    """Start refreshes one after another; each id is printed as soon as it is known."""
    views: dict[str, dict[str, Any]] = {name: {"execution_id": None} for name in names}
    codes: list[Exit] = []
    hints: tuple[str, ...] = ()
    try:
        for name, view in views.items():
            try:
                execution_id = dune.refresh(name, **how).execution_id
            except DuneError as error:
                found = failure(error)
                codes.append(found.code)
                view |= found.document
                output.error(f"{_text.line(name)}: {found.message}")
                if isinstance(error, AuthenticationError | PaymentRequiredError):
                    break  # the next view would be told the same
            else:
                view["execution_id"] = execution_id
                if output.form == "text":
                    output.result(execution_id)
                output.note(
                    f"{_text.line(name)} is being refreshed: `{_text.command('wait', execution_id)}` waits for it"
                )
    except KeyboardInterrupt as interruption:
        found = failure(interruption)
        codes, hints = [found.code], found.hints
        output.error(found.message)
    _running.leave(
        output, lambda: _github.leave_executions({name: views[name]["execution_id"] for name in views}, output)
    )
    return Answer(_exits.first(codes), {"views": views}, hints=hints)


COMMANDS = (refresh, run)
