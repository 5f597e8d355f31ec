"""Knows one execution: its state and its cost at any point in time, and its line in the ledger.
Must not know views or other executions, nor a clock."""

import math
from datetime import UTC, datetime

import attrs

from ._scenarios import EXECUTING, PENDING, Scenario

# A point or a length of time in nanoseconds; never a fraction, and a float only as math.inf: never.
Nanoseconds = int | float


def moment(nanoseconds: int) -> datetime:
    """The aware datetime of a point in time, cut to microseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)


@attrs.frozen
class Charge:
    """What one accepted refresh or upsert costs: final once its execution has ended, growing until then.

    *performance* is the tier as it was asked for, None where the request left it out.
    *state* is the execution's present state, a QUERY_STATE_ text; *submitted_at* is an aware datetime.
    """

    execution_id: str
    name: str
    performance: str | None
    credits: float
    state: str
    submitted_at: datetime


@attrs.define(eq=False)
class Execution:
    """What one accepted refresh or upsert has set going.

    `ready` is when its scenario lets it start; `starts` and `ends` are forecasts until they lie in the past.
    `billed` is whether the ledger has it; what lies before the sandbox's own time is not.
    `free_ends` are the states in which it costs nothing after all, unless its scenario says otherwise.
    """

    id: str
    name: str
    query_id: int
    performance: str | None
    scenario: Scenario
    submitted: int
    ready: Nanoseconds
    starts: Nanoseconds = math.inf
    ends: Nanoseconds = math.inf
    billed: bool = True
    free_ends: frozenset[str] = frozenset()

    def state(self, now: int) -> str:
        if now >= self.ends:
            return self.scenario.end_state
        return EXECUTING if now >= self.starts else PENDING

    def credits(self, now: int) -> float:
        if now >= self.ends:
            return 0.0 if self._is_free() else self.scenario.credits
        if now <= self.starts:
            return 0.0
        return self.scenario.credits * ((now - self.starts) / (self.ends - self.starts))

    def _is_free(self) -> bool:
        if self.scenario.billed is None:
            return self.scenario.end_state in self.free_ends
        return not self.scenario.billed

    def charge(self, now: int) -> Charge:
        return Charge(
            execution_id=self.id,
            name=self.name,
            performance=self.performance,
            credits=self.credits(now),
            state=self.state(now),
            submitted_at=moment(self.submitted),
        )
