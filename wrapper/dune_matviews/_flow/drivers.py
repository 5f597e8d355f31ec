"""The two drivers: each carries out the effects of one flow, in this thread or in the running task.

This module must not know why a flow yields an effect, nor how a request is sent: a driver is handed *send*.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Hashable
from inspect import GEN_SUSPENDED, getgeneratorstate
from typing import TYPE_CHECKING, Any, cast

from .effects import Call, Effect, Flow, Overlap, Result, Sleep, T, Work

if TYPE_CHECKING:
    from asyncio import Task

Send = Callable[[Call[Any]], Any]
SendAsync = Callable[[Call[Any]], Awaitable[Any]]


def run(flow: Flow[T], send: Send, *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Carry out *flow* in this thread, and return its result."""

    def carry_out(effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return sleep(effect.seconds)
        if isinstance(effect, Overlap):  # in turn: the one that has waited longest
            key, task = next(iter(effect.tasks.items()))
            effect.results[key] = result_of(task)
            return None
        return perform(effect)

    def perform(task: Call[Any] | Work[Any]) -> Any:
        return task.function() if isinstance(task, Work) else send(task)

    def result_of(task: Call[Any] | Work[Any]) -> Result[Any]:
        try:
            return Result(perform(task))
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
        _interrupt(flow, interruption)
        raise
    finally:
        flow.close()


async def run_async(flow: Flow[T], send: SendAsync, *, sleep: Callable[[float], Awaitable[object]] | None = None) -> T:
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

    async def result_of(task: Call[Any] | Work[Any]) -> Result[Any]:
        try:
            return Result(await perform(task))
        except Exception as failure:
            return Result(failure=failure)

    async def overlap(effect: Overlap) -> None:
        for key, each in effect.tasks.items():
            if key not in in_flight:
                in_flight[key] = asyncio.create_task(result_of(each))
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
        _interrupt(flow, interruption)
        raise
    finally:
        flow.close()
        await let_go()


def _interrupt(flow: Flow[Any], interruption: BaseException) -> None:
    """An interruption that hit the driver itself is thrown into the flow, which raises it again."""
    if getgeneratorstate(flow) == GEN_SUSPENDED:
        flow.throw(interruption)
