"""A hostile world in virtual time: processes that die, sleep and fork, a network that loses and delays, and a Dune that
lists late, hides, reorders and bills.

It knows effects, operations and stores, and must not know how any flow decides. What happens is a plain function of the
faults that it is given, so that a failing example shrinks.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import attrs

from dune_matviews import (
    ExecutionState,
    ExecutionStatus,
    Matview,
    NotFoundError,
    RateLimitError,
    RefreshReport,
    RequestFailedError,
)
from dune_matviews._api.operations import Operations
from dune_matviews._api.values import Definition, Page, Started, Stored, ViewHistory
from dune_matviews._core import Core
from dune_matviews._execution.file_store import FileStore
from dune_matviews._execution.intents import same_view
from dune_matviews._execution.journal import Journal
from dune_matviews._execution.pacing import Pace
from dune_matviews._execution.sending import PermitOverError
from dune_matviews._execution.session import Session
from dune_matviews._flow.effects import Call, Effect, Flow, Overlap, Result, Sleep, Work
from dune_matviews._http.rate_limits import RequestBudget
from dune_matviews._tiers import Tiers
from dune_matviews.errors import BadRequestError, ServerError

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BEGINNING = 10_000.0
TIMEOUT = 10.0
VIEWS = tuple(f"dune.my_team.result_{letter}" for letter in "abc")
LISTED = 10
"""Executions that a view lists at most."""
ENDLESS = 20_000
"""Steps after which a scenario would never end."""


def canonical(view: str) -> str:
    """The full name of a view, without quotes."""
    return next(each for each in VIEWS if same_view(each, view))


Key = tuple[str, str]
"""An intent: the journal and its run, or the call; and the view."""


class Post(NamedTuple):
    """What becomes of one request that is billed.

    Attributes:
        fate: whether it is accepted, and what comes back.
        queue: seconds before it leaves.
        travel: seconds from there until Dune has it.
        listed: seconds from its acceptance until the view lists its execution.
        known: seconds from its acceptance until the execution's status is no 404 any more.
        length: seconds that the execution takes.
        end: how it ends.
    """

    fate: Literal["responded", "accepted", "lost", "refused", "limited", "unconnected"] = "responded"
    queue: float = 0.0
    travel: float = 0.1
    listed: float = 0.0
    known: float = 0.0
    length: float = 20.0
    end: ExecutionState = ExecutionState.COMPLETED


Get = Literal["whole", "slow", "failed", "cached", "reversed", "forgetful", "unstated"]
"""What becomes of one request that reads."""

WHOLE: Get = "whole"
SLOW: Get = "slow"

Put = Literal["kept", "slow", "failed", "failed though kept"]
"""What becomes of one line that is appended to the store."""


@attrs.define(eq=False)
class Execution:
    """One accepted request: what Dune bills. *key* is the intent whose request it was, None where no client sent it."""

    execution_id: str
    view: str
    key: Key | None
    submitted: float
    ends: float
    listed: float
    known: float
    end: ExecutionState
    canceled_by: Job | None = None


class Request(NamedTuple):
    """A request as this world carries it out. *job* and *view* are those of one that is billed."""

    perform: Callable[..., Any]
    job: Job | None = None
    view: str = ""


Respond = Callable[[float, Callable[[], Result[Any]]], None]
"""Has a response arrive after so many seconds."""


class MemoryStore:
    """A journal of the caller's own that several processes share."""

    def __init__(self, world: World, puts: Iterable[Put] = ()) -> None:
        self.lines: list[str] = []
        self._world = world
        self.puts = iter(puts)

    def read(self) -> Iterable[str]:
        """Every line."""
        return list(self.lines)

    def append(self, line: str) -> None:
        """Keep the line, or fail, or both."""
        put = next(self.puts, "kept")
        self._world.lag = 40.0 if put == "slow" else 0.0
        if put != "failed":
            self.lines.append(line)
        if put.startswith("failed"):
            raise OSError("the store is not reached")


