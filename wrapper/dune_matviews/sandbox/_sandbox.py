"""Knows how world, API, faults and server make one sandbox under one lock, and records the requests.
Must not decide on any response, state or cost itself."""

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

    *id* is the header X-Request-Id of the response; *at* is an aware datetime of the sandbox's clock.
    *path* and *query* are raw, still percent-encoded; names of *headers* are in lower case.
    *operation* is one of the words for `DuneSandbox.fail`; None where path and method name no operation, or the header
    Host names another host than this machine.
    *body* is empty where the sandbox refused the request (4xx): it keeps no content of such requests.
    *status* is the status code of the response, None as long as none has left.
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

    *views* are the full names of the views that exist; with None, each view exists from its first mention until it is
    deleted.
    *api_key* is the only key that is accepted, and only in the header X-Dune-Api-Key.
    *speed* divides the durations of scenarios (100: one of 5 seconds takes 50 milliseconds); the clock itself stays
    the wall clock, so that timestamps and Date headers are true.
    *default* is the scenario of an execution for which none was rehearsed.
    *max_parallel* is the number of executions that run at the same time, while others wait; None is no limit.
    *plan* limits the requests per minute: "free" and "analyst" (15 low, 40 high), "plus" (70, 200), "enterprise"
    (350, 1000), or two numbers (low, high); None is no limit. Refresh, upsert and delete are low, all others high. The
    headers RateLimit-Policy and RateLimit of each response to the right key report the budget. A request over budget
    is refused (429, with Retry-After) and not counted; all others with the right key are, also those that are refused
    for another reason (400, 403, 404). The minute is one of the sandbox's clock: `advance()` ends it, *speed* does not
    shorten it. On the plan "free", the tiers `medium` and `large` are refused.
    *small* says whether the tier `small` is accepted: Dune's documentation says both.
    *free_ends* are the kinds of end (see Scenario) that are not billed. Dune's pages contradict each other on failures:
    by default they are free, as on the newer pages, while an execution that is cancelled or expires costs its credits
    so far.
    *team* is the account's part of the full name of a view that it creates: dune.TEAM.NAME.
    *credits_included* are the credits included in each billing period, for the usage report. A period is a month of the
    sandbox's clock. Nothing is refused when they are spent.
    *port* 0 is any free port.

    The sandbox stores and reports schedules, with the time of the next refresh, but never acts on them: otherwise the
    costs of a test would depend on the minute in which it runs.

    All methods may be called from several threads. Raises ValueError for numbers out of range, and OSError where the
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
        """Close every socket and end every thread. The ledger and the requests stay readable."""
        self._server.close()

    def add_view(self, name: str, *, owned: bool = True, age: float | None = None) -> None:
        """Add a view, by its full name, to the account or, with *owned* False, to another one.

        Requests for a view of another account are refused (403), and no list has it. Of a view that exists already,
        only the owner changes. *age* is the number of seconds since its last refresh, which succeeded; None adds no
        refresh. That refresh was billed before this sandbox began, and is in no ledger.
        """
        with self._present():
            self._world.catalog.add(name, owned=owned)
            if age is not None:
                self._world.add_past(name, age)

    def reads(self, reader: str | int, *sources: str | int) -> None:
        """Set the sources of a query, in place of earlier ones: the lineage that Dune reports.

        A text is a materialized view, by its full name; a number is a query whose result another one reads directly. A
        view as the *reader* stands for its current query: after an upsert with another query, the view has the sources
        of that one, as at Dune:

            >>> sandbox.reads("dune.my_team.result_daily", "dune.my_team.result_base", 4711)
            >>> sandbox.reads(4711, "dune.my_team.result_raw")

        Circles are possible. Raises UnknownObjectError for a view that does not exist.
        """
        with self._present():
            self._world.set_sources(reader, sources)

    def rehearse(self, name: str, *scenarios: Scenario) -> None:
        """Give each of the next executions of a view one of *scenarios*, after those rehearsed earlier.

        Raises UnknownObjectError for a view that does not exist.
        """
        with self._present():
            self._world.rehearse(name, *scenarios)

    def fail(self, operation: str | None, *faults: Fault) -> None:
        """Give each of the next requests of an operation one of *faults*, after those rehearsed earlier.

        *operation* is "list", "upsert", "get", "delete" or "refresh" (of views), "status" or "cancel" (of an
        execution), "pipeline" (of a query), "usage" or "whoami". None is any of these; its faults come after those of
        the operation itself. A fault meets the next request whose path and method name the operation, with any key and
        any body. No budget counts a request that the fault keeps from Dune.
        Raises ValueError for another word.
        """
        with self._present():
            self._faults.add(operation, faults)

    @property
    def pending_faults(self) -> tuple[tuple[str | None, Fault], ...]:
        """The faults that no request has met so far, as pairs of operation and fault.

        A test that ends with some of them does not cover them. The fixture `dune_sandbox` fails such a test.
        """
        with self._present():
            return self._faults.pending()

    def advance(self, seconds: float) -> None:
        """Advance the clock by *seconds*. At speed 100, scenarios advance by a hundred times as much."""
        with self._present():
            self._world.advance(seconds)

    def finish(self, execution_id: str, end: str | None = None) -> None:
        """End an execution now, at its whole planned cost, as planned or with another *end* (see Scenario).

        An end that is not billed costs nothing here either.

        Raises UnknownObjectError for an execution that does not exist, and ValueError for one that has ended.
        """
        with self._present():
            self._world.finish(execution_id, end)

    @property
    def ledger(self) -> tuple[Charge, ...]:
        """The bill so far: one charge for each accepted refresh or upsert, in order of acceptance."""
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
        except Exception as error:  # the client gets a response in any case
            return error_response(500, f"this is a bug in the sandbox: {error!r}")
        if response.status >= 400:
            self._requests[place] = attrs.evolve(self._requests[place], body=b"")
        return response

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Let one thread at a time, users and requests alike, act on the present, in which no late work is overdue."""
        with self._lock:
            self._late.catch_up(self._world.now())
            yield

    def _note_status(self, place: int, status: int) -> None:
        with self._lock:
            self._requests[place] = attrs.evolve(self._requests[place], status=status)
