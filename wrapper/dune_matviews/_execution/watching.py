"""One execution from its start to its end: poll it, keep to its cap, cancel it.

This module must not know how an execution was started, nor who drives the flows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

import attrs

from .._flow.effects import Flow, Sleep, noting
from .._flow.log import log
from .._http.redaction import printable
from ..errors import (
    APIError,
    CreditLimitError,
    DuneError,
    NotFoundError,
    RefreshCanceledError,
    RefreshError,
    RefreshExpiredError,
    RefreshFailedError,
    WaitTimeoutError,
)
from ..models import ExecutionState, ExecutionStatus
from ..remedies import Attach, Note
from .forecast import Expected
from .intents import How
from .pacing import Watched
from .recovery import ulid_moment
from .requests import LAST_TRY, TimeLimit, about, is_transient, read
from .running import MAY_BE_UNKNOWN
from .scouting import LAZY, is_wanted, read_one
from .session import Session

OnUpdate = Callable[[ExecutionStatus], object]

SILENCE = 15 * 60.0
"""Seconds without a successful poll after which waiting ends, if it has no timeout of its own."""

_UNKNOWN_PAUSE = 1.0
"""Seconds between polls of an execution that Dune does not know yet."""

_FREE = (ExecutionState.PENDING, ExecutionState.CANCELED)
"""States in which an execution may have no cost because it has cost nothing."""


@attrs.frozen(kw_only=True)
class Watch:
    """An execution to poll, and the terms.

    Attributes:
        execution_id: the execution.
        view: its view; None where that is not known.
        how: how the id is known; None where the caller named it. A cap cancels only one that is certainly ours.
        since: when it began, by the session's clock.
        timeout: seconds, from the first poll on.
        allowance: the most that it may cost, in credits.
        others: names another view whose past is worth reading meanwhile, if there is one.
        pause: how long to rest between polls; None keeps to the cadence of one execution.
        on_update: called with each status.
    """

    execution_id: str
    view: str | None = None
    how: How | None = None
    since: float = 0.0
    timeout: float = math.inf
    allowance: Callable[[], float] = lambda: math.inf
    others: Callable[[], str | None] = lambda: None
    pause: Callable[[float, Watched], float] | None = None
    on_update: OnUpdate | None = None

    @property
    def fields(self) -> dict[str, str | None]:
        """For its log records."""
        return {"view": self.view, "execution_id": self.execution_id}


def cancel(session: Session, execution_id: str, view: str | None) -> Flow[bool]:
    """Cancel an execution; False where Dune says that there was nothing to cancel."""
    with about(execution_id, view):
        return (yield from read(session, session.operations.cancel(execution_id, view)))


def watch(session: Session, watched: Watch) -> Flow[ExecutionStatus]:
    """Poll an execution to its end; return its status if the view is fresh, and raise a `RefreshError` if not."""
    return _Watching(session, watched).flow()


class _Watching(Watched):
    """One wait for the end of an execution."""

    __slots__ = ("_cost", "_exceeded", "_is_cost_missed", "_refusal", "_session", "_status", "_watched")

    def __init__(self, session: Session, watched: Watch) -> None:
        self._session = session
        self._watched = watched
        super().__init__(watched.since, self._expected())
        self._status: ExecutionStatus | None = None
        self._cost: float | None = None
        self._is_cost_missed = False
        self._exceeded: float | None = None
        self._refusal: APIError | None = None

    def flow(self) -> Flow[ExecutionStatus]:
        session, watched = self._session, self._watched
        pause = watched.pause or session.pace.pause
        began = session.clock()
        deadline = began + watched.timeout
        silence = SILENCE if watched.timeout == math.inf else watched.timeout
        execution_id = watched.execution_id
        with (
            session.pace.watching(self),
            noting(lambda: Note("The refresh goes on.", Attach((execution_id,)))),
        ):
            while True:
                polled_at = session.clock()
                limit = TimeLimit(polled_at + silence, deadline)
                status = yield from self._poll(limit, began)
                if status is not None and (yield from self._take_in(status, limit)):
                    yield from session.history.saved()
                    return self._concluded(status)
                rest = pause(polled_at, self) if status is not None else _UNKNOWN_PAUSE
                due = _next_poll(
                    polled_at, polled_at + min(rest, self._until_cap(polled_at)), deadline, watched.timeout
                )
                yield from self._look_back(due)
                yield Sleep(max(due - session.clock(), 0.0))
                if deadline - session.clock() < 0.001:
                    raise self._out_of_time(f"the timeout of {watched.timeout:g} s is over")

    def _poll(self, limit: TimeLimit, began: float) -> Flow[ExecutionStatus | None]:
        """The execution's status; None where Dune does not know it yet."""
        session, watched = self._session, self._watched
        with self._waiting():
            try:
                call = session.operations.status(watched.execution_id, watched.view)
                return (yield from read(session, call, limit))
            except NotFoundError:
                if self._status is None and self._is_new() and session.clock() - began < session.times.not_yet:
                    return None
                session.history.end(watched.execution_id)  # over long ago, or never there: nobody follows it now
                raise

    def _expected(self) -> Expected | None:
        """What the view's own past says, if it has any that is known."""
        return None if self._watched.view is None else self._session.history.expected(self._watched.view)

    def _look_back(self, due: float) -> Flow[None]:
        """Read a past execution of the view, or of another one, before the next poll is due."""
        session, own = self._session, self._watched.view
        if session.clock() - self.since < LAZY or self._exceeded is not None:
            return
        view = own if own is not None and is_wanted(session, own) else self._watched.others()
        if view is not None:
            yield from read_one(session, view, due)
            if view == own:
                self.expected = self._expected()

    def _is_new(self) -> bool:
        """Dune may not know it yet: it was started by this client, or not listed before, or made minutes ago."""
        execution_id = self._watched.execution_id
        if self._watched.how in ("response", "inferred") or self._session.intents.owner(execution_id) is not None:
            return True
        made = ulid_moment(execution_id)
        return made is not None and self._session.now() - made < MAY_BE_UNKNOWN

    def _take_in(self, status: ExecutionStatus, limit: TimeLimit) -> Flow[bool]:
        """Take in a status, tell the caller, and keep to the cap; whether the execution has ended."""
        session, watched = self._session, self._watched
        status = self._status = self._costed(status)
        session.history.add(status, watched.view)
        if watched.on_update is not None:
            watched.on_update(status)
        if status.is_finished:
            told = status.execution_id, status.state, status.cost_credits
            log.info("Execution %s ended: %s, %s credits", *told, extra=self._watched.fields)
            return True
        if self._refusal is not None:  # and it runs on all the same
            raise self._refusal
        allowed = watched.allowance()
        if self._exceeded is None and (status.cost_credits or 0.0) > allowed:
            yield from self._end_at_cap(status, allowed, limit)
        return False

    def _costed(self, status: ExecutionStatus) -> ExecutionStatus:
        """The status with its cost; where Dune tells none, the cost of the status before."""
        if status.cost_credits is not None:
            self._cost = status.cost_credits
        elif self._cost is not None:
            return attrs.evolve(status, cost_credits=self._cost)
        elif not self._is_cost_missed and status.state not in _FREE and self._watched.allowance() < math.inf:
            self._is_cost_missed = True
            message = "Dune does not tell the cost of execution %s: no cap can count it"
            log.warning(message, status.execution_id, extra=self._watched.fields)
        return status

    def _end_at_cap(self, status: ExecutionStatus, allowed: float, limit: TimeLimit) -> Flow[None]:
        """Cancel an execution that costs too much, if it is certainly ours."""
        watched = self._watched
        if watched.how not in (None, "response"):
            raise CreditLimitError(
                f"Execution {status.execution_id} is at {status.cost_credits} credits, over the cap of {allowed:g}. "
                "It goes on, because it may not be ours to cancel.",
                execution_id=status.execution_id,
                status=status,
            )
        told = status.execution_id, status.cost_credits
        log.info("Cancelling execution %s at %s credits", *told, extra=self._watched.fields)
        self.since, self.expected = self._session.clock(), None  # its end is near: poll often again
        try:
            with self._waiting():
                call = self._session.operations.cancel(status.execution_id, watched.view)
                if (yield from read(self._session, call, limit)):
                    self._exceeded = allowed
        except APIError as failure:
            self._refusal = failure  # it may have ended meanwhile: the next poll decides

    def _until_cap(self, now: float) -> float:
        """Seconds until the cap is reached, at the rate of cost so far."""
        left = self._watched.allowance() - (self._cost or 0.0)
        if left == math.inf or not self._cost or self._exceeded is not None:
            return math.inf
        rate = self._cost / max(now - self._watched.since, 0.1)
        return max(left / rate, 1.0)

    def _concluded(self, status: ExecutionStatus) -> ExecutionStatus:
        """The status of an execution that has ended, if the view is fresh."""
        status = self._status or status
        if status.succeeded:
            return status
        of = f" of {self._watched.view}" if self._watched.view else ""
        execution = f"execution {status.execution_id}"
        if status.state is ExecutionState.CANCELED and self._exceeded is not None:
            raise CreditLimitError(
                f"The refresh{of} was cancelled at {status.cost_credits} credits, over "
                f"the cap of {self._exceeded:g} ({execution}).",
                execution_id=status.execution_id,
                status=status,
            )
        unknown = (RefreshError, f"ended in an unknown state, {printable(repr(status.raw.get('state')))}")
        kind, end = _ENDS.get(status.state, unknown)
        why = f": {printable(status.error.message or status.error.type or 'no reason given')}" if status.error else ""
        message = f"The refresh{of} {end} ({execution}){why}"
        raise kind(message, execution_id=status.execution_id, status=status)

    @contextmanager
    def _waiting(self) -> Generator[None]:
        """A failure that outlasted every retry ends the waiting, not the refresh."""
        with about(self._watched.execution_id, self._watched.view):
            try:
                yield
            except DuneError as failure:
                if not is_transient(failure):
                    raise
                raise self._out_of_time(f"its status cannot be read ({failure.problem.rstrip('.')})") from failure

    def _out_of_time(self, why: str) -> WaitTimeoutError:
        execution_id, view = self._watched.execution_id, self._watched.view
        seen = f"last seen {self._status.state}" if self._status else "not seen yet"
        message = (
            f"Waiting for the refresh{f' of {view}' if view else ''} ended because {why}. The refresh goes on, {seen}."
        )
        remedy = Attach((execution_id,))
        return WaitTimeoutError(message, execution_id=execution_id, status=self._status, remedy=remedy)


_ENDS: dict[ExecutionState, tuple[type[RefreshError], str]] = {
    ExecutionState.FAILED: (RefreshFailedError, "failed"),
    ExecutionState.CANCELED: (RefreshCanceledError, "was cancelled"),
    ExecutionState.EXPIRED: (RefreshExpiredError, "expired"),
}


def _next_poll(polled_at: float, due: float, deadline: float, timeout: float) -> float:
    """When to poll again: the last poll is shortly before the deadline, and after it the time runs out."""
    if due < deadline:
        return due
    last_poll = deadline - min(LAST_TRY, timeout / 10)
    return last_poll if polled_at < last_poll else deadline
