"""Finding executions by their view, as flows: the one that is under way, and the one whose start was lost.

This module must not know how an execution is started or watched.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ._flow import Flow, Sleep
from ._pacing import backoff
from ._requests import MaybeAcceptedError, Patience, Session, read
from .errors import AmbiguousRefreshError, DuneError
from .models import ExecutionStatus

if TYPE_CHECKING:
    from ._endpoints import Endpoints

_log = logging.getLogger("dune_matviews")

LOOKING = 5
"""Request timeouts for which an execution that may have been started is looked for."""

SLACK = timedelta(seconds=1)
"""By how much the server's clock may read earlier than it is: the `Date` of an answer has whole seconds."""

RECENT = 10
"""Executions of a view, newest first, among which one that is under way is looked for."""


def look(session: Session, api: Endpoints, execution_id: str) -> Flow[ExecutionStatus]:
    """Look at an execution once."""
    with about(execution_id):
        return (yield from read(session, api.status(execution_id)))


def find_running(session: Session, api: Endpoints, name: str) -> Flow[str | None]:
    """The execution of the view that has not ended, if there is one."""
    view = yield from read(session, api.view(name))
    for execution_id in view.last_execution_ids[:RECENT]:
        status = yield from look(session, api, execution_id)
        if not status.is_finished:
            return execution_id
        if status.succeeded:  # what is older was over before it
            return None
    return None


def find_again(session: Session, api: Endpoints, name: str, unclear: MaybeAcceptedError) -> Flow[str]:
    """The execution that a refresh whose answer was lost has started; `AmbiguousRefreshError` if it is not found."""
    _log.info("Looking for the refresh of %s that may have started: %s", name, unclear.failure)
    patience = session.patience(LOOKING)
    looks = 0
    problem = "and its execution was not found"
    try:
        while True:
            view = yield from read(session, api.view(name), patience)
            if view.answered_at is None:
                problem = "and its execution cannot be told from older ones, because the server's answer has no date"
                break
            earliest = view.answered_at - timedelta(seconds=session.clock() - unclear.sent_at) - SLACK
            found = yield from _started_since(session, api, view.last_execution_ids, earliest, patience)
            # The answer to another request of ours may name this very execution; wait until none is outstanding.
            if found is not None and not session.is_sending(name) and session.claim(found):
                return found
            looks += 1
            pause = backoff(looks, session.chance())
            if pause >= patience.left(session.clock()):
                break
            yield Sleep(pause)
    except DuneError as failure:
        problem = f"and looking for its execution failed ({failure})"
    raise AmbiguousRefreshError(
        f"A refresh of {name} may have been accepted, and billed: the answer was lost ({unclear.failure}), {problem}. "
        f"Look before you ask again: refresh({name!r}, if_running='adopt') follows an execution that is under way.",
        name=name,
    ) from unclear.failure


def _started_since(
    session: Session, api: Endpoints, execution_ids: tuple[str, ...], earliest: datetime, patience: Patience
) -> Flow[str | None]:
    """The newest execution that is not this client's already, and was submitted no earlier than that."""
    for execution_id in execution_ids:
        if session.holds(execution_id):
            continue
        status = yield from read(session, api.status(execution_id), patience)
        if status.submitted_at is not None:
            return execution_id if status.submitted_at >= earliest else None
    return None


@contextmanager
def about(execution_id: str) -> Generator[None]:
    """Errors name the execution they are about."""
    try:
        yield
    except DuneError as failure:
        failure.execution_id = execution_id
        raise
