"""One view of a run, from the state in which an earlier call has left it to its end.

This module must not know the order of views, nor the effect of one's end on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs

from .._execution.intents import How
from .._execution.journal import Journal
from .._execution.pacing import Watched
from .._execution.records import Record
from .._execution.requests import status, time_limit
from .._execution.session import Session
from .._execution.starting import start
from .._execution.views import Success, last_success, refreshed_at
from .._execution.watching import Watch, watch
from .._execution.wish import Begun, PreventedError, Wish
from .._flow.effects import Flow, Sleep
from .._validate import IfLost, IfRunning
from ..errors import AmbiguousRefreshError, CreditLimitError, JournalError, NotFoundError, RefreshError
from ..remedies import SettleJournal
from ..report import Outcome, StopReason, ViewResult
from .progress import Progress

_UNKNOWN = datetime.max.replace(tzinfo=UTC)
"""Dune does not tell when an execution has ended: nothing is known to have begun after it."""


@attrs.frozen(kw_only=True)
class Limits:
    """How far a run may go, and on which terms: built once, in the client.

    Attributes:
        max_parallel: executions at once.
        max_credits: credits in all.
        timeout: seconds in all.
        max_age: the age of a success that is fresh enough; None refreshes every view.
        if_running, if_lost, retry_failed: as for `MatviewsClient.refresh`.
    """

    max_parallel: int
    max_credits: float = math.inf
    timeout: float = math.inf
    max_age: timedelta | None = None
    if_running: IfRunning = "start"
    if_lost: IfLost = "raise"
    retry_failed: bool = False


@attrs.frozen
class Plan:
    """Views with the views that each reads, and the tier of each."""

    reads: Mapping[str, tuple[str, ...]]
    tiers: Mapping[str, str | None]


@attrs.frozen(kw_only=True)
class Refresher:
    """Refreshes the views of one run.

    Attributes:
        deadline: when the run is given up, by the session's clock.
        unread: names a view that waits, and whose past is worth reading.
    """

    session: Session
    plan: Plan
    limits: Limits
    progress: Progress
    journal: Journal | None
    deadline: float
    unread: Callable[[], str | None]
    _fresh_since: dict[str, datetime] = attrs.field(factory=dict, init=False)  # by Dune's clock

    def refreshed(self, name: str) -> Flow[ViewResult]:
        """See that a view is fresh, and return its result; raise the failure that leaves its end open."""
        result = yield from self._result(name)
        if self.journal is not None and result.outcome is Outcome.SUCCEEDED and self._began_early(name, result):
            result = yield from self._result(name)  # the execution was an earlier call's, and when it began is new
        if result.outcome is not Outcome.FRESH:  # whose success ended before the run
            self._fresh_since[name] = result.ended_at or _UNKNOWN
        return result

    def _result(self, name: str) -> Flow[ViewResult]:
        """The result that is recorded, or of a success that is fresh enough, or else of an execution to its end."""
        limits, record = self.limits, self._record(name)
        if record is None:
            self._check()
        is_overtaken = record is not None and self._is_overtaken(name, record)
        is_replaced = record is not None and (record.is_refused or record.is_earlier or is_overtaken)
        success = None
        if limits.max_age is not None and (record is None or (is_replaced and not record.is_in_doubt)):
            success = yield from last_success(self.session, name, time_limit(self.session, self.deadline))
            if (fresh := self._if_fresh(name, success, limits.max_age)) is not None:
                return fresh
        wish = Wish(
            view=name,
            tier=self.plan.tiers[name],
            if_running=limits.if_running,
            if_lost=limits.if_lost,
            retry_failed=limits.retry_failed,
            is_overtaken=is_overtaken,
            deadline=self.deadline,
            not_before=max((self._fresh_since[each] for each in self.plan.reads[name]), default=None),
            history=success and (success.history, success.read_at),
            check=self._check,
            on_response=partial(self.progress.note, name),
            takes_candidates=True,
        )
        begun = yield from start(self.session, wish, self.journal)
        if begun.problem is not None:  # the execution still comes to its end, and into the report
            self.progress.stop(StopReason.JOURNAL, begun.problem.problem)
        if begun.result is not None:
            return attrs.evolve(begun.result, reason=begun.result.reason or "in an earlier run")
        return (yield from self._follow(name, begun))

    def _check(self) -> None:
        """At the start, and in the last moment before a request is sent: the run may have been stopped meanwhile."""
        if self.progress.stopped is not None:
            raise PreventedError(self.progress.stopped)

    def _record(self, name: str) -> Record | None:
        return None if self.journal is None else self.journal.records.of(name)

    def _is_overtaken(self, name: str, record: Record) -> bool:
        """An upstream view has become fresh since, by Dune's own times where it has told them."""
        if record.result is not None and record.result.started_at is not None:
            return self._began_early(name, record.result)
        upstream = map(self._record, self._refreshed(name))
        return any(each is not None and each.ended > record.began for each in upstream)

    def _began_early(self, name: str, result: ViewResult) -> bool:
        """The execution began before this run refreshed the view's upstream.

        Refreshes of the upstream by other programs do not count: a recorded result stays valid.
        """
        began = result.started_at
        return began is not None and any(began < self._fresh_since[each] for each in self._refreshed(name))

    def _refreshed(self, name: str) -> list[str]:
        """The views that this one reads and this run has refreshed."""
        return [each for each in self.plan.reads[name] if self.progress.results[each].outcome is Outcome.SUCCEEDED]

    def _if_fresh(self, name: str, success: Success, max_age: timedelta) -> ViewResult | None:
        """The result, if the latest success is young enough, and younger than those of the upstream views."""
        reads, latest = self.plan.reads[name], success.status
        # Of an upstream view that was not just read, only our execution is known, which need not be its latest.
        are_read = all(self.progress.results[each].outcome is Outcome.FRESH for each in reads)
        is_fresh = are_read and success.is_fresh(max_age, (self._fresh_since[each] for each in reads))
        if not is_fresh or latest is None or latest.ended_at is None:
            return None
        self._fresh_since[name] = latest.ended_at
        reason = refreshed_at(latest.ended_at)
        return ViewResult(outcome=Outcome.FRESH, execution_id=latest.execution_id, reason=reason)

    def _follow(self, name: str, begun: Begun) -> Flow[ViewResult]:
        """Poll the execution to its end, and record that."""
        reason = f"its execution may be any of {', '.join(begun.candidates)}" if begun.candidates else None
        self.progress.update(name, outcome=Outcome.RUNNING, execution_id=begun.execution_id, reason=reason)
        if begun.execution_id is None:
            result = yield from self._any_of(name, begun.candidates)
        else:
            result = yield from self._watched(name, begun.execution_id, begun.how)
        yield from self._record_end(name, begun, result)
        return result

    def _watched(self, name: str, execution_id: str, how: How) -> Flow[ViewResult]:
        watched = Watch(
            execution_id=execution_id,
            view=name,
            how=how,
            since=self.session.clock(),
            allowance=lambda: self._allowance(execution_id),
            others=self.unread,
            pause=self.session.pace.eager_pause,
            on_update=partial(self.progress.see, name),
        )
        try:
            return ViewResult.from_status((yield from watch(self.session, watched)))
        except NotFoundError as unknown:
            raise self._unknown(name, execution_id) from unknown
        except RefreshError as failure:
            if failure.status is None or not failure.status.is_finished:
                raise
            # The failure names the allowance of this view; the user knows the cap of the run.
            is_capped = isinstance(failure, CreditLimitError)
            reason = f"cancelled: {self.progress.stopped}" if is_capped else failure.problem
            return attrs.evolve(ViewResult.from_status(failure.status), reason=reason)

    def _allowance(self, execution_id: str) -> float:
        """The most that an execution may cost: the rest of the run's budget, and its own cost so far."""
        return round(self.progress.credits_left + self.progress.costs.get(execution_id, 0.0), 9)

    def _any_of(self, name: str, candidates: tuple[str, ...]) -> Flow[ViewResult]:
        """Poll several executions, one of which is the view's: any success makes it fresh."""
        session, began = self.session, self.session.clock()
        left, unknown = list(candidates), []
        while left:
            for execution_id in list(left):
                try:
                    found = yield from status(session, execution_id, name)
                except NotFoundError:
                    if session.clock() - began >= session.times.not_yet:
                        left.remove(execution_id)
                        unknown.append(execution_id)
                    continue
                self.progress.see(name, found)
                if found.succeeded:
                    return ViewResult.from_status(found)
                if found.is_finished:
                    left.remove(execution_id)
                elif self._allowance(execution_id) < (found.cost_credits or 0.0):
                    ids = ", ".join(candidates)
                    message = f"{self.progress.stopped}; {ids} go on, because they may not be ours to cancel"
                    raise AmbiguousRefreshError(message, name=name, candidates=candidates)
            if left:
                yield Sleep(session.pace.eager_pause(session.clock(), Watched(began)))
        if unknown:
            raise self._unknown(name, unknown[0])
        reason = f"of the executions that may be its refresh ({', '.join(candidates)}), none has succeeded"
        return ViewResult(outcome=Outcome.FAILED, execution_id=candidates[0], reason=reason)

    def _unknown(self, name: str, execution_id: str) -> AmbiguousRefreshError:
        path = str(self.journal.path) if self.journal is not None and self.journal.path else None
        failure = AmbiguousRefreshError(
            f"Dune no longer knows execution {execution_id}: how it has ended is unknown.",
            name=name,
            remedy=None if self.journal is None else SettleJournal(path, name),
        )
        failure.execution_id = execution_id
        return failure

    def _record_end(self, name: str, begun: Begun, result: ViewResult) -> Flow[None]:
        """Record the view's end. Where that fails, no new view starts; executions under way still end."""
        journal, intent, execution_id = self.journal, begun.intent, result.execution_id
        if intent is not None and execution_id is not None:  # one of several candidates
            self.session.intents.hold(execution_id, intent, "inferred")
        if journal is None:
            return
        try:
            if intent is not None and execution_id is not None:
                yield from journal.started(intent, execution_id, "inferred")
            yield from journal.ended(name, result)
        except JournalError as failure:
            self.progress.stop(StopReason.JOURNAL, failure.problem)
