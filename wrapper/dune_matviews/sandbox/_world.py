"""Knows views, executions, time and cost; nothing ticks, a state follows from scenario, submission and present.
Must not know of HTTP or JSON, nor of threads: whoever shares a world between threads brings the lock."""

import heapq
import math
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import attrgetter

import attrs

from ._scenarios import DEFAULT_SCENARIO, EXECUTING, PENDING, SUCCEEDED, Scenario
from ._ulid import UlidSequence

# A point or a length of time in nanoseconds; never a fraction, and a float only as math.inf: never.
Nanoseconds = int | float


class UnknownObjectError(LookupError):
    """There is no such view or execution."""


@attrs.frozen
class Charge:
    """What one accepted refresh costs: final once its execution has ended, growing until then.

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
    """One accepted refresh.

    `ready` is when its scenario lets it start; `starts` and `ends` are forecasts until they lie in the past.
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

    def state(self, now: int) -> str:
        if now >= self.ends:
            return self.scenario.end_state
        return EXECUTING if now >= self.starts else PENDING

    def credits(self, now: int) -> float:
        if now >= self.ends:
            return self.scenario.credits
        if now <= self.starts:
            return 0.0
        return self.scenario.credits * ((now - self.starts) / (self.ends - self.starts))


@attrs.define(eq=False)
class View:
    """One materialized view; its executions are kept oldest first, all of them."""

    name: str
    query_id: int
    executions: list[Execution] = attrs.field(factory=list[Execution])
    scenarios: deque[Scenario] = attrs.field(factory=deque[Scenario])

    def size_bytes(self, now: int) -> int:
        """The size of the table as the latest refresh that succeeded left it; 0 before the first."""
        succeeded = (each for each in reversed(self.executions) if each.state(now) in SUCCEEDED)
        latest = next(succeeded, None)
        return latest.scenario.bytes if latest else 0


class World:
    """All there is behind the API. *clock* answers nanoseconds since 1970."""

    def __init__(
        self,
        views: Iterable[str] | None = None,
        *,
        speed: float = 1.0,
        default: Scenario = DEFAULT_SCENARIO,
        max_parallel: int | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if isinstance(views, str):
            raise TypeError(f"views takes several names, not one text: [{views!r}]")
        if not 0 < speed < math.inf:
            raise ValueError(f"speed must be a positive number, not {speed!r}")
        if max_parallel is not None and max_parallel < 1:
            raise ValueError(f"max_parallel must be at least 1, not {max_parallel!r}")
        self.max_parallel = max_parallel
        self._speed = speed
        self._default = default
        self._clock = clock
        self._advanced = 0
        self._latest = 0
        self._ids = UlidSequence()
        self._views: dict[str, View] = {}
        self._executions: dict[str, Execution] = {}
        # Those that have not ended, in the order in which they may start.
        self._open: list[Execution] = []
        self._any_view_exists = views is None
        for name in views or ():
            self.add_view(name)

    def now(self) -> int:
        """Nanoseconds since 1970. It never goes back, even where the clock behind it is set back."""
        self._latest = max(self._latest, self._clock() + self._advanced)
        return self._latest

    def advance(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time goes on by zero or more seconds, not by {seconds!r}")
        self._advanced += round(seconds * 1e9)

    def add_view(self, name: str) -> View:
        return self._views.setdefault(name, View(name, query_id=1001 + len(self._views)))

    def view(self, name: str) -> View:
        if self._any_view_exists:
            return self.add_view(name)
        try:
            return self._views[name]
        except KeyError:
            raise UnknownObjectError(f"the sandbox has no view {name!r}") from None

    def execution(self, execution_id: str) -> Execution:
        try:
            return self._executions[execution_id]
        except KeyError:
            raise UnknownObjectError(f"the sandbox has no execution {execution_id!r}") from None

    def refresh(self, name: str, performance: str | None = None) -> Execution:
        view, now = self.view(name), self.now()
        scenario = view.scenarios.popleft() if view.scenarios else self._default
        execution = Execution(
            id=self._ids.next(now // 1_000_000),
            name=name,
            query_id=view.query_id,
            performance=performance,
            scenario=scenario,
            submitted=now,
            ready=now + self._duration(scenario.pending),
        )
        view.executions.append(execution)
        self._executions[execution.id] = execution
        insort(self._open, execution, key=attrgetter("ready"))
        if self.max_parallel is None:
            self._forecast(execution, starts=execution.ready)
        else:
            self._assign_slots(now)
        return execution

    def cancel(self, execution_id: str) -> bool:
        """Ends an execution at what it has cost so far; False where it had ended already."""
        execution, now = self.execution(execution_id), self.now()
        if now >= execution.ends:
            return False
        execution.scenario = attrs.evolve(
            execution.scenario, end="canceled", error=None, credits=execution.credits(now)
        )
        if execution.starts > now:
            execution.starts = math.inf
        execution.ends = now
        self._assign_slots(now)
        return True

    def finish(self, execution_id: str, end: str | None = None) -> None:
        """Brings the planned end, or another *end*, forward to the present, at the whole planned cost."""
        execution, now = self.execution(execution_id), self.now()
        if now >= execution.ends:
            raise ValueError(f"{execution_id} has ended already, as {execution.state(now)}")
        execution.scenario = attrs.evolve(execution.scenario, end=end or execution.scenario.end)
        execution.starts = min(execution.starts, now)
        execution.ends = now
        self._assign_slots(now)

    def queue(self, now: int) -> list[Execution]:
        """The executions that wait to start, the next one first."""
        return [each for each in self._still_open(now) if now < each.starts]

    def running(self, now: int) -> list[Execution]:
        return [each for each in self._still_open(now) if now >= each.starts]

    def ledger(self) -> tuple[Charge, ...]:
        now = self.now()
        return tuple(
            Charge(
                execution_id=each.id,
                name=each.name,
                performance=each.performance,
                credits=each.credits(now),
                state=each.state(now),
                submitted_at=moment(each.submitted),
            )
            for each in self._executions.values()
        )

    def rehearse(self, name: str, *scenarios: Scenario) -> None:
        self.view(name).scenarios.extend(scenarios)

    def _duration(self, seconds: float) -> Nanoseconds:
        return math.inf if math.isinf(seconds) else round(seconds / self._speed * 1e9)

    def _still_open(self, now: int) -> list[Execution]:
        self._open = [each for each in self._open if now < each.ends]
        return self._open

    def _forecast(self, execution: Execution, starts: Nanoseconds) -> None:
        execution.starts = starts
        execution.ends = starts + self._duration(execution.scenario.running)

    def _assign_slots(self, now: int) -> None:
        """Forecasts anew, where a limit binds, when each waiting execution starts: first ready, first served.

        Called whenever something unforeseen happens. What has started stays as it is, so the past never changes.
        """
        if self.max_parallel is None:
            return
        free_from: list[Nanoseconds] = [each.ends for each in self.running(now)]
        free_from += [now] * (self.max_parallel - len(free_from))
        heapq.heapify(free_from)
        for waiting in self.queue(now):
            self._forecast(waiting, starts=max(waiting.ready, heapq.heappop(free_from)))
            heapq.heappush(free_from, waiting.ends)


def moment(nanoseconds: int) -> datetime:
    """The aware datetime of a point in time, cut to microseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
