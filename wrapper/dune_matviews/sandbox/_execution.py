"""Knows one execution: its state and cost at any time, and its entry in the ledger.
Must not know views, other executions or a clock."""

import math
from datetime import UTC, datetime

import attrs

from ._scenarios import EXECUTING, PENDING, Scenario

# A point or a length of time in nanoseconds; never a fraction, and a float only as math.inf: never.
Nanoseconds = int | float


def moment(nanoseconds: int) -> datetime:
    """The aware datetime of a point in time, truncated to microseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)


@attrs.frozen
class Charge:
    """The cost of one accepted refresh or upsert, which grows until its execution has ended.

    *performance* is the tier in the request, None where the request had none.
    *state* is the current state of the execution, a QUERY_STATE_ text; *submitted_at* is an aware datetime.
    """

    execution_id: str
    name: str
    performance: str | None
    credits: float
    state: str
    submitted_at: datetime


@attrs.define(eq=False)
class Execution:
    """The execution that an accepted refresh or upsert started.

    `ready` is the earliest start that its scenario allows; `starts` and `ends` are forecasts until they have passed.
    `billed` is false for an execution from before the time of the sandbox, which is in no ledger.
    `free_ends` are the end states that cost nothing, unless its scenario says otherwise.
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
