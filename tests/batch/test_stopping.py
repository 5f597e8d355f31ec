"""Early ends of a run: a cap, its timeout, an interruption or an error, and their consequences."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import AuthenticationError, ExecutionStatus, NotFoundError, PaymentRequiredError
from dune_matviews._execution.journal import Journal
from dune_matviews._execution.starting import start
from dune_matviews._execution.wish import PreventedError, Wish
from dune_matviews._flow.drivers import run_async
from dune_matviews._flow.effects import Call, Flow
from dune_matviews.report import Outcome, RefreshReport, ViewResult
from tests.batch.runs import (
    COMPLETED,
    FAILED,
    LOST,
    Lines,
    advance,
    billed,
    graphs,
    lives,
    outcomes,
    refresh_all,
    report_of,
    run_of,
    sent,
    troubles,
)
from tests.simulation import Dune, Fault, driven_by_asyncio, driven_in_a_thread

Driver = Callable[[Dune, Flow[RefreshReport]], RefreshReport]


def side_by_side(dune: Dune, flow: Flow[RefreshReport]) -> RefreshReport:
    """Requests that are under way together, as asyncio has them."""
    return dune.run(flow)


both_drivers = pytest.mark.parametrize("drive", [driven_in_a_thread, driven_by_asyncio])
in_turn_or_together = pytest.mark.parametrize("drive", [driven_in_a_thread, side_by_side])


# Caps


class Costless(Dune):
    """A Dune that reports no cost after the end of an execution."""

    def _status(self, execution_id: str) -> ExecutionStatus:
        status = super()._status(execution_id)
        return attrs.evolve(status, cost_credits=None) if status.is_finished else status


def test_an_end_without_a_cost_costs_what_was_seen_last() -> None:
    """With five views at 90 credits and a cap of 100, the second is cancelled, even without final costs."""
    dune = Costless(length=100, credits=90.0)
    report = refresh_all(dune, list("abcde"), max_parallel=1, max_credits=100)
    assert list(outcomes(report).values()) == ["succeeded", "canceled", "not_started", "not_started", "not_started"]
    assert sum(each.credits for each in dune.ledger) < 105
    assert report.cost_credits == pytest.approx(100, abs=5)


def test_a_stopped_run_asks_for_nothing_more() -> None:
    """Once the cap is passed, the views that wait are not even read."""
    dune = Dune(credits=5.0)
    report = refresh_all(dune, list("abc"), max_parallel=1, max_credits=3, max_age=timedelta(hours=1))
    assert set(outcomes(report).values()) == {"canceled", "not_started"}
    assert all(each.what.endswith((" a", " E1")) for each in dune.seen)


def test_costs_that_sum_up_to_the_cap_are_within_it() -> None:
    """Five views at 0.7 credits, and a cap of 3.5, which floating-point numbers do not add up to."""
    dune = Dune(credits=0.7)
    report = refresh_all(dune, list("abcde"), max_parallel=1, max_credits=3.5)
    assert (report.ok, report.stopped_by) == (True, None)


@pytest.mark.parametrize("how", ["inferred", "adopted"])
def test_a_cap_cancels_nothing_that_this_run_may_not_have_started(how: str) -> None:
    """An execution known by the view's history alone counts in full, and goes on: it is `running`, with its id."""
    dune = Dune(length=1000, credits=100.0)
    if how == "adopted":
        dune.run(run_of(dune, ["a"], timeout=1).flow())
    else:
        dune.fail("refresh", Fault(LOST, accepted=True))
    report = refresh_all(dune, ["a", "b"], max_parallel=1, max_credits=20, if_running="adopt")
    assert outcomes(report) == {"a": "running", "b": "canceled" if how == "inferred" else "not_started"}
    assert "not be ours to cancel" in (report.results["a"].reason or "")
    assert report.results["a"].execution_id == "E1"
    assert report.stopped_by == "credits"
    assert {each.name: each.end for each in dune.ledger}["a"] is COMPLETED


# The timeout


@in_turn_or_together
def test_a_timeout_holds_while_requests_hang(drive: Driver) -> None:
    """Where no response comes any more, a run ends at its timeout, with the ids that it knows."""
    dune = Dune(length=1000)
    began = dune.now
    dune.fail("status", *[Fault(LOST, takes=60.0)] * 1000)
    report = drive(dune, run_of(dune, ["a", "b", "c"], timeout=35).flow())
    assert dune.now - began == pytest.approx(35, abs=1)
    assert {name: result.execution_id for name, result in report.results.items()} == {"a": "E1", "b": "E2", "c": "E3"}
    assert set(outcomes(report).values()) == {"running"}


@in_turn_or_together
def test_a_timeout_holds_while_a_refresh_hangs(drive: Driver) -> None:
    """A refresh without a response at the timeout is ambiguous, and the report says how to proceed."""
    dune = Dune(length=1000)
    began = dune.now
    dune.fail("refresh", Fault(LOST, takes=60.0, accepted=True))
    dune.fail("view", None, *[Fault(LOST, takes=60.0)] * 1000)
    report = drive(dune, run_of(dune, ["a", "b"], max_parallel=1, timeout=35).flow())
    assert dune.now - began == pytest.approx(35, abs=1)
    assert outcomes(report)["a"] == "ambiguous"
    assert "looks for it again" in report.results["a"].describe()