class _Gone:
    """The store of a process that was killed: nothing reaches it."""

    def read(self) -> Iterable[str]:
        """Nothing."""
        return ()

    def append(self, line: str) -> None:
        """Nothing."""


class _Operations(Operations):
    """Dune's operations in this world, as one process calls them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def refresh(self, name: str, performance: str | None) -> Call[Started]:
        job = self._world.running
        return Call(Request(Started, job, name), lambda result: result)

    def upsert(self, view: Definition) -> Call[Started]:
        job, full = self._world.running, f"dune.my_team.{view.name}"
        return Call(Request(lambda execution_id: Started(execution_id, full), job, full), lambda result: result)

    def status(self, execution_id: str, view: str | None = None) -> Call[ExecutionStatus]:
        return self._read(lambda: self._world.status(execution_id))

    def cancel(self, execution_id: str, view: str | None = None) -> Call[bool]:
        job = self._world.running
        return self._read(lambda: self._world.cancel(execution_id, job))

    def history(self, name: str) -> Call[ViewHistory]:
        return self._read(lambda: self._world.history(name))

    def stored(self, name: str) -> Call[Stored]:
        return self._read(lambda: Stored(name, {}, self._world.history(name)))

    def page(self, offset: int) -> Call[Page]:
        return self._read(lambda: Page(tuple(Matview(name=name) for name in VIEWS), None))

    def _read(self, perform: Callable[[], Any]) -> Call[Any]:
        return Call(Request(perform), lambda result: result)


@attrs.define(eq=False)
class Job:
    """One call of one process."""

    process: Process
    flow: Flow[Any]
    key: str
    options: dict[str, Any] = attrs.field(factory=dict)
    began: float = 0.0
    fates: list[tuple[str, str]] = attrs.field(factory=list)
    execution: Any = None
    result: Any = None
    failure: BaseException | None = None
    is_over: bool = False
    unrecorded: bool = False
    flying: dict[Any, Any] = attrs.field(factory=dict)
    overlap: int = 0

    def intent(self, view: str) -> Key:
        """The intent of this call for the view."""
        return self.key, canonical(view)


class _Core(Core):
    """A client's core that knows the journals it has open, as the system knows a process's files."""

    def journal(self, store: Any, label: str | None) -> Journal | None:
        journal = super().journal(store, label)
        if journal is not None:
            cast(Any, self.settings).append(journal)
        return journal


DEFAULTS = {"timeout": None, "if_running": "start", "if_lost": "raise", "retry_failed": False}


def refresh(
    core: Core, name: str, *, performance: Any = None, journal: Any = None, run: Any = None, **terms: Any
) -> Flow[Any]:
    """The flow of a client's `refresh`."""
    return core.refresh(name, performance, core.terms(**(DEFAULTS | terms)), core.journal(journal, run))


def refresh_all(
    core: Core, views: object, *, journal: Any = None, run: Any = None, **options: Any
) -> Flow[RefreshReport]:
    """The flow of a client's `refresh_all`."""
    limits = {name: options.pop(name, None) for name in ("max_credits", "max_age")}
    limits |= {"max_parallel": options.pop("max_parallel", 3)}
    terms = core.terms(**(DEFAULTS | options))
    return core.refresh_all(views, None, core.limits(terms=terms, **limits), None, core.journal(journal, run), None)


