"""One run over many views, as one flow: when each view is refreshed, and the effect of its end on the others.

This module must not know how one view is refreshed.
"""

from __future__ import annotations

from contextlib import suppress

from .._execution.journal import Journal
from .._execution.records import Record
from .._execution.session import Session
from .._execution.wish import PreventedError
from .._flow.effects import Flow, Result
from .._flow.interleave import Interleave, Lead, Start
from .._flow.log import log
from ..errors import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    AuthenticationError,
    DuneError,
    JournalError,
    PaymentRequiredError,
)
from ..remedies import Adopt, SettleJournal
from ..report import Outcome, RefreshReport, StopReason, ViewResult
from .forecasting import Foresight
from .graph import Order
from .progress import CallerError, OnUpdate, Progress
from .view import Limits, Plan, Refresher


class Run:
    """Refreshes each view once, only after the views that it reads are fresh."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        limits: Limits,
        on_update: OnUpdate | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._session = session
        self._plan = plan
        self._limits = limits
        self._journal = journal
        self._order = Order(plan.reads)
        resting = session.intents.recovering  # a view in doubt has no execution, for all that is known
        self._flows: Interleave[str, ViewResult] = Interleave(session.clock, limits.max_parallel, resting)
        self._progress = Progress(plan.reads, limits.max_credits, on_update, session.now)

    def flow(self) -> Flow[RefreshReport]:
        """Refresh every view. An exception that ends the run early carries the report so far, as `report`."""
        return self._flows.led_by(self._lead())

    def _lead(self) -> Lead[RefreshReport]:
        try:
            yield from self._carry_on()
        except CallerError as caught:
            self._end_early(caught.failure)
            raise caught.failure from caught.failure.__cause__
        except BaseException as failure:
            self._end_early(failure)
            raise
        finally:
            if self._journal is not None:
                self._journal.close()
        return self._progress.report()

    def _carry_on(self) -> Lead[None]:
        limits, session, reads = self._limits, self._session, self._plan.reads
        deadline = session.clock() + limits.timeout
        if self._journal is not None:
            yield from self._journal.opened()
            self._take_over(self._journal)
        foresight = Foresight(session, reads, limits.max_parallel, self._order, self._progress.results)
        self._progress.foresee = foresight.rest
        refresher = Refresher(
            session=session,
            plan=self._plan,
            limits=limits,
            progress=self._progress,
            journal=self._journal,
            deadline=deadline,
            unread=foresight.unread,
        )
        room, fresh = limits.max_parallel, list[str]()
        while (ready := self._order.take(room, fresh)) or self._flows.keys:
            room = yield Start({name: refresher.refreshed(name) for name in ready}, deadline)
            fresh = self._settled()
            if session.clock() >= deadline:
                self._progress.stop(StopReason.TIMEOUT, f"the timeout of {limits.timeout:g} s is over")
                self._abandon()
                break
        yield from self._conclude()

    def _take_over(self, journal: Journal) -> None:
        """Count the credits of an earlier call before anything is started, and insist on the views it left open."""
        records = journal.records
        ours = {record.token for name in self._plan.reads if (record := records.of(name)) is not None}
        missing = [each.view for each in records.views.values() if not each.is_settled and each.token not in ours]
        if missing:
            raise JournalError(
                f"The journal {journal.path or ''} holds refreshes of {', '.join(missing)} that are not settled, and "
                "this run leaves them out. Run it with them, or settle them first.",
                path=journal.path,
                remedy=SettleJournal(str(journal.path) if journal.path else None, missing[0]),
            )
        self._progress.spend(records.costs)

    def _record(self, name: str) -> Record | None:
        return None if self._journal is None else self._journal.records.of(name)

    def _settled(self) -> list[str]:
        """Take in the end of each view that has ended; those that are fresh now."""
        fresh = []
        while self._flows.ended:
            name, ended = self._flows.ended.popleft()
            if self._settle(name, ended):
                fresh.append(name)
        return fresh

    def _settle(self, name: str, ended: Result[ViewResult]) -> bool:
        """Take in the end of a view, and its effect on the views that read it; whether it is fresh."""
        failure = ended.failure
        if ended.result is not None:
            self._progress.replace(name, ended.result)
        elif isinstance(failure, PreventedError):
            self._progress.update(name, reason=str(failure))
        elif isinstance(failure, DuneError):
            known = failure.execution_id or self._progress.results[name].execution_id
            self._progress.update(
                name,
                outcome=self._outcome(name, failure),
                reason=failure.problem,
                remedy=failure.remedy,
                execution_id=known,
            )
            if isinstance(failure, JournalError):
                self._progress.stop(StopReason.JOURNAL, failure.problem)
            elif isinstance(failure, AuthenticationError | PaymentRequiredError):
                self._progress.stop(StopReason.REFUSED, failure.problem)
        elif failure is not None:
            raise failure
        outcome = self._progress.results[name].outcome
        is_fresh = outcome.is_fresh
        if not is_fresh and outcome is not Outcome.NOT_STARTED:
            for reader in self._order.block(name):
                self._progress.update(reader, outcome=Outcome.SKIPPED, reason=f"it reads {name} ({outcome})")
        return is_fresh

    def _outcome(self, name: str, failure: DuneError) -> Outcome:
        """The outcome of a view whose end is not known."""
        if isinstance(failure, AmbiguousRefreshError) or self._is_in_doubt(name):
            return Outcome.AMBIGUOUS
        if isinstance(failure, JournalError):
            return Outcome.NOT_STARTED
        if isinstance(failure, AlreadyRunningError) or failure.execution_id is None:
            return Outcome.FAILED
        return Outcome.RUNNING

    def _is_in_doubt(self, name: str) -> bool:
        """A refresh of the view may have been accepted, and its execution is not known."""
        record = self._record(name)
        return self._session.intents.is_lost(name) or (record is not None and record.is_in_doubt)

    def _conclude(self) -> Flow[None]:
        """Everything has ended: say why the rest was not started, and let the next run start afresh."""
        for name, result in self._progress.results.items():
            if result.outcome is Outcome.NOT_STARTED and result.reason is None:
                self._progress.update(name, reason=self._progress.stopped)
        if self._journal is not None and self._progress.is_complete:
            try:
                yield from self._journal.finished()
            except JournalError as failure:
                log.warning("The next run will take over the results of this one: %s", failure)

    def _end_early(self, failure: BaseException) -> None:
        self._progress.silence()
        self._progress.stop(StopReason.INTERRUPTED, "the run was interrupted")
        self._abandon()
        failure.report = report = self._progress.report()  # type: ignore[attr-defined]
        left = [name for name, each in report.results.items() if each.outcome in (Outcome.RUNNING, Outcome.AMBIGUOUS)]
        if left:
            again = "The same call with the same journal goes on with them" if self._journal else "See its `report`"
            failure.add_note(f"The run leaves refreshes behind that may be under way: {', '.join(left)}. {again}.")

    def _abandon(self) -> None:
        """Let go of everything under way, as it stands; responses that have arrived are taken in."""
        self._flows.close()
        while self._flows.ended:
            with suppress(Exception):  # something else ends the run already
                self._settled()
        for name, result in self._progress.results.items():
            record = self._record(name)
            if result.outcome not in (Outcome.RUNNING, Outcome.NOT_STARTED):
                continue
            known = result.execution_id or (record.execution_id if record else None)
            if record is not None and record.result is not None:
                self._progress.replace(name, record.result)
            elif known is not None:
                reason = f"{self._progress.stopped}; the execution goes on"
                self._progress.update(name, outcome=Outcome.RUNNING, execution_id=known, reason=reason)
            elif self._is_in_doubt(name):
                doubt = result.reason or "a refresh may have been started"
                reason, remedy = f"{self._progress.stopped}; {doubt}", result.remedy or Adopt(name)
                self._progress.update(name, outcome=Outcome.AMBIGUOUS, reason=reason, remedy=remedy)
