"""Time that is skipped rather than waited for, while sockets stay real.

It knows where clients sleep, read their clock and wait for a response, and where the sandbox lets them wait. It must
not know why they do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpcore
import pytest

from dune_matviews import _core
from dune_matviews._execution.session import Session
from dune_matviews._flow.drivers import run, run_async
from dune_matviews._http import async_transport, connections
from dune_matviews.sandbox import _delivery

MOMENT = 0.01
"""Seconds after which who waits for a response asks whether it is worth while."""

CONFTEST = """
import pytest
from tests.skipping import SkippedTime

@pytest.fixture(autouse=True)
def skipped(dune_sandbox, monkeypatch):
    SkippedTime(dune_sandbox.advance).install(monkeypatch)
"""
"""For tests of the fixture `dune_sandbox` in a pytest of their own."""


class SkippedTime:
    """A client's clock that runs ahead by every pause that it would have made.

    Attributes:
        advance: what lets the same time pass at the server.
        pauses: what was skipped, in seconds, one by one.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.advance = advance
        self.pauses: list[float] = []
        self._stalled = threading.Event()
        self._paused = 0.0

    @property
    def total(self) -> float:
        """Seconds skipped so far."""
        return sum(self.pauses)

    def clock(self) -> float:
        """A monotonic clock with the skipped time on top."""
        return time.monotonic() + self.total

    def wall(self) -> float:
        """The wall clock with the skipped time on top."""
        return time.time() + self.total

    def sleep(self, seconds: float) -> None:
        """Skip so many seconds, for the client and for the sandbox."""
        self.pauses.append(seconds)
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """The same for the asynchronous driver."""
        self.sleep(seconds)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let clients made from now on skip their pauses."""
        monkeypatch.setattr(_core, "run", partial(run, sleep=self.sleep))
        monkeypatch.setattr(_core, "run_async", partial(run_async, sleep=self.sleep_async))
        session: Any = partial(Session, clock=self.clock, wall=self.wall)
        monkeypatch.setattr(_core, "Session", session)

    def install_timeouts(self, monkeypatch: pytest.MonkeyPatch, timeout: float) -> None:
        """Let clients with that timeout, one request at a time, meet it as soon as the sandbox would keep them waiting.

        So the timeout may be long: no response comes too late because the machine is slow, and one that does not come
        in time is not waited for.
        """

        def stall(seconds: float, closing: threading.Event) -> None:
            self._paused += seconds
            if self._paused >= timeout:
                self._paused = 0.0
                self._stalled.set()
                closing.wait()
                raise ConnectionAbortedError("the sandbox closes")

        def give_up() -> None:
            self._stalled.clear()
            self.sleep(timeout)

        def read(stream: connections._Stream, max_bytes: int, timeout: float | None = None) -> bytes:
            while True:
                try:
                    return stream._inner.read(max_bytes, MOMENT)
                except httpcore.ReadTimeout:
                    if self._stalled.is_set():
                        give_up()
                        raise

        @asynccontextmanager
        async def limit(seconds: float) -> AsyncGenerator[None]:
            async def watch(timeout: asyncio.Timeout) -> None:
                while not self._stalled.is_set():
                    await asyncio.sleep(MOMENT)
                give_up()
                timeout.reschedule(0)

            async with asyncio.timeout(None) as timeout:
                watching = asyncio.create_task(watch(timeout))
                try:
                    yield
                finally:
                    watching.cancel()

        monkeypatch.setattr(_delivery, "_pause", stall)
        monkeypatch.setattr(connections._Stream, "read", read)
        monkeypatch.setattr(async_transport, "limit", limit)
