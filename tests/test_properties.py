"""Whatever goes wrong, in whatever order: never two bills, an endless wait, or an exception that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import (
    AmbiguousRefreshError,
    APIError,
    AuthenticationError,
    ConflictError,
    DuneError,
    ExecutionState,
    NotFoundError,
    RateLimitError,
    RequestFailedError,
    ServerError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from dune_matviews._api.values import Definition
from dune_matviews._flow.drivers import run, run_async
from dune_matviews._flow.effects import Flow
from dune_matviews._life import delete, upsert
from dune_matviews._refresh import cancel, start, watch
from dune_matviews._requests import PATIENCE, Session
from tests.simulation import Dune, Fault

VIEW = "dune.my_team.result_x"
DEFINITION = Definition(name="result_x", query_id=7, is_private=False)
TIMEOUT = 10.0

takes = st.sampled_from([0.0, 0.5, 3.0, 10.0, 1000.0])
retry_afters = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 5.0, 60.0, 86_400.0]))


def open_faults() -> st.SearchStrategy[Fault]:
    """What leaves it open whether a refresh was accepted."""
    errors: st.SearchStrategy[Exception] = st.one_of(
        st.builds(lambda: RequestFailedError("lost", sent=True)),
        st.builds(lambda after: ServerError("", status_code=503, retry_after=after), retry_afters),
        st.builds(lambda: UnexpectedResponseError("unreadable", status_code=200)),
        st.builds(lambda: UnexpectedResponseError("see other", status_code=303)),
        st.builds(lambda: APIError("", status_code=408)),
    )
    return st.builds(Fault, errors, accepted=st.booleans(), takes=takes)


def clear_faults() -> st.SearchStrategy[Fault]:
    """What proves that a refresh was not accepted."""
    errors: st.SearchStrategy[Exception] = st.one_of(
        st.builds(lambda: RequestFailedError("no connection", sent=False)),
        st.builds(lambda after: RateLimitError("", status_code=429, retry_after=after), retry_afters),
        st.builds(lambda: AuthenticationError("", status_code=401)),
        st.builds(lambda: ConflictError("", status_code=409)),
        st.builds(lambda: APIError("", status_code=418)),
        st.builds(lambda: APIError("", status_code=425)),
        st.builds(lambda: UnexpectedResponseError("a redirect", status_code=302)),
    )
    return st.builds(Fault, errors, takes=takes)


faults = st.lists(st.one_of(st.none(), open_faults(), clear_faults()), max_size=40)
dunes = st.builds(
    Dune,
    length=st.sampled_from([0.0, 1.0, 30.0, 5000.0]),
    end=st.sampled_from([each for each in ExecutionState if each not in ("pending", "executing")]),
    credits=st.sampled_from([0.0, 1.0, 100.0]),
    round_trip=st.sampled_from([0.0, 0.3, 9.0]),
    clock_offset=st.sampled_from([-86_400.0, 0.0, 3.3]),
    listed_after=st.sampled_from([0.0, 2.0, 40.0, 1e6]),
)
timeouts = st.sampled_from([float("inf"), 0.5, 60.0, 3600.0])
ways = st.sampled_from(["refresh", "upsert"])


def begun(way: str, session: Session, dune: Dune) -> Flow[str]:
    """An execution of the view, started in one of the two ways that are billed."""
    if way == "refresh":
        return (yield from start(session, dune, VIEW, None, "start"))
    return (yield from upsert(session, dune, DEFINITION)).execution_id


def one_refresh(dune: Dune, timeout: float, max_credits: float, way: str = "refresh") -> Flow[Any]:
    """Start an execution, and wait for it."""
    session = dune.session(timeout=TIMEOUT)
    execution_id = yield from begun(way, session, dune)
    return (
        yield from watch(
            session, dune, execution_id, since=session.clock(), timeout=timeout, allowance=lambda: max_credits
        )
    )


@given(dunes, faults, timeouts, st.sampled_from([float("inf"), 0.0, 10.0]), ways)
def test_one_refresh_is_billed_at_most_once(
    dune: Dune, failures: list[Fault | None], timeout: float, max_credits: float, way: str
) -> None:
    """Starting and waiting ends, in time, with a fresh view or an error of ours, and with one bill at most."""
    dune.faults = iter(failures)
    began = dune.now
    try:
        status = dune.run(one_refresh(dune, timeout, max_credits, way))
    except DuneError as error:
        certainly_nothing = isinstance(error, APIError | RequestFailedError) and error.execution_id is None
        assert len(dune.ledger) <= (0 if certainly_nothing else 1), error
        if error.execution_id:
            assert error.execution_id == dune.ledger[0].execution_id
    else:
        assert status.succeeded
        assert [each.execution_id for each in dune.ledger] == [status.execution_id]
    started_within = (PATIENCE + 1 + 5 + 1) * TIMEOUT
    waited = timeout if timeout < 1e9 else 5000 * 1.1 + 40 * 16 * 60
    assert dune.now - began <= started_within + waited + 1e-6


@given(dunes, faults, ways, ways)
def test_what_is_found_again_is_what_was_started(
    dune: Dune, failures: list[Fault | None], one: str, other: str
) -> None:
    """Two refreshes of one view by one client are two executions, or one of them is an error; never one for both."""
    dune.faults = iter(failures)
    session = dune.session(timeout=TIMEOUT)
    outcomes = dune.run_together(*(begun(way, session, dune) for way in (one, other)))
    ids = [outcome.result() for outcome in outcomes if not outcome.exception()]
    assert len(set(ids)) == len(ids)
    assert len(dune.ledger) <= 2
    ambiguous = sum(isinstance(outcome.exception(), AmbiguousRefreshError) for outcome in outcomes)
    assert len(ids) <= len(dune.ledger) <= len(ids) + ambiguous


@given(dunes, faults, timeouts, ways)
def test_both_drivers_leave_the_same_traces(dune: Dune, failures: list[Fault | None], timeout: float, way: str) -> None:
    """Sync and async send the same requests at the same times, and end in the same way."""
    traces = []
    for drive in (driven_in_a_thread, driven_by_asyncio):
        world = Dune(
            length=dune.length,
            end=dune.end,
            credits=dune.credits,
            round_trip=dune.round_trip,
            clock_offset=dune.clock_offset,
            listed_after=dune.listed_after,
        )
        world.faults = iter(failures)
        try:
            outcome: object = drive(world, one_refresh(world, timeout, 10.0, way))
        except DuneError as error:
            outcome = (type(error), str(error))
        traces.append((outcome, world.seen, world.now))
    assert traces[0] == traces[1]


def driven_in_a_thread(dune: Dune, flow: Flow[Any]) -> Any:
    """The synchronous driver, in virtual time."""
    return run(flow, dune.send, sleep=dune.rest)


def driven_by_asyncio(dune: Dune, flow: Flow[Any]) -> Any:
    """The asynchronous driver, in virtual time."""

    async def rest(seconds: float) -> None:
        dune.rest(seconds)

    return asyncio.run(run_async(flow, dune.send_async, sleep=rest))


@given(dunes, faults, st.integers(0, 30), ways)
def test_after_an_interruption_nothing_more_is_sent(
    dune: Dune, failures: list[Fault | None], place: int, way: str
) -> None:
    """Ctrl-C at any moment passes on unchanged, and no request follows it."""
    dune.faults = iter(failures)
    flow = one_refresh(dune, float("inf"), 10.0, way)
    interruption = KeyboardInterrupt()
    steps = 0

    def interrupt_at(place: int) -> Callable[[float], None]:
        def rest(seconds: float) -> None:
            nonlocal steps
            steps += 1
            if steps > place:
                raise interruption
            dune.rest(seconds)

        return rest

    try:
        run(flow, dune.send, sleep=interrupt_at(place))
    except KeyboardInterrupt as caught:
        assert caught is interruption
        before = len(dune.seen)
        with pytest.raises(StopIteration):
            next(flow)
        assert len(dune.seen) == before
    except DuneError:
        pass


@given(dunes, faults)
def test_a_cancel_is_an_answer_or_an_error_in_time(dune: Dune, failures: list[Fault | None]) -> None:
    """Cancelling ends within ten request timeouts and the last request, whatever happens."""
    session = dune.session(timeout=TIMEOUT)
    execution_id = dune.run(start(session, dune, VIEW, None, "start"))
    dune.faults = iter(failures)
    began = dune.now
    try:
        assert dune.run(cancel(session, dune, execution_id)) in (True, False)
    except DuneError as error:
        assert error.execution_id == execution_id
        assert not isinstance(error, WaitTimeoutError)
    assert dune.now - began <= (PATIENCE + 1) * TIMEOUT


@given(dunes, faults, st.booleans())
def test_a_deletion_ends_in_time_and_says_the_truth(dune: Dune, failures: list[Fault | None], exists: bool) -> None:
    """Success means that the view is gone, and a 404 that it was not there, whatever was lost on the way."""
    session = dune.session(timeout=TIMEOUT)
    if exists:
        dune.run(start(session, dune, VIEW, None, "start"))
    dune.faults = iter(failures)
    began = dune.now
    try:
        dune.run(delete(session, dune, VIEW))
    except NotFoundError:
        assert not exists
    except DuneError:
        pass
    else:
        assert VIEW in dune.deleted or not exists
    assert dune.now - began <= (PATIENCE + 1) * TIMEOUT
