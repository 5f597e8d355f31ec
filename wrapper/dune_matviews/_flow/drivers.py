"""The two drivers: each carries out the effects of one flow, in this thread or in the running task.

This module must not know why a flow yields an effect, nor how a request is sent: a driver is handed *send*.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from inspect import GEN_SUSPENDED, getgeneratorstate
from typing import TYPE_CHECKING, Any, cast

from .effects import Call, Effect, Flow, Overlap, Result, Sleep, T, Work

if TYPE_CHECKING:
    from asyncio import Task

Send = Callable[[Call[Any]], Awaitable[Any]]


def run(flow: Flow[T], send: Send, *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Carry out *flow* in this thread, and return its result. *send* never waits for an event loop: it blocks."""

    async def carry_out(effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return sleep(effect.seconds)
        if isinstance(effect, Overlap):  # in turn: the one that has waited longest
            key, task = next(iter(effect.tasks.items()))
            effect.results[key] = await _result_of(carry_out(task))
            return None
        return effect.function() if isinstance(effect, Work) else await send(effect)

    return completed(_drive(flow, carry_out))


def completed(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for: it runs to its end at once."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    raise AssertionError("a coroutine of the synchronous client has waited")


async def run_async(flow: Flow[T], send: Send, *, sleep: Callable[[float], Awaitable[object]] | None = None) -> T:
    """Carry out *flow* in the running asyncio task, and return its result."""
    import asyncio  # 40 ms that the synchronous client does not need

    rest = sleep or asyncio.sleep
    in_flight: dict[Hashable, Task[Result[Any]]] = {}

    async def carry_out(effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return await rest(effect.seconds)
        if isinstance(effect, Overlap):
            return await overlap(effect)
        return await perform(effect)

    async def perform(task: Call[Any] | Work[Any]) -> Any:
        return await (in_a_thread(task.function) if isinstance(task, Work) else send(task))

    async def in_a_thread(function: Callable[[], Any]) -> Any:
        """A thread cannot be cancelled: who is cancelled waits for its end, before files are let go of."""
        work = asyncio.create_task(asyncio.to_thread(function))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.gather(work, return_exceptions=True)
            raise

    async def overlap(effect: Overlap) -> None:
        for key, each in effect.tasks.items():
            if key not in in_flight:
                in_flight[key] = asyncio.create_task(_result_of(perform(each)))
        timeout = None if effect.seconds == math.inf else effect.seconds
        try:
            await asyncio.wait(in_flight.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await let_go()
            raise
        finally:
            for key in [key for key, task in in_flight.items() if task.done()]:
                task = in_flight.pop(key)
                if not task.cancelled():
                    effect.results[key] = task.result()

    async def let_go() -> None:
        """End everything that is still in flight."""
        for task in in_flight.values():
            task.cancel()
        if in_flight:
            await asyncio.wait(in_flight.values())

    try:
        return await _drive(flow, carry_out)
    finally:
        await let_go()


async def _drive(flow: Flow[T], carry_out: Callable[[Effect], Awaitable[Any]]) -> T:
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
        if getgeneratorstate(flow) == GEN_SUSPENDED:  # it hit the driver itself
            flow.throw(interruption)  # the flow raises it again
        raise
    finally:
        flow.close()


async def _result_of(performed: Awaitable[T]) -> Result[T]:
    try:
        return Result(await performed)
    except Exception as failure:
        return Result(failure=failure)
