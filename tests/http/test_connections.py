"""Connections: which one a request leaves on, and who waits for one."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dune_matviews import AsyncMatviewsClient, MatviewsClient, RequestFailedError
from dune_matviews._api.operations import Operations
from dune_matviews._flow.drivers import completed
from dune_matviews._http import transports
from dune_matviews._http.transports import Slots
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.http.servers import Server, response, serving

Connect = Callable[..., MatviewsClient]
Send = Callable[..., Any]

VIEW = "dune.my_team.result_daily_volume"
RUNNING = json.dumps({"execution_id": "E", "state": "QUERY_STATE_EXECUTING"}).encode()


def forgetful(server: Server, connection: socket.socket) -> None:
    """A script that responds to one request, and silently drops the connection at the next."""
    if server.request(connection):
        connection.sendall(response(RUNNING))
        server.request(connection)


def faithful(server: Server, connection: socket.socket) -> None:
    """A script that responds to every request."""
    while server.request(connection):
        connection.sendall(response(RUNNING))


def test_a_refresh_leaves_on_a_connection_that_is_alive(
    connect: Connect, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause, a refresh leaves on a new connection: one that the server has dropped would leave it in doubt."""
    monkeypatch.setattr(transports, "CERTAIN", -1)  # every connection has been idle for too long
    with serving(forgetful) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}")
        for _ in range(3):
            assert send(dune, Operations().refresh(VIEW, None)).execution_id == "E"
        assert (server.connections, len(server.requests)) == (3, 3)


def test_a_read_may_leave_on_any_connection(connect: Connect, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeatable request uses the open connection, however long it was idle."""
    monkeypatch.setattr(transports, "CERTAIN", -1)
    with serving(faithful) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}")
        for _ in range(3):
            send(dune)
        assert (server.connections, len(server.requests)) == (1, 3)


def test_a_refresh_may_leave_on_a_connection_that_was_just_read(
    connect: Connect, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after a response, its connection certainly is alive, and a refresh leaves on it."""
    monkeypatch.setattr(transports, "CERTAIN", 3600)
    with serving(faithful) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}")
        send(dune)
        send(dune, Operations().refresh(VIEW, None))
        send(dune, Operations().refresh(VIEW, None))
        assert (server.connections, len(server.requests)) == (1, 3)


def test_an_exchange_that_failed_takes_its_connection_along(connect: Connect, send: Send) -> None:
    """A connection on which an exchange was given up serves no other, which might read the response to the first."""

    def late(server: Server, connection: socket.socket) -> None:
        while server.request(connection):
            if len(server.requests) == 1:
                continue  # its response comes with the next one's
            connection.sendall(response(RUNNING))

    with serving(late) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        with pytest.raises(RequestFailedError):
            send(dune, Operations().status("E")._replace(timeout=0.3))
        send(dune)
        assert server.connections == 2


@pytest.fixture
def fast_sandbox() -> Iterator[DuneSandbox]:
    """A Dune whose executions are over when they are first polled."""
    with DuneSandbox(speed=1000) as running:
        yield running


def test_one_slow_response_delays_nobody(fast_sandbox: DuneSandbox) -> None:
    """While the first poll of one view of ten hangs, the nine others end, and only then is it let go."""
    fast_sandbox.fail("status", Fault(delay=3600, lost=True))
    key, url = fast_sandbox.api_key, fast_sandbox.url
    names = [f"{VIEW}_{number}" for number in range(10)]
    fresh = set[str]()

    async def main() -> None:
        nine = asyncio.Event()

        def on_update(name: str, result: Any) -> None:
            if result.outcome.is_fresh:
                fresh.add(name)
            if len(fresh) == 9:
                nine.set()

        async with AsyncMatviewsClient(key, base_url=url, plan=None, timeout=3600) as dune:
            run = asyncio.create_task(dune.refresh_all(names, max_parallel=10, on_update=on_update))
            async with asyncio.timeout(60):
                await nine.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    asyncio.run(main())
    assert len(fast_sandbox.ledger) == 10


def test_slots_are_shared_by_many_threads() -> None:
    """Of many threads, so many at once have a slot, and all have had one in the end."""
    slots = Slots(3)
    inside = 0
    most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            slot = completed(slots.acquire(60))
            assert slot is not None
            with lock:
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1
            del slot
            slots.call_next()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 3
    first = [completed(slots.acquire(0)) for _ in range(3)]
    assert None not in first
    assert completed(slots.acquire(0)) is None
    first.pop()
    assert completed(slots.acquire(0)) is not None