# Interruptions


@given(graphs, lives, troubles, st.integers(0, 60))
def test_interrupted_at_any_step_a_run_reports_and_sends_nothing_more(
    graph: dict[str, list[str]], lives: list[Any], troubles: list[Fault | None], steps: int
) -> None:
    """Ctrl-C at any step passes on unchanged, with a report that hides no execution, and no request follows it."""
    dune = Dune(round_trip=0.1)
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    flow = run_of(dune, graph, journal=Lines()).flow()
    if isinstance(advance(dune, flow, steps), RefreshReport):
        return
    before, interruption = len(dune.seen), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(interruption)
    assert caught.value is interruption
    assert len(dune.seen) == before
    report = report_of(interruption)
    known = {each.name: each.execution_id for each in dune.ledger}
    for name, result in report.results.items():
        if result.execution_id is not None:
            assert known[name] == result.execution_id
        elif name in known:
            assert result.outcome is Outcome.AMBIGUOUS
    left = any(result.outcome in (Outcome.RUNNING, Outcome.AMBIGUOUS) for result in report.results.values())
    assert bool(getattr(interruption, "__notes__", ())) is left


async def cancelled_when(
    flow: Flow[RefreshReport], dune: Dune, what: str, *, hangs: bool = True
) -> asyncio.CancelledError:
    """Cancel the task of a run when Dune has done the work of that request, whose response never arrives.

    Or, where it does not hang, in the very moment in which its response arrives.
    """
    done = asyncio.Event()

    async def send(call: Call[Any]) -> Any:
        before = len(dune.seen)
        result = dune.send(call)
        if dune.seen[before].what == what:
            done.set()
            if hangs:
                await asyncio.Event().wait()
            task.cancel()
        return result

    async def rest(seconds: float) -> None:
        dune.rest(seconds)

    task = asyncio.create_task(run_async(flow, send, sleep=rest))
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


def test_responses_from_before_the_interruption_count() -> None:
    """Executions started or ended before the cancellation of a task are in the report and the journal."""
    dune, store = Dune(length=0.0), Lines()
    flow = run_of(dune, {"c": ["b"], "b": ["a"], "a": []}, journal=store).flow()
    failure = asyncio.run(cancelled_when(flow, dune, "status E2"))
    assert outcomes(report_of(failure)) == {"c": "not_started", "b": "running", "a": "succeeded"}
    assert report_of(failure).results["b"].execution_id == "E2"
    assert store.events().count("ended") == 1
    assert sent(dune, "refresh") == 2


@pytest.mark.parametrize(("what", "outcome"), [("refresh a", "running"), ("status E1", "succeeded")])
def test_a_response_that_arrives_with_the_interruption_counts(what: str, outcome: str) -> None:
    """A response that arrives as the task is cancelled is reported and recorded, and nothing follows it."""
    dune, store = Dune(length=0.0), Lines()
    flow = run_of(dune, {"b": ["a"]}, journal=store).flow()
    failure = asyncio.run(cancelled_when(flow, dune, what, hangs=False))
    assert report_of(failure).results["a"].execution_id == "E1"
    assert outcomes(report_of(failure)) == {"b": "not_started", "a": outcome}
    assert store.events() == ["intended", "started", *(["ended"] if outcome == "succeeded" else [])]
    assert dune.seen[-1].what == what
    assert refresh_all(dune, {"b": ["a"]}, journal=store).ok
    assert billed(dune) == ["a", "b"]


class Slow(Lines):
    """A store that takes its time to append an intent."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def append(self, line: str) -> None:
        """Add a line once that is allowed."""
        if '"event": "intended"' in line:
            self.entered.set()
            self.released.wait()
        super().append(line)


def test_a_journal_is_not_let_go_of_while_it_is_written() -> None:
    """A task that is cancelled while a thread writes to the journal ends after that thread."""
    dune, store = Dune(), Slow()

    async def main() -> None:
        task = asyncio.create_task(run_async(run_of(dune, ["a"], journal=store).flow(), dune.send_async))
        await asyncio.to_thread(store.entered.wait)
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        store.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.events() == ["intended"]

    asyncio.run(main())
    assert dune.ledger == []
    assert refresh_all(dune, ["a"], journal=store).ok
    assert billed(dune) == ["a"]


def test_what_ends_a_run_has_a_note_and_is_what_it_was() -> None:
    """The exception is the caller's own, with its cause; a note names the views left and the way to continue."""
    cause = ZeroDivisionError("why")
    failure = NotFoundError("of the caller's", status_code=404)
    failure.__cause__ = cause

    def note(name: str, result: ViewResult) -> None:
        raise failure

    for store, way in ((None, "report"), (Lines(), "journal")):
        with pytest.raises(NotFoundError) as caught:
            refresh_all(Dune(), ["a", "b"], on_update=note, journal=store)
        assert caught.value is failure
        assert failure.__cause__ is cause
        assert "a" in failure.__notes__[-1]
        assert way in failure.__notes__[-1]
        assert report_of(failure).stopped_by == "interrupted"


