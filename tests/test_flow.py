"""The two drivers: how effects are carried out, and what comes back into the flow."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dune_matviews._flow import Call, Flow, Result, Together, noting, run, run_async


def together(*calls: Call[Any]) -> Flow[list[Result[Any]]]:
    """A flow that is calls which are due at the same time."""
    results: list[Result[Any]] = yield Together(calls)
    return results


def failing(failure: Exception) -> Call[str]:
    """A call that fails, of either kind."""

    def sync(limit: float) -> str:
        raise failure

    async def asynchronous(limit: float) -> str:
        raise failure

    return Call(sync, asynchronous)


def test_the_asynchronous_driver_overlaps_calls_that_are_due_together() -> None:
    """Each of two calls waits for the other to have begun: carried out one after the other, they would never end."""

    async def main() -> list[Result[Any]]:
        both = asyncio.Barrier(2)

        async def meet(limit: float) -> int:
            return await both.wait()

        call: Call[int] = Call(lambda limit: 0, meet)
        async with asyncio.timeout(10):
            return await run_async(together(call, call))

    assert {result.result for result in asyncio.run(main())} == {0, 1}


def test_the_synchronous_driver_takes_them_in_turn_in_one_thread() -> None:
    """Calls that are due together need no threads to be carried out."""
    threads: list[int] = []
    call: Call[None] = Call(lambda limit: threads.append(threading.get_ident()), asyncio.sleep)
    run(together(call, call))
    assert threads == [threading.get_ident()] * 2


def test_one_failure_of_several_spoils_no_other() -> None:
    """Of calls that go together, each has its own result or failure."""
    failure = ValueError("no")
    good: Call[str] = Call(lambda limit: "yes", lambda limit: asyncio.sleep(0, "yes"))
    expected = [Result("yes"), Result(failure=failure), Result("yes")]
    assert run(together(good, failing(failure), good)) == expected
    assert asyncio.run(run_async(together(good, failing(failure), good))) == expected


def test_an_interruption_that_hits_the_driver_reaches_the_flow() -> None:
    """Ctrl-C between an effect and the flow is told to the flow, which adds its note."""

    class Hit(Call[str]):
        """A call whose limit cannot be read: the driver is interrupted before the call begins."""

        def __getattribute__(self, name: str) -> Any:
            if name == "sync":
                raise KeyboardInterrupt
            return super().__getattribute__(name)

    def flow() -> Flow[None]:
        with noting(lambda: "left behind"):
            yield Hit(lambda limit: "", lambda limit: asyncio.sleep(0, ""))

    with pytest.raises(KeyboardInterrupt) as caught:
        run(flow())
    assert caught.value.__notes__ == ["left behind"]
