"""Finding executions by their view, as flows: the one that is under way, and the one whose start was lost; and views.

This module must not know how an execution is started or watched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ._api.scalars import moment
from ._api.values import Definition, Page, Started, Stored
from ._flow.effects import Flow, Sleep
from ._pacing import backoff
from ._requests import LOOKING, MaybeAcceptedError, Patience, Session, read
from .errors import AmbiguousRefreshError, DuneError, NotFoundError, UnexpectedResponseError
from .models import ExecutionStatus

if TYPE_CHECKING:
    from ._api.operations import Operations

_log = logging.getLogger("dune_matviews")

SLACK = timedelta(seconds=1)
"""By how much the server's clock may read earlier than it is: the `Date` of an answer has whole seconds."""

RECENT = 10
"""Executions of a view, newest first, among which one that is under way is looked for."""


def look(session: Session, api: Operations, execution_id: str) -> Flow[ExecutionStatus]:
    """Look at an execution once."""
    with about(execution_id):
        return (yield from read(session, api.status(execution_id)))


def find_running(session: Session, api: Operations, name: str) -> Flow[str | None]:
    """The newest execution of the view that has not ended, if there is one. Several may be under way side by side."""
    view = yield from read(session, api.history(name))
    for execution_id in view.last_execution_ids[:RECENT]:
        status = yield from _look_if_kept(session, api, execution_id)
        if status is not None and not status.is_finished:
            return execution_id
    return None


def last_success(session: Session, api: Operations, name: str) -> Flow[tuple[ExecutionStatus | None, datetime | None]]:
    """The view's latest successful execution, if there is one, and the server's time when it was asked for."""
    view = yield from read(session, api.history(name))
    for execution_id in view.last_execution_ids:
        status = yield from _look_if_kept(session, api, execution_id)
        if status is not None and status.succeeded:
            return status, view.answered_at
    return None, view.answered_at


def find_again(
    session: Session, api: Operations, name: str, unclear: MaybeAcceptedError, sent: Definition | None = None
) -> Flow[Started]:
    """The execution that a request whose answer was lost has started; `AmbiguousRefreshError` if it is not found.

    *sent* is what an upsert was to make of the view, and *name* may then be a bare one.
    """
    _log.info("Looking for the refresh of %s that may have started: %s", name, unclear.failure)
    patience = session.patience(LOOKING)
    found: str | None = None
    problem = "and its execution was not found"
    full: str | None = name
    try:
        if sent is not None and "." not in name:  # executions are listed under the full name
            full = yield from _full_name(session, api, name, patience)
        if full is not None:
            found = yield from search(session, api, full, lambda: session.clock() - unclear.sent_at, patience)
            # The view as it was before may have been refreshed meanwhile, by its schedule or by somebody else.
            if found is not None and sent is not None:
                stored = yield from read(session, api.stored(full), patience)
                if not _is_as_sent(stored, sent):
                    found, problem = None, "and the view is not as it was to be, though an execution of it was found"
    except DuneError as failure:
        problem = f"and looking for its execution failed ({failure})"
    if found is None:
        known = full or name
        raise AmbiguousRefreshError(
            f"{'A refresh' if sent is None else 'An upsert'} of {known} may have been accepted, and billed: "
            f"its answer was lost ({unclear.failure}) {problem}. Look before you ask again: {way_back(known, sent)}.",
            name=known,
        ) from unclear.failure
    return Started(found, full)


def way_back(name: str, sent: Definition | None) -> str:
    """What tells a user whether a request was accepted; an upsert's is not to be followed by a refresh of what was."""
    if sent is None:
        return f"refresh({name!r}, if_running='adopt') follows an execution that is under way"
    full = f"get({name!r})" if "." in name else "get() of the view's full name"
    return f"{full} tells what it is now, and its latest executions"


def _is_as_sent(stored: Stored, sent: Definition) -> bool:
    """The view is what an upsert was to make of it; what Dune does not tell speaks for nothing else."""
    told = {**sent._asdict(), **stored.parts}
    return (
        (told["query_id"], told["is_private"]) == (sent.query_id, sent.is_private)
        and (told["cron_expression"] or "").split() == (sent.cron_expression or "").split()
        and _second(told["expires_at"]) == _second(sent.expires_at)
        and (sent.performance is None or told["performance"] in (None, sent.performance))
    )


def _second(text: str | None) -> datetime | None:
    found = moment(text)
    return found and found.replace(microsecond=0)


