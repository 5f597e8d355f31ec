"""The commands that make, change and delete views: `create`, `update` and `delete`.

This module must not know how an execution is followed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import _names, _running, _text
from ._exits import Exit
from ._options import Command, options_of_dune, options_of_tiers, refuse_what_waits, view_name
from ._output import Result
from ._settings import Settings
from ._types import Credits, Duration, Number

if TYPE_CHECKING:
    from dune_matviews import Refresh

F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A point in time in ISO 8601; in UTC where it names no zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment as an aware datetime."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no point in time: write it like 2027-01-31 or 2027-01-31T06:00Z.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _options_of_definition(command: F) -> F:
    """Add the options for the definition of a view."""
    for option in (
        click.option("--expires-at", type=Moment(), metavar="WHEN", help="When the schedule ends, like 2027-01-31."),
        click.option(
            "--cron",
            metavar="EXPRESSION",
            help="When Dune refreshes it by itself: five fields, every 15 minutes at most, once a week at least.",
        ),
    ):
        command = option(command)
    return command


def _options_of_waiting(command: F) -> F:
    """Add how long the execution that this starts is followed."""
    for option in (
        click.option("--no-wait", is_flag=True, help="Do not wait for the execution: print its id, and return."),
        click.option("--max-credits", type=Credits(), help="Cancel it once it has cost more than this."),
        click.option("--timeout", type=Duration(), metavar="TIME", help="Stop waiting after this; it goes on."),
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@view_name
@click.argument("query_id", metavar="QUERY", type=Number(min=1))
@click.option("--private", is_flag=True, help="Only the account itself can read it.")
@_options_of_definition
@options_of_tiers
@_options_of_waiting
@options_of_dune
@click.pass_obj
def create(
    settings: Settings,
    /,
    name: str,
    query_id: int,
    private: bool,
    performance: Any,
    cron: str | None,
    expires_at: datetime | None,
    no_wait: bool,
    **limits: Any,
) -> Result:
    """Create a view from a query, and wait for it.

    NAME is the bare name, such as result_daily_volume. QUERY is the number of a saved query without parameters. It
    may be billed as a refresh is. A view that exists already is left as it is: 'update' changes one.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.
    """
    if no_wait:
        refuse_what_waits(limits)
    if expires_at and not cron:
        raise click.UsageError("--expires-at ends a schedule: it goes with --cron only.")
    with settings.client() as dune:
        existing = next((each.name for each in dune.list() if each.name.rpartition(".")[2] == name), None)
        if existing is not None:
            raise click.UsageError(
                f"{_text.line(existing)} exists already: `{_text.command('update', existing)}` changes it."
            )
        started = dune.upsert(
            name,
            query_id,
            is_private=private,
            performance=performance,
            cron_expression=cron,
            expires_at=expires_at,
        )
        return _followed(settings, started, no_wait=no_wait, **limits)


@click.command(cls=Command)
@view_name
@click.option("--query", "query_id", type=Number(min=1), metavar="NUMBER", help="The number of another query.")
@click.option("--private/--public", "is_private", default=None, help="Who can read it.")
@_options_of_definition
@click.option("--no-cron", is_flag=True, help="Remove the schedule.")
@click.option("--no-expiry", is_flag=True, help="Let the schedule go on without end.")
@options_of_tiers
@_options_of_waiting
@options_of_dune
@click.pass_obj
def update(
    settings: Settings,
    /,
    name: str,
    cron: str | None,
    no_cron: bool,
    expires_at: datetime | None,
    no_expiry: bool,
    timeout: timedelta | None,
    max_credits: float | None,
    no_wait: bool,
    **changes: Any,
) -> Result:
    """Change parts of a view, and wait until it is fresh.

    Everything else stays as it is. Dune builds the view anew, which may be billed as a refresh is.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.
    """
    limits = {"timeout": timeout, "max_credits": max_credits}
    if no_wait:
        refuse_what_waits(limits)
    if no_cron and (cron or expires_at):
        raise click.UsageError("--no-cron removes the schedule: it goes with neither --cron nor --expires-at.")
    if no_expiry and expires_at:
        raise click.UsageError("--no-expiry and --expires-at contradict each other.")
    changes |= {"cron_expression": cron, "expires_at": expires_at}
    given = {part: value for part, value in changes.items() if value is not None}
    given |= {"cron_expression": None} if no_cron else {}
    given |= {"expires_at": None} if no_expiry else {}
    if not given:
        raise click.UsageError("There is nothing to change: pass --query, --cron or --performance, for example.")
    with settings.client() as dune:
        (name,) = _names.completed(dune, settings.output, [name])
        started = dune.update(name, **given)
        return _followed(settings, started, no_wait=no_wait, **limits)


def _followed(settings: Settings, started: Refresh, *, no_wait: bool, **limits: Any) -> Result:
    """The execution that creating or updating has started, to its end unless nobody is to wait."""
    name = started.name or ""
    if not no_wait:
        return _running.wait(started, name, settings.output, **limits)
    waiting = _text.command("wait", started.execution_id)
    settings.output.note(f"{_text.line(name)} is being made: `{waiting}` waits for it")
    return Result(Exit.OK, {"view": name, "execution_id": started.execution_id}, started.execution_id)


@click.command(cls=Command)
@view_name
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options_of_dune
@click.pass_obj
def delete(settings: Settings, name: str, yes: bool) -> Result:
    """Delete a view and its table; there is no way back."""
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):  # None: the parent process has closed it
        raise click.UsageError("'delete' asks before it deletes, and there is nobody to ask: say --yes.")
    with settings.client() as dune:
        (name,) = _names.completed(dune, settings.output, [name])
        if not yes and not click.confirm(f"Delete {_text.line(name)} and its table, for good?", err=True):
            return Result(Exit.FAILED, {"deleted": None}, "Nothing was deleted.")
        dune.delete(name)
    return Result(Exit.OK, {"deleted": name}, "" if settings.output.quiet else f"{_text.line(name)} is deleted.")


COMMANDS = (create, update, delete)
