"""Knows the course of time: nothing ticks; a state follows from the scenario, the submission and the current time.
Must not know HTTP, JSON or threads: a caller with several threads brings the lock."""

import heapq
import math
import time
from bisect import insort
from collections.abc import Callable, Iterable
from operator import attrgetter

import attrs

from ._catalog import Catalog, Definition, UnknownObjectError, View
from ._execution import Charge, Execution, Nanoseconds
from ._lineage import Lineage, Source, Step
from ._scenarios import DEFAULT_SCENARIO, Scenario
from ._ulid import UlidSequence


class World:
    """Everything behind the API. *clock* returns nanoseconds since 1970. `began` is the time of its creation."""

    def __init__(
        self,
        views: Iterable[str] | None = None,
        *,
        speed: float = 1.0,
        default: Scenario = DEFAULT_SCENARIO,
        max_parallel: int | None = None,
        free_ends: Iterable[str] = (),
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
        self._free_ends = frozenset(Scenario(end=each).end_state for each in free_ends)
        self._clock = clock
        self._advanced = 0
        self._latest = 0
        self._ids = UlidSequence()
        self.catalog = Catalog(views)
        self._lineage = Lineage(self.catalog.query_of)
        self._executions: dict[str, Execution] = {}
        # The executions that have not ended, in the order in which they may start.
        self._open: list[Execution] = []
        self.began = self.now()

    def now(self) -> int:
        """Nanoseconds since 1970. They never go back, even if the clock behind them is set back."""
        self._latest = max(self._latest, self._clock() + self._advanced)
        return self._latest

    def advance(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be zero or more, and finite, not {seconds!r}")
        self._advanced += round(seconds * 1e9)

    def execution(self, execution_id: str) -> Execution:
        try:
            return self._executions[execution_id]
        except KeyError:
            raise UnknownObjectError(f"the sandbox has no execution {execution_id!r}") from None

    def define(self, name: str, definition: Definition) -> Execution:
        """Create or redefine a view, and start the execution that fills it."""
        return self._start(self.catalog.define(name, definition), definition.performance)

    def refresh(self, name: str, performance: str | None = None) -> Execution:
        return self._start(self.catalog.find_owned(name), performance)

    def _start(self, view: View, performance: str | None) -> Execution:
        now = self.now()
        scenario = view.scenarios.popleft() if view.scenarios else self._default
        execution = Execution(
            id=self._ids.next(now // 1_000_000),
            name=view.name,
            query_id=view.query_id,
            performance=performance,
            scenario=scenario,
            submitted=now,
            ready=now + self._duration(scenario.pending),
            free_ends=self._free_ends,
        )
        view.executions.append(execution)
        self._executions[execution.id] = execution
        insort(self._open, execution, key=attrgetter("ready"))
        if self.max_parallel is None:
            self._forecast(execution, starts=execution.ready)
        else:
            self._assign_slots(now)
        return execution

    def add_past(self, name: str, age: float) -> None:
        """Add a refresh that succeeded *age* seconds ago and was billed before this world began."""
        if not 0 <= age < math.inf:
            raise ValueError(f"age must be zero or more seconds, and finite, not {age!r}")
        view, scenario, ended = self.catalog.find(name), Scenario(), self.now() - round(age * 1e9)
        began = ended - self._duration(scenario.running)
        submitted = round(began - self._duration(scenario.pending))
        execution = Execution(
            id=UlidSequence().next(
                submitted // 1_000_000
            ),  # a sequence of its own, because the ids of this world only increase
            name=name,
            query_id=view.query_id,
            performance=None,
            scenario=scenario,
            submitted=submitted,
            ready=began,
            starts=began,
            ends=ended,
            billed=False,
        )
        insort(view.executions, execution, key=attrgetter("submitted"))
        self._executions[execution.id] = execution

    def cancel(self, execution_id: str) -> bool:
        """End an execution at its cost so far; return False where it had ended already."""
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
        """End an execution now, at its whole planned cost, as planned or with another *end*."""
        execution, now = self.execution(execution_id), self.now()
        if now >= execution.ends:
            raise ValueError(f"{execution_id} has ended already, as {execution.state(now)}")
        execution.scenario = attrs.evolve(execution.scenario, end=end or execution.scenario.end)
        execution.starts = min(execution.starts, now)
        execution.ends = now
        self._assign_slots(now)

    def queue(self, now: int) -> list[Execution]:
        """The executions that wait for their start, the next one first."""
        return [each for each in self._still_open(now) if now < each.starts]

    def running(self, now: int) -> list[Execution]:
        return [each for each in self._still_open(now) if now >= each.starts]

    def ledger(self) -> tuple[Charge, ...]:
        now = self.now()
        return tuple(each.charge(now) for each in self._executions.values() if each.billed)

    def rehearse(self, name: str, *scenarios: Scenario) -> None:
        self.catalog.find(name).scenarios.extend(scenarios)

    def set_sources(self, reader: Source, sources: Iterable[Source]) -> None:
        """Set the sources of a query; a view's name as the *reader* stands for its current query."""
        read = tuple(sources)
        for source in (reader, *read):
            if isinstance(source, str):
                self.catalog.find(source)
            else:
                self.catalog.add_query(source)
        query_id = self.catalog.find(reader).query_id if isinstance(reader, str) else reader
        self._lineage.set(query_id, read)

    def pipeline(self, query_id: int) -> tuple[Step, ...]:
        self.catalog.check_query(query_id)
        return self._lineage.pipeline(query_id)

    def _duration(self, seconds: float) -> Nanoseconds:
        return math.inf if math.isinf(seconds) else round(seconds / self._speed * 1e9)

    def _still_open(self, now: int) -> list[Execution]:
        self._open = [each for each in self._open if now < each.ends]
        return self._open

    def _forecast(self, execution: Execution, starts: Nanoseconds) -> None:
        execution.starts = starts
        execution.ends = starts + self._duration(execution.scenario.running)

    def _assign_slots(self, now: int) -> None:
        """Forecast the start of each waiting execution anew, where there is a limit: first ready, first served.

        Called after every event that was not in the forecast. It leaves executions that have started as they are.
        """
        if self.max_parallel is None:
            return
        free_from: list[Nanoseconds] = [each.ends for each in self.running(now)]
        free_from += [now] * (self.max_parallel - len(free_from))
        heapq.heapify(free_from)
        for waiting in self.queue(now):
            self._forecast(waiting, starts=max(waiting.ready, heapq.heappop(free_from)))
            heapq.heappush(free_from, waiting.ends)
