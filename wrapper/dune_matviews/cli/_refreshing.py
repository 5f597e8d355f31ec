"""The commands `refresh` and `run`.

This module must not know how views are refreshed, nor how their progress is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dune_matviews import AuthenticationError, DuneError, PaymentRequiredError
from dune_matviews.plan import RefreshPlan

from . import _dry_run, _exits, _github, _names, _running, _text
from ._exits import Exit
from ._failures import failure
from ._options import (
    Command,
    options_of_dune,
    options_of_journal,
    options_of_limits,
    options_of_small,
    options_of_tiers,
    plan_of,
    refuse_what_waits,
)
from ._output import Output, Result
from ._settings import Settings
from ._types import FilePath, Name

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient

_OF_ONE_REFRESH = ("performance", "if_running", "if_lost")
"""The options of a refresh that nobody waits for."""


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=Name())
@click.option("--upstream", is_flag=True, help="Refresh everything that the views read, too, in order.")
@options_of_tiers
@options_of_limits
@options_of_journal
@click.option("--no-wait", is_flag=True, help="Start the refreshes, print their execution ids, and return.")
@options_of_dune
@click.pass_obj
def refresh(settings: Settings, /, names: tuple[str, ...], upstream: bool, no_wait: bool, **given: Any) -> Result:
    """Refresh views, and wait until they are fresh.

    NAME is a view's full name, such as dune.my_team.result_daily_volume. A refresh that Dune accepts
    may be billed, even if it fails.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.

    \b
    For example, everything under a view that is older than six hours:
      dune-matviews refresh --upstream --max-age 6h dune.my_team.result_daily_volume
    """
    options = _given(given)
    if no_wait:
        how = {name: options.pop(name) for name in _OF_ONE_REFRESH if name in options}
        refuse_what_waits(options | {"upstream": upstream or None})
        with settings.client() as dune:
            return _started(dune, settings.output, _names.completed(dune, settings.output, names), how)
    with settings.client() as dune:
        names = _names.completed(dune, settings.output, names)
        views = _with_upstream(dune, names) if upstream else names
        return _running.refresh(dune, settings.output, views, **options)


@click.command(cls=Command)
@click.argument("plan_file", metavar="PLAN.toml", type=FilePath())
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the order, the fresh views, and the expected time and cost; start nothing.",
)
@click.option("--only", multiple=True, metavar="NAME", type=Name(), help="Only this view; as often as you like.")
@click.option("--exclude", multiple=True, metavar="NAME", type=Name(), help="Not this view; as often as you like.")
@click.option("--force", is_flag=True, help="Refresh fresh views, too: ignore max_age.")
@options_of_limits
@options_of_journal
@options_of_small
@options_of_dune
@click.pass_obj
def run(
    settings: Settings,
    /,
    plan_file: Path,
    dry_run: bool,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
    **given: Any,
) -> Result:
    """Refresh the views of a plan file, in order. Options override the plan.

    'dune-matviews lineage NAME --format toml' writes such a file.

    NAME is a view of the plan, in full or bare, or a pattern such as '*daily*'. A view that is left out counts as fresh
    for those that read it. TIME is written like 90s, 30m, 6h, 2d or 1h30m.
    """
    plan = plan_of(settings, plan_file)
    options = {**plan.options, **_given(given)}
    if force:
        options.pop("max_age", None)
    views = _chosen(plan.views, only, exclude)
    if "performance" in options:
        options["performance"] = {name: tier for name, tier in options["performance"].items() if name in views}
    plan = RefreshPlan(views=views, options=options, dune_plan=plan.dune_plan)
    with settings.client() as dune:
        if dry_run:
            return _dry_run.dry_run(dune, plan)
        return _running.refresh(dune, settings.output, plan.views, **plan.options)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, by the names of the SDK's arguments."""
    options = {**options, "run": options.get("label"), "retry_failed": options.get("retry_failed") or None}
    return {name: value for name, value in options.items() if name != "label" and value is not None}


def _chosen(
    views: Mapping[str, tuple[str, ...]], only: tuple[str, ...], exclude: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """The views of a plan that the options leave, each with the views among them that it reads."""
    left = set(views if not only else _matching(views, only)) - _matching(views, exclude)
    if not left:
        raise click.UsageError("Nothing is left of the plan: --only and --exclude leave out every view.")
    return {name: tuple(each for each in reads if each in left) for name, reads in views.items() if name in left}


def _matching(views: Iterable[str], patterns: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matches = {name for name in views if fnmatchcase(name, pattern) or name.rpartition(".")[2] == pattern}
        if not matches:
            raise click.UsageError(f"The plan has no view {_text.line(pattern)!r}.")
        found |= matches
    return found


def _with_upstream(dune: MatviewsClient, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The views and their whole lineage, each with the views that it reads."""
    views: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name not in views:
            views.update(dune.lineage(name))
    return views


def _started(dune: MatviewsClient, output: Output, names: Iterable[str], how: dict[str, Any]) -> Result:
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
    return Result(_exits.first(codes), {"views": views}, hints=hints)


COMMANDS = (refresh, run)
