"""Adopting or refusing an execution that is under way, as flows in virtual time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dune_matviews import (
    AlreadyRunningError,
    AsyncMatviewsClient,
    BadRequestError,
    ExecutionState,
    MatviewsClient,
    NotFoundError,
    RequestFailedError,
)
from dune_matviews._flow.effects import Flow, Sleep
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.execution.refreshing import LOST, VIEW, billed, follow, refresh, sent, started
from tests.simulation import Dune, Fault

DAY = 24 * 3600.0
NOT_FOUND = NotFoundError("Object not found", status_code=404)
BARE = VIEW.rpartition(".")[2]


@pytest.mark.parametrize(("if_running", "expected"), [("adopt", "E1"), ("start", "E2")])
def test_an_execution_under_way_is_adopted_where_asked(if_running: str, expected: str) -> None:
    """`adopt` follows a running execution at no cost; `start` starts another without a check."""
    dune = Dune(length=100)
    started(dune)
    assert dune.run(refresh(dune.session(), if_running=if_running)) == expected
    assert sent(dune, "status") == (if_running == "adopt")


def test_an_execution_under_way_is_refused_where_asked() -> None:
    """`refuse` raises with the id of the running execution, and starts nothing."""
    dune = Dune(length=100)
    started(dune)
    with pytest.raises(AlreadyRunningError, match="E1") as caught:
        dune.run(refresh(dune.session(), if_running="refuse"))
    assert (caught.value.execution_id, caught.value.name, billed(dune)) == ("E1", VIEW, 1)


@pytest.mark.parametrize("end", [ExecutionState.COMPLETED, ExecutionState.FAILED])
def test_where_nothing_is_under_way_a_refresh_is_started(end: ExecutionState) -> None:
    """Executions that are over are not in the way of a new one."""
    dune = Dune(end=end)
    for _ in range(3):
        dune.run(refresh(dune.session(), if_running="refuse"))
        dune.now += 100
    assert billed(dune) == 3


def test_adopting_reads_the_history_once() -> None:
    """The history read to find a running execution also serves as the baseline."""
    dune = Dune()
    dune.run(refresh(dune.session(), if_running="adopt"))
    assert [each.what for each in dune.seen] == [f"view {VIEW}", f"refresh {VIEW}"]


def test_what_ran_in_past_nights_is_not_read_again() -> None:
    """After ten nights, adopting reads only executions that may still run, once each: ids give the ages."""
    dune = Dune(ulids=True)
    for _ in range(10):
        started(dune)
        dune.now += DAY
    session = dune.session()
    dune.seen.clear()
    for expected in (1, 2):
        dune.run(refresh(session, if_running="adopt"))
        dune.now += 100
        assert sent(dune, "status") <= expected
    assert billed(dune) == 12


def test_an_execution_that_has_ended_is_read_once() -> None:
    """Ids without a time cost one read each, but only the first time."""
    dune = Dune()
    for _ in range(5):
        started(dune)
        dune.now += DAY
    session = dune.session()
    dune.seen.clear()
    for _ in range(3):
        execution_id = dune.run(refresh(session, if_running="adopt"))
        dune.run(follow(session, execution_id))
    assert max(sent(dune, f"status E{number}") for number in range(1, 6)) == 1


def test_of_several_executions_one_that_runs_is_found() -> None:
    """Executions of one view may overlap: a newer one that is over does not hide an older one that runs."""
    dune = Dune(length=1000)
    started(dune)
    dune.length = 5
    started(dune)
    dune.now += 10
    assert dune.run(refresh(dune.session(), if_running="adopt")) == "E1"


def test_a_running_execution_may_stand_at_the_end_of_a_list() -> None:
    """Ids show which executions are the newest, in any order of a long list."""
    dune = Dune(ulids=True, length=60)
    for _ in range(15):
        started(dune)
        dune.now += 30
    tell = dune._view
    dune._view = lambda name: tell(name)._replace(ids=tell(name).ids[::-1])  # type: ignore[method-assign]
    dune.seen.clear()
    assert dune.run(refresh(dune.session(), if_running="adopt")) == dune.ledger[-1].execution_id
    assert sent(dune, "status") == 1


def test_what_began_before_what_the_view_reads_was_fresh_is_not_adopted() -> None:
    """Within a run only an execution that began after that counts, also where Dune does not know it yet."""
    for known_after in (0.0, 10.0):
        dune = Dune(ulids=True, length=100, known_after=known_after)
        session = dune.session()
        dune.run(refresh(session))
        dune.now += 5
        second = dune.run(refresh(session, if_running="adopt", not_before=dune._wall(dune.now)))
        dune.now += 1
        assert dune.run(refresh(session, if_running="adopt", not_before=dune._wall(dune.now - 2))) == second
        assert billed(dune) == 2


def test_an_execution_that_dune_keeps_no_longer_is_over() -> None:
    """A listed execution that is not found any more does not keep anyone from adopting or refusing."""
    dune = Dune(end=ExecutionState.FAILED)
    started(dune)
    dune.now += 100
    dune.fail("status", Fault(NOT_FOUND))
    assert dune.run(refresh(dune.session(), if_running="refuse")) == "E2"


def test_the_newest_execution_may_not_be_known_yet() -> None:
    """Another client's execution that was listed a moment ago, and whose status is a 404, is adopted all the same."""
    dune = Dune(ulids=True, known_after=5.0, length=100)
    execution_id = started(dune)
    session = dune.session()
    assert dune.run(refresh(session, if_running="adopt")) == execution_id
    assert dune.run(follow(session, execution_id, how="adopted")).succeeded
    assert billed(dune) == 1