def _full_name(session: Session, api: Operations, bare: str, patience: Patience) -> Flow[str | None]:
    """The full name of the account's view of that bare name, which may be so new that it is not listed yet."""
    looks = 0
    while (full := (yield from listed(session, api, lambda name: last_part(name) == bare, patience))) is None:
        looks += 1
        if not (yield from _paused(session, looks, patience)):
            return None
    return full


def listed(
    session: Session, api: Operations, matches: Callable[[str], bool], patience: Patience | None = None
) -> Flow[str | None]:
    """The full name of the first of the account's views whose name matches."""
    offset: int | None = 0
    while offset is not None:
        page = yield from next_page(session, api, offset, patience)
        for view in page.views:
            if matches(view.name):
                return view.name
        offset = page.next_offset
    return None


def next_page(session: Session, api: Operations, offset: int, patience: Patience | None = None) -> Flow[Page]:
    """The page of the account's views that begins at *offset*. Where it says to go on from no later, it is the last."""
    page = yield from read(session, api.page(offset), patience)
    if page.next_offset is None or page.next_offset > offset:
        return page
    _log.warning("The list of views ends at %d, because Dune says to go on at %d", offset, page.next_offset)
    return page._replace(next_offset=None)


def search(
    session: Session, api: Operations, name: str, ago: Callable[[], float], patience: Patience
) -> Flow[str | None]:
    """The view's newest execution that is not this client's already, and was started in the last *ago* seconds.

    The answer's date is of some moment between the look and its answer. What is new enough by the one and too old by
    the other is not adopted; where it is still open in the end, `AmbiguousRefreshError` is raised, as "none" would have
    a run that goes on after a crash start another.
    """
    looks = 0
    elapsed = 0.0

    def note() -> None:  # at the very moment of the look, which may have to wait for others
        nonlocal elapsed
        elapsed = ago()

    while True:
        view = yield from read(session, api.history(name)._replace(before=note), patience)
        if view.answered_at is None:
            raise UnexpectedResponseError(
                "the answer has no date, so that no execution can be told from an older one", status_code=200
            )
        begun = view.answered_at - SLACK - timedelta(seconds=elapsed)
        perhaps = view.answered_at - SLACK - timedelta(seconds=ago())
        found, submitted_at = yield from _started_since(session, api, view.last_execution_ids, perhaps, patience)
        doubtful = submitted_at is not None and submitted_at < begun
        # The answer to another request of ours may name this very execution; wait until none is outstanding.
        if found is not None and not doubtful and not session.is_sending(last_part(name)) and session.claim(found):
            return found
        looks += 1
        if not (yield from _paused(session, looks, patience)):
            if doubtful:
                message = f"Execution {found} may be the one, or an older one: the answers came too late to tell."
                raise AmbiguousRefreshError(message, name=name)
            return None


def _paused(session: Session, looks: int, patience: Patience) -> Flow[bool]:
    """Rest before the next of so many looks; False, without a rest, where no time is left for another."""
    pause = backoff(looks, session.chance())
    if pause >= patience.left(session.clock()):
        return False
    yield Sleep(pause)
    return True


def _started_since(
    session: Session, api: Operations, execution_ids: tuple[str, ...], earliest: datetime, patience: Patience
) -> Flow[tuple[str, datetime] | tuple[None, None]]:
    """The newest execution that is not this client's already, if it was submitted no earlier than that, and when."""
    for execution_id in execution_ids:
        if session.holds(execution_id):
            continue
        status = yield from _look_if_kept(session, api, execution_id, patience)
        if status is None:  # over long ago, and so is whatever is older; or not to be found yet
            break
        if status.submitted_at is not None:
            return (execution_id, status.submitted_at) if status.submitted_at >= earliest else (None, None)
    return None, None


def _look_if_kept(
    session: Session, api: Operations, execution_id: str, patience: Patience | None = None
) -> Flow[ExecutionStatus | None]:
    """Look at an execution that a view lists; None where Dune keeps it no longer, because it was over long ago."""
    try:
        return (yield from read(session, api.status(execution_id), patience))
    except NotFoundError:
        return None


def last_part(name: str) -> str:
    """What a view's full name and its bare one have in common."""
    return name.rpartition(".")[2]


def unquoted(name: str) -> str:
    """A view's name as it is the same for every spelling: SQL quotes a part that begins with a digit, others do not."""
    return name.replace('"', "")


@contextmanager
def about(execution_id: str) -> Generator[None]:
    """Errors name the execution they are about."""
    try:
        yield
    except DuneError as failure:
        failure.execution_id = execution_id
        raise
