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

from ._flow import Flow, Result
from ._journal import Journal, Record
from ._lookup import last_success
from ._order import Order
from ._refresh import IfRunning, start, watch
from ._requests import Session
from ._resume import check_ends, earlier_end, earlier_execution, is_open, still_counts, what_counts
from ._strands import Strands
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
from .models import ExecutionStatus
from .report import Outcome, RefreshReport, StopReason, ViewResult

if TYPE_CHECKING:
    from ._endpoints import Endpoints

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
    api: Endpoints,
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
        api: Endpoints,
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
        self._on_update = on_update
        self._journal = journal
        self._now = now
        self._order = Order(views)
        self._strands: Strands[str, Outcome] = Strands(session.clock)
        self._results = {name: ViewResult(outcome=Outcome.NOT_STARTED) for name in views}
        self._credits = 0.0
        self._stopped: str | None = None
        self._stopped_by: StopReason | None = None
        self._records = journal.records if journal else {}
        self._open = {name for name, record in self._records.items() if is_open(record)}
        self._sent: set[str] = set()
        self._renewed: set[str] = set()
        self._to_be_continued = False
        self._began = now()

    def flow(self) -> Flow[RefreshReport]:
        """Refresh everything; an interruption passes on with what there is to report by then, as `report`."""
        deadline = self._session.clock() + self._limits.timeout
        try:
            while True:
                if self._session.clock() >= deadline:
                    self._stop(StopReason.TIMEOUT, f"the time of {self._limits.timeout:g} s is over")
                    self._abandon()
                    break
                if not self._start_what_may() and not len(self._strands):
                    break
                for name, result in (yield from self._strands.step(deadline)):
                    self._settle(name, result)
            self._conclude()
        except Exception:
            raise
        except BaseException as interruption:
            self._on_update = None  # nobody is to be called any more
            self._stop(StopReason.INTERRUPTED, "the run was interrupted")
            self._abandon()
            interruption.report = self.report()  # type: ignore[attr-defined]
            raise
        finally:
            self._strands.close()
            if self._journal is not None:
                self._journal.close()
        return self.report()

    def report(self) -> RefreshReport:
        """What came of each view so far."""
        return RefreshReport(self._results, self._began, self._now(), self._stopped_by)

    def _start_what_may(self) -> bool:
        """Start views while there is room and nothing speaks against it; whether any was started."""
        started = False
        while len(self._strands) < self._limits.max_parallel and (name := self._order.take()) is not None:
            if self._stopped is None or self._is_under_way(name):
                self._strands.add(name, self._refresh(name))
                started = True
        return started

    def _is_under_way(self, name: str) -> bool:
        """An earlier run started the view, or may have done so, and did not see its end."""
        record = self._records.get(name, Record())
        return name in self._open or (record.execution_id is not None and record.end is None)

    def _refresh(self, name: str) -> Flow[Outcome]:
        """One view, from what an earlier run has left of it to its end."""
        record = what_counts(self._records, name, self._views[name], self._renewed)
        if (end := self._earlier_end(name, record)) is not None:
            return end
        execution_id = yield from self._earlier_execution(name, record)
        if execution_id is None:
            if (yield from self._is_fresh(name)):
                return Outcome.FRESH
            execution_id = yield from start(
                self._session, self._api, name, self._tiers[name], self._if_running, lambda: self._before_sending(name)
            )
        self._open.discard(name)
        self._renewed.add(name)
        self._update(name, outcome=Outcome.RUNNING, execution_id=execution_id)
        if self._journal is not None and execution_id != record.execution_id:
            try:
                self._journal.started(name, execution_id)
            except JournalError as failure:
                self._stop(
                    StopReason.JOURNAL, str(failure)
                )  # what is under way still comes to its end, and into the report
        yield from watch(
            self._session,
            self._api,
            execution_id,
            since=self._session.clock(),
            allowance=lambda: self._allowance(name),
            pause=self._session.pace.eager_pause,
            on_update=lambda status: self._seen(name, status),
        )
        return Outcome.SUCCEEDED

    def _earlier_end(self, name: str, record: Record) -> Outcome | None:
        """The view's end in an earlier run of the same journal, if it counts."""
        end = earlier_end(record, self._limits.max_age, self._now())
        if end is None:
            return None
        self._spend(end.cost_credits or 0.0)
        self._update(name, **attrs.asdict(end, recurse=False))
        return end.outcome

    def _earlier_execution(self, name: str, record: Record) -> Flow[str | None]:
        """The execution that an earlier run of the same journal started, if it counts."""
        execution_id = yield from earlier_execution(self._session, self._api, name, record, self._now)
        if execution_id is not None and (
            yield from still_counts(self._session, self._api, name, execution_id, self._limits.max_age)
        ):
            return execution_id
        self._open.discard(name)
        if self._stopped is not None:
            raise StoppedError
        return None

    def _is_fresh(self, name: str) -> Flow[bool]:
        """The view's last success is young enough, and nothing that it reads has been refreshed since the run began."""
        max_age = self._limits.max_age
        if max_age is None or any(self._results[each].outcome is Outcome.SUCCEEDED for each in self._views[name]):
            return False
        status, now = yield from last_success(self._session, self._api, name)
        if status is None or status.ended_at is None or now is None or now - status.ended_at > max_age:
            return False
        reason = f"refreshed at {status.ended_at:%Y-%m-%d %H:%M} UTC"
        self._update(name, outcome=Outcome.FRESH, execution_id=status.execution_id, reason=reason)
        return True

    def _before_sending(self, name: str) -> None:
        """The last moment before a refresh is sent: the run may have been stopped while it waited for its turn."""
        if self._stopped is not None:
            raise StoppedError
        if self._journal is not None:
            self._journal.intended(name)
        self._open.add(name)
        self._sent.add(name)

    def _allowance(self, name: str) -> float:
        """What the view's execution may cost: what the others have left of the run's budget."""
        return self._limits.max_credits - (self._credits - (self._results[name].cost_credits or 0.0))

    def _seen(self, name: str, status: ExecutionStatus) -> None:
        """Take in a look at an execution."""
        self._spend((status.cost_credits or 0.0) - (self._results[name].cost_credits or 0.0))
        self._update(
            name,
            status=status,
            started_at=status.started_at,
            ended_at=status.ended_at,
            cost_credits=status.cost_credits,
        )

    def _spend(self, credits: float) -> None:
        """Count what the run costs, and start nothing more once that is too much."""
        self._credits += credits
        if self._credits > self._limits.max_credits:
            reason = f"{self._credits:g} credits are over max_credits={self._limits.max_credits:g}"
            self._stop(StopReason.CREDITS, reason)

    def _settle(self, name: str, result: Result[Outcome]) -> None:
        """Take in the end of a view, and what it means for those that read it."""
        failure = result.failure
        if isinstance(failure, StoppedError):
            self._update(name, reason=self._stopped)
        elif isinstance(failure, DuneError):
            known = failure.execution_id or self._results[name].execution_id
            # A passed cap tells what this one view was allowed; what matters is the cap of the run.
            reason = f"cancelled: {self._stopped}" if isinstance(failure, CreditLimitError) else str(failure)
            self._update(name, outcome=_outcome(failure), reason=reason, execution_id=known)
            if isinstance(failure, AuthenticationError | PaymentRequiredError | JournalError):
                journal = isinstance(failure, JournalError)
                self._stop(StopReason.JOURNAL if journal else StopReason.REFUSED, str(failure))
                self._to_be_continued = True
        elif failure is not None:
            raise failure  # of the caller's on_update
        elif result.result is not None:
            self._update(name, outcome=result.result)
        self._note_end(name)
        outcome = self._results[name].outcome
        if outcome.is_fresh:
            self._order.done(name)
        elif outcome is not Outcome.NOT_STARTED:
            self._block_readers(name, outcome)

    def _note_end(self, name: str) -> None:
        """Write how an execution ended into the journal; a refresh that was refused may be asked for again."""
        result = self._results[name]
        if self._journal is None or name not in self._sent | self._renewed or result.outcome is Outcome.RUNNING:
            return
        try:
            if result.outcome is Outcome.AMBIGUOUS or result.execution_id is not None:
                self._journal.ended(name, result.to_dict())
            else:
                self._journal.forget(name)
            self._open.discard(name)
        except JournalError as failure:
            self._stop(StopReason.JOURNAL, str(failure))
            self._to_be_continued = True

    def _block_readers(self, name: str, outcome: Outcome) -> None:
        for reader in self._order.block(name):
            self._update(reader, outcome=Outcome.SKIPPED, reason=f"{name}, which it needs, is {outcome}")

    def _conclude(self) -> None:
        """Everything has come to an end: say why the rest was not started, and let the next run start afresh."""
        for name, result in self._results.items():
            if result.outcome is Outcome.NOT_STARTED and result.reason is None:
                self._update(name, reason=self._stopped)
        if self._journal is not None and not self._to_be_continued and not any(map(self._is_left, self._results)):
            try:
                self._journal.finished()
            except JournalError as failure:
                _log.warning("The next run will take over the ends of this one: %s", failure)

    def _is_left(self, name: str) -> bool:
        """Another run with the same journal has something to do for the view."""
        outcome = self._results[name].outcome
        return outcome in (Outcome.NOT_STARTED, Outcome.RUNNING) or (
            outcome is Outcome.AMBIGUOUS and name in self._open
        )

    def _stop(self, cause: StopReason, reason: str) -> None:
        """Start nothing more."""
        if self._stopped is None:
            _log.info("Nothing more is started: %s", reason)
            self._stopped, self._stopped_by = reason, cause

    def _abandon(self) -> None:
        """Let go of everything under way, as it stands."""
        self._strands.close()
        for name, result in self._results.items():
            execution_id = result.execution_id
            if result.outcome is Outcome.NOT_STARTED and self._is_under_way(name) and name not in self._open:
                execution_id = self._records[name].execution_id
            if result.outcome is Outcome.RUNNING or (result.outcome is Outcome.NOT_STARTED and execution_id):
                reason = f"{self._stopped}; the execution goes on"
                self._update(name, outcome=Outcome.RUNNING, execution_id=execution_id, reason=reason)
            elif result.outcome is Outcome.NOT_STARTED and name in self._open:
                reason = f"{self._stopped}; a refresh may have been started"
                self._update(name, outcome=Outcome.AMBIGUOUS, reason=reason)

    def _update(self, name: str, **changes: object) -> None:
        self._results[name] = attrs.evolve(self._results[name], **changes)  # type: ignore[arg-type]
        if self._on_update is not None:
            self._on_update(name, self._results[name])


def _outcome(failure: DuneError) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(failure, kind):
            return outcome
    # An error that is not about the execution's end leaves the execution, if there is one, running.
    return Outcome.FAILED if failure.execution_id is None else Outcome.RUNNING