@attrs.define(eq=False)
class Process:
    """One process with one client."""

    world: World
    skew: float = 0.0
    counts_sleep: bool = False
    slept: float = 0.0
    asleep_until: float = 0.0
    is_alive: bool = True
    steps: int = 0
    fate: tuple[int, str, bool] | None = None
    journals: list[Journal] = attrs.field(factory=list)
    jobs: list[Job] = attrs.field(factory=list)
    session: Session = attrs.field(init=False)
    core: Core = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.session = Session(
            _Operations(self.world),
            Pace(RequestBudget(low=15, high=150)),
            TIMEOUT,
            clock=self.clock,
            wall=self.wall,
            jitter=lambda: 0.5,
        )
        self.core = _Core(cast(Any, None), self.session, cast(Any, self.journals), Tiers(None, "allow"))

    def clock(self) -> float:
        """The monotonic clock, which need not count the time that the machine was asleep."""
        return self.world.now - (0.0 if self.counts_sleep else self.slept)

    def wall(self) -> float:
        """The wall clock."""
        return EPOCH.timestamp() + self.world.now + self.skew

    def suspend(self, seconds: float) -> None:
        """Stop everything in this process for a while."""
        self.slept += max(self.world.now + seconds - max(self.asleep_until, self.world.now), 0.0)
        self.asleep_until = max(self.asleep_until, self.world.now + seconds)

    def kill(self) -> None:
        """End at once: nothing that the flows would do at their end is done, and the system takes back the files."""
        self.is_alive = False
        for journal in self.journals:
            if isinstance(journal._store, FileStore):
                journal._store.unlock()
            journal._store = _Gone()

    def fork(self) -> Process:
        """A child with this process's memory, and none of its calls."""
        child = Process(self.world, self.skew, self.counts_sleep, self.slept)
        mine, its = self.session.intents, child.session.intents
        vars(its).update({name: copy.copy(value) for name, value in vars(mine).items() if name != "_lock"})
        its._open = [copy.copy(each) for each in mine._open]
        child.session.start_over()
        return child


