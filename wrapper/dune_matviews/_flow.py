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
from inspect import GEN_SUSPENDED, getgeneratorstate
from typing import Any, Generic, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Call(NamedTuple, Generic[T]):
    """An effect: one exchange with Dune, in both colours, each given the seconds that are left for it."""

    sync: Callable[[float], T]
    asyncio: Callable[[float], Awaitable[T]]
    limit: float = math.inf

    def within(self, limit: float) -> Flow[T]:
        """The flow that is this call alone, in at most *limit* seconds."""
        return cast(T, (yield Call(self.sync, self.asyncio, limit)))

    def preceded_by(self, action: Callable[[], object]) -> Call[T]:
        """The same call, with *action* in the moment before it; what that raises, the call raises."""

        def sync(limit: float) -> T:
            action()
            return self.sync(limit)

        async def asyncio(limit: float) -> T:
            action()
            return await self.asyncio(limit)

        return Call(sync, asyncio)


class Sleep(NamedTuple):
    """An effect: nothing happens for so many seconds."""

    seconds: float


class Result(NamedTuple, Generic[T]):
    """What came of a call, or of a flow: its result, or the failure that ended it."""

    result: T | None = None
    failure: Exception | None = None

    def resume(self, flow: Flow[Any]) -> Effect:
        """Let *flow* go on with this."""
        return flow.throw(self.failure) if self.failure else flow.send(self.result)


class Together(NamedTuple):
    """An effect: calls that are due at the same time. The flow receives a `Result` of each, in their order."""

    calls: tuple[Call[Any], ...]


Effect = Call[Any] | Sleep | Together
Flow = Generator[Effect, Any, T]


@contextmanager
def noting(note: Callable[[], str | None]) -> Generator[None]:
    """Ctrl-C or a task's cancellation passes on unchanged, with a note (PEP 678) if it leaves something behind."""
    try:
        yield
    except Exception:
        raise
    except BaseException as interruption:
        if (text := note()) is not None:
            interruption.add_note(text)
        raise


def _interrupted(flow: Flow[Any], interruption: BaseException) -> None:
    """An interruption that hit the driver itself is told to the flow, which raises it again."""
    if getgeneratorstate(flow) == GEN_SUSPENDED:
        flow.throw(interruption)


def run(flow: Flow[T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Carry out *flow* in this thread, and return its result."""

    def carry_out(effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return sleep(effect.seconds)
        if isinstance(effect, Together):
            return [result_of(call) for call in effect.calls]
        return effect.sync(effect.limit)

    def result_of(call: Call[Any]) -> Result[Any]:
        try:
            return Result(call.sync(call.limit))
        except Exception as failure:
            return Result(failure=failure)

    try:
        effect = next(flow)
        while True:
            try:
                result = carry_out(effect)
            except BaseException as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return cast(T, stop.value)
    except BaseException as interruption:
        _interrupted(flow, interruption)
        raise
    finally:
        flow.close()


async def run_async(flow: Flow[T], *, sleep: Callable[[float], Awaitable[object]] | None = None) -> T:
    """Carry out *flow* in the running asyncio task, and return its result."""
    import asyncio  # 40 ms that the synchronous client does not need

    rest = sleep or asyncio.sleep

    async def carry_out(effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return await rest(effect.seconds)
        if isinstance(effect, Together):
            return await asyncio.gather(*map(result_of, effect.calls))
        return await effect.asyncio(effect.limit)

    async def result_of(call: Call[Any]) -> Result[Any]:
        try:
            return Result(await call.asyncio(call.limit))
        except Exception as failure:
            return Result(failure=failure)

    try:
        effect = next(flow)
        while True:
            try:
                result = await carry_out(effect)
            except BaseException as failure:
                effect = flow.throw(failure)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return cast(T, stop.value)
    except BaseException as interruption:
        _interrupted(flow, interruption)
        raise
    finally:
        flow.close()
