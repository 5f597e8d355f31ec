"""One client for many: threads, tasks, hundreds of refreshes in a row."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dune_matviews import AsyncMatviewsClient, ExecutionStatus, MatviewsClient, WaitTimeoutError
from dune_matviews._http import transports
from dune_matviews._http.transports import CONNECTIONS
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario, _delivery

VIEW = "dune.my_team.result_daily_volume"


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A Dune in which every execution is over at once, unless something else is rehearsed."""
    with DuneSandbox(default=Scenario(pending=0, running=0)) as running:
        yield running


def open_sockets() -> int:
    """Sockets of this process."""
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket") for fd in existing_descriptors())


def existing_descriptors() -> list[str]:
    """File descriptors but for the one that lists them."""
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


def test_eight_threads_share_a_client(sandbox: DuneSandbox) -> None:
    """Each thread gets its own execution, regardless of the others, and everything is billed once."""
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:

        def work(number: int) -> ExecutionStatus:
            return dune.refresh(f"{VIEW}_{number % 5}").wait()

        with ThreadPoolExecutor(8) as threads:
            done = list(threads.map(work, range(64)))
    assert all(status.succeeded for status in done)
    assert {status.execution_id for status in done} == {charge.execution_id for charge in sandbox.ledger}
    assert len(sandbox.ledger) == 64


def test_two_hundred_tasks_share_a_client(sandbox: DuneSandbox) -> None:
    """Each task gets its own execution, and everything is billed once."""

    async def main() -> list[ExecutionStatus]:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None, timeout=60) as dune:

            async def work(number: int) -> ExecutionStatus:
                return await (await dune.refresh(f"{VIEW}_{number % 5}")).wait()

            return await asyncio.gather(*map(work, range(200)))

    done = asyncio.run(main())
    assert all(status.succeeded for status in done)
    assert {status.execution_id for status in done} == {charge.execution_id for charge in sandbox.ledger}
    assert len(sandbox.ledger) == 200


def test_a_crowd_shares_a_few_connections(sandbox: DuneSandbox) -> None:
    """For any number of polls at once, no more connections are open than the largest plan can use."""
    sandbox.fail("status", *[Fault(delay=0.1)] * 2 * CONNECTIONS)

    async def main() -> int:
        before = open_sockets()
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
            refresh = await dune.refresh(VIEW)

            async def poll() -> int:
                await refresh.status()
                return open_sockets() - before

            return max(await asyncio.gather(*(poll() for _ in range(2 * CONNECTIONS))))

    assert asyncio.run(main()) <= 2 * CONNECTIONS  # the sandbox holds the other ends
    assert len(sandbox.requests) == 2 * CONNECTIONS + 2


def test_a_crowd_is_not_in_doubt(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a connection takes nothing from a request's time, so that none is given up once it is sent."""
    passed = 0.0

    def let_pass(seconds: float, _: object) -> None:
        nonlocal passed
        passed += seconds

    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed)
    monkeypatch.setattr(_delivery, "_pause", let_pass)
    monkeypatch.setattr(transports, "CONNECTIONS", 1)
    sandbox.fail("refresh", *[Fault(delay=20)] * 24)
    names = [f"{VIEW}_{number}" for number in range(12)]

    async def main() -> None:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None, timeout=60) as dune:
            await asyncio.gather(*map(dune.refresh, names))

    asyncio.run(main())
    with (
        MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None, timeout=60) as dune,
        ThreadPoolExecutor(12) as threads,
    ):
        list(threads.map(dune.refresh, names))
    assert len(sandbox.ledger) == 24
    assert [request.operation for request in sandbox.requests].count("refresh") == 24


def test_a_deadline_holds_in_a_crowd(
    connect: Callable[..., MatviewsClient], sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a connection waits no longer than the call may last, and has sent nothing then."""
    monkeypatch.setattr(transports, "CONNECTIONS", 0)
    with pytest.raises(WaitTimeoutError, match="No connection was free"):
        connect(sandbox.api_key, base_url=sandbox.url).attach("E").wait(timeout=0.05)
    assert not sandbox.requests


def test_a_cancelled_task_sends_nothing_more_and_harms_nobody(sandbox: DuneSandbox) -> None:
    """A task that is cancelled while it waits stops at once, with a note; the client serves the others on."""

    async def main() -> list[str]:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
            sandbox.rehearse(VIEW, Scenario(running=math.inf))
            refresh = await dune.refresh(VIEW)
            seen = asyncio.Event()
            task = asyncio.create_task(refresh.wait(on_update=lambda status: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            before = len(sandbox.requests)
            await asyncio.sleep(0)
            assert len(sandbox.requests) == before
            assert (await refresh.status()).execution_id == refresh.execution_id
            return caught.value.__notes__

    notes = asyncio.run(main())
    assert notes == [f"The refresh goes on. Follow it with attach({sandbox.ledger[0].execution_id!r})."]


@pytest.fixture
def remote_sandbox() -> Iterator[tuple[str, Callable[[], str]]]:
    """The address of a sandbox in its own process, and a function that ends it and returns its bill."""
    command = [sys.executable, "-m", "dune_matviews.sandbox", "--speed", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("export DUNE_API_BASE_URL=")

        def bill() -> str:
            process.terminate()
            return process.communicate()[0].splitlines()[-1]

        yield url, bill
        process.kill()


def test_hundreds_of_refreshes_leave_nothing_behind(
    connect: Callable[..., MatviewsClient],
    remote_sandbox: tuple[str, Callable[[], str]],
) -> None:
    """After three hundred refreshes there are no more sockets or objects than after the first hundred."""
    url, bill = remote_sandbox
    dune = connect("sandbox-key", base_url=url, plan=None)

    def refresh_a_hundred() -> int:
        for _ in range(100):
            dune.refresh(VIEW)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, sockets = refresh_a_hundred(), open_sockets()
        second, third = refresh_a_hundred(), refresh_a_hundred()
    finally:
        tracemalloc.stop()
    assert open_sockets() == sockets
    grown = min(second - first, third - second)  # a table that grows, or another thread, shows in one of them
    assert grown < 100 * 350, "more than its id, view and intent is kept of each refresh"
    assert bill().startswith("300 refreshes accepted")
