"""Many views as one flow: their order, how many at once, budgets, freshness, and what a failure blocks.

This module must not know how one execution is started, found or watched, nor who drives the flow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING

import attrs

from ._flow.effects import Flow, Result
from ._flow.interleave import Interleave
from ._journal import Journal, Record
from ._lookup import last_success
from ._memory import Memory
from ._order import Order
from ._refresh import IfRunning, start, watch
from ._requests import Session
from ._resume import check_ends, earlier_end, earlier_execution, still_counts
from ._tally import CallerError, Tally
from .errors import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    AuthenticationError,
    CreditLimitError,
    DuneError,
    JournalError,
    PaymentRequiredError,
    RefreshCanceledError,
    RefreshError,
    RefreshExpiredError,
    WaitTimeoutError,
)
from .report import Outcome, RefreshReport, StopReason, ViewResult

if TYPE_CHECKING:
    from ._api.operations import Operations

_log = logging.getLogger("dune_matviews")

_OUTCOMES: tuple[tuple[type[DuneError], Outcome], ...] = (
    (AlreadyRunningError, Outcome.FAILED),
    (WaitTimeoutError, Outcome.RUNNING),
    (RefreshCanceledError, Outcome.CANCELED),
    (CreditLimitError, Outcome.CANCELED),
    (RefreshExpiredError, Outcome.EXPIRED),
    (RefreshError, Outcome.FAILED),
    (AmbiguousRefreshError, Outcome.AMBIGUOUS),
    (JournalError, Outcome.NOT_STARTED),
)


class StoppedError(Exception):
    """Nothing more is started; the message says why. Never leaves the flows."""


@attrs.frozen(kw_only=True)
class Limits:
    """How far one run may go: executions at once, credits in all, seconds in all, and the age that is fresh enough."""

    max_parallel: int
    max_credits: float = math.inf
    timeout: float = math.inf
    max_age: timedelta | None = None


def refresh_all(
    session: Session,
    api: Operations,
    views: Mapping[str, tuple[str, ...]],
    tiers: Mapping[str, str | None],
    limits: Limits,
    if_running: IfRunning,
    on_update: Callable[[str, ViewResult], object] | None = None,
    journal: str | PathLike[str] | None = None,
) -> Flow[RefreshReport]:
    """Refresh each view once, in order; the whole run as one flow."""
    opened = None if journal is None else Journal.open(journal, views)
    if opened is not None:
        check_ends(opened)
    return (yield from Run(session, api, views, tiers, limits, if_running, on_update, opened).flow())


class Run:
    """Refreshes each view once, only after the views that it reads are fresh."""

    def __init__(
        self,
        session: Session,
        api: Operations,
        views: Mapping[str, tuple[str, ...]],
        tiers: Mapping[str, str | None],
        limits: Limits,
        if_running: IfRunning,
        on_update: Callable[[str, ViewResult], object] | None,
        journal: Journal | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._api = api
        self._views = views
        self._tiers = tiers
        self._limits = limits
        self._if_running: IfRunning = if_running
        self._now = now
        self._order = Order(views)
        self._members: Interleave[str, Outcome] = Interleave(session.clock)
        self._tally = Tally(views, limits.max_credits, on_update, now)
        self._memory = Memory(journal)

    def flow(self) -> Flow[RefreshReport]:
        """Refresh everything; an interruption passes on with what there is to report by then, as `report`."""
        deadline = self._session.clock() + self._limits.timeout
        try:
            while True:
                if self._session.clock() >= deadline:
                    self._tally.stop(StopReason.TIMEOUT, f"the time of {self._limits.timeout:g} s is over")
                    self._abandon()
                    break
                if not self._start_what_may() and not len(self._members):
                    break
                for name, result in (yield from self._members.step(deadline)):
                    self._settle(name, result)
            self._conclude()
        except CallerError as caught:
            raise caught.failure from caught.failure.__cause__
        except Exception:
            raise
        except BaseException as interruption:
            self._tally.silence()
            self._tally.stop(StopReason.INTERRUPTED, "the run was interrupted")
            self._abandon()
            interruption.report = self._tally.report()  # type: ignore[attr-defined]
            raise
        finally:
            self._members.close()
            self._memory.close()
        return self._tally.report()

    def _start_what_may(self) -> bool:
        """Start views while there is room and nothing speaks against it; whether any was started."""
        started = False
        while len(self._members) < self._limits.max_parallel and (name := self._order.take()) is not None:
            if self._tally.stopped is None or self._memory.is_under_way(name):
                self._members.add(name, self._refresh(name))
                started = True
        return started

    def _refresh(self, name: str) -> Flow[Outcome]:
        """One view, from what an earlier run has left of it to its end."""
        record = self._memory.record(name, self._views[name])
        if (end := self._earlier_end(name, record)) is not None:
            return end
        execution_id = yield from self._earlier_execution(name, record)
        if execution_id is None:
            if (yield from self._is_fresh(name)):
                return Outcome.FRESH
            execution_id = yield from start(
                self._session, self._api, name, self._tiers[name], self._if_running, lambda: self._before_sending(name)
            )
        self._tally.update(name, outcome=Outcome.RUNNING, execution_id=execution_id)
        try:
            self._memory.follow(name, execution_id, record)
        except JournalError as failure:
            # What is under way still comes to its end, and into the report.
            self._tally.stop(StopReason.JOURNAL, str(failure))
        yield from watch(
            self._session,
            self._api,
            execution_id,
            since=self._session.clock(),
            allowance=lambda: self._tally.allowance(name),
            pause=self._session.pace.eager_pause,
            on_update=lambda status: self._tally.see(name, status),
        )
        return Outcome.SUCCEEDED

    def _earlier_end(self, name: str, record: Record) -> Outcome | None:
        """The view's end in an earlier run of the same journal, if it counts."""
        end = earlier_end(record, self._limits.max_age, self._now())
        if end is None:
            return None
        self._tally.spend(end.cost_credits or 0.0)
        self._tally.update(name, **attrs.asdict(end, recurse=False))
        return end.outcome

    def _earlier_execution(self, name: str, record: Record) -> Flow[str | None]:
        """The execution that an earlier run of the same journal started, if it counts."""
        session, api, now = self._session, self._api, self._now
        found = yield from earlier_execution(session, api, name, record, now)
        if found is not None and (
            yield from still_counts(session, api, name, found, record, self._limits.max_age, now())
        ):
            return found
        self._memory.was_not_sent(name)
        if self._tally.stopped is not None:
            raise StoppedError
        return None

    def _is_fresh(self, name: str) -> Flow[bool]:
        """The view's last success is young enough, and nothing that it reads has been refreshed since the run began."""
        max_age = self._limits.max_age
        if max_age is None or any(self._tally.results[each].outcome is Outcome.SUCCEEDED for each in self._views[name]):
            return False
        status, now = yield from last_success(self._session, self._api, name)
        if status is None or status.ended_at is None or now is None or now - status.ended_at > max_age:
            return False
        reason = f"refreshed at {status.ended_at:%Y-%m-%d %H:%M} UTC"
        self._tally.update(name, outcome=Outcome.FRESH, execution_id=status.execution_id, reason=reason)
        return True

    def _before_sending(self, name: str) -> None:
        """The last moment before a refresh is sent: the run may have been stopped while it waited for its turn."""
        if self._tally.stopped is not None:
            raise StoppedError
        self._memory.intend(name)

    def _settle(self, name: str, result: Result[Outcome]) -> None:
        """Take in the end of a view, and what it means for those that read it."""
        failure = result.failure
        if isinstance(failure, StoppedError):
            self._tally.update(name, reason=self._tally.stopped)
        elif isinstance(failure, DuneError):
            known = failure.execution_id or self._tally.results[name].execution_id
            # A passed cap tells what this one view was allowed; what matters is the cap of the run.
            passed = isinstance(failure, CreditLimitError)
            reason = f"cancelled: {self._tally.stopped}" if passed else str(failure)
            self._tally.update(name, outcome=_outcome(failure), reason=reason, execution_id=known)
            if isinstance(failure, AuthenticationError | PaymentRequiredError | JournalError):
                journal = isinstance(failure, JournalError)
                self._tally.stop(StopReason.JOURNAL if journal else StopReason.REFUSED, str(failure))
                self._memory.keep_for_another_run()
        elif failure is not None:
            raise failure
        elif result.result is not None:
            self._tally.update(name, outcome=result.result)
        self._note_end(name)
        outcome = self._tally.results[name].outcome
        if outcome.is_fresh:
            self._order.done(name)
        elif outcome is not Outcome.NOT_STARTED:
            self._block_readers(name, outcome)

    def _note_end(self, name: str) -> None:
        try:
            self._memory.end(name, self._tally.results[name])
        except JournalError as failure:
            self._tally.stop(StopReason.JOURNAL, str(failure))
            self._memory.keep_for_another_run()

    def _block_readers(self, name: str, outcome: Outcome) -> None:
        for reader in self._order.block(name):
            self._tally.update(reader, outcome=Outcome.SKIPPED, reason=f"{name}, which it needs, is {outcome}")

    def _conclude(self) -> None:
        """Everything has come to an end: say why the rest was not started, and let the next run start afresh."""
        for name, result in self._tally.results.items():
            if result.outcome is Outcome.NOT_STARTED and result.reason is None:
                self._tally.update(name, reason=self._tally.stopped)
        self._memory.conclude(self._tally.results)

    def _abandon(self) -> None:
        """Let go of everything under way, as it stands."""
        self._members.close()
        for name, result in self._tally.results.items():
            execution_id = result.execution_id
            if result.outcome is Outcome.NOT_STARTED and not self._memory.is_open(name):
                execution_id = execution_id or self._memory.earlier_execution_id(name)
            if result.outcome is Outcome.RUNNING or (result.outcome is Outcome.NOT_STARTED and execution_id):
                reason = f"{self._tally.stopped}; the execution goes on"
                self._tally.update(name, outcome=Outcome.RUNNING, execution_id=execution_id, reason=reason)
            elif result.outcome is Outcome.NOT_STARTED and self._memory.is_open(name):
                reason = f"{self._tally.stopped}; a refresh may have been started"
                self._tally.update(name, outcome=Outcome.AMBIGUOUS, reason=reason)


def _outcome(failure: DuneError) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(failure, kind):
            return outcome
    # An error that is not about the execution's end leaves the execution, if there is one, running.
    return Outcome.FAILED if failure.execution_id is None else Outcome.RUNNING
