"""Finding the execution of a view that is under way.

This module must not know the reason for the question, nor the use made of what it finds.
"""

from __future__ import annotations

from datetime import timedelta

from .._api.values import ViewHistory
from .._flow.effects import Flow
from ..errors import NotFoundError
from ..models import ExecutionStatus
from .recovery import began_in_time, newest_first, ulid_moment
from .requests import poll, read, time_limit
from .session import Session
from .wish import Wish

RECENT = 10
"""Executions of a view among which one that is under way is looked for."""

LONGEST_EXECUTION = timedelta(hours=24)
"""An execution that is older has ended: Dune ends those of half an hour."""

MAY_BE_UNKNOWN = timedelta(minutes=10)
"""For how long after its start Dune may not know an execution yet."""


def find_running(session: Session, wish: Wish) -> Flow[tuple[str | None, tuple[ViewHistory, float]]]:
    """The newest execution of the view that has not ended and counts; and the view's history, and when it was read.

    An execution is read once it may run, and never again once it has ended.
    """
    limit = time_limit(session, wish.deadline)
    read_at = session.clock()
    history = yield from read(session, session.operations.history(wish.view), limit)
    own = session.under_way(wish.view)
    for execution_id in [*own, *(each for each in newest_first(history.ids)[:RECENT] if each not in own)]:
        made = ulid_moment(execution_id)
        age = history.date - made if history.date is not None and made is not None else None
        if session.history.is_over(execution_id) or (age is not None and age > LONGEST_EXECUTION):
            continue
        try:
            status = yield from poll(session, execution_id, wish.view, limit)
        except NotFoundError:
            is_new = execution_id in own or (age is not None and age < MAY_BE_UNKNOWN)
            if is_new and began_in_time(made, wish.not_before):
                return execution_id, (history, read_at)
            continue
        is_wanted = not status.is_finished or _has_just_succeeded(status, wish)
        if is_wanted and began_in_time(status.submitted_at or made, wish.not_before):
            return execution_id, (history, read_at)
    return None, (history, read_at)


def _has_just_succeeded(status: ExecutionStatus, wish: Wish) -> bool:
    """It was still running when the view was found not to be fresh, and has made it so since."""
    judged_at = wish.history[0].date if wish.history is not None and wish.if_running == "adopt" else None
    ended_at = status.ended_at if status.succeeded else None
    return judged_at is not None and ended_at is not None and ended_at >= judged_at
