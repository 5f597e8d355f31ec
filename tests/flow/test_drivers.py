"""The two drivers: carrying out effects, and returning results to the flow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dune_matviews._flow.drivers import run, run_async
from dune_matviews._flow.effects import Call, Flow, Overlap, Result, noting
from dune_matviews._flow.interleave import Interleave, Lead, Start


def call(request: object) -> Call[Any]:
    """A call whose response is its request."""
    return Call(request, lambda response: response)


def overlapping(*calls: Call[Any]) -> Flow[dict[Any, Result[Any]]]:
    """A flow that has calls in flight side by side until all have ended."""
    results: dict[Any, Result[Any]] = {}
    left = dict(enumerate(calls))
    while left := {key: each for key, each in left.items() if key not in results}:
        yield Overlap(left, results)
    return results


async def perform(each: Call[Any]) -> Any:
    """Send a call: an exception is raised, a function called and its result awaited, anything else returned."""
    if isinstance(each.request, Exception):
        raise each.request
    found = each.request() if callable(each.request) else each.request
    return await found if asyncio.iscoroutine(found) else found


def test_the_asynchronous_driver_overlaps_calls() -> None:
    """Each of two calls waits for the other to have begun: carried out one after the other, they would never end."""

    async def main() -> dict[Any, Result[Any]]:
        both = asyncio.Barrier(2)
        async with asyncio.timeout(60):
            return await run_async(overlapping(call(both.wait), call(both.wait)), perform)

    assert {result.result for result in asyncio.run(main()).values()} == {0, 1}


def test_the_synchronous_driver_takes_them_in_turn_in_one_thread() -> None:
    """Calls that overlap need no threads to be carried out."""
    threads = run(overlapping(call(threading.get_ident), call(threading.get_ident)), perform)
    assert {each.result for each in threads.values()} == {threading.get_ident()}


def test_one_failure_of_several_spoils_no_other() -> None:
    """Of calls that overlap, each has its own result or failure."""
    failure = ValueError("no")
    expected = {0: Result("yes"), 1: Result(failure=failure), 2: Result("yes")}
    flows = [overlapping(call("yes"), call(failure), call("yes")) for _ in range(2)]
    assert run(flows[0], perform) == expected
    assert asyncio.run(run_async(flows[1], perform)) == expected


def test_a_slow_call_holds_up_no_other_flow() -> None:
    """While one flow waits for its response, another makes as many calls as it likes."""

    async def main() -> list[str]:
        done: list[str] = []
        released = asyncio.Event()

        def slow() -> Flow[None]:
            yield call(released.wait)
            done.append("slow")

        def busy() -> Flow[None]:
            for _ in range(100):
                yield call("pong")
            done.append("busy")
            yield call(released.set)

        async with asyncio.timeout(60):
            await run_async(side_by_side(slow(), busy()), perform)
        return done

    assert asyncio.run(main()) == ["busy", "slow"]


def side_by_side(*flows: Flow[Any]) -> Flow[None]:
    """A flow that interleaves others to their ends."""
    together: Interleave[int, Any] = Interleave(lambda: 0.0, len(flows), lambda keys: 0)

    def lead() -> Lead[None]:
        yield Start(dict(enumerate(flows)))
        while together.keys:
            together.ended.clear()
            yield Start({})

    yield from together.led_by(lead())


def test_a_lead_rests_while_its_flows_make_calls() -> None:
    """A lead goes on once for each flow that ends, and not for each of their calls."""
    ends: list[list[int]] = []
    together: Interleave[int, Any] = Interleave(lambda: 0.0, 3, lambda keys: 0)

    def busy(calls: int) -> Flow[None]:
        for _ in range(calls):
            yield call(None)

    def lead() -> Lead[None]:
        flows = {calls: busy(calls) for calls in (10, 20, 30)}
        while flows or together.keys:
            yield Start(flows)
            flows = {}
            ends.append([key for key, _ in together.ended])
            together.ended.clear()

    run(together.led_by(lead()), perform)
    assert ends == [[10], [20], [30]]


def test_a_flow_that_rests_makes_room_for_another() -> None:
    """A lead goes on as soon as one more flow may be started, though none has ended."""
    resting: set[str] = set()
    together: Interleave[str, Any] = Interleave(lambda: 0.0, 1, lambda keys: len(resting & set(keys)))

    def rests() -> Flow[None]:
        yield call(None)
        resting.add("first")
        for _ in range(100):
            yield call(None)

    def second() -> Flow[None]:
        yield call(None)

    def lead() -> Lead[int]:
        room: int = yield Start({"first": rests()})
        assert list(together.keys) == ["first"]
        yield Start({"second": second()})
        while together.keys:
            together.ended.clear()
            yield Start({})
        return room

    assert run(together.led_by(lead()), perform) == 1


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_no_flow_outlives_its_lead(failure: type[BaseException]) -> None:
    """A failure of the lead's own call ends the flows that it has started, after the lead has heard of it."""
    told: list[str] = []
    together: Interleave[str, Any] = Interleave(lambda: 0.0, 1, lambda keys: 0)

    def endless() -> Flow[None]:
        try:
            while True:
                yield call(None)
        finally:
            told.append("flow")

    def lead() -> Lead[None]:
        try:
            yield Start({"endless": endless()}, until=0.0)
            yield call(fails)
        except failure:
            told.append("lead")
            raise

    def fails() -> None:
        raise failure

    with pytest.raises(failure):
        run(together.led_by(lead()), perform)
    assert told == ["lead", "flow"]


@pytest.mark.parametrize("order", [range(3), range(2, -1, -1)])
def test_a_response_that_has_arrived_outlives_an_interruption(order: range) -> None:
    """A task's cancellation leaves the flow every result that came in before it, and ends the other calls."""
    kept: dict[Any, Result[Any]] = {}
    requests: list[Any] = []

    def flow() -> Flow[None]:
        yield Overlap({key: call(requests[key]) for key in order}, kept)
        yield Overlap({2: call(None)}, kept)

    async def main() -> None:
        requests.extend(["first", "second", asyncio.Event().wait])
        task = asyncio.create_task(run_async(flow(), perform))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert kept == {0: Result("first"), 1: Result("second")}


def test_an_interruption_that_hits_the_driver_reaches_the_flow() -> None:
    """Ctrl-C between an effect and the flow reaches the flow, which adds its note."""

    async def hit(each: Call[Any]) -> None:
        raise KeyboardInterrupt

    def flow(note: Callable[[], str]) -> Flow[None]:
        with noting(note):
            yield call(None)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(flow(lambda: "left behind"), hit)
    assert caught.value.__notes__ == ["left behind"]
