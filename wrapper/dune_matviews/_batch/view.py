"""One view of a run, from the state in which an earlier call has left it to its end.

This module must not know the order of views, nor the effect of one's end on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import attrs

from .._execution.journal import Journal
from .._execution.pacing import Watched
from .._execution.records import Record
from .._execution.requests import status, time_limit
from .._execution.session import Session
from .._execution.starting import start
from .._execution.views import Success, last_success
from .._execution.watching import Watch, result_of, watch
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
class Shared:
    """The state that the views of one run share.

    Attributes:
        deadline: when the run is given up, by the session's clock.
        unread: names a view that waits, and whose past is worth reading.
        fresh_since: when each view that is fresh became so, by Dune's clock.
    """

    session: Session
    plan: Plan
    limits: Limits
    progress: Progress
    journal: Journal | None
    deadline: float
    unread: Callable[[], str | None]
    fresh_since: dict[str, datetime] = attrs.field(factory=dict)


def refreshed(name: str, shared: Shared) -> Flow[ViewResult]:
    """See that a view is fresh, and return its result; raise the failure that leaves its end open."""
    view = _View(name, shared)
    result = yield from view.flow()
    if view.is_earlier(result):  # which is known only now
        result = yield from view.flow()
    if result.outcome is not Outcome.FRESH:  # which has said so itself
        shared.fresh_since[name] = result.ended_at or _UNKNOWN
    return result


class _View:
    """One view of a run."""

    def __init__(self, name: str, shared: Shared) -> None:
        self._name = name
        self._shared = shared
        self._session = shared.session
        self._progress = shared.progress
        self._reads = shared.plan.reads[name]

    def is_earlier(self, result: ViewResult) -> bool:
        """The result is an earlier call's, and its execution began before this run refreshed the view's upstream."""
        return self._shared.journal is not None and result.outcome is Outcome.SUCCEEDED and self._began_early(result)

    def _began_early(self, result: ViewResult) -> bool:
        """The execution began before this run refreshed the view's upstream.

        Refreshes of the upstream by other programs do not count: a recorded result stays valid.
        """
        return result.started_at is not None and any(
            result.started_at < self._shared.fresh_since[each] for each in self._refreshed()
        )

    def _refreshed(self) -> list[str]:
        """The views that this one reads and this run has refreshed."""
        return [each for each in self._reads if self._progress.results[each].outcome is Outcome.SUCCEEDED]

    def flow(self) -> Flow[ViewResult]:
        shared, limits = self._shared, self._shared.limits
        record = None if shared.journal is None else shared.journal.records.of(self._name)
        is_overtaken = record is not None and self._is_overtaken(record)
        if self._progress.stopped is not None and record is None:
            raise PreventedError(self._progress.stopped)
        counts = record is not None and not (record.is_refused or record.is_earlier or is_overtaken)
        success = None
        if limits.max_age is not None and not counts and (record is None or not record.is_in_doubt):
            success = yield from last_success(self._session, self._name, time_limit(self._session, shared.deadline))
            if self._is_fresh(success, limits.max_age):
                return self._found_fresh(success)
        wish = Wish(
            view=self._name,
            tier=shared.plan.tiers[self._name],
            if_running=limits.if_running,
            if_lost=limits.if_lost,
            retry_failed=limits.retry_failed,
            is_overtaken=is_overtaken,
            deadline=shared.deadline,
            not_before=max((shared.fresh_since[each] for each in self._reads), default=None),
            history=success and (success.history, success.read_at),
            check=self._check,
            on_response=lambda execution_id: self._progress.note(self._name, execution_id),
            takes_candidates=True,
        )
        begun = yield from start(self._session, wish, shared.journal)
        if begun.problem is not None:  # the execution still comes to its end, and into the report
            self._progress.stop(StopReason.JOURNAL, begun.problem.problem)
        if begun.result is not None:
            return attrs.evolve(begun.result, reason=begun.result.reason or "in an earlier run")
        return (yield from self._follow(begun))

    def _is_overtaken(self, record: Record) -> bool:
        """An upstream view has become fresh since, by Dune's own times where it has told them."""
        if record.result is not None and record.result.started_at is not None:
            return self._began_early(record.result)
        journal = self._shared.journal
        upstream = [journal.records.of(each) for each in self._refreshed()] if journal is not None else []
        return any(each is not None and each.ended > record.began for each in upstream)

    def _is_fresh(self, success: Success, max_age: timedelta) -> bool:
        """Its latest success is young enough, and younger than those of its upstream views."""
        # Of an upstream view that was not just read, only our execution is known, which need not be its latest.
        are_read = all(self._progress.results[each].outcome is Outcome.FRESH for each in self._reads)
        return are_read and success.is_fresh(max_age, (self._shared.fresh_since[each] for each in self._reads))

    def _found_fresh(self, success: Success) -> ViewResult:
        latest = success.status
        assert latest is not None  # noqa: S101  # or it were not fresh
        assert latest.ended_at is not None  # noqa: S101  # or it had no age
        self._shared.fresh_since[self._name] = latest.ended_at
        reason = f"refreshed at {latest.ended_at:%Y-%m-%d %H:%M} UTC"
        return ViewResult(outcome=Outcome.FRESH, execution_id=latest.execution_id, reason=reason)

    def _check(self) -> None:
        """In the last moment before a request is sent: the run may have been stopped while it waited for its turn."""
        if self._progress.stopped is not None:
            raise PreventedError(self._progress.stopped)

    def _follow(self, begun: Begun) -> Flow[ViewResult]:
        """Poll the execution to its end, and record that."""
        reason = f"its execution may be any of {', '.join(begun.candidates)}" if begun.candidates else None
        self._progress.update(self._name, outcome=Outcome.RUNNING, execution_id=begun.execution_id, reason=reason)
        if begun.execution_id is None:
            result = yield from self._any_of(begun.candidates)
        else:
            result = yield from self._watched(begun, begun.execution_id)
        yield from self._record_end(begun, result)
        return result

    def _watched(self, begun: Begun, execution_id: str) -> Flow[ViewResult]:
        watched = Watch(
            execution_id=execution_id,
            view=self._name,
            how=begun.how,
            since=self._session.clock(),
            allowance=lambda: self._progress.allowance(execution_id),
            others=self._shared.unread,
            pause=self._session.pace.eager_pause,
            on_update=lambda found: self._progress.see(self._name, found),
        )
        try:
            return result_of((yield from watch(self._session, watched)))
        except NotFoundError as unknown:
            raise self._unknown(execution_id) from unknown
        except RefreshError as failure:
            if failure.status is None or not failure.status.is_finished:
                raise
            # The failure names the allowance of this view; the user knows the cap of the run.
            is_capped = isinstance(failure, CreditLimitError)
            reason = f"cancelled: {self._progress.stopped}" if is_capped else failure.problem
            return attrs.evolve(result_of(failure.status), reason=reason)

    def _any_of(self, candidates: tuple[str, ...]) -> Flow[ViewResult]:
        """Poll several executions, one of which is the view's: any success makes it fresh."""
        session, began = self._session, self._session.clock()
        left, unknown = list(candidates), []
        while left:
            for execution_id in list(left):
                try:
                    found = yield from status(session, execution_id, self._name)
                except NotFoundError:
                    if session.clock() - began >= session.times.not_yet:
                        left.remove(execution_id)
                        unknown.append(execution_id)
                    continue
                self._progress.see(self._name, found)
                if found.succeeded:
                    return result_of(found)
                if found.is_finished:
                    left.remove(execution_id)
                elif self._progress.allowance(execution_id) < (found.cost_credits or 0.0):
                    ids = ", ".join(candidates)
                    message = f"{self._progress.stopped}; {ids} go on, because they may not be ours to cancel"
                    raise AmbiguousRefreshError(message, name=self._name, candidates=candidates)
            if left:
                yield Sleep(session.pace.eager_pause(session.clock(), Watched(began)))
        if unknown:
            raise self._unknown(unknown[0])
        reason = f"of the executions that may be its refresh ({', '.join(candidates)}), none has succeeded"
        return ViewResult(outcome=Outcome.FAILED, execution_id=candidates[0], reason=reason)

    def _unknown(self, execution_id: str) -> AmbiguousRefreshError:
        journal = self._shared.journal
        path = str(journal.path) if journal is not None and journal.path is not None else None
        failure = AmbiguousRefreshError(
            f"Dune no longer knows execution {execution_id}: how it has ended is unknown.",
            name=self._name,
            remedy=SettleJournal(path, self._name) if journal is not None else None,
        )
        failure.execution_id = execution_id
        return failure

    def _record_end(self, begun: Begun, result: ViewResult) -> Flow[None]:
        """Record the view's end. Where that fails, no new view starts; executions under way still end."""
        journal, intent, execution_id = self._shared.journal, begun.intent, result.execution_id
        if intent is not None and execution_id is not None:  # one of several candidates
            self._session.intents.hold(execution_id, intent, "inferred")
        if journal is None:
            return
        try:
            if intent is not None and execution_id is not None:
                yield from journal.started(intent, execution_id, "inferred")
            yield from journal.ended(self._name, result)
        except JournalError as failure:
            self._progress.stop(StopReason.JOURNAL, failure.problem)
