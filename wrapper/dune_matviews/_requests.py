"""One request as a flow: wait for its turn, send it, and try again what may be tried again.

This module must not know what the requests mean; only whether sending one twice may cost money.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from weakref import WeakSet

import attrs

from ._api.values import Started
from ._flow.effects import Call, Flow, Sleep, T
from ._pacing import Bucket, Pace, Window, backoff
from .errors import APIError, DuneError, RateLimitError, RequestFailedError, ServerError, UnexpectedResponseError

_log = logging.getLogger("dune_matviews")

PATIENCE = 10
"""Request timeouts for which one call is tried again and again."""

LOOKING = 5
"""Request timeouts for which an execution that may have been started is looked for."""

LAST_LOOK = 1.0
"""Seconds before a deadline at which something is tried a last time."""

REMEMBERED = 4096
"""Executions that a client remembers as its own: far more than it can start while a lost one is looked for."""


@attrs.define(eq=False)
class Patience:
    """For how long something is tried. Waiting for one's own budget does not use it up; a deadline ends it anyway."""

    ends: float
    deadline: float = math.inf

    def left(self, now: float) -> float:
        """Seconds."""
        return min(self.ends, self.deadline) - now


@attrs.define(eq=False)
class Session:
    """What the flows of one client share. Thread-safe.

    Attributes:
        pace: the budgets of requests.
        timeout: seconds that one request may take.
        clock: a monotonic clock, in seconds.
        chance: a random number in [0, 1), to spread retries.
    """

    pace: Pace
    timeout: float
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _held: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)
    _sending: Counter[str] = attrs.field(factory=Counter, init=False)
    _forsaken: dict[str, float] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        _sessions.add(self)

    def start_over(self) -> None:
        """In a forked child: another thread of the parent may have held a lock, and what was in flight is not ours."""
        self._lock = threading.Lock()
        self.pace.start_over()
        now = self.clock()
        self._forsaken |= dict.fromkeys(self._sending, now + LOOKING * self.timeout)
        self._sending = Counter()

    def patience(self, timeouts: float = PATIENCE) -> Patience:
        """Patience from now on, for so many request timeouts."""
        return Patience(self.clock() + timeouts * self.timeout)

    def claim(self, execution_id: str) -> bool:
        """Remember an execution as this client's; False if it was so already."""
        with self._lock:
            if execution_id in self._held:
                return False
            self._held[execution_id] = None
            if len(self._held) > REMEMBERED:
                self._held.popitem(last=False)
            return True

    def holds(self, execution_id: str) -> bool:
        """The execution is this client's."""
        return execution_id in self._held

    @contextmanager
    def sending(self, key: str) -> Generator[None]:
        """While this lasts, an answer about *key* is outstanding; after an interruption, for some time longer."""
        with self._lock:
            self._sending[key] += 1
        try:
            yield
        except Exception:
            raise
        except BaseException:
            with self._lock:
                now = self.clock()
                kept = {each: until for each, until in self._forsaken.items() if until > now}
                self._forsaken = kept | {key: now + LOOKING * self.timeout}
            raise
        finally:
            with self._lock:
                self._sending[key] -= 1
                if not self._sending[key]:
                    del self._sending[key]

    def is_sending(self, key: str) -> bool:
        """An answer about *key* is outstanding, whose execution could be mistaken for a lost one."""
        return key in self._sending or self._forsaken.get(key, -math.inf) > self.clock()


_sessions: WeakSet[Session] = WeakSet()


def _after_fork() -> None:
    for session in list(_sessions):
        session.start_over()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class MaybeAcceptedError(Exception):
    """What must not be sent twice was sent, and it is open whether it was accepted. Never leaves the flows.

    Attributes:
        failure: what left it open.
        sent_at: when it was sent, by the session's clock.
    """

    def __init__(self, failure: DuneError, sent_at: float) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.sent_at = sent_at


def may_pass(failure: DuneError) -> bool:
    """The failure may be gone when the same thing is read again."""
    if isinstance(failure, UnexpectedResponseError):
        return failure.status_code < 300  # a body that cannot be read; a redirect stays one
    if isinstance(failure, APIError):
        return isinstance(failure, ServerError | RateLimitError) or failure.status_code in (408, 425)
    return isinstance(failure, RequestFailedError) and failure.is_transient


def not_accepted(failure: DuneError) -> bool:
    """What was sent was certainly not accepted, and may be sent again."""
    if isinstance(failure, RequestFailedError):
        return failure.is_transient and not failure.sent
    return isinstance(failure, RateLimitError)


def maybe_accepted(failure: DuneError) -> bool:
    """What was sent may have been accepted all the same."""
    if isinstance(failure, APIError):
        # 303 says that the work is done, and 408 comes from gateways that have passed the request on.
        return not 300 <= failure.status_code < 500 or failure.status_code in (303, 408)
    return isinstance(failure, RequestFailedError) and failure.sent


