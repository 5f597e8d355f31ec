"""What an earlier run's journal leaves to do for a view: take its end over, follow its execution, find it, or nothing.

This module must not know the order of views, nor how the journal is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ._flow.effects import Flow
from ._journal import Journal, Record
from ._lookup import SLACK, look, search
from ._requests import LOOKING, Patience, Session, read
from .errors import AmbiguousRefreshError, DuneError, JournalError, NotFoundError
from .report import Outcome, ViewResult

if TYPE_CHECKING:
    from ._api.operations import Operations

KEPT = timedelta(hours=24)
"""For how long a success of an earlier run counts, where no age is given."""


def check_ends(journal: Journal) -> None:
    """Close the journal and raise `JournalError` if it holds an end that is none of a run's."""
    try:
        for record in journal.records.values():
            earlier_end(record, timedelta.max, datetime.now(UTC))
    except (LookupError, TypeError, ValueError) as damage:
        journal.close()
        message = f"The journal {journal.path} cannot be used: it is damaged (no end of a view: {damage!r})."
        raise JournalError(message, path=journal.path) from damage


def is_open(record: Record) -> bool:
    """A refresh may have been sent, and what came of it is not known."""
    return record.intended_at is not None and record.execution_id is None and record.end is None


def what_counts(records: Mapping[str, Record], name: str, reads: Iterable[str], renewed: Set[str]) -> Record:
    """What the earlier run knew of the view, unless something that it reads has become newer, or is *renewed* now.

    A failure stays an end all the same.
    """
    record = records.get(name, Record())
    if record.end is not None and not Outcome(record.end["outcome"]).is_fresh:
        return record
    since = record.intended_at or record.ended_at
    ends = [records.get(each, Record()).ended_at for each in reads]
    newer = any(end is not None and since is not None and end > since for end in ends)
    return Record() if newer or not renewed.isdisjoint(reads) else record


def earlier_end(record: Record, max_age: timedelta | None, now: datetime) -> ViewResult | None:
    """The view's end in the earlier run, if it still counts: a success while it is young, anything else for good."""
    if record.end is None or record.ended_at is None:
        return None
    end = record.end
    outcome = Outcome(end["outcome"])
    if outcome.is_fresh and now - record.ended_at > _kept(max_age):
        return None
    return ViewResult(
        outcome=outcome,
        reason=end["reason"] or f"in an earlier run, at {record.ended_at:%Y-%m-%d %H:%M} UTC",
        execution_id=end["execution_id"],
        started_at=_moment(end["started_at"]),
        ended_at=_moment(end["ended_at"]),
        cost_credits=end["cost_credits"],
    )


def earlier_execution(
    session: Session, api: Operations, name: str, record: Record, now: Callable[[], datetime]
) -> Flow[str | None]:
    """The execution that the earlier run started; None if it certainly started none.

    An intent whose execution is not known is looked up. Where none is found five request timeouts after it was
    written, it was never sent, because the process that wrote it is dead.
    """
    if record.end is not None:
        return None
    if record.execution_id is not None or record.intended_at is None:
        return record.execution_id
    intended_at = record.intended_at

    def ago() -> float:
        return (now() - intended_at).total_seconds()

    if ago() < -SLACK.total_seconds():
        message = f"An earlier run may have started a refresh of {name}, at {intended_at:%Y-%m-%d %H:%M:%S} UTC, "
        raise AmbiguousRefreshError(f"{message}which by this computer's clock is still to come.", name=name)
    remaining = max(LOOKING * session.timeout - ago(), session.timeout)
    try:
        return (yield from search(session, api, name, ago, Patience(session.clock() + remaining)))
    except DuneError as failure:
        message = f"An earlier run may have started a refresh of {name}, and looking for it failed ({failure})."
        raise AmbiguousRefreshError(message, name=name) from failure


def still_counts(
    session: Session,
    api: Operations,
    name: str,
    execution_id: str,
    record: Record,
    max_age: timedelta | None,
    now: datetime,
) -> Flow[bool]:
    """Unless the execution succeeded too long ago, by the server's clock; where that is open, watching it will tell.

    One that Dune keeps no longer was over long ago, if it was not started just now.
    """
    session.claim(execution_id)
    try:
        status = yield from look(session, api, execution_id)
        if not status.succeeded or status.ended_at is None:
            return True
        view = yield from read(session, api.history(name))
    except NotFoundError:
        return record.intended_at is None or now - record.intended_at <= KEPT
    except DuneError:
        return True
    return view.answered_at is None or view.answered_at - status.ended_at <= _kept(max_age)


def _kept(max_age: timedelta | None) -> timedelta:
    return KEPT if max_age is None else max_age


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