class World:
    """Time, the network and Dune."""

    def __init__(
        self,
        posts: Iterable[Post] = (),
        gets: Iterable[Get] = (),
        *,
        ulids: bool = True,
        ahead: float = 0.0,
    ) -> None:
        self.now = BEGINNING
        self.posts, self.gets = iter(posts), iter(gets)
        self.get = WHOLE
        self.lag = 0.0
        self.ulids, self.ahead = ulids, ahead
        self.ledger: list[Execution] = []
        self.seen: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.running: Job | None = None
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def process(self, skew: float = 0.0, counts_sleep: bool = False) -> Process:
        """A process more."""
        self.processes.append(Process(self, skew, counts_sleep))
        return self.processes[-1]

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.posts, self.gets = iter(()), iter(())

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Do something at that moment."""
        heapq.heappush(self._events, (max(moment, self.now), next(self._order), action))

    def run(self) -> None:
        """Let everything happen that is going to happen."""
        for _ in range(ENDLESS):
            if not self._events:
                return
            self.now, _number, action = heapq.heappop(self._events)
            action()
        raise AssertionError("the scenario does not end")

    def begin(self, process: Process, key: str, flow: Callable[[Job], Flow[Any]], **options: Any) -> Job:
        """Have a process make a call."""
        job = Job(process, cast(Any, None), key, options, self.now)
        job.flow = flow(job)
        process.jobs.append(job)
        self._resume(job, Result())
        return job

    def schedule(self, view: str, first: float, period: float, count: int) -> None:
        """Dune starts executions by itself."""
        for number in range(count):
            self.at(first + number * period, lambda: self.accept(view, None, Post()))

    # Processes.

    def _soon(self, job: Job, moment: float, result: Result[Any] | BaseException) -> None:
        self.at(moment, lambda: self._resume(job, result))

    def _resume(self, job: Job, result: Result[Any] | BaseException) -> None:
        process = job.process
        if not process.is_alive or job.is_over:
            return None
        if process.asleep_until > self.now:
            return self._soon(job, process.asleep_until, result)
        failure = result if isinstance(result, BaseException) else result.failure
        outer, self.running = self.running, job
        try:
            effect = job.flow.throw(failure) if failure else job.flow.send(cast(Result[Any], result).result)
        except StopIteration as stop:
            job.result, job.is_over = stop.value, True
        except BaseException as ended:
            if isinstance(ended, AssertionError):
                raise
            job.failure, job.is_over = ended, True
        else:
            self._carry_out(job, effect)
        finally:
            self.running = outer

    def _carry_out(self, job: Job, effect: Effect) -> None:
        process = job.process
        process.steps += 1
        if process.fate is not None and process.steps > process.fate[0]:
            _, kind, is_carried_out = process.fate
            process.fate = None
            if is_carried_out:
                self._perform_all(job, effect)
            if kind == "killed":
                process.kill()
            else:
                job.overlap += 1
                self._resume(job, KeyboardInterrupt())
            return
        self._perform_all(job, effect)

    def _perform_all(self, job: Job, effect: Effect) -> None:
        if isinstance(effect, Sleep):
            assert effect.seconds >= 0, "a flow asked to sleep for less than nothing"
            return self._soon(job, self.now + effect.seconds, Result())
        if not isinstance(effect, Overlap):
            job.overlap += 1
            number = job.overlap
            return self._perform(job, effect, lambda result: self._resume_once(job, number, result))
        job.overlap += 1
        number = job.overlap

        def go_on() -> None:
            self._resume_once(job, number, Result())

        def arrive(key: Any, result: Result[Any]) -> None:
            job.flying.pop(key, None)
            effect.results[key] = result
            job.flying["wake"]()

        job.flying["wake"] = go_on
        for key, task in effect.tasks.items():
            if key not in job.flying:
                job.flying[key] = True
                self._perform(job, task, partial(arrive, key))
        if effect.seconds < 1e9:
            self.at(self.now + effect.seconds, go_on)
        return None

    def _resume_once(self, job: Job, number: int, result: Result[Any]) -> None:
        if job.overlap == number:
            job.overlap += 1
            self._resume(job, result)

    def _perform(self, job: Job, task: Call[Any] | Work[Any], done: Callable[[Result[Any]], object]) -> None:
        """Carry out a call or work; the process hears of its end when it is awake."""
        if isinstance(task, Work):
            try:
                result: Result[Any] = Result(task.function())
            except Exception as failure:
                job.unrecorded = True
                result = Result(failure=failure)
            lag, self.lag = self.lag, 0.0
            self.at(self.now + lag, lambda: self._hand(job, lambda: done(result)))
            return
        request: Request = task.request
        post = next(self.posts, Post()) if request.job is not None else None
        queue = 0.0 if post is None else post.queue
        limit = min(task.timeout, TIMEOUT)
        self.at(self.now + queue, lambda: self._hand(job, lambda: self._leave(job, task, post, limit, done)))

    def _hand(self, job: Job, action: Callable[[], object]) -> None:
        """Do something in a job's process: not if it is dead, later if it is asleep."""
        if job.process.asleep_until > self.now:
            self.at(job.process.asleep_until, lambda: self._hand(job, action))
        elif job.process.is_alive and not job.is_over:
            outer, self.running = self.running, job
            try:
                action()
            finally:
                self.running = outer

    def _leave(
        self, job: Job, task: Call[Any], post: Post | None, limit: float, done: Callable[[Result[Any]], object]
    ) -> None:
        """The request leaves now, if it still may."""
        request: Request = task.request

        def respond(seconds: float, result: Callable[[], Result[Any]]) -> None:
            late = Result[Any](failure=RequestFailedError("no response in time", sent=True))
            outcome = result if seconds <= limit else lambda: late
            self.at(self.now + min(seconds, limit), lambda: self._hand(job, lambda: done(_parsed(task, outcome()))))

        try:
            if task.before is not None:
                task.before()
        except Exception as prevented:
            self.seen["permit over"] += isinstance(prevented, PermitOverError)
            done(Result(failure=prevented))
        else:
            if post is None:
                respond(*self._read(request))
            else:
                self._send(job, request, post, respond)

    def _send(self, job: Job, request: Request, post: Post, respond: Respond) -> None:
        key, started = job.intent(request.view), list[str]()
        job.fates.append((key[1], post.fate))
        if job.options.get("if_running") == "adopt" and any(
            each.view == key[1] and max(each.listed, each.known) <= self.now < each.ends for each in self.ledger
        ):
            self.seen["order violation avoided"] += 1
        if post.fate in ("responded", "accepted"):
            accept = lambda: started.append(self.accept(request.view, key, post).execution_id)  # noqa: E731
            self.at(self.now + post.travel, accept)
        if post.fate == "responded":
            respond(2 * post.travel, lambda: Result(request.perform(started[0])))
        else:
            respond(min(post.travel, 1.0), lambda: Result(failure=_FAILURES[post.fate]()))

    def _read(self, request: Request) -> tuple[float, Callable[[], Result[Any]]]:
        self.get = next(self.gets, WHOLE)
        try:
            if self.get == "failed":
                raise ServerError("no", status_code=503)
            result: Result[Any] = Result(request.perform())
        except Exception as failure:
            result = Result(failure=failure)
        return (9.0 if self.get == "slow" else 0.1), lambda: result

    # Dune.

    def accept(self, view: str, key: Key | None, post: Post, submitted: float | None = None) -> Execution:
        """Start an execution, and bill it."""
        now = self.now if submitted is None else submitted
        ends, listed, known = (now + each for each in (post.length, post.listed, post.known))
        self.ledger.append(Execution(self._id(now), canonical(view), key, now, ends, listed, known, post.end))
        return self.ledger[-1]

    def execution(self, execution_id: str) -> Execution:
        """The execution of that id."""
        return next(each for each in self.ledger if each.execution_id == execution_id)

    def status(self, execution_id: str) -> ExecutionStatus:
        """The state of an execution, which may be unknown for a while."""
        found = self.execution(execution_id)
        if self.now < found.known:
            raise NotFoundError("Object not found", status_code=404)
        is_over = self.now >= found.ends
        return ExecutionStatus(
            execution_id=execution_id,
            state=found.end if is_over else ExecutionState.EXECUTING,
            is_finished=is_over,
            submitted_at=_moment(found.submitted),
            started_at=_moment(found.submitted),
            ended_at=_moment(found.ends) if is_over else None,
            cost_credits=min(self.now - found.submitted, found.ends - found.submitted),
        )

    def cancel(self, execution_id: str, job: Job | None) -> bool:
        """Cancel an execution."""
        found = self.execution(execution_id)
        if self.now >= found.ends:
            return False
        found.ends, found.end, found.canceled_by = self.now, ExecutionState.CANCELED, job
        return True

    def history(self, view: str) -> ViewHistory:
        """The executions that the view lists."""
        at = self.now - 100.0 if self.get == "cached" else self.now
        listed = sorted(
            (each for each in self.ledger if each.view == canonical(view) and each.listed <= at), key=_by_age
        )
        ids = [each.execution_id for each in listed[:LISTED] if self.get != "forgetful" or each.submitted >= BEGINNING]
        return ViewHistory(
            ids=() if self.get == "unstated" else tuple(reversed(ids) if self.get == "reversed" else ids),
            date=_moment(at + self.ahead).replace(microsecond=0),  # a `Date` header has whole seconds
            is_stated=self.get != "unstated",
            is_cached=self.get == "cached",
        )

    def _id(self, moment: float) -> str:
        number = len(self.ledger)
        if not self.ulids:
            return f"E{number}"
        left, text = (int(_moment(moment).timestamp() * 1000) << 80) + number, ""
        for _ in range(26):
            left, digit = divmod(left, 32)
            text = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] + text
        return text


_FAILURES: dict[str, Callable[[], Exception]] = {
    "refused": lambda: BadRequestError("no", status_code=400),
    "limited": lambda: RateLimitError("too many", status_code=429, retry_after=2.0),
    "unconnected": lambda: RequestFailedError("no connection"),
    "lost": lambda: ServerError("no", status_code=502),
    "accepted": lambda: RequestFailedError("reset", sent=True),
}


def _parsed(task: Call[Any], result: Result[Any]) -> Result[Any]:
    return result if result.failure else Result(task.parse(result.result))


def _moment(now: float) -> datetime:
    return EPOCH + timedelta(seconds=now)


def _by_age(execution: Execution) -> float:
    return -execution.submitted
