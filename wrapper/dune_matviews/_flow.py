"""Effects, flows and their two drivers: the only place that sleeps or awaits.

This module must not know anything of Dune, of HTTP, or of what the flows decide.

A *flow* is a plain generator. It yields effects (do this call, sleep so long) and receives what came of
them; a failed call is thrown into it, so that flows are written with ordinary `try` and `except`. Each
policy is thus written once, and serves the synchronous and the asynchronous client alike.
Two rules: a flow yields nothing while it is being closed, and nothing after an exception that is no
`Exception` (Ctrl-C, a task's cancellation) was thrown into it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import attrs

T = TypeVar("T")


@attrs.frozen
class Call(Generic[T]):
    """An effect: one exchange with Dune, in both colours, each given the seconds that are left for it."""

    sync: Callable[[float], T]
    asyncio: Callable[[float], Awaitable[T]]
    limit: float = math.inf

    def within(self, limit: float) -> Flow[T]:
        """The flow that is this call alone, in at most *limit* seconds."""
        return cast(T, (yield attrs.evolve(self, limit=limit)))


@attrs.frozen
class Sleep:
    """An effect: nothing happens for so many seconds."""

    seconds: float


Effect = Call[Any] | Sleep
Flow = Generator[Effect, Any, T]


@contextmanager
def noting(note: str) -> Generator[None]:
    """Ctrl-C or a task's cancellation passes on unchanged, with a note (PEP 678) of what it leaves behind."""
    try:
        yield
    except Exception:
        raise
    except BaseException as interruption:
        interruption.add_note(note)
        raise


def run(flow: Flow[T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Carry out *flow* in this thread, and return its result."""
    try:
        effect = next(flow)
        while True:
            try:
                result = sleep(effect.seconds) if isinstance(effect, Sleep) else effect.sync(effect.limit)
            except BaseException as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return cast(T, stop.value)
    finally:
        flow.close()


async def run_async(flow: Flow[T], *, sleep: Callable[[float], Awaitable[object]] | None = None) -> T:
    """Carry out *flow* in the running asyncio task, and return its result."""
    import asyncio  # 40 ms that the synchronous client does not need

    sleep = sleep or asyncio.sleep
    try:
        effect = next(flow)
        while True:
            try:
                result = await (sleep(effect.seconds) if isinstance(effect, Sleep) else effect.asyncio(effect.limit))
            except BaseException as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return cast(T, stop.value)
    finally:
        flow.close()