@pytest.mark.parametrize("known_after", [0.0, 5.0])
@pytest.mark.parametrize("if_running", ["adopt", "refuse"])
def test_our_own_execution_counts_before_it_is_listed(if_running: str, known_after: float) -> None:
    """An execution of this client's is under way from its response on, listed or not."""
    dune = Dune(listed_after=1.0, known_after=known_after, length=100)
    session = dune.session()
    dune.run(refresh(session))
    (second,) = dune.run_together(refresh(session, if_running=if_running))
    if if_running == "adopt":
        assert second.result() == "E1"
    else:
        assert isinstance(second.exception(), AlreadyRunningError)
    assert billed(dune) == 1


def test_an_execution_that_was_found_counts_under_any_name() -> None:
    """An execution that this client found after a lost response is under way, under any spelling of the view."""
    dune = Dune(length=100)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True))
    assert dune.run(refresh(session)) == "E1"
    assert dune.run(refresh(session, BARE, if_running="adopt")) == "E1"
    assert billed(dune) == 1


def test_an_execution_that_stays_unknown_is_adopted_no_more() -> None:
    """Our own execution that is still a 404 after a minute of waiting is not followed."""
    dune = Dune(known_after=1e6)
    session = dune.session()
    execution_id = dune.run(refresh(session))
    with pytest.raises(NotFoundError):
        dune.run(follow(session, execution_id))
    assert dune.run(refresh(session, if_running="adopt")) == "E2"


@pytest.mark.parametrize("other", [VIEW, BARE, 'dune."my_team".result_x'])
@pytest.mark.parametrize("delays", [{}, {"round_trip": 0.3}, {"listed_after": 1.0, "known_after": 1.0}])
def test_five_that_adopt_are_billed_once(delays: dict[str, Any], other: str) -> None:
    """Of five calls of one client at once the first sends, and the others adopt, however they spell the view."""
    dune = Dune(length=100, **delays)
    session = dune.session()
    names = [VIEW, other, VIEW, other, VIEW]
    outcomes = dune.run_together(*(refresh(session, name, if_running="adopt") for name in names))
    assert {each.result() for each in outcomes} == {"E1"}
    assert (sent(dune), billed(dune)) == (1, 1)


