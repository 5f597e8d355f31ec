"""Costs in numbers that are the same on any machine: today's figures are the ceiling.

Times are measured by `make bench`. Here are what they come from: modules, requests, calls of functions, memory, polls.
Who lowers a figure lowers its ceiling; who has a reason to raise one says it where it stands.
"""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import dune_api
import dune_matviews
from dune_matviews import MatviewsClient
from dune_matviews._batch.graph import reads
from dune_matviews._batch.run import Run
from dune_matviews._batch.view import Limits, Plan
from dune_matviews._execution.watching import Watch, watch
from dune_matviews._flow.effects import Sleep
from dune_matviews._http.rate_limits import PLANS
from dune_matviews.report import ViewResult
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.counting import calls
from tests.execution.refreshing import refresh, started
from tests.simulation import Dune

VIEW = "dune.my_team.result_daily_volume"
OURS = tuple(str(Path(str(package.__file__)).parent) for package in (dune_matviews, dune_api))

ROOT = Path(__file__).parent.parent

Connect = Callable[..., Any]


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A Dune in which every execution is over at once, unless something else is rehearsed."""
    with DuneSandbox(default=Scenario(pending=0, running=0)) as running:
        yield running


def test_importing_takes_few_modules() -> None:
    """The package alone takes next to nothing, and the client's class nothing that only a request needs."""
    alone = modules("import dune_matviews")
    assert foreign(alone) == {"dune_matviews", "dune_matviews.errors", "dune_matviews.remedies"}
    assert len(alone) <= 39
    with_client = modules("from dune_matviews import MatviewsClient")
    assert {name.split(".")[0] for name in foreign(with_client)} == {"dune_matviews", "attr", "attrs"}
    assert len(with_client) <= 164  # some of them the standard library's, which imports more in newer versions


def test_a_first_refresh_takes_its_own_models_only(sandbox: DuneSandbox) -> None:
    """A start takes the models of starting, finding and polling an execution, and no others of the spec."""
    client = f"MatviewsClient({sandbox.api_key!r}, base_url={sandbox.url!r})"
    loaded = foreign(modules(f"from dune_matviews import MatviewsClient; {client}.refresh({VIEW!r})"))
    assert len(sandbox.ledger) == 1
    assert {name for name in loaded if name.startswith("dune_api.api.materialized_views.")} == {
        "dune_api.api.materialized_views.get_materialized_view",  # the history before the request
        "dune_api.api.materialized_views.list_materialized_views",  # loaded before money is spent, for recoveries
        "dune_api.api.materialized_views.refresh_materialized_view",
    }
    found = {name.rpartition(".")[2] for name in loaded if name.startswith("dune_api.models.")}
    assert {"refresh_response", "execution_status_response"} <= found
    assert not {name for name in found if name.startswith(("usage", "billing", "pipeline", "who", "delete"))}


def modules(code: str) -> set[str]:
    """The modules that a new process imports for *code*, beyond those of Python itself."""
    program = (
        f"import sys; before = set(sys.modules); sys.path += {sys.path!r}; {code}; print(*set(sys.modules) - before)"
    )
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    return set(shown.stdout.split())


def foreign(names: set[str]) -> set[str]:
    """Of these modules, those that are not Python's own."""
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


REQUESTS: dict[str, tuple[Callable[[Any], object], int]] = {
    "refresh": (lambda dune: dune.refresh(VIEW), 2),  # with the history before it, which costs nothing
    "refresh, adopting": (lambda dune: dune.refresh(VIEW, if_running="adopt"), 2),
    "attach": (lambda dune: dune.attach("E"), 0),
    "get": (lambda dune: dune.get(VIEW), 1),
    "list": (lambda dune: list(dune.list()), 1),
    "upsert, of a new view": (lambda dune: dune.upsert("result_other", 4321), 2),  # the list tells that it is new
    "upsert, of a view": (lambda dune: dune.upsert("result_daily_volume", 4321), 3),  # and the history, if it is not
    "update": (lambda dune: dune.update(VIEW, is_private=True), 3),
    "lineage": (lambda dune: dune.lineage(VIEW), 2),
    "delete": (lambda dune: dune.delete(VIEW), 1),
    "freshness": (lambda dune: dune.freshness(VIEW), 2),
    "usage": (lambda dune: dune.usage(), 1),
}


@pytest.mark.parametrize(("operation", "ceiling"), REQUESTS.values(), ids=REQUESTS)
def test_an_operation_makes_no_more_requests_than_it_must(
    connect: Connect, sandbox: DuneSandbox, operation: Callable[[Any], object], ceiling: int
) -> None:
    """Where nothing goes wrong, each operation has its number of requests."""
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    dune.refresh(VIEW)
    before = len(sandbox.requests)
    operation(dune)
    assert len(sandbox.requests) - before == ceiling


def test_polling_an_execution_is_one_request(connect: Connect, sandbox: DuneSandbox) -> None:
    """A poll, a cancellation, and a wait for an ended execution take one request each."""
    refresh = connect(sandbox.api_key, base_url=sandbox.url).refresh(VIEW)
    refresh.wait()
    before = len(sandbox.requests)
    for operation in (refresh.status, refresh.cancel, refresh.wait):
        operation()
    assert len(sandbox.requests) - before == 3


