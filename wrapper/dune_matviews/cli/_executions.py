"""The commands about one execution: `status`, `wait` and `cancel`.

This module must not know views, but for the name of the one whose execution failed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dune_matviews import DuneError, RefreshError

from . import _data, _running
from ._exits import Exit
from ._options import Command, options_of_dune
from ._output import Result
from ._settings import Settings
from ._types import Credits, Duration, Name

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=Name())
@options_of_dune
@click.pass_obj
def status(settings: Settings, execution_id: str) -> Result:
    """Show the state of an execution.

    The exit code tells whether Dune responded, not how the execution ended: read the state for that.
    """
    with settings.client() as dune:
        found = dune.attach(execution_id).status()
    return Result(Exit.OK, {"execution": _data.plain(found)}, _data.execution(found))


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=Name())
@click.option("--timeout", type=Duration(), metavar="TIME", help="Stop waiting after this; the execution goes on.")
@click.option("--max-credits", type=Credits(), help="Cancel it once it has cost more than this.")
@options_of_dune
@click.pass_obj
def wait(settings: Settings, execution_id: str, timeout: timedelta | None, max_credits: float | None) -> Result:
    """Wait until an execution has made its view fresh.

    TIME is written like 90s, 30m, 6h, 2d or 1h30m.
    """
    with settings.client() as dune:
        refresh = dune.attach(execution_id)
        try:
            return _running.wait(refresh, execution_id, settings.output, timeout=timeout, max_credits=max_credits)
        except RefreshError as failure:
            failure.view = _view_of(dune, failure)
            raise


def _view_of(dune: MatviewsClient, failure: RefreshError) -> str | None:
    """The view whose execution failed: an execution tells its query alone, and the list of views has that of each."""
    query_id = failure.status.query_id if failure.status is not None else None
    with suppress(DuneError):  # it would only say more
        return next((view.name for view in dune.list() if query_id is not None and view.query_id == query_id), None)
    return None


@click.command(cls=Command)
@click.argument("execution_id", metavar="ID", type=Name())
@options_of_dune
@click.pass_obj
def cancel(settings: Settings, execution_id: str) -> Result:
    """Cancel an execution. The credits that it has used by then are billed.

    The exit code is 1 where there was nothing to cancel.
    """
    with settings.client() as dune:
        canceled = dune.attach(execution_id).cancel()
    document = {"execution_id": execution_id, "canceled": canceled}
    if not canceled:
        return Result(Exit.FAILED, document, f"{execution_id}: there was nothing to cancel; it may have ended already.")
    return Result(Exit.OK, document, "" if settings.output.quiet else f"{execution_id} is cancelled.")


COMMANDS = (status, wait, cancel)
