"""Refreshes with a journal through both clients, over real sockets: locks, killed processes, and bills."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dune_matviews import AsyncMatviewsClient, JournalError, MatviewsClient, RefreshFailedError
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

VIEW, OTHER = "dune.my_team.result_daily", "dune.my_team.result_base"
skipping = pytest.mark.usefixtures("skipped")  # where nothing but one client has to get its turn
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
Connect = Callable[..., Any]


class Lines(list[str]):
    """The simplest store of a caller's own."""

    def read(self) -> Iterable[str]:
        """All lines."""
        return list(self)


@pytest.fixture(params=["path", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A journal of either kind."""
    return tmp_path / "refresh.jsonl" if request.param == "path" else Lines()


@pytest.fixture
def client(connect: Connect, sandbox: DuneSandbox) -> Callable[[], Any]:
    """Makes clients of the sandbox, as new processes would."""
    return lambda: connect(sandbox.api_key, base_url=sandbox.url, plan=None)


def billed(sandbox: DuneSandbox) -> list[str]:
    """The billed views, in order."""
    return [charge.name for charge in sandbox.ledger]


def requests(sandbox: DuneSandbox) -> list[str | None]:
    """The requests that arrived, in order."""
    return [each.operation for each in sandbox.requests]


def test_a_repeat_is_the_same_refresh(client: Callable[[], Any], sandbox: DuneSandbox, store: Any) -> None:
    """A client that is gone, and a new one with the same journal: one execution, one bill, and no further request."""
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    first = client().refresh(VIEW, journal=store, performance="large")
    assert requests(sandbox) == ["get", "refresh"]
    again = client().refresh(VIEW, journal=store)
    assert (again.execution_id, again.name) == (first.execution_id, VIEW)
    assert requests(sandbox) == ["get", "refresh"]
    assert [(charge.name, charge.performance) for charge in sandbox.ledger] == [(VIEW, "large")]


@skipping
def test_the_end_is_the_journals_too(client: Callable[[], Any], sandbox: DuneSandbox) -> None:
    """`wait` and `status` of a handle record the end, a failure included, and a repeat has it."""
    for act in ("wait", "status"):
        store = Lines()
        sandbox.rehearse(VIEW, Scenario(end="failed"))
        handle = client().refresh(VIEW, journal=store)
        if act == "wait":
            with pytest.raises(RefreshFailedError):
                handle.wait()
        else:
            sandbox.advance(60)
            assert handle.status().is_finished
        assert '"ended"' in store[-1]
        assert client().refresh(VIEW, journal=store).execution_id == handle.execution_id
        assert client().refresh_all([VIEW], journal=store).results[VIEW].execution_id == handle.execution_id
    assert billed(sandbox) == [VIEW, VIEW]
    assert client().refresh(VIEW, journal=store, retry_failed=True).execution_id != handle.execution_id
    assert billed(sandbox) == [VIEW, VIEW, VIEW]


@skipping
def test_a_label_of_a_path_is_a_run(client: Callable[[], Any], sandbox: DuneSandbox, tmp_path: Path) -> None:
    """A path may be a text; the same label repeats, another one is a new run."""
    path = str(tmp_path / "refresh.jsonl")
    for label in ("one", "one", "two", "two", "one"):
        client().refresh(VIEW, journal=path, run=label).wait()
    assert billed(sandbox) == [VIEW, VIEW]


@pytest.mark.parametrize("calls", range(4))
def test_a_store_that_fails_sends_nothing(client: Callable[[], Any], sandbox: DuneSandbox, calls: int) -> None:
    """If a store raises before the request, while reading or appending, the request does not leave."""

    class Failing(Lines):
        left = calls

        def _count(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")

        def read(self) -> Iterable[str]:
            """All lines, or an error."""
            self._count()
            return super().read()

        def append(self, line: str) -> None:
            """Add a line, or fail."""
            self._count()
            super().append(line)

    with pytest.raises(JournalError, match="No space left on device"):
        client().refresh(VIEW, journal=Failing())
    assert "refresh" not in requests(sandbox)
    assert billed(sandbox) == []


def test_a_start_that_cannot_be_recorded_is_returned_all_the_same(
    client: Callable[[], Any], sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A paid execution is returned; the log names the missing record, and a repeat finds it."""

    class Full(Lines):
        def append(self, line: str) -> None:
            """Accept every line except those after the request."""
            if '"started"' in line:
                raise OSError(28, "No space left on device")
            super().append(line)

    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    store = Full()
    handle = client().refresh(VIEW, journal=store)
    assert f"Execution {handle.execution_id} of {VIEW} is not recorded" in caplog.text
    assert client().refresh(VIEW, journal=Lines(store)).execution_id == handle.execution_id
    assert billed(sandbox) == [VIEW]


# Two at once


class Meeting(Lines):
    """A store at which two claims arrive before either of them is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2)

    def append(self, line: str) -> None:
        """Add a line; a claim waits until the other one, too, is about to be made, and knows nothing of this one."""
        if '"intended"' in line:
            self.barrier.wait(timeout=600)
        super().append(line)


def test_two_live_clients_on_one_object_bill_once(sandbox: DuneSandbox) -> None:
    """Of two that claim one view in the same moment, one sends, and the other says that it has not."""
    store = Meeting()

    def refresh() -> str:
        with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client:
            return client.refresh(VIEW, journal=store).execution_id

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(refresh) for _ in range(2)]
        failures = [each.exception() for each in results]
    (failure,) = (each for each in failures if each is not None)
    assert isinstance(failure, JournalError)
    assert "Another process has recorded a refresh" in str(failure)
    (charge,) = sandbox.ledger
    assert [each.result() for each, failed in zip(results, failures, strict=True) if not failed] == [
        charge.execution_id
    ]
    assert refresh() == charge.execution_id
    assert billed(sandbox) == [VIEW]


def test_two_live_asynchronous_clients_on_one_object_bill_once(sandbox: DuneSandbox) -> None:
    """The same within one event loop: both claims wait for each other without blocking it."""
    store = Meeting()

    async def refresh() -> str:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client:
            return (await client.refresh(VIEW, journal=store)).execution_id

    async def both() -> list[Any]:
        return list(await asyncio.gather(refresh(), refresh(), return_exceptions=True))

    results = asyncio.run(both())
    assert sorted(type(each).__name__ for each in results) == ["JournalError", "str"]
    assert billed(sandbox) == [VIEW]


def test_tasks_of_one_client_share_one_refresh(sandbox: DuneSandbox) -> None:
    """Within one client, those that come later wait for the first, and follow its execution."""
    store = Lines()

    async def refresh() -> set[str]:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client:
            handles = await asyncio.gather(*(client.refresh(VIEW, journal=store) for _ in range(5)))
        return {each.execution_id for each in handles}

    assert len(asyncio.run(refresh())) == 1
    assert billed(sandbox) == [VIEW]


def test_threads_of_one_client_share_one_refresh(sandbox: DuneSandbox) -> None:
    """The same with threads."""
    store = Lines()
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client, ThreadPoolExecutor(5) as pool:
        handles = list(pool.map(lambda _: client.refresh(VIEW, journal=store), range(5)))
    assert len({each.execution_id for each in handles}) == 1
    assert billed(sandbox) == [VIEW]


class Waiting(Lines):
    """A store whose calls wait until the event loop has run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def _wait(self) -> None:
        passed = threading.Event()
        self._loop.call_soon_threadsafe(passed.set)
        assert passed.wait(timeout=60), "the loop was blocked"

    def read(self) -> Iterable[str]:
        """All lines."""
        self._wait()
        return super().read()

    def append(self, line: str) -> None:
        """Add a line."""
        self._wait()
        super().append(line)


def test_the_loop_is_never_blocked_by_the_journal() -> None:
    """A store that waits, in each of its calls, for another task of the same loop is no hindrance: it has a thread."""

    async def refresh(sandbox: DuneSandbox) -> Waiting:
        store = Waiting(asyncio.get_running_loop())
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client:
            await (await client.refresh(VIEW, journal=store)).wait()
            assert (await client.refresh_all({VIEW: [], OTHER: []}, journal=store)).ok
        return store

    with DuneSandbox(speed=10_000) as sandbox:
        assert sum('"ended"' in line for line in asyncio.run(refresh(sandbox))) == 2
        assert billed(sandbox) == [VIEW, OTHER]


# Processes that die

DYING = """
import sys
from dune_matviews import MatviewsClient
print("ready", flush=True)
MatviewsClient(sys.argv[1], base_url=sys.argv[2]).refresh(sys.argv[3], journal=sys.argv[4])
"""


@posix
def test_a_killed_process_has_paid_once(client: Callable[[], Any], sandbox: DuneSandbox, tmp_path: Path) -> None:
    """Killed while it waits for the response to a request that Dune has accepted, a process leaves it to its repeat."""
    path = tmp_path / "refresh.jsonl"
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    sandbox.fail("refresh", Fault(delay=math.inf))
    command = [sys.executable, "-c", DYING, sandbox.api_key, sandbox.url, VIEW, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not sandbox.ledger:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    (charge,) = sandbox.ledger
    for _ in range(2):
        assert client().refresh(VIEW, journal=path).execution_id == charge.execution_id
    assert billed(sandbox) == [VIEW]