def read(
    session: Session,
    call: Call[T],
    patience: Patience | None = None,
    *,
    bucket: Bucket = "high",
    on_failure: Callable[[DuneError], object] | None = None,
) -> Flow[T]:
    """Send what may be sent twice until it succeeds; raise the failure that outlasts patience, or will not pass.

    *on_failure* is told of each failure.
    """
    patience = patience or session.patience()
    failures = 0
    while True:
        yield from _admitted(session, bucket, patience)
        try:
            return (yield from _sent(session, bucket, call, patience.left(session.clock())))
        except DuneError as failure:
            failures += 1
            if on_failure is not None:
                on_failure(failure)
            if not may_pass(failure):
                raise
            pause = _pause_within(patience, session, failure, failures)
            if pause is None:
                raise
            _announce(failure, pause, patience.left(session.clock()))
        yield Sleep(pause)


def submit(session: Session, call: Call[Started], key: str, before: Callable[[], object]) -> Flow[Started]:
    """Send what must not be accepted twice: again only after a failure that proves that it was not accepted.

    The execution that it starts is this client's. A failure that leaves it open is a `MaybeAcceptedError`. *key* names
    what two submissions would have in common. *before* is called right before each time that it is sent, and may
    prevent it by raising.
    """
    patience = session.patience()
    call = call._replace(before=before)
    failures = 0
    while True:
        yield from _admitted(session, "low", patience)
        sent_at = session.clock()
        try:
            with session.sending(key):
                started = yield from _sent(session, "low", call, math.inf)
                session.claim(started.execution_id)
                return started
        except DuneError as failure:
            failures += 1
            if maybe_accepted(failure):
                raise MaybeAcceptedError(failure, sent_at) from failure
            if not not_accepted(failure):
                raise
            pause = _pause(session, failure, failures)
            # One that has begun must have its full time, or we would make the very doubt we want to avoid.
            if pause + session.timeout > patience.left(session.clock()):
                raise
            _announce(failure, pause, patience.left(session.clock()))
        yield Sleep(pause)


def _admitted(session: Session, bucket: Bucket, patience: Patience) -> Flow[None]:
    """Wait for the request's turn."""
    window = session.pace.windows[bucket]
    now = session.clock()
    _check_open(window, now, patience)
    turn = window.reserve(now, latest=patience.deadline)
    if turn is None:
        yield Sleep(max(patience.left(now), 0.0))
        raise RequestFailedError("The plan's budget of requests had no room for another in the time that was left.")
    while (now := session.clock()) < turn.start or window.closed_for(now):
        _check_open(window, now, patience)
        closed = window.closed_for(now)
        pause = max(turn.start - now, closed)
        if now + pause > patience.deadline:
            raise RequestFailedError("Dune asked for a pause beyond the time that is left.")
        _log.info("Waiting %.1f s for the request budget", pause, extra={"seconds": pause})
        yield Sleep(pause)
        patience.ends += pause - closed


def _check_open(window: Window, now: float, patience: Patience) -> None:
    """Give up at once where Dune asked for a pause beyond all patience."""
    closed = window.closed_for(now)
    if closed and closed >= patience.left(now):
        message = f"it asked for a pause, which lasts {closed:.0f} s more; nothing was sent"
        raise RateLimitError(message, status_code=429, retry_after=closed)


def _sent(session: Session, bucket: Bucket, call: Call[T], limit: float) -> Flow[T]:
    """Send once. A 429 closes the bucket for everybody for as long as the server asks."""
    if limit <= 0:
        raise RequestFailedError("No time is left for the request.")
    try:
        return (yield from call.within(limit))
    except RateLimitError as limited:
        now = session.clock()
        session.pace.windows[bucket].close(now, now + (limited.retry_after or 0.0))
        raise


def _pause(session: Session, failure: DuneError, failures: int) -> float:
    """Seconds before the next try: never less than the server asked for."""
    return backoff(failures, session.chance()) + _asked(failure)


def _pause_within(patience: Patience, session: Session, failure: DuneError, failures: int) -> float | None:
    """The pause, cut so that there is a last try shortly before a deadline; None where no try is left.

    A try without time for an answer would only hide the failure before it behind one of its own.
    """
    pause = _pause(session, failure, failures)
    left = patience.left(session.clock())
    if pause <= left - min(LAST_LOOK, session.timeout / 10):
        return pause
    last_try = left - LAST_LOOK
    return last_try if patience.deadline < math.inf and last_try > _asked(failure) else None


def _announce(failure: DuneError, pause: float, left: float) -> None:
    until = "" if left == math.inf else f", giving up in {left:.0f} s"
    _log.info("Trying again in %.1f s%s: %s", pause, until, failure, extra={"seconds": pause})


def _asked(failure: DuneError) -> float:
    return (failure.retry_after or 0.0) if isinstance(failure, APIError) else 0.0
