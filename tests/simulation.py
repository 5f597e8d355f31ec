"""Dune and time, simulated: flows run against it without a network and without waiting.

It knows effects and the operations' interface, and must not know how any flow decides.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import attrs

from dune_matviews import ExecutionState, ExecutionStatus, Matview, NotFoundError
from dune_matviews._api.operations import Operations
from dune_matviews._api.values import Definition, Page, Started, Stored, ViewHistory
from dune_matviews._execution.intents import unquoted
from dune_matviews._execution.pacing import Pace
from dune_matviews._execution.session import Session
from dune_matviews._flow.drivers import run, run_async
from dune_matviews._flow.effects import Call, Effect, Flow, Overlap, Result, Sleep, Work
from dune_matviews._http.rate_limits import RequestBudget, Turn

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
END = ExecutionState.COMPLETED


@attrs.define
class Execution:
    """One accepted refresh: what the real Dune would bill."""

    execution_id: str
    name: str
    performance: str | None
    submitted: float
    ends: float
    end: ExecutionState
    credits: float

    def share(self, now: float) -> float:
        """How much of it is over."""
        return 1.0 if now >= self.ends else (now - self.submitted) / (self.ends - self.submitted)


@attrs.frozen
class Seen:
    """One request that reached the simulated Dune."""

    at: float
    what: str


@attrs.frozen
class Fault:
    """A fault of one request: *error* in place of the response.

    *accepted*: Dune does its work all the same, *late* by so many seconds.
    """

    error: BaseException
    accepted: bool = False
    takes: float = 0.0
    late: float = 0.0


class Dune(Operations):
    """A simulated Dune, and the virtual time in which it lives."""

    def __init__(
        self,
        *,
        length: float = 5.0,
        end: ExecutionState = END,
        credits: float = 1.0,
        round_trip: float = 0.0,
        clock_offset: float = 0.0,
        client_offset: float = 0.0,
        listed_after: float = 0.0,
        known_after: float = 0.0,
        ulids: bool = False,
    ) -> None:
        self.now = 1000.0
        self.timeout = 10.0
        self.length, self.end, self.credits = length, end, credits
        self.round_trip, self.clock_offset, self.listed_after = round_trip, clock_offset, listed_after
        self.client_offset, self.known_after, self.ulids = client_offset, known_after, ulids
        self.scenarios: dict[str, tuple[float, ExecutionState, float]] = {}
        self.page_size = 2
        self.deleted: set[str] = set()
        self.definitions: dict[str, Definition] = {}
        self.seen: list[Seen] = []
        self.ledger: list[Execution] = []
        self.faults: Iterator[Fault | None] = iter(())
        self._failing: dict[str, Iterator[Fault | None]] = {}
        self._by_id: dict[str, Execution] = {}
        self._by_name: defaultdict[str, list[Execution]] = defaultdict(list)
        self._ids = count(1)
        self._flying: dict[int, dict[Any, tuple[float, Future[Any]]]] = {}

    def session(self, plan: RequestBudget | None = None, timeout: float = 10.0) -> Session:
        """A client's session in this virtual time, with middling luck."""
        self.timeout = timeout
        return Session(
            self,
            Pace(plan),
            timeout,
            clock=lambda: self.now,
            wall=lambda: EPOCH.timestamp() + self.client_offset + self.now,
            jitter=lambda: 0.5,
        )

    def fail(self, operation: str, *faults: Fault | None) -> None:
        """Let the next requests of one operation, "refresh" or "view", meet these faults."""
        self._failing[operation] = iter(faults)

    def rest(self, seconds: float) -> None:
        """Let time pass, as a driver's sleep."""
        self.now += seconds

    def run(self, flow: Flow[T]) -> T:
        """Carry out one flow in virtual time."""
        return self.run_together(flow)[0].result()

    def run_together(self, *flows: Flow[T]) -> list[Future[T]]:
        """Carry out flows side by side in virtual time."""
        results: list[Future[T]] = [Future() for _ in flows]
        waiting = [(self.now, place, _over(None)) for place in range(len(flows))]
        while waiting:
            at, place, effect = heapq.heappop(waiting)
            self.now = max(self.now, at)
            try:
                failure = effect.exception()
                following = flows[place].throw(failure) if failure else flows[place].send(effect.result())
            except StopIteration as stop:
                results[place].set_result(stop.value)
            except BaseException as failure:
                results[place].set_exception(failure)
            else:
                heapq.heappush(waiting, (*self._carry_out(following, place),))
        return results

    def _carry_out(self, effect: Effect, place: int) -> tuple[float, int, Future[Any]]:
        """When the effect is over, for which flow, and how it ends."""
        if isinstance(effect, Sleep):
            assert effect.seconds >= 0, "a flow asked to sleep for less than nothing"
            return self.now + effect.seconds, place, _over(None)
        if isinstance(effect, Overlap):
            flying = self._flying.setdefault(place, {})
            for key, task in effect.tasks.items():
                if key not in flying:
                    flying[key] = self._perform(task)
            at = min(self.now + effect.seconds, *(ends for ends, _ in flying.values()))
            for key in [key for key, (ends, _) in flying.items() if ends <= at]:
                effect.results[key] = _result(flying.pop(key)[1])
            return at, place, _over(None)
        ended, outcome = self._perform(effect)
        return ended, place, outcome

    def _perform(self, task: Call[Any] | Work[Any]) -> tuple[float, Future[Any]]:
        """When a call or work ends, and how; meanwhile, other flows go on."""
        began = self.now
        outcome: Future[Any] = Future()
        try:
            outcome.set_result(task.function() if isinstance(task, Work) else self.send(task))
        except BaseException as failure:
            outcome.set_exception(failure)
        ended, self.now = self.now, began
        return ended, outcome

    def send(self, call: Call[T]) -> T:
        """Carry out a call, as a transport: virtual time passes meanwhile."""
        if call.before is not None:
            call.before()
        return call.parse(call.request(call.timeout))

    async def send_async(self, call: Call[T]) -> T:
        """The same, as the drivers are handed it."""
        return self.send(call)

    # The operations, in place of those that reach a network.

    def refresh(self, name: str, performance: str | None) -> Call[Started]:
        return self._call(f"refresh {name}", lambda: Started(self._start(name, performance)))

    def status(self, execution_id: str, view: str | None = None) -> Call[ExecutionStatus]:
        return self._call(f"status {execution_id}", lambda: self._status(execution_id))

    def cancel(self, execution_id: str, view: str | None = None) -> Call[bool]:
        return self._call(f"cancel {execution_id}", lambda: self._cancel(execution_id))

    def history(self, name: str) -> Call[ViewHistory]:
        return self._call(f"view {name}", lambda: self._view(name))

    def upsert(self, view: Definition) -> Call[Started]:
        return self._call(f"upsert {view.name}", lambda: self._upsert(view))

    def stored(self, name: str) -> Call[Stored]:
        return self._call(f"stored {name}", lambda: self._stored(name))

    def page(self, offset: int) -> Call[Page]:
        return self._call(f"page {offset}", lambda: self._page(offset))

    def delete(self, name: str) -> Call[None]:
        return self._call(f"delete {name}", lambda: self._delete(name))

    def _call(self, what: str, work: Callable[[], T]) -> Call[T]:
        def perform(limit: float) -> T:
            fault = next(self._failing.get(what.partition(" ")[0], self.faults), None)
            self.seen.append(Seen(self.now, what))
            if fault is None:
                result = work()
                self.now += self.round_trip
                return result
            if fault.accepted:
                self.now += fault.late
                work()
                self.now -= fault.late
            self.now += min(fault.takes, limit, self.timeout)
            raise fault.error

        return Call(perform, lambda result: result)

    def _start(self, name: str, performance: str | None) -> str:
        execution_id = ulid(self._wall(self.now), next(self._ids)) if self.ulids else f"E{next(self._ids)}"
        name = unquoted(name)
        length, end, credits = self.scenarios.get(name, (self.length, self.end, self.credits))
        execution = Execution(execution_id, name, performance, self.now, self.now + length, end, credits)
        self.ledger.append(execution)
        self._by_id[execution_id] = execution
        self._by_name[name].append(execution)
        return execution_id

    def _execution(self, execution_id: str) -> Execution:
        execution = self._by_id.get(execution_id)
        if execution is None or self.now < execution.submitted + self.known_after:
            raise NotFoundError("Object not found", status_code=404)
        return execution

    def _status(self, execution_id: str) -> ExecutionStatus:
        execution = self._execution(execution_id)
        over = self.now >= execution.ends
        share = execution.share(self.now)
        return ExecutionStatus(
            execution_id=execution_id,
            state=execution.end if over else ExecutionState.EXECUTING,
            is_finished=over,
            submitted_at=self._wall(execution.submitted),
            started_at=self._wall(execution.submitted),
            ended_at=self._wall(execution.ends) if over else None,
            cost_credits=execution.credits * share,
        )

    def _cancel(self, execution_id: str) -> bool:
        execution = self._execution(execution_id)
        if self.now >= execution.ends:
            return False
        execution.credits *= execution.share(self.now)
        execution.ends, execution.end = self.now, ExecutionState.CANCELED
        return True

    def _view(self, name: str) -> ViewHistory:
        listed: Sequence[Execution] = [
            each for each in self._by_name[unquoted(name)] if self.now >= each.submitted + self.listed_after
        ]
        return ViewHistory(
            ids=tuple(each.execution_id for each in reversed(listed)),
            date=self._wall(self.now).replace(microsecond=0),  # a `Date` header has whole seconds
        )

    def _upsert(self, view: Definition) -> Started:
        full = f"dune.my_team.{view.name}"
        self.definitions[full] = view
        return Started(self._start(full, view.performance), full)

    def _stored(self, name: str) -> Stored:
        view = self.definitions.get(name)
        parts = {name: part for name, part in view._asdict().items() if name != "name"} if view else {}
        return Stored(name, parts, self._view(name))

    def _page(self, offset: int) -> Page:
        names = list(dict.fromkeys(each.name for each in self.ledger if self.now >= each.submitted + self.listed_after))
        views = tuple(Matview(name=name) for name in names[offset : offset + self.page_size])
        following = offset + self.page_size
        return Page(views, following if following < len(names) else None)

    def _delete(self, name: str) -> None:
        if name in self.deleted or not any(each.name == name for each in self.ledger):
            raise NotFoundError("Object not found", status_code=404)
        self.deleted.add(name)

    def _wall(self, moment: float) -> datetime:
        return EPOCH + timedelta(seconds=moment + self.clock_offset)


def driven_in_a_thread(dune: Dune, flow: Flow[T]) -> T:
    """Carry out a flow by the synchronous driver, in virtual time."""
    return run(flow, dune.send_async, sleep=dune.rest)


def driven_by_asyncio(dune: Dune, flow: Flow[T]) -> T:
    """Carry out a flow by the asynchronous driver, in virtual time."""

    async def rest(seconds: float) -> None:
        dune.rest(seconds)

    return asyncio.run(run_async(flow, dune.send_async, sleep=rest))


def ulid(made: datetime, number: int) -> str:
    """An id like Dune's, with its time of creation."""
    digits, value = "", (int(made.timestamp() * 1000) << 80) + number
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] + digits
    return digits


def _result(future: Future[Any]) -> Result[Any]:
    failure = future.exception()
    if failure is None:
        return Result(future.result())
    if isinstance(failure, Exception):
        return Result(failure=failure)
    raise failure


def _over(result: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def starts(turns: Iterable[Turn | None]) -> list[float]:
    """When each of these requests may leave."""
    return [turn.start for turn in turns if turn is not None]
