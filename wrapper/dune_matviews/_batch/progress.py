"""The progress of a run: one result for each view, the cost so far, and why nothing more is started.

This module must not know order, requests or the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from .._flow.log import log
from ..models import ExecutionStatus
from ..report import Outcome, RefreshReport, StopReason, ViewResult

OnUpdate = Callable[[str, ViewResult], object]

_OPEN = (Outcome.NOT_STARTED, Outcome.RUNNING, Outcome.AMBIGUOUS)


class CallerError(Exception):
    """An exception of the caller's `on_update`, so that it is not taken for a view's failure. Never leaves the flows.

    Attributes:
        failure: the exception itself.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Progress:
    """The results of a run, as they come in.

    Attributes:
        results: the result of each view by its name.
        costs: the credits that each execution has cost so far.
        credits_left: the credits that all of them together may still cost.
        stopped: why nothing more is started, for people; None while the run goes on.
        foresee: what is expected of the whole run, as the fields of a `ViewResult` that is told.
    """

    def __init__(
        self,
        reads: Mapping[str, tuple[str, ...]],
        max_credits: float,
        on_update: OnUpdate | None,
        now: Callable[[], datetime],
    ) -> None:
        self.results = {name: ViewResult(outcome=Outcome.NOT_STARTED) for name in reads}
        self.costs: dict[str, float] = {}
        self.credits_left = max_credits
        self.stopped: str | None = None
        self._reads = reads
        self._causes: list[StopReason] = []
        self._max_credits = max_credits
        self._on_update = on_update
        self.foresee: Callable[[], dict[str, Any]] = dict
        self._now = now
        self._began = self._now()

    def update(self, name: str, **changes: object) -> None:
        """Change the result of a view, and tell the caller."""
        self.replace(name, attrs.evolve(self.results[name], **changes))  # type: ignore[arg-type]

    def replace(self, name: str, result: ViewResult) -> None:
        """Take over the result of a view, and tell the caller."""
        requested_at, noticed_at = self.results[name].requested_at, None
        if result.outcome is Outcome.RUNNING:
            requested_at = requested_at or self._now()
        elif requested_at is not None and result.outcome not in _OPEN:
            noticed_at = self._now()
        result = self.results[name] = attrs.evolve(result, requested_at=requested_at, noticed_at=noticed_at)
        if self._on_update is not None:
            try:
                self._on_update(name, attrs.evolve(result, **self.foresee()))
            except Exception as failure:
                raise CallerError(failure) from failure

    def note(self, name: str, execution_id: str) -> None:
        """Dune has named an execution: from now on the report has its id."""
        self.results[name] = attrs.evolve(
            self.results[name], outcome=Outcome.RUNNING, execution_id=execution_id, requested_at=self._now()
        )

    def silence(self) -> None:
        """Tell the caller nothing more."""
        self._on_update = None

    def see(self, name: str, status: ExecutionStatus) -> None:
        """Take in the status of a view's execution."""
        if status.cost_credits is not None:
            self.spend({status.execution_id: status.cost_credits})
        times = {"started_at": status.started_at, "ended_at": status.ended_at}
        self.update(name, status=status, cost_credits=status.cost_credits, **times)

    def spend(self, costs: Mapping[str, float]) -> None:
        """Count the cost of executions so far, and start nothing more once all together are too much."""
        for execution_id, cost in costs.items():
            allowed = self.credits_left + self.costs.get(execution_id, 0.0)
            self.credits_left = allowed - cost
            self.costs[execution_id] = cost
            if cost > round(allowed, 9):  # in floats, 0.2 is more than 0.3 - 0.1
                total = self._max_credits - self.credits_left
                self.stop(StopReason.CREDITS, f"{total:g} credits are over the cap of {self._max_credits:g}")

    def stop(self, cause: StopReason, reason: str) -> None:
        """Start nothing more; the first reason counts."""
        self._causes.append(cause)
        if self.stopped is None:
            log.info("Nothing more is started: %s", reason)
            self.stopped = reason

    @property
    def is_complete(self) -> bool:
        """Another call has nothing left to do."""
        is_cut = StopReason.JOURNAL in self._causes or StopReason.REFUSED in self._causes
        return not is_cut and all(each.outcome not in _OPEN for each in self.results.values())

    def report(self) -> RefreshReport:
        """The report, as of now."""
        cause = self._causes[0] if self._causes else None
        return RefreshReport(self.results, self._began, self._now(), cause, self._reads)
