"""For all sequences of faults, there are never two bills, an endless wait, or a foreign exception."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
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
from dune_matviews._api.values import Definition, ViewHistory
from dune_matviews._execution.requests import RETRYING
from dune_matviews._execution.session import Session, Times
from dune_matviews._execution.views import delete, upsert
from dune_matviews._execution.watching import cancel
from dune_matviews._execution.wish import Wish
from dune_matviews._flow.drivers import run
from dune_matviews._flow.effects import Flow, Sleep
from tests.execution.refreshing import VIEW, follow, refresh
from tests.simulation import Dune, Fault, driven_by_asyncio, driven_in_a_thread

DEFINITION = Definition(name="result_x", query_id=7, is_private=False)
TIMEOUT = 10.0

takes = st.sampled_from([0.0, 0.5, 3.0, 10.0, 1000.0])
retry_afters = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 5.0, 60.0, 86_400.0]))


def open_faults() -> st.SearchStrategy[Fault]:
    """Faults after which a refresh may have been accepted."""
    errors: st.SearchStrategy[Exception] = st.one_of(
        st.builds(lambda: RequestFailedError("lost", sent=True)),
        st.builds(lambda after: ServerError("", status_code=503, retry_after=after), retry_afters),
        st.builds(lambda: UnexpectedResponseError("unreadable", status_code=200)),
        st.builds(lambda: UnexpectedResponseError("see other", status_code=303)),
        st.builds(lambda: APIError("", status_code=408)),
    )
    return st.builds(Fault, errors, accepted=st.booleans(), takes=takes)


def clear_faults() -> st.SearchStrategy[Fault]:
    """Faults that prove that a refresh was not accepted."""
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
ways = st.sampled_from(["raise", "resend", "upsert"])
STARTING = (RETRYING + 1) * TIMEOUT
"""Seconds within which a request is sent or given up, with the read before it."""


def begun(way: str, session: Session) -> Flow[str]:
    """An execution of the view, started in one of the ways that are billed."""
    if way != "upsert":
        return (yield from refresh(session, if_lost=way))
    found = yield from upsert(session, Wish(view=DEFINITION.name, definition=DEFINITION))
    assert found.execution_id is not None
    return found.execution_id


def one_refresh(dune: Dune, timeout: float, max_credits: float, way: str = "raise") -> Flow[Any]:
    """Start an execution, and wait for it."""
    session = dune.session(timeout=TIMEOUT)
    execution_id = yield from begun(way, session)
    return (yield from follow(session, execution_id, timeout=timeout, allowance=lambda: max_credits))


@given(dunes, faults, timeouts, st.sampled_from([float("inf"), 0.0, 10.0]), ways)
def test_one_refresh_is_billed_at_most_once(
    dune: Dune, failures: list[Fault | None], timeout: float, max_credits: float, way: str
) -> None:
    """Starting and waiting ends, in time, with a fresh view or an error of ours, and with one bill at most."""
    assume(way != "resend" or dune.listed_after < Times().proof)  # what remains, and is documented
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
    searches = 1 if way != "resend" else 1 + sum(each is not None for each in failures)
    times = Times()
    search = times.proof if way == "resend" else times.looking
    started_within = 3 * TIMEOUT + (STARTING + search + 2 * TIMEOUT) * searches
    waited = timeout if timeout < 1e9 else 5000 * 1.1 + 40 * 16 * 60
    assert dune.now - began <= started_within + waited + 1e-6


@given(dunes, faults, ways, ways)
def test_what_is_found_again_is_what_was_started(
    dune: Dune, failures: list[Fault | None], one: str, other: str
) -> None:
    """Two refreshes of one view by one client are two executions, or one of them is an error; never one for both."""
    assume("resend" not in (one, other) or dune.listed_after < Times().proof)  # what remains, and is documented
    dune.faults = iter(failures)
    session = dune.session(timeout=TIMEOUT)
    outcomes = dune.run_together(*(begun(way, session) for way in (one, other)))
    ids = [outcome.result() for outcome in outcomes if not outcome.exception()]
    assert len(set(ids)) == len(ids)
    assert len(dune.ledger) <= 2
    ambiguous = sum(isinstance(outcome.exception(), AmbiguousRefreshError) for outcome in outcomes)
    assert len(ids) <= len(dune.ledger) <= len(ids) + ambiguous


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[float, str, dict[str, Any]]]:
    """Calls of one client that adopt: when each begins, how it spells the view, and on which terms."""
    spellings = st.sampled_from([VIEW, VIEW.rpartition(".")[2], 'dune."my_team".result_x'])
    moments = st.sampled_from([0.0, 0.0, 0.1, 5.0, 30.0, 100.0, 400.0])
    terms = st.builds(
        lambda lost, running: {"if_lost": lost, "if_running": running},
        st.sampled_from(["raise", "resend"]),
        st.sampled_from(["adopt", "refuse"]),
    )
    return draw(st.lists(st.tuples(moments, spellings, terms), min_size=1, max_size=6))


lengths = st.sampled_from([0.5, 30.0, 5000.0])
delays = st.sampled_from([0.0, 2.0, 40.0])
lost_or_refused = st.lists(st.one_of(st.none(), open_faults(), clear_faults()), max_size=8)


@given(calls(), lengths, delays, delays, st.sampled_from([0.0, 0.3, 9.0]), lost_or_refused)
def test_one_client_that_adopts_has_one_execution_at_a_time(
    planned: list[tuple[float, str, dict[str, Any]]],
    length: float,
    listed_after: float,
    known_after: float,
    round_trip: float,
    failures: list[Fault | None],
) -> None:
    """For all overlaps of calls and lost responses, no two executions of the view overlap."""
    dune = Dune(length=length, listed_after=listed_after, known_after=known_after, round_trip=round_trip, ulids=True)
    dune.fail("refresh", *failures)
    session = dune.session(timeout=TIMEOUT)

    def later(pause: float, view: str, terms: dict[str, Any]) -> Flow[str]:
        yield Sleep(pause)
        return (yield from refresh(session, view, **terms))

    outcomes = dune.run_together(*(later(*each) for each in planned))
    assert all(isinstance(each.exception(), DuneError | None) for each in outcomes)
    assert all(one.ends <= other.submitted for one, other in pairwise(dune.ledger))
    accepted = {each.execution_id for each in dune.ledger}
    assert {each.result() for each in outcomes if not each.exception()} <= accepted


@st.composite
def histories(draw: st.DrawFn) -> Callable[[ViewHistory], ViewHistory]:
    """A way in which Dune, or a cache, may report a history: its length, order and clock."""
    length, skew = draw(st.sampled_from([10, 12, 100])), draw(st.sampled_from([-3, 0, 3]))
    order, chance = draw(st.sampled_from(["newest first", "oldest first", "any"])), draw(st.randoms())
    cached, silent = draw(st.sampled_from([(0.0, 0.0), (0.2, 0.0), (0.0, 0.2)]))

    def told(history: ViewHistory) -> ViewHistory:
        ids = list(history.ids[:length])
        if order != "newest first":
            ids.reverse()
        if order == "any":
            chance.shuffle(ids)
        if chance.random() < silent:
            return ViewHistory((), history.date, is_stated=False)
        date = history.date and history.date + timedelta(seconds=skew)
        return ViewHistory(tuple(ids), date, is_cached=chance.random() < cached)

    return told


foreign = st.lists(st.floats(-2000.0, 400.0), max_size=9).map(sorted)


@given(
    histories(), foreign, st.booleans(), delays, delays, delays, lost_or_refused, st.sampled_from(["raise", "resend"])
)
def test_amid_others_one_refresh_is_accepted_at_most_once(
    told: Callable[[ViewHistory], ViewHistory],
    others: list[float],
    ulids: bool,
    late: float,
    listed_after: float,
    known_after: float,
    failures: list[Fault | None],
    if_lost: str,
) -> None:
    """For all foreign refreshes and reported histories, one call has one execution of its own."""
    dune = Dune(length=60.0, listed_after=listed_after, known_after=known_after, ulids=ulids)
    session = dune.session(timeout=TIMEOUT)
    began, tell = dune.now + 2000.0, dune._view

    def arrive() -> None:
        now = dune.now
        while others and began + others[0] <= now:
            dune.now = began + others.pop(0)
            dune._start(VIEW, None)
        dune.now = now

    def view(name: str) -> ViewHistory:
        arrive()
        return told(tell(name))

    dune._view = view  # type: ignore[method-assign]
    dune.fail("refresh", *(each and attrs.evolve(each, late=late) for each in failures))
    dune.now = began
    (outcome,) = dune.run_together(refresh(session, tier="large", if_lost=if_lost))
    ours = [each for each in dune.ledger if each.performance == "large"]
    assert len(ours) <= 1
    failure = outcome.exception()
    if failure is None:
        (found,) = [each for each in dune.ledger if each.execution_id == outcome.result()]
        assert found.submitted >= began - Times().slack - 1.0
    elif not isinstance(failure, AmbiguousRefreshError):
        assert isinstance(failure, DuneError)
        assert ours == []
    elif ours and failure.candidates and ours[0].submitted + listed_after <= dune.now:
        assert ours[0].execution_id in failure.candidates


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
        run(flow, dune.send_async, sleep=interrupt_at(place))
    except KeyboardInterrupt as caught:
        assert caught is interruption
        before = len(dune.seen)
        with pytest.raises(StopIteration):
            next(flow)
        assert len(dune.seen) == before
    except DuneError:
        pass


@given(dunes, faults)
def test_a_cancel_ends_in_time(dune: Dune, failures: list[Fault | None]) -> None:
    """Cancelling ends within ten request timeouts and the last request, for all faults."""
    session = dune.session(timeout=TIMEOUT)
    execution_id = dune.run(refresh(session))
    dune.faults = iter(failures)
    began = dune.now
    try:
        assert dune.run(cancel(session, execution_id, VIEW)) in (True, False)
    except DuneError as error:
        assert error.execution_id == execution_id
        assert not isinstance(error, WaitTimeoutError)
    assert dune.now - began <= (RETRYING + 1) * TIMEOUT


@given(dunes, faults, st.booleans())
def test_a_deletion_ends_in_time_and_says_the_truth(dune: Dune, failures: list[Fault | None], exists: bool) -> None:
    """Success means that the view is gone, and a 404 that it never existed, for all lost responses."""
    session = dune.session(timeout=TIMEOUT)
    if exists:
        dune.run(refresh(session))
    dune.faults = iter(failures)
    began = dune.now
    try:
        dune.run(delete(session, VIEW))
    except NotFoundError:
        assert not exists
    except DuneError:
        pass
    else:
        assert VIEW in dune.deleted or not exists
    assert dune.now - began <= (RETRYING + 1) * TIMEOUT
