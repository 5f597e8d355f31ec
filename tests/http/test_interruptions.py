"""A client outlives every interruption: wherever a task is cancelled or Ctrl-C strikes, its next request works."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpcore
import pytest

from dune_matviews import AsyncMatviewsClient, MatviewsClient, _http
from dune_matviews._api.operations import Operations
from dune_matviews._flow.drivers import completed
from dune_matviews._http import transports
from dune_matviews.sandbox import DuneSandbox

VIEW = "dune.my_team.result_daily_volume"

# Where connections are held and given back; what httpx and h11 make of a request holds none.
WATCHED = tuple(str(Path(str(each.__file__)).parent) for each in (httpcore, _http))


@pytest.fixture(autouse=True)
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with one connection, which is dead once that is lost."""
    monkeypatch.setattr(transports, "CONNECTIONS", 1)


class CancelledAt:
    """Awaits something, and has the task cancelled at its so-manieth pause: while it waits, or as it would go on."""

    def __init__(self, awaited: Awaitable[Any], pause: int, is_over: bool) -> None:
        self._awaited = awaited
        self._ahead = pause
        self._is_over = is_over
        self.has_struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaited.__await__()
        resume: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                future = resume()
            except StopIteration as stop:
                return stop.value
            strikes = self._ahead == 0
            self._ahead -= 1
            self.has_struck |= strikes
            if strikes and not self._is_over and (task := asyncio.current_task()):
                task.cancel()
            try:
                yield future
                if strikes and self._is_over:
                    raise asyncio.CancelledError
            except BaseException as interruption:
                resume = partial(steps.throw, interruption)
            else:
                resume = partial(next, steps)


@pytest.mark.parametrize("is_over", [False, True], ids=["waiting", "going on"])
@pytest.mark.parametrize("is_connected", [False, True], ids=["connecting", "connected"])
def test_a_cancellation_at_any_pause_harms_nobody(sandbox: DuneSandbox, is_over: bool, is_connected: bool) -> None:
    """Wherever a refresh is cancelled, it is billed once at most, and the next one has the connection."""

    async def main() -> int:
        for pause in range(1000):
            async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
                if is_connected:
                    await dune.refresh(f"{VIEW}_before")
                cancelled = CancelledAt(dune.refresh(f"{VIEW}_{pause}"), pause, is_over)
                try:
                    await asyncio.ensure_future(wrapped(cancelled))
                except asyncio.CancelledError:
                    assert cancelled.has_struck
                async with asyncio.timeout(60):
                    await dune.refresh(f"{VIEW}_after")
                if not cancelled.has_struck:
                    return pause
        raise AssertionError("a refresh that never ends")

    assert asyncio.run(main()) >= 2, "there was nothing to cancel"
    charged = Counter(charge.name for charge in sandbox.ledger)
    assert {times for name, times in charged.items() if name not in (f"{VIEW}_before", f"{VIEW}_after")} == {1}


async def wrapped(awaitable: Awaitable[Any]) -> Any:
    """A coroutine, for use in a task."""
    return await awaitable


def test_a_thousand_cancellations_leave_the_client_alive(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a thousand refreshes that were cancelled one step later each, every connection is there."""
    monkeypatch.setattr(transports, "CONNECTIONS", 3)

    async def main() -> None:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
            tasks = set[asyncio.Task[Any]]()
            for number in range(1000):
                tasks.add(task := asyncio.create_task(dune.attach(f"E{number}").status()))
                for _ in range(number % 50):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait(tasks)
            async with asyncio.timeout(60):
                await asyncio.gather(*(dune.refresh(f"{VIEW}_{number}") for number in range(9)))

    asyncio.run(main())
    assert len(sandbox.ledger) == 9


class CtrlC:
    """Raises at the so-manieth line that a thread executes in a request, as Ctrl-C may at any."""

    def __init__(self, line: int) -> None:
        self._ahead = line

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        if event == "line":
            self._ahead -= 1
            if self._ahead == 0:
                raise KeyboardInterrupt
        return self


# A socket that nobody holds yet is closed by Python, which says so.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("is_connected", [False, True], ids=["connecting", "connected"])
def test_ctrl_c_at_any_line_harms_nobody(sandbox: DuneSandbox, is_connected: bool) -> None:
    """Wherever Ctrl-C strikes in a request, of httpx's lines or ours, the next request has the connection."""
    line = 1
    interruptions = 0

    def interrupted(dune: MatviewsClient) -> bool:
        """Whether Ctrl-C has struck before the request was over."""
        sys.settrace(CtrlC(line))
        try:
            completed(dune._transport.send(Operations().refresh(VIEW, None)))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None, timeout=60) as dune:

        def work() -> None:
            nonlocal line, interruptions
            while interrupted(dune):
                interruptions += 1
                line += 1
                completed(dune._transport.send(Operations().usage()))
                if not is_connected:
                    completed(dune._transport._pool.aclose())

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), f"a request hangs after Ctrl-C at line {line}"
        gc.collect()
    assert interruptions > 100
    assert len(sandbox.ledger) <= interruptions + 1
