"""What a run over many views has come to so far: one result a view, what it costs, and why it stopped.

This module must not know order, requests or the journal, nor when anything is started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

import attrs

from .models import ExecutionStatus
from .report import Outcome, RefreshReport, StopReason, ViewResult

_log = logging.getLogger("dune_matviews")


class CallerError(Exception):
    """What the caller's `on_update` raised, so that it is not taken for a view's failure. Never leaves the flows.

    Attributes:
        failure: the exception itself.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Tally:
    """The results of a run, as they come in.

    Attributes:
        results: the result of each view by its name.
        stopped: why nothing more is started, for people; None while the run goes on.
    """

    def __init__(
        self,
        names: Iterable[str],
        max_credits: float,
        on_update: Callable[[str, ViewResult], object] | None,
        now: Callable[[], datetime],
    ) -> None:
        self.results = {name: ViewResult(outcome=Outcome.NOT_STARTED) for name in names}
        self.stopped: str | None = None
        self._stopped_by: StopReason | None = None
        self._credits = 0.0
        self._max_credits = max_credits
        self._on_update = on_update
        self._now = now
        self._began = now()

    def update(self, name: str, **changes: object) -> None:
        """Change what is known of a view, and tell the caller."""
        self.results[name] = attrs.evolve(self.results[name], **changes)  # type: ignore[arg-type]
        if self._on_update is not None:
            try:
                self._on_update(name, self.results[name])
            except Exception as failure:
                raise CallerError(failure) from failure

    def silence(self) -> None:
        """Tell the caller nothing more."""
        self._on_update = None

    def see(self, name: str, status: ExecutionStatus) -> None:
        """Take in a look at an execution."""
        self.spend((status.cost_credits or 0.0) - (self.results[name].cost_credits or 0.0))
        self.update(
            name,
            status=status,
            started_at=status.started_at,
            ended_at=status.ended_at,
            cost_credits=status.cost_credits,
        )

    def spend(self, credits: float) -> None:
        """Count what the run costs, and start nothing more once that is too much."""
        self._credits += credits
        if self._credits > self._max_credits:
            self.stop(StopReason.CREDITS, f"{self._credits:g} credits are over max_credits={self._max_credits:g}")

    def allowance(self, name: str) -> float:
        """What the view's execution may cost: what the others have left of the run's budget."""
        return self._max_credits - (self._credits - (self.results[name].cost_credits or 0.0))

    def stop(self, cause: StopReason, reason: str) -> None:
        """Start nothing more; the first reason counts."""
        if self.stopped is None:
            _log.info("Nothing more is started: %s", reason)
            self.stopped, self._stopped_by = reason, cause

    def report(self) -> RefreshReport:
        """What came of each view so far."""
        return RefreshReport(self.results, self._began, self._now(), self._stopped_by)
