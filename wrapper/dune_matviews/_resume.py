"""What an earlier run's journal leaves to do for a view: take its end over, follow its execution, find it, or nothing.

This module must not know the order of views, nor how the journal is written.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ._flow import Flow
from ._journal import Record
from ._lookup import search
from ._requests import LOOKING, Patience, Session
from .errors import AmbiguousRefreshError, DuneError
from .report import Outcome, ViewResult

if TYPE_CHECKING:
    from ._endpoints import Endpoints

KEPT = timedelta(hours=24)
"""For how long a success of an earlier run counts, where no age is given."""


def earlier_end(record: Record, max_age: timedelta | None, now: datetime) -> ViewResult | None:
    """The view's end in the earlier run, if it still counts: a success while it is young, anything else for good."""
    if record.end is None or record.ended_at is None:
        return None
    end = record.end
    outcome = Outcome(end["outcome"])
    if outcome.is_fresh and now - record.ended_at > (KEPT if max_age is None else max_age):
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
    session: Session, api: Endpoints, name: str, record: Record, now: Callable[[], datetime]
) -> Flow[str | None]:
    """The execution that the earlier run started; None if it certainly started none.

    An intent whose execution is not known is looked up. Where none is found five request timeouts after it was
    written, it was never sent, because the process that wrote it is dead.
    """
    if record.end is not None or record.execution_id is not None or record.intended_at is None:
        return None if record.end is not None else record.execution_id
    intended_at = record.intended_at

    def ago() -> float:
        return (now() - intended_at).total_seconds()

    remaining = max(LOOKING * session.timeout - ago(), session.timeout)
    try:
        return (yield from search(session, api, name, ago, Patience(session.clock() + remaining)))
    except DuneError as failure:
        message = f"An earlier run may have started a refresh of {name}, and looking for it failed ({failure})."
        raise AmbiguousRefreshError(message, name=name) from failure


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