@pytest.mark.parametrize("delays", [{}, {"round_trip": 0.3}, {"listed_after": 1.0, "known_after": 1.0}])
def test_of_five_that_refuse_one_starts(delays: dict[str, Any]) -> None:
    """Of five calls of one client at once the first sends, and the others are refused with its execution."""
    dune = Dune(length=100, **delays)
    session = dune.session()
    first, *others = dune.run_together(*(refresh(session, if_running="refuse") for _ in range(5)))
    assert first.result() == "E1"
    for each in others:
        assert isinstance(failure := each.exception(), AlreadyRunningError)
        assert failure.execution_id == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_where_the_first_is_refused_by_dune_one_of_those_that_wait_sends() -> None:
    """An intent that ended unsent blocks nobody."""
    dune = Dune(length=100, round_trip=0.3)
    session = dune.session()
    dune.fail("refresh", Fault(BadRequestError("no", status_code=400), takes=0.3))
    outcomes = dune.run_together(*(refresh(session, if_running="adopt") for _ in range(5)))
    assert sum(isinstance(each.exception(), BadRequestError) for each in outcomes) == 1
    assert {each.result() for each in outcomes if not each.exception()} == {"E1"}
    assert (sent(dune), billed(dune)) == (2, 1)


def test_where_the_first_is_lost_all_share_its_search() -> None:
    """A call that waits for a lost refresh gets the execution that is found, and searches for no other."""
    dune = Dune(length=100, listed_after=7.0)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    outcomes = dune.run_together(*(refresh(session, if_running="adopt") for _ in range(5)))
    assert {each.result() for each in outcomes} == {"E1"}
    assert (sent(dune), billed(dune)) == (1, 1)


def test_where_the_first_is_not_found_all_share_its_error() -> None:
    """A search that finds nothing is made once, not once for each that waits for it."""
    dune = Dune()
    session = dune.session()
    began = dune.now
    dune.fail("refresh", Fault(LOST, takes=10.0))
    outcomes = dune.run_together(*(refresh(session, if_running="adopt") for _ in range(5)))
    assert len({id(each.exception()) for each in outcomes}) == 1
    assert (sent(dune), billed(dune)) == (1, 0)
    assert dune.now - began <= 75.0


def test_waiting_for_another_call_ends_with_the_timeout() -> None:
    """A call that waits for another one of the same view keeps its own deadline, and has sent nothing."""
    dune = Dune(round_trip=9.0)
    session = dune.session()
    began = dune.now
    _, waiting = dune.run_together(refresh(session), refresh(session, if_running="adopt", deadline=dune.now + 2.0))
    assert isinstance(failure := waiting.exception(), RequestFailedError)
    assert not failure.sent
    assert (sent(dune), billed(dune)) == (1, 1)
    assert began + 2 <= dune.now


def test_adopting_takes_nothing_from_a_lost_refresh() -> None:
    """While a lost refresh is searched for, an adopting call waits for it, and both follow the result."""
    dune = Dune(length=100.0, listed_after=3.0)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True))

    def adopt_later() -> Flow[str]:
        yield Sleep(1.1)
        return (yield from refresh(session, if_running="adopt"))

    lost, adopted = dune.run_together(refresh(session), adopt_later())
    assert (lost.result(), adopted.result(), billed(dune)) == ("E1", "E1", 1)


def test_the_search_for_what_runs_has_the_hint_for_bare_names_too() -> None:
    """A 404 shows the form of a full name, even if it comes from the read before the refresh."""
    dune = Dune()
    dune.fail("view", Fault(NOT_FOUND))
    with pytest.raises(NotFoundError, match=r"dune\.my_team\.my_matview"):
        dune.run(refresh(dune.session(), "my_matview", if_running="adopt"))


def test_five_threads_of_one_client_are_billed_once(sandbox: DuneSandbox) -> None:
    """Threads that share a client, and adopt, share one execution."""
    sandbox.rehearse(VIEW, Scenario(running=1e6))
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url) as client, ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(client.refresh, VIEW, if_running="adopt") for _ in range(5)]
        assert len({each.result().execution_id for each in calls}) == 1
    assert len(sandbox.ledger) == 1


def test_five_tasks_of_one_client_are_billed_once(sandbox: DuneSandbox) -> None:
    """Tasks that share a client, and adopt, share one execution."""
    sandbox.rehearse(VIEW, Scenario(running=1e6))

    async def together() -> set[str]:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url) as client:
            handles = await asyncio.gather(*(client.refresh(VIEW, if_running="adopt") for _ in range(5)))
        return {each.execution_id for each in handles}

    assert len(asyncio.run(together())) == 1
    assert len(sandbox.ledger) == 1
