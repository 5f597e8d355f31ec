"""The history of a view before a request, against which the execution of a lost one is told from all others.

This module must not know how the request is sent, nor the use made of its baseline.
"""

from __future__ import annotations

from .._api.values import ViewHistory
from .._flow.effects import Call, Flow, T
from .._flow.log import log
from ..errors import DuneError, NotFoundError, RequestFailedError
from .intents import Baseline, Intent, bare
from .requests import TimeLimit, read, sent, time_limit
from .session import Session
from .wish import Wish

_EMPTY = ViewHistory((), None)


def read_history(session: Session, view: str, limit: TimeLimit) -> Flow[ViewHistory]:
    """The view's history; that of a view that does not exist is empty."""
    try:
        return (yield from read(session, session.operations.history(view), limit))
    except NotFoundError:
        return _EMPTY


def read_baseline(
    session: Session, wish: Wish, intent: Intent, recent: tuple[ViewHistory, float] | None, *, is_needed: bool
) -> Flow[Baseline | None]:
    """The view's history before anything is sent, None where it is not known. Unless it *is_needed*, nobody waits long.

    It is read when the turn of the request has come: another's start in between would be taken for this one's.
    *recent* is the history where it has been read before, and when.
    """
    if recent is None or session.clock() - recent[1] > session.times.slack:
        read_at = session.clock()
        limit = time_limit(session, wish.deadline)
        flow = read_history(session, wish.view, limit) if is_needed else _read_once(session, wish, intent)
        recent = (yield from flow), read_at
    history, read_at = recent
    if history.is_stated and not history.is_cached:
        return Baseline(history.ids, history.date, read_at)
    if is_needed:
        raise RequestFailedError(
            f"The history of {wish.view} came from a cache, or without executions, and proves nothing about what is "
            "running now; nothing was sent. Check what stands between you and Dune."
        )
    return None


def _read_once(session: Session, wish: Wish, intent: Intent) -> Flow[ViewHistory]:
    """The view's history; one that states nothing where it cannot be read at once."""
    try:
        if wish.definition is not None and not (yield from _exists(session, wish, intent)):
            return _EMPTY
        return (yield from _sent_once(session, wish, session.operations.history(intent.view)))
    except NotFoundError:
        return _EMPTY
    except DuneError as failure:
        if isinstance(failure, RequestFailedError) and not failure.is_transient:
            raise
        log.info("The history of %s cannot be read: %s", wish.view, failure, extra={"view": wish.view})
        return _EMPTY._replace(is_stated=False)


def _exists(session: Session, wish: Wish, intent: Intent) -> Flow[bool]:
    """There is a view that an upsert would replace; its executions are listed under its full name."""
    if bare(intent.view) != intent.view:
        return True
    page = yield from _sent_once(session, wish, session.operations.page(0))
    full = next((each.name for each in page.views if bare(each.name) == intent.view), None)
    if full is None and page.next_offset is not None:
        raise RequestFailedError("The account has more views than a page lists.")
    intent.view = full or intent.view
    return full is not None


def _sent_once(session: Session, wish: Wish, call: Call[T]) -> Flow[T]:
    now = session.clock()
    if session.pace.windows["high"].reserve(now, latest=now) is None:
        raise RequestFailedError("The plan's request budget has no room for it.")
    return (yield from sent(session, "high", call, min(session.timeout, wish.deadline - now)))
