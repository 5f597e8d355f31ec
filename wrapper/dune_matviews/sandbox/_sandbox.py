"""Knows how world, API, faults and server make one sandbox under one lock, and keeps what arrived.
Must not decide any answer, state or cost itself."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import formatdate
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Self

import attrs

from ._api import Api, named_operation
from ._budgets import Budgets
from ._delivery import Delivery
from ._execution import Charge, moment
from ._faults import NO_FAULT, Fault, FaultQueue, LateWork, response_under
from ._http import Request, Response, changed_headers, error_response
from ._operations import OPERATIONS, Account
from ._scenarios import DEFAULT_SCENARIO, Scenario
from ._server import HOST, Server
from ._world import World


@attrs.frozen
class ReceivedRequest:
    """One request as it arrived, accepted or not.

    *id* is what the answer's header X-Request-Id said; *at* is an aware datetime of the sandbox's clock.
    *path* and *query* are raw, still percent-encoded; names of *headers* are in lower case.
    *operation* is a word of those that `DuneSandbox.fail` takes; None where path and method are those of none, or the
    header Host names another host than this machine.
    *body* is empty where the sandbox refused the request (4xx), so that nothing of what is refused is kept.
    *status* is the status code that the client was sent, None as long as no answer has left.
    """

    id: str
    at: datetime
    operation: str | None
    method: str
    path: str
    query: str
    headers: Mapping[str, str] = attrs.field(repr=False)  # they hold the key, which no test report should show
    body: bytes
    status: int | None


class DuneSandbox:
    """A stand-in for Dune's API that listens on this machine from its creation until `close()`.

    *views* are the full names that exist; None lets any view exist that is named, from then until it is deleted.
    *api_key* is the one key that is accepted, in the header X-Dune-Api-Key only.
    *speed* divides the durations of scenarios (100: one of 5 seconds takes 50 milliseconds); the clock itself stays
    the wall clock, so that timestamps and Date headers are true.
    *default* is what an execution does for which nothing was planned.
    *max_parallel* is how many executions run at the same time, the others wait; None is no limit.
    *plan* limits the requests a minute: "free" and "analyst" (15 low, 40 high), "plus" (70, 200), "enterprise"
    (350, 1000) or numbers of your own, (low, high); None is no limit. Refresh, upsert and delete are low, all else is
    high. Each response with the right key tells what is left, in the headers RateLimit-Policy and RateLimit. A request
    past the budget is answered 429 with Retry-After and does not count; any other with the right key does, also one
    that is refused (400, 403, 404). The minute is one of the sandbox's clock, so that `advance()` ends it and *speed*
    does not shorten it. On the plan "free", the tiers `medium` and `large` are refused.
    *small* says whether the tier `small` is accepted: Dune's documentation says both.
    *free_ends* are the kinds of end (see Scenario) that are not billed. Dune's pages contradict each other on failures;
    by default they are free, as its newer ones say, and what is cancelled or expires costs what it has used.
    *team* is the account's part of the full name that a created view gets: dune.TEAM.NAME.
    *credits_included* is what usage reports as included in each billing period, which is a month of the sandbox's
    clock; nothing is refused when it is spent.
    *port* 0 is any free port.

    A view's schedule is kept and told, with the time at which it is due next; the sandbox never acts on it, because a
    test would then pay or not pay by the minute at which it happens to run.

    All of it may be used from several threads. Raises ValueError for numbers out of range and OSError where the
    port is taken.
    """

    def __init__(
        self,
        views: Iterable[str] | None = None,
        *,
        api_key: str = "sandbox-key",
        speed: float = 1.0,
        default: Scenario = DEFAULT_SCENARIO,
        max_parallel: int | None = None,
        plan: str | tuple[int, int] | None = None,
        small: bool = True,
        free_ends: Iterable[str] = ("failed",),
        team: str = "my_team",
        credits_included: float = 2500.0,
        port: int = 0,
    ) -> None:
        self.api_key = api_key
        self._lock = Lock()
        self._world = World(views, speed=speed, default=default, max_parallel=max_parallel, free_ends=free_ends)
        account = Account(
            key=api_key,
            team=team,
            tiers=("free", *(["small"] if small else []), "medium", "large"),
            refused=("medium", "large") if plan == "free" else (),
            credits_included=credits_included,
        )
        self._api = Api(self._world, account, Budgets(plan))
        self._faults = FaultQueue(each.name for each in OPERATIONS)
        self._late = LateWork()
        self._requests: list[ReceivedRequest] = []
        self._server = Server(self._respond, port)
        self.url = f"http://{HOST}:{self._server.port}"

    def __repr__(self) -> str:
        return f"<DuneSandbox {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every socket and ends every thread. The ledger and the requests stay readable."""
        self._server.close()

    def add_view(self, name: str, *, owned: bool = True, age: float | None = None) -> None:
        """Lets a view exist, by its full name, in the account or, with *owned* False, in another one.

        A view of another account is answered 403, and is in no list. One that exists already only changes its owner.
        *age* is how many seconds ago it was last refreshed, with success; None adds no refresh. It was billed before
        this sandbox began, and is in no ledger.
        """
        with self._present():
            self._world.catalog.add(name, owned=owned)
            if age is not None:
                self._world.add_past(name, age)

    def reads(self, reader: str | int, *sources: str | int) -> None:
        """Says what a query reads, in place of what was said before: the lineage that Dune knows of it.

        A text is a materialized view, by its full name; a number is a query, whose result others read without a view
        between. A view as the *reader* stands for the query that it has now; an upsert with another query changes what
        the view reads, as it does at Dune:

            sandbox.reads("dune.my_team.result_daily", "dune.my_team.result_base", 4711)
            sandbox.reads(4711, "dune.my_team.result_raw")

        Circles are possible. Raises UnknownObjectError where a view does not exist.
        """
        with self._present():
            self._world.set_sources(reader, sources)

    def rehearse(self, name: str, *scenarios: Scenario) -> None:
        """Says what the next executions of a view do, one scenario each, after those planned before.

        Raises UnknownObjectError where the view does not exist.
        """
        with self._present():
            self._world.rehearse(name, *scenarios)

    def fail(self, operation: str | None, *faults: Fault) -> None:
        """Says what goes wrong with the next requests of an operation, one fault each, after those planned before.

        *operation* is "list", "upsert", "get", "delete" or "refresh" (of views), "status" or "cancel" (of an
        execution), "pipeline" (of a query), "usage" or "whoami". None is any of these; its faults come after those of
        the operation itself. A fault meets the next request that path and method lead to the operation, whatever key or
        body that has. Where Dune does not do its work, no budget counts the request.
        Raises ValueError for another word.
        """
        with self._present():
            self._faults.add(operation, faults)

    @property
    def pending_faults(self) -> tuple[tuple[str | None, Fault], ...]:
        """The faults that no request has met so far, each after the operation that it was said for.

        A test that ends with some has not tested what it rehearsed. The fixture `dune_sandbox` fails such a test.
        """
        with self._present():
            return self._faults.pending()

    def advance(self, seconds: float) -> None:
        """Lets so many seconds of the clock pass at once: at speed 100, a hundred times as much of every scenario."""
        with self._present():
            self._world.advance(seconds)

    def finish(self, execution_id: str, end: str | None = None) -> None:
        """Ends an execution now, at the whole cost that was planned, as planned or with another *end* (see Scenario).

        An end that is not billed costs nothing all the same.

        Raises UnknownObjectError for an execution that does not exist, ValueError for one that has ended.
        """
        with self._present():
            self._world.finish(execution_id, end)

    @property
    def ledger(self) -> tuple[Charge, ...]:
        """What Dune would bill by now: one charge for each accepted refresh or upsert, in order of acceptance."""
        with self._present():
            return self._world.ledger()

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Every request that arrived, accepted or refused, in order."""
        with self._present():
            return tuple(self._requests)

    def _respond(self, request: Request) -> Delivery:
        with self._present():
            now, place = self._world.now(), len(self._requests)
            operation = named_operation(request)
            received = ReceivedRequest(
                id=f"sandbox-request-{place + 1}",
                at=moment(now),
                operation=operation,
                method=request.method,
                path=request.path,
                query=request.query,
                headers=request.headers,
                body=request.body,
                status=None,
            )
            self._requests.append(received)
            fault = self._faults.take(operation) if operation else NO_FAULT
            work = partial(self._true_response, request, place)
            response = response_under(fault, work)
            if fault.late:
                self._late.add(now + fault.late * 1e9, work)
            date = formatdate(self._world.now() // 1_000_000_000, usegmt=True)
        if response is None:
            return Delivery(None, fault)
        headers = {**response.headers, "Date": date, "X-Request-Id": received.id}
        response = attrs.evolve(response, headers=changed_headers(headers, fault.headers))
        return Delivery(response, fault, partial(self._note_status, place, response.status))

    def _true_response(self, request: Request, place: int) -> Response:
        try:
            response = self._api.respond(request)
        except Exception as error:  # whatever went wrong here, the client gets an response
            return error_response(500, f"the sandbox itself is at fault: {error!r}")
        if response.status >= 400:
            self._requests[place] = attrs.evolve(self._requests[place], body=b"")
        return response

    @contextmanager
    def _present(self) -> Iterator[None]:
        """What users and requests want is done in here: by one thread at a time, and after whatever is overdue."""
        with self._lock:
            self._late.catch_up(self._world.now())
            yield

    def _note_status(self, place: int, status: int) -> None:
        with self._lock:
            self._requests[place] = attrs.evolve(self._requests[place], status=status)
