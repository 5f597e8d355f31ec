"""Time that is skipped rather than waited for, while sockets stay real.

It knows where clients sleep and read their clock, and must not know why they do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dune_matviews import _core
from dune_matviews._flow.drivers import run, run_async
from dune_matviews._requests import Session


class SkippedTime:
    """A client's clock that runs ahead by every pause that it would have made.

    Attributes:
        advance: what lets the same time pass at the server.
        pauses: what was skipped, in seconds, one by one.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.advance = advance
        self.pauses: list[float] = []

    @property
    def total(self) -> float:
        """Seconds skipped so far."""
        return sum(self.pauses)

    def clock(self) -> float:
        """A monotonic clock with the skipped time on top."""
        return time.monotonic() + self.total

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
        session: Any = partial(Session, clock=self.clock)
        monkeypatch.setattr(_core, "Session", session)