@pytest.mark.parametrize("failure", [ZeroDivisionError(), NotFoundError("", status_code=404), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["running", "succeeded", "skipped"])
def test_what_an_update_raises_ends_the_run(failure: BaseException, when: str) -> None:
    """An exception of the caller's function, of any kind, is not a failure of a view, and nothing follows."""
    dune = Dune()
    dune.scenarios["bad"] = (5.0, FAILED, 1.0)
    requests = 0

    def note(name: str, result: ViewResult) -> None:
        nonlocal requests
        if result.outcome.value == when:
            requests = len(dune.seen)
            raise failure

    with pytest.raises(type(failure)) as caught:
        refresh_all(dune, {"reader": ["bad"], "good": []}, on_update=note)
    assert caught.value is failure
    assert len(dune.seen) == requests
    assert {each.execution_id for each in dune.ledger} == {
        result.execution_id for result in report_of(failure).results.values() if result.execution_id
    }


def test_an_update_that_raises_hides_no_other_end() -> None:
    """Two views end at once, and the update of the first one raises: the report has both ends."""
    dune = Dune(length=5.0)

    def note(name: str, result: ViewResult) -> None:
        if result.outcome is Outcome.SUCCEEDED:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        refresh_all(dune, ["a", "b"], on_update=note)
    assert outcomes(report_of(caught.value)) == {"a": "succeeded", "b": "succeeded"}


@pytest.mark.parametrize("failure", [OSError(24, "Too many open files"), ModuleNotFoundError("upgraded meanwhile")])
@pytest.mark.parametrize(("operation", "accepted"), [("view", False), ("refresh", True), ("status", False)])
@both_drivers
def test_an_error_that_nobody_foresaw_ends_the_run_with_its_report(
    failure: Exception, operation: str, accepted: bool, drive: Driver
) -> None:
    """It passes on as it is, with the ids so far; the same call again pays nothing twice and leaves nothing out."""
    dune, store, session = Dune(length=30.0), Lines(), None
    session = dune.session()
    dune.fail(operation, None, Fault(failure, accepted=accepted))
    views = {"c": ["a"], "a": [], "b": []}
    with pytest.raises(type(failure)) as caught:
        drive(dune, run_of(dune, views, session=session, journal=store).flow())
    assert caught.value is failure
    report = report_of(failure)
    lost = dune.ledger[1:] if accepted else []
    assert {outcomes(report)[each.name] for each in lost} <= {"ambiguous"}
    told = {result.execution_id for result in report.results.values()} - {None}
    assert told == {each.execution_id for each in dune.ledger if each not in lost}
    dune.fail(operation)
    assert drive(dune, run_of(dune, views, session=session, journal=store).flow()).ok
    assert sorted(billed(dune)) == ["a", "b", "c"]


# A key or an account that Dune refuses


@pytest.mark.parametrize(
    "refusal", [AuthenticationError("", status_code=401), PaymentRequiredError("", status_code=402)]
)
@pytest.mark.parametrize("operation", ["refresh", "view", "status"])
def test_a_refused_key_or_an_empty_purse_keeps_the_journal_open(
    refusal: Exception, operation: str, tmp_path: Path
) -> None:
    """After a 401 or 402 the same call continues the run, and no success is paid for again."""
    dune, path = Dune(), tmp_path / "refresh.jsonl"
    views = {"c": ["b"], "b": ["a"], "a": []}
    dune.fail(operation, None, *[Fault(refusal)] * 100)
    report = refresh_all(dune, views, journal=path)
    assert not report.ok
    assert "finished" not in path.read_text()
    dune.fail(operation)
    assert refresh_all(dune, views, journal=path).ok
    assert billed(dune) == ["a", "b", "c"]
    assert "finished" in path.read_text()


def test_a_refresh_that_is_stopped_in_the_last_moment_is_recorded_as_not_sent() -> None:
    """A run that is stopped between the record of an intent and its request has nothing to prove the next time."""
    dune, store = Dune(), Lines()
    session = dune.session()
    checks = iter([None, PreventedError("the run is stopped")])

    def check() -> None:
        if (stopped := next(checks)) is not None:
            raise stopped

    journal = Journal(store, wall=session.wall)
    dune.run(journal.opened())
    with pytest.raises(PreventedError):
        dune.run(start(session, Wish(view="a", check=check), journal))
    assert store.events() == ["intended", "refused"]
    assert dune.ledger == []
    began = dune.now
    assert refresh_all(dune, ["a"], journal=store).ok
    assert dune.now - began < 30


def test_nothing_is_cancelled_by_a_stop_that_is_no_cap() -> None:
    """After a 401 for a refresh, running executions are followed to their ends."""
    dune = Dune(length=100)
    dune.fail("refresh", None, Fault(AuthenticationError("", status_code=401)))
    report = refresh_all(dune, ["a", "b", "c"], max_parallel=2)
    assert outcomes(report) == {"a": "succeeded", "b": "failed", "c": "not_started"}
    assert [each.end for each in dune.ledger] == [COMPLETED]
