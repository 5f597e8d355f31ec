"""The report of a run: one result per view, the totals, and their forms for people and programs.

This module must not know how refreshes are scheduled, nor how they are made.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from ._display.timing import Span, critical_path
from .errors import RefreshesFailedError
from .models import ErrorDetail, ExecutionState, ExecutionStatus
from .remedies import Remedy, to_dict

# In characters: lengths that remain readable after the other columns of a table, and on a line of an error.
LONGEST_REASON_IN_TABLE = 80
LONGEST_REASON_IN_ERROR = 200
MOST_REASONS_IN_ERROR = 10


class Outcome(StrEnum):
    """The outcome of a view in a run of `refresh_all`."""

    SUCCEEDED = "succeeded"  # its execution completed
    FAILED = "failed"  # its execution failed, or Dune refused to start one
    CANCELED = "canceled"  # its execution was cancelled, by this run or by somebody else
    EXPIRED = "expired"  # its execution expired
    AMBIGUOUS = "ambiguous"  # an execution may have started, and been billed, but its end is unknown
    SKIPPED = "skipped"  # not started, because a view it reads did not become fresh
    FRESH = "fresh"  # not started, because it was fresh enough
    NOT_STARTED = "not_started"  # not started yet, or not reached before the run ended
    RUNNING = "running"  # its execution goes on, even after the run

    @property
    def is_fresh(self) -> bool:
        """True if the view is fresh, from this run or from before."""
        return self in (Outcome.SUCCEEDED, Outcome.FRESH)


class StopReason(StrEnum):
    """The reason for an early end of a run of `refresh_all`, after which it started nothing more."""

    CREDITS = "credits"  # the total cost passed `max_credits`
    TIMEOUT = "timeout"  # the timeout of the run was over
    REFUSED = "refused"  # Dune refused the key (401) or the account (402)
    JOURNAL = "journal"  # the journal could no longer be written
    INTERRUPTED = "interrupted"  # Ctrl-C, or a task's cancellation


@attrs.frozen(kw_only=True)
class ViewResult:
    """The result of one view.

    Attributes:
        outcome: the outcome in one word.
        reason: an explanation for people; None if the outcome needs none.
        execution_id: the execution concerned; None if unknown.
        status: the last status of that execution; None if it was never polled.
        started_at, ended_at: the start and end of the execution, as Dune reports them: aware datetimes, or None.
        cost_credits: the cost of the execution so far, in credits; None if unknown.
        remedy: the next step, as data; None if there is none.
        requested_at, noticed_at: the moments at which Dune had accepted the refresh and its end was noticed, by this
            computer's clock; aware datetimes, or None.
        run_ends_at: the expected end of the whole run, in updates of a run whose views have a past; else None.
        run_credits_to_come: the credits that the rest of the run is expected to cost; likewise.
    """

    outcome: Outcome
    reason: str | None = None
    remedy: Remedy | None = None
    execution_id: str | None = None
    status: ExecutionStatus | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cost_credits: float | None = None
    requested_at: datetime | None = None
    noticed_at: datetime | None = None
    run_ends_at: datetime | None = None
    run_credits_to_come: float | None = None

    def describe(self, words: Callable[[Remedy], str] = str) -> str:
        """The reason and the remedy, worded by *words*. Empty if the outcome needs no explanation."""
        parts = [self.reason, None if self.remedy is None else words(self.remedy)]
        return " ".join(filter(None, parts))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`: times as ISO 8601 strings, and only the state and error of the status."""
        status = self.status
        found = attrs.asdict(self, recurse=False) | {
            "outcome": self.outcome.value,
            "remedy": self.remedy and to_dict(self.remedy),
            "status": status and {"state": status.state.value, "error": status.error and attrs.asdict(status.error)},
        }
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in found.items()
            if value is not None or name not in _LEFT_OUT
        }

    @classmethod
    def from_status(cls, status: ExecutionStatus) -> ViewResult:
        """The result of a view from the status of its execution."""
        ended = _ENDS.get(status.state, Outcome.FAILED) if status.is_finished else Outcome.RUNNING
        return cls(
            outcome=Outcome.SUCCEEDED if status.succeeded else ended,
            execution_id=status.execution_id,
            status=status,
            started_at=status.started_at,
            ended_at=status.ended_at,
            cost_credits=status.cost_credits,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ViewResult:
        """Rebuild a result from `to_dict`, which keeps only the state and error of the status, and no remedy.

        Raises:
            ValueError: *data* is not such a result.
        """
        cost, status = _part(data, "cost_credits", int, float), _part(data, "status", dict)
        if cost is not None and not 0 <= cost <= sys.float_info.max:
            raise ValueError("a result whose cost is out of range")
        result = cls(
            outcome=Outcome(_part(data, "outcome", str)),
            reason=_part(data, "reason", str),
            execution_id=_part(data, "execution_id", str),
            started_at=_moment(_part(data, "started_at", str)),
            ended_at=_moment(_part(data, "ended_at", str)),
            cost_credits=cost,
        )
        return result if status is None else attrs.evolve(result, status=_status_from_dict(status, result))


_LEFT_OUT = ("requested_at", "noticed_at", "run_ends_at", "run_credits_to_come")
"""The parts of a result that its plain data omits if they are unknown."""

_ENDS = {ExecutionState.CANCELED: Outcome.CANCELED, ExecutionState.EXPIRED: Outcome.EXPIRED}


def _part(data: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A part of a result, of one of these types; None if it is missing."""
    value = data.get(name)
    if value is not None and type(value) not in kinds:
        raise ValueError(f"a result whose {name} has the wrong type ({type(value).__name__})")
    return value


def _moment(text: str | None) -> datetime | None:
    moment = None if text is None else datetime.fromisoformat(text)
    if moment is not None and moment.tzinfo is None:
        raise ValueError(f"a result whose time {text!r} has no zone")
    return moment


def _status_from_dict(data: Mapping[str, Any], result: ViewResult) -> ExecutionStatus:
    error, kinds = _part(data, "error", dict), {"type": str, "message": str, "line": int, "column": int}
    return ExecutionStatus(
        execution_id=result.execution_id or "",
        state=ExecutionState(_part(data, "state", str)),
        is_finished=result.outcome is not Outcome.RUNNING,
        error=None if error is None else ErrorDetail(**{name: _part(error, name, kinds[name]) for name in kinds}),
    )


def _read_only(results: Mapping[str, ViewResult]) -> Mapping[str, ViewResult]:
    return MappingProxyType(dict(results))


def _read_only_reads(reads: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType(dict(reads))


@attrs.frozen
class RefreshReport:
    """The report of `refresh_all`, view by view. `print(report)` shows a table, the totals, and where the time went.

    Attributes:
        results: the result of each view by its name, read-only.
        started_at, ended_at: the start and end of the run, by this computer's clock; aware datetimes.
        stopped_by: the reason for an early end; None if nothing stopped the run. It is set even if only the last
            execution passed the cap, so it does not imply a stale view: use `ok` for that.
        reads: the views that each view reads, read-only.
    """

    results: Mapping[str, ViewResult] = attrs.field(converter=_read_only)
    started_at: datetime
    ended_at: datetime
    stopped_by: StopReason | None = None
    reads: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, converter=_read_only_reads)

    @property
    def critical_path(self) -> tuple[str, ...]:
        """The views one after another that made the run as long as it was; each waited for the one before it."""
        return critical_path(self.reads, self.spans)

    @property
    def time_spent(self) -> dict[str, float]:
        """Where the run's time went along its critical path, in seconds.

        `waiting` is for a place, for the views that are read, and for the request budget; `queued` in Dune's queue;
        `executing`; and `noticing` until an end was noticed.
        """
        spent: dict[str, float] = {"waiting": 0.0, "queued": 0.0, "executing": 0.0, "noticing": 0.0}
        free = 0.0
        spans = self.spans
        for name in self.critical_path:
            status, span = self.results[name].status, spans[name]
            spent["waiting"] += max(span.start - free, 0.0)
            free = span.end
            if status is None or status.submitted_at is None or status.ended_at is None:
                spent["executing"] += span.end - span.start
                continue
            began = status.started_at or status.submitted_at
            spent["queued"] += _seconds(status.submitted_at, began)
            spent["executing"] += _seconds(began, status.ended_at)
            spent["noticing"] += max(span.end - span.start - _seconds(status.submitted_at, status.ended_at), 0.0)
        return spent

    @property
    def spans(self) -> dict[str, Span]:
        """The start and the end of each view's execution in this run, in seconds after the start of the run."""
        return {
            name: Span(_seconds(self.started_at, each.requested_at), _seconds(self.started_at, each.noticed_at))
            for name, each in self.results.items()
            if each.requested_at is not None and each.noticed_at is not None
        }

    @property
    def ok(self) -> bool:
        """True if every view is fresh."""
        return all(result.outcome.is_fresh for result in self.results.values())

    @property
    def cost_credits(self) -> float:
        """The known cost of the run, in credits; always finite."""
        costs = [result.cost_credits or 0.0 for result in self.results.values()]
        try:
            return math.fsum(costs)
        except OverflowError:
            return sys.float_info.max

    @property
    def seconds(self) -> float:
        """The length of the run; zero if the clock was set back during it."""
        return _seconds(self.started_at, self.ended_at)

    def raise_for_failures(self) -> None:
        """Raise a `RefreshesFailedError` that names every view that is not fresh, if there is one."""
        if not self.ok:
            raise RefreshesFailedError("\n".join(_complaint(self.results)), report=self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`: `views` has the results by name, and times are ISO 8601 strings."""
        return {
            "ok": self.ok,
            "stopped_by": self.stopped_by and self.stopped_by.value,
            "cost_credits": self.cost_credits,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "seconds": self.seconds,
            "critical_path": list(self.critical_path),
            "time_spent": self.time_spent,
            "views": {name: result.to_dict() for name, result in self.results.items()},
        }

    def to_html(self) -> str:
        """One self-contained page, for a browser: outcomes, costs, a Gantt chart, the critical path and the lineage."""
        from ._display.page import page

        return page(self, self._totals())

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._display.page import section

        return section(self, self._totals())

    def __str__(self) -> str:
        rows = [_row(name, result) for name, result in self.results.items()]
        lines = [*_aligned(rows), self._totals()]
        if any((spent := self.time_spent).values()):
            lines += [f"Time spent: {', '.join(f'{part} {_duration(seconds)}' for part, seconds in spent.items())}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._totals()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping does not pickle; the dict behind it does.
        given = dict(self.results), self.started_at, self.ended_at, self.stopped_by, dict(self.reads)
        return type(self), given

    def _totals(self) -> str:
        counts = Counter(result.outcome for result in self.results.values())
        outcomes = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts)
        return f"{outcomes or 'no views'}; {_duration(self.seconds)}, {_credits(self.cost_credits)}"


def _row(name: str, result: ViewResult) -> tuple[str, ...]:
    took = result.started_at and result.ended_at and _duration(_seconds(result.started_at, result.ended_at))
    cost = "-" if result.cost_credits is None else _credits(result.cost_credits)
    return _line(name), result.outcome, took or "-", cost, _line(result.describe(), LONGEST_REASON_IN_TABLE)


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>><", widths, strict=True)
        ).rstrip()


def _complaint(results: Mapping[str, ViewResult]) -> Iterator[str]:
    """List every view that is not fresh: the first few with their reasons, the others by outcome."""
    held_up = (Outcome.SKIPPED, Outcome.NOT_STARTED)  # their reasons lie with other views, which come first
    stale = [(_line(name), result) for name, result in results.items() if not result.outcome.is_fresh]
    stale.sort(key=lambda item: item[1].outcome in held_up)
    yield f"{len(stale)} of {len(results)} views not known to be fresh:"
    for name, result in stale[:MOST_REASONS_IN_ERROR]:
        reason = _line(result.describe(), LONGEST_REASON_IN_ERROR)
        yield f"  {name} {result.outcome}" + (f": {reason}" if reason else "")
    others: defaultdict[Outcome, list[str]] = defaultdict(list)
    for name, result in stale[MOST_REASONS_IN_ERROR:]:
        others[result.outcome].append(name)
    for outcome, names in others.items():
        yield f"  also {outcome}: {', '.join(names)}"


def _line(text: str, longest: int | None = None) -> str:
    """Put *text* on one line, without control characters, and truncate it to *longest* characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    words = " ".join(printable.split())
    return words if longest is None or len(words) <= longest else words[: longest - 1].rstrip() + "…"


def _credits(amount: float) -> str:
    return f"{amount:,.2f} credits"


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)  # clocks may be set back


def _duration(seconds: float) -> str:
    """`12.3s`, `1m 05s` or `2h 03m`, rounded before the unit is chosen, so that none shows 60 of the one below."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    if round(seconds) < 3600:
        return "{}m {:02}s".format(*divmod(round(seconds), 60))
    return "{}h {:02}m".format(*divmod(round(seconds / 60), 60))
