"""One request as a flow: wait for its turn, send it, and retry it where that is safe.

This module must not know the meaning of a request; only whether a duplicate may cost money.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .._flow.effects import Call, Flow, Sleep, T
from .._flow.log import log
from .._http.rate_limits import Bucket, Turn, Window
from ..errors import APIError, DuneError, RateLimitError, RequestFailedError, ServerError, UnexpectedResponseError
from ..models import ExecutionStatus, Retry
from .pacing import backoff
from .session import Session

RETRYING = 10
"""Request timeouts for which one call is retried."""

GUESSING = 1.0
"""Seconds after which a request that waits for a guessed budget sees whether Dune has announced another meanwhile."""

LAST_TRY = 1.0
"""Seconds before a deadline at which something is tried a last time."""


class TimeLimit:
    """Until when something is retried. Waiting for the request budget moves *retry_until*, but no deadline."""

    __slots__ = ("deadline", "retry_until")

    def __init__(self, retry_until: float, deadline: float = math.inf) -> None:
        self.retry_until = retry_until
        self.deadline = deadline

    def left(self, now: float) -> float:
        """Seconds."""
        return min(self.retry_until, self.deadline) - now


def time_limit(session: Session, deadline: float = math.inf) -> TimeLimit:
    """The usual one, from now on."""
    return TimeLimit(session.clock() + RETRYING * session.timeout, deadline)


def is_transient(failure: DuneError) -> bool:
    """The failure may be gone when the same thing is read again."""
    if isinstance(failure, UnexpectedResponseError):
        return failure.status_code < 300  # a body that cannot be read; a redirect stays one
    if isinstance(failure, APIError):
        return isinstance(failure, ServerError | RateLimitError) or failure.status_code in (408, 425)
    return isinstance(failure, RequestFailedError) and failure.is_transient


def is_safe_to_resend(failure: DuneError) -> bool:
    """The request was certainly not accepted, and another may be."""
    if isinstance(failure, RequestFailedError):
        return failure.is_transient and not failure.sent
    return isinstance(failure, RateLimitError) or (isinstance(failure, APIError) and not failure.reached_dune)


def is_ambiguous(failure: DuneError) -> bool:
    """The request may have been accepted all the same."""
    if isinstance(failure, APIError):
        # 303 says that the work is done, and 408 comes from gateways that have passed the request on.
        refused = 300 <= failure.status_code < 500 and failure.status_code not in (303, 408)
        return failure.reached_dune and not refused
    return isinstance(failure, RequestFailedError) and failure.sent


def read(
    session: Session,
    call: Call[T],
    limit: TimeLimit | None = None,
    *,
    bucket: Bucket = "high",
    on_failure: Callable[[DuneError], object] | None = None,
) -> Flow[T]:
    """Send a request that may be repeated until it succeeds; raise the failure that lasts, or outlasts *limit*.

    *on_failure* is told of each failure.
    """
    limit = limit or time_limit(session)
    failures = 0
    while True:
        yield from admitted(session, bucket, limit)
        try:
            return (yield from sent(session, bucket, call, limit.left(session.clock())))
        except DuneError as failure:
            failures += 1
            if on_failure is not None:
                on_failure(failure)
            if not is_transient(failure):
                raise
            pause = _pause_within(limit, session, failure, failures)
            if pause is None:
                raise
            retry = Retry(**call.about, attempt=failures, seconds=pause, error=failure)
            announce(session, retry, limit.left(session.clock()))
        yield Sleep(pause)


def poll(
    session: Session, execution_id: str, view: str | None = None, limit: TimeLimit | None = None
) -> Flow[ExecutionStatus]:
    """Read the status of an execution, and remember its end if it has ended: with its *view*, as the view's past."""
    status = yield from read(session, session.operations.status(execution_id, view), limit)
    session.history.add(status, view)
    return status


def status(session: Session, execution_id: str, view: str | None) -> Flow[ExecutionStatus]:
    """Poll an execution once, for a caller who asks for its status: errors name it."""
    try:
        return (yield from poll(session, execution_id, view))
    except DuneError as failure:
        failure.execution_id, failure.view = execution_id, view
        raise


@contextmanager
def about(execution_id: str, view: str | None) -> Generator[None]:
    """Errors name the execution that they are about, and its view."""
    try:
        yield
    except DuneError as failure:
        failure.execution_id = execution_id
        failure.view = view
        raise


def admitted(session: Session, bucket: Bucket, limit: TimeLimit) -> Flow[None]:
    """Wait for the request's turn, in the window that counts its bucket by then."""
    turn: Turn | None = None
    window = session.pace.windows[bucket]
    told = 0.0
    while True:
        now = session.clock()
        if turn is None or window is not session.pace.windows[bucket]:
            window = session.pace.windows[bucket]
            _check_open(window, now, limit)
            reserved = window.reserve(now, latest=limit.deadline)
            if reserved is None:
                yield Sleep(max(limit.left(now), 0.0))
                raise RequestFailedError(
                    "The plan's request budget had no room for another request in the time that was left."
                )
            turn = reserved
        closed = window.closed_for(now)
        pause = max(turn.start - now, closed)
        if pause <= 0:
            return
        _check_open(window, now, limit)
        if now + pause > limit.deadline:
            raise RequestFailedError("Dune asked for a pause beyond the time that is left.")
        if now + pause > told:
            log.info("Waiting %.1f s for the request budget", pause, extra={"seconds": pause})
            told = now + pause
        if window.is_guess:
            pause = min(pause, GUESSING)
        yield Sleep(pause)
        limit.retry_until += max(pause - closed, 0.0)


def _check_open(window: Window, now: float, limit: TimeLimit) -> None:
    """Give up at once where Dune asked for a longer pause than there is time."""
    closed = window.closed_for(now)
    if closed and closed >= limit.left(now):
        message = f"it asked for a pause, which lasts {closed:.0f} s more; nothing was sent"
        raise RateLimitError(message, status_code=429, retry_after=closed)


def sent(session: Session, bucket: Bucket, call: Call[T], timeout: float) -> Flow[T]:
    """Send once. A 429 closes the bucket for everybody for as long as the server asks."""
    if timeout <= 0:
        raise RequestFailedError("No time is left for the request.")
    try:
        result: T = yield call._replace(timeout=timeout)
    except RateLimitError as limited:
        now = session.clock()
        session.pace.windows[bucket].close(now, now + (limited.retry_after or 0.0))
        raise
    return result


def pause_after(session: Session, failure: DuneError, failures: int) -> float:
    """Seconds before the next try: never less than the server asked for."""
    return backoff(failures, session.jitter()) + _asked(failure)


def announce(session: Session, retry: Retry, left: float) -> None:
    """Log a retry with the time that is left for more, and call the hook."""
    until = "" if left == math.inf else f", giving up in {left:.0f} s"
    log.info("Trying again in %.1f s%s: %s", retry.seconds, until, retry.error, extra=retry._asdict())
    if session.on_retry is not None:
        session.on_retry(retry)


def _pause_within(limit: TimeLimit, session: Session, failure: DuneError, failures: int) -> float | None:
    """The pause, cut so that there is a last try shortly before a deadline; None where no try is left.

    A try without time for a response would only hide the failure before it behind one of its own.
    """
    pause = pause_after(session, failure, failures)
    left = limit.left(session.clock())
    if pause <= left - min(LAST_TRY, session.timeout / 10):
        return pause
    last_try = left - LAST_TRY
    return last_try if limit.deadline < math.inf and last_try > _asked(failure) else None


def _asked(failure: DuneError) -> float:
    return (failure.retry_after or 0.0) if isinstance(failure, APIError) else 0.0
