"""A process that holds one contender and measures it on command: `python -m benchmarks.worker NAME URL`.

Commands and results are lines of JSON. It must not know the other contenders, nor the use of the figures.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from .contenders import CONTENDERS, Async, Sync

SETTLED = 5.0
"""Seconds until executions that were started together have been polled."""


def cost(work: Callable[[], object]) -> dict[str, float]:
    """CPU time of this process and time on the clock, in seconds, while *work* is done."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def call(contender: Sync | Async, loop: asyncio.AbstractEventLoop, what: str, times: int) -> dict[str, float]:
    """Make one call again and again on one connection; the cost of one."""
    function: Callable[[], Any] = getattr(contender, what)

    def one_after_the_other() -> None:
        for _ in range(times):
            function()

    async def one_after_the_other_async() -> None:
        for _ in range(times):
            await function()

    if isinstance(contender, Sync):
        found = cost(one_after_the_other)
    else:
        found = cost(lambda: loop.run_until_complete(one_after_the_other_async()))
    return {name: seconds / times for name, seconds in found.items()}


def follow(contender: Async, loop: asyncio.AbstractEventLoop, times: int) -> dict[str, float]:
    """Start and follow so many executions at once; what it costs in all, the polls, and from start to end noticed."""
    took: list[float] = []
    polls: list[int] = []

    async def one() -> None:
        execution_id = await contender.refresh()
        began = time.perf_counter()
        polls.append(await contender.follow(execution_id))
        took.append(time.perf_counter() - began)

    async def together() -> None:
        await asyncio.gather(*(one() for _ in range(times)))

    found = cost(lambda: loop.run_until_complete(together()))
    return found | {"polls": sum(polls), "took": median(took)}


def memory(contender: Async, loop: asyncio.AbstractEventLoop, times: int) -> dict[str, float]:
    """Bytes that each of so many executions takes while it is followed, the connections included."""

    async def one() -> None:
        await contender.follow(await contender.refresh())

    async def together() -> float:
        gc.collect()
        tracemalloc.start()
        tasks = [asyncio.create_task(one()) for _ in range(times)]
        await asyncio.sleep(SETTLED)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken / times

    return {"bytes": loop.run_until_complete(together())}


def obey(contender: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Carry out each command that comes in."""
    commands: dict[str, Callable[..., dict[str, float]]] = {"follow": follow, "memory": memory}
    for line in sys.stdin:
        what, times = json.loads(line)
        found = commands.get(what, partial(call, what=what))(contender, loop, times=times)
        print(json.dumps(found), flush=True)


def main(name: str, url: str) -> None:
    """Hold the contender *name* until no more commands come."""
    with asyncio.Runner() as runner:
        contender = CONTENDERS[name](url)
        obey(contender, runner.get_loop())
        if isinstance(contender, Sync):
            contender.close()
        else:
            runner.get_loop().run_until_complete(contender.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