CALLS = {"refresh": 190, "status": 97}
"""A refresh is two requests, and an intent that outlives its call. Of each request three wait for a free connection,
six clear the frames that an interruption would show, and one looks for notices in the response's headers."""


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_takes_few_functions_of_ours(operation: str) -> None:
    """Between the caller and httpx there are so many calls of functions, the generated code's included."""
    with MatviewsClient("key", base_url="https://dune.example", http_client=responding()) as dune:
        handle = dune.attach("E")
        call = {"refresh": lambda: dune.refresh(VIEW), "status": handle.status}[operation]
        call()
        counted = calls(call)
    ours = sum(count for file, count in counted.items() if file.startswith(OURS))
    assert ours <= CALLS[operation]


def responding() -> httpx.Client:
    """An httpx client that responds to every request alike, without a network."""
    response: dict[str, object] = {
        "execution_id": "E",
        "state": "QUERY_STATE_EXECUTING",
        "submitted_at": "2026-01-31T06:00:00.123456Z",
    }
    response |= {"last_execution_ids": ["D"]}  # of a view
    return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=response)))


MEMORY = {"refresh": 25_500, "status": 16_000}
"""Bytes; those of a refresh hold the history before it, and what was sent. Some 700 are of the coroutines that both
clients share."""


@pytest.mark.parametrize("operation", MEMORY)
def test_a_call_allocates_little(operation: str) -> None:
    """At its height a call holds so many bytes, httpx's included; kept are its place in the budget and in a queue."""
    height, kept = undisturbed(f"allocated({operation!r})")
    assert height <= MEMORY[operation]
    assert kept <= 700  # a permit among them, in place of one that was made before


def undisturbed(expression: str) -> list[int]:
    """The figures of an expression of this module, in a process where nothing else allocates meanwhile."""
    program = f"from tests.test_costs import *; print(*{expression})"
    # The hashes of texts, which are otherwise others in each process, decide how dicts and sets happen to grow.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", program]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return list(map(int, shown.stdout.split()))


def allocated(operation: str) -> tuple[int, int]:
    """Bytes that a call holds at its height, and that it keeps."""
    with MatviewsClient("key", base_url="https://dune.example", http_client=responding()) as dune:
        handle = dune.attach("E")
        call = {"refresh": lambda: dune.refresh(VIEW), "status": handle.status}[operation]
        for _ in range(3):
            call()
        with tracing():
            call()
            gc.collect()  # httpx leaves circles behind
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            call()
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
    return peak - before, after - before


def test_an_execution_that_is_followed_takes_little_memory() -> None:
    """A thousand waits side by side keep so many bytes each, with all that the flows need."""
    (kept,) = undisturbed("kept_by_waits(1000)")
    assert kept / 1000 <= 2_640  # what is said of an execution is kept in one place, with its limits


def kept_by_waits(count: int) -> tuple[int]:
    """Bytes that so many waits keep while they rest."""
    dune = Dune(length=1000.0)
    session = dune.session(PLANS["enterprise"])
    executions = [started(dune, VIEW) for _ in range(count)]
    with tracing():
        flows = [watch(session, Watch(execution_id=each, since=dune.now)) for each in executions]
        for flow in flows:
            call: Any = next(flow)
            while not isinstance(call, Sleep):
                call = flow.send(dune.send(call))
        kept, _ = tracemalloc.get_traced_memory()
    for flow in flows:
        flow.close()
    return (kept,)


@contextmanager
def tracing() -> Iterator[None]:
    """Count the allocations in this block, with garbage collection off."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


POLLS = {1: 6, 2: 7, 5: 10, 10: 15, 30: 27, 60: 34, 120: 42, 300: 51, 600: 58, 1800: 70, 3600: 77}
"""Polls of an execution, by the seconds that it lasts."""


@pytest.mark.parametrize(("length", "ceiling"), POLLS.items())
def test_an_execution_is_polled_seldom(length: int, ceiling: int) -> None:
    """Following an execution to its end takes no more polls than today."""
    dune = Dune(length=length)
    session = dune.session(PLANS["free"])
    execution_id = dune.run(refresh(session))
    dune.run(watch(session, Watch(execution_id=execution_id, since=dune.now)))
    assert sum(each.what.startswith("status") for each in dune.seen) <= ceiling


def test_scheduling_a_view_costs_the_same_in_any_run() -> None:
    """The work for each view of a large run is that for each view of a small one."""
    small, large = scheduling(50), scheduling(500)
    assert large <= 1.05 * small
    assert large <= 470  # with the history before each request, an intent for each view, and its end remembered


def test_foreseeing_the_end_of_a_run_costs_the_same_in_any_run() -> None:
    """Each update tells when the run will end, and the work for each view is the same in a large run."""
    small, large = (scheduling(count, has_past=True) for count in (30, 120))
    assert large <= 1.2 * small


def scheduling(count: int, *, has_past: bool = False) -> float:
    """Calls of functions for each of *count* views in one run; each reads two views before it, and lasts for 1 s."""
    views = {f"v{place}": tuple(f"v{below}" for below in {place // 2, place // 3} - {place}) for place in range(count)}
    dune = Dune(length=1.0)
    session, plan, limits = dune.session(), Plan(reads(views), dict.fromkeys(views)), Limits(max_parallel=10)
    updates: list[ViewResult] = []
    if has_past:
        dune.run(Run(session, plan, limits).flow())
    run = Run(session, plan, limits, (lambda _, result: updates.append(result)) if has_past else None)
    counted = calls(lambda: dune.run(run.flow()))
    assert len(dune.ledger) == count * (1 + has_past)
    assert all(each.run_ends_at for each in updates)
    return sum(count for file, count in counted.items() if file.startswith(OURS)) / count
