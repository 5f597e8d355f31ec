"""Finding executions by their view, as flows: the one that is under way, and the one whose start was lost.

This module must not know how an execution is started or watched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from ._flow import Flow, Sleep
from ._pacing import backoff
from ._requests import LOOKING, MaybeAcceptedError, Patience, Session, read
from ._values import Page, Started
from .errors import AmbiguousRefreshError, DuneError, NotFoundError, UnexpectedResponseError
from .models import ExecutionStatus

if TYPE_CHECKING:
    from ._endpoints import Endpoints

_log = logging.getLogger("dune_matviews")

SLACK = timedelta(seconds=1)
"""By how much the server's clock may read earlier than it is: the `Date` of an answer has whole seconds."""

RECENT = 10
"""Executions of a view, newest first, among which one that is under way is looked for."""


def look(session: Session, api: Endpoints, execution_id: str) -> Flow[ExecutionStatus]:
    """Look at an execution once."""
    with about(execution_id):
        return (yield from read(session, api.status(execution_id)))


def find_running(session: Session, api: Endpoints, name: str) -> Flow[str | None]:
    """The newest execution of the view that has not ended, if there is one. Several may be under way side by side."""
    view = yield from read(session, api.history(name))
    for execution_id in view.last_execution_ids[:RECENT]:
        status = yield from _look_if_kept(session, api, execution_id)
        if status is not None and not status.is_finished:
            return execution_id
    return None


def last_success(session: Session, api: Endpoints, name: str) -> Flow[tuple[ExecutionStatus | None, datetime | None]]:
    """The view's latest successful execution, if there is one, and the server's time when it was asked for."""
    view = yield from read(session, api.history(name))
    for execution_id in view.last_execution_ids:
        status = yield from _look_if_kept(session, api, execution_id)
        if status is not None and status.succeeded:
            return status, view.answered_at
    return None, view.answered_at


def find_again(
    session: Session, api: Endpoints, name: str, unclear: MaybeAcceptedError, *, by_bare_name: bool = False
) -> Flow[Started]:
    """The execution that a refresh whose answer was lost has started; `AmbiguousRefreshError` if it is not found.

    Executions are listed under a view's full name; *by_bare_name* says that *name* is not known to be that.
    """
    _log.info("Looking for the refresh of %s that may have started: %s", name, unclear.failure)
    patience = session.patience(LOOKING)
    found: str | None = None
    problem = "and its execution was not found"
    full: str | None = name
    try:
        if by_bare_name:
            full = yield from _full_name(session, api, name, patience)
        if full is not None:
            found = yield from search(session, api, full, lambda: session.clock() - unclear.sent_at, patience)
    except DuneError as failure:
        problem = f"and looking for its execution failed ({failure})"
    if found is None:
        raise AmbiguousRefreshError(
            f"A refresh of {name} may have been accepted, and billed: "
            f"its answer was lost ({unclear.failure}) {problem}. "
            f"Look before you ask again: refresh({name!r}, if_running='adopt') follows an execution that is under way.",
            name=name,
        ) from unclear.failure
    return Started(found, full)


def _full_name(session: Session, api: Endpoints, bare: str, patience: Patience) -> Flow[str | None]:
    """The full name of the account's view of that bare name, which may be so new that it is not listed yet."""
    looks = 0
    while True:
        offset: int | None = 0
        while offset is not None:
            page = yield from next_page(session, api, offset, patience)
            for view in page.views:
                if last_part(view.name) == bare:
                    return view.name
            offset = page.next_offset
        looks += 1
        if not (yield from _paused(session, looks, patience)):
            return None


def next_page(session: Session, api: Endpoints, offset: int, patience: Patience | None = None) -> Flow[Page]:
    """The page of the account's views that begins at *offset*. Where it says to go on from no later, it is the last."""
    page = yield from read(session, api.page(offset), patience)
    goes_on = page.next_offset is not None and page.next_offset > offset
    return page if goes_on else attrs.evolve(page, next_offset=None)


def search(
    session: Session, api: Endpoints, name: str, ago: Callable[[], float], patience: Patience
) -> Flow[str | None]:
    """The view's newest execution that is not this client's already, and was started in the last *ago* seconds."""
    looks = 0
    while True:
        # Asked before the look, because the answer's date is no earlier than that, however late the answer comes.
        elapsed = ago()
        view = yield from read(session, api.history(name), patience)
        if view.answered_at is None:
            raise UnexpectedResponseError(
                "the answer has no date, so that no execution can be told from an older one", status_code=200
            )
        earliest = view.answered_at - timedelta(seconds=elapsed) - SLACK
        found = yield from _started_since(session, api, view.last_execution_ids, earliest, patience)
        # The answer to another request of ours may name this very execution; wait until none is outstanding.
        if found is not None and not session.is_sending(last_part(name)) and session.claim(found):
            return found
        looks += 1
        if not (yield from _paused(session, looks, patience)):
            return None


def _paused(session: Session, looks: int, patience: Patience) -> Flow[bool]:
    """Rest before the next of so many looks; False, without a rest, where no time is left for another."""
    pause = backoff(looks, session.chance())
    if pause >= patience.left(session.clock()):
        return False
    yield Sleep(pause)
    return True


def _started_since(
    session: Session, api: Endpoints, execution_ids: tuple[str, ...], earliest: datetime, patience: Patience
) -> Flow[str | None]:
    """The newest execution that is not this client's already, and was submitted no earlier than that."""
    for execution_id in execution_ids:
        if session.holds(execution_id):
            continue
        status = yield from _look_if_kept(session, api, execution_id, patience)
        if status is None:  # over long ago, and so is whatever is older; or not to be found yet
            return None
        if status.submitted_at is not None:
            return execution_id if status.submitted_at >= earliest else None
    return None


def _look_if_kept(
    session: Session, api: Endpoints, execution_id: str, patience: Patience | None = None
) -> Flow[ExecutionStatus | None]:
    """Look at an execution that a view lists; None where Dune keeps it no longer, because it was over long ago."""
    try:
        return (yield from read(session, api.status(execution_id), patience))
    except NotFoundError:
        return None


def last_part(name: str) -> str:
    """What a view's full name and its bare one have in common."""
    return name.rpartition(".")[2]


@contextmanager
def about(execution_id: str) -> Generator[None]:
    """Errors name the execution they are about."""
    try:
        yield
    except DuneError as failure:
        failure.execution_id = execution_id
        raise
