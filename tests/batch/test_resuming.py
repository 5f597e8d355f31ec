"""A run that goes on where another has left off: after a kill, an interruption, a clock set back, or another run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import JournalError
from dune_matviews._flow.drivers import run
from dune_matviews.remedies import SettleJournal
from dune_matviews.report import Outcome, RefreshReport, ViewResult
from tests.batch.runs import (
    COMPLETED,
    FAILED,
    LOST,
    Lines,
    billed,
    check,
    graphs,
    killed,
    lives,
    outcomes,
    refresh_all,
    report_of,
    run_of,
    sent,
    troubles,
    until,
)
from tests.batch.test_stopping import cancelled_when
from tests.simulation import Dune, Fault

NEW_RUN = '{"journal": "dune-matviews", "version": 2, "run": "tomorrow", "at": "2026-01-02T00:00:00+00:00"}'

kills = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3), st.sampled_from([0.0, 2.5, 60.0, 3600.0])), min_size=1, max_size=3
)


@given(
    graphs,
    lives,
    troubles,
    kills,
    st.integers(1, 4),
    st.sampled_from([0.0, 0.1, 9.0]),
    st.sampled_from([0.0, -86_400.0, 3.3]),
    st.sampled_from([0.0, 20.0]),
)
def test_killed_anywhere_a_run_goes_on_where_it_was(
    graph: dict[str, list[str]],
    lives: list[Any],
    troubles: list[Fault | None],
    kills: list[tuple[int, int, float]],
    max_parallel: int,
    round_trip: float,
    clock_offset: float,
    listed_after: float,
) -> None:
    """Killed at any effect, even half-way through one, and run again: no view is billed twice, and none is left out."""
    dune, store = Dune(round_trip=round_trip, clock_offset=clock_offset, listed_after=listed_after), Lines()
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    for steps, calls, pause in kills:
        left = killed(dune, run_of(dune, graph, journal=store, max_parallel=max_parallel).flow(), store, steps, calls)
        if isinstance(left, RefreshReport):
            if is_over(left):
                check(dune, graph, left)
                return
        else:
            store = left
        dune.rest(pause)
    for _ in range(len(troubles) + 2):  # each may end one run
        report = refresh_all(dune, graph, journal=store, max_parallel=max_parallel)
        if is_over(report):
            break
    else:
        pytest.fail("the run came to no end")
    check(dune, graph, report)


def is_over(report: RefreshReport) -> bool:
    """The run has nothing left to do."""
    left = (Outcome.NOT_STARTED, Outcome.RUNNING, Outcome.AMBIGUOUS)
    return report.stopped_by is None and all(result.outcome not in left for result in report.results.values())


@pytest.mark.parametrize("calls", [0, 1])
def test_a_crash_before_the_start_is_recorded_pays_nothing_twice(calls: int) -> None:
    """Killed between a request's arrival and the record of its execution: found again; killed before it: sent once."""
    dune, store = Dune(length=100), Lines()
    flow = run_of(dune, ["v"], journal=store).flow()
    until(dune, flow, lambda: "intended" in store.events())
    left = killed(dune, flow, store, 0, calls)
    assert isinstance(left, Lines)
    assert len(dune.ledger) == calls
    report = refresh_all(dune, ["v"], journal=left)
    assert outcomes(report) == {"v": "succeeded"}
    assert [each.execution_id for each in dune.ledger] == [report.results["v"].execution_id]


@pytest.mark.parametrize("same_client", [True, False])
@pytest.mark.parametrize("hung", ["refresh b", "view b", "status E1"])
def test_a_task_that_ran_out_of_time_is_repeated(same_client: bool, hung: str) -> None:
    """A cancelled run and the same call again, by the same client or another: each view is billed once."""
    dune, store = Dune(length=30), Lines()
    session = dune.session()
    views = {"c": ["a"], "a": [], "b": []}
    flow = run_of(dune, views, session=session, journal=store).flow()
    report_of(asyncio.run(cancelled_when(flow, dune, hung)))
    again = session if same_client else None
    assert refresh_all(dune, views, session=again, journal=store).ok
    assert sorted(billed(dune)) == ["a", "b", "c"]


@pytest.mark.parametrize("same_client", [True, False])
def test_a_refresh_whose_response_never_came_is_found_by_the_repeat(same_client: bool) -> None:
    """A run cancelled before the response to its refresh, and repeated, makes one bill and one execution."""
    dune, store = Dune(length=30), Lines()
    session = dune.session()

    dune.fail("refresh", Fault(KeyboardInterrupt(), accepted=True))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(run_of(dune, ["a", "b"], session=session, journal=store).flow(), dune.send_async, sleep=dune.rest)
    assert outcomes(report_of(caught.value))["a"] == "ambiguous"
    report = refresh_all(dune, ["a", "b"], session=session if same_client else None, journal=store)
    assert report.ok
    assert sorted(billed(dune)) == ["a", "b"]
    assert report.results["a"].execution_id == "E1"


@pytest.mark.parametrize("same_client", [True, False])
def test_an_update_that_raises_at_the_id_is_no_second_bill(same_client: bool) -> None:
    """The caller's function raises as soon as an execution is known: the same call again follows it."""
    dune, store = Dune(length=30), Lines()
    session = dune.session()

    def note(name: str, result: ViewResult) -> None:
        if result.execution_id is not None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refresh_all(dune, {"b": ["a"]}, session=session, journal=store, on_update=note)
    assert refresh_all(dune, {"b": ["a"]}, session=session if same_client else None, journal=store).ok
    assert billed(dune) == ["a", "b"]


def test_a_clock_set_back_in_mid_run_pays_nothing_twice() -> None:
    """The order of the journal's lines decides, not their times: a recorded success stays one."""
    dune, store = Dune(length=30), Lines()
    flow = run_of(dune, {"c": ["b"], "b": ["a"]}, journal=store).flow()
    until(dune, flow, lambda: store.events().count("ended") == 1)
    dune.client_offset -= 7200
    until(dune, flow, lambda: store.events().count("ended") == 2)
    dune.client_offset -= 86_400
    assert refresh_all(dune, {"c": ["b"], "b": ["a"]}, journal=Lines(store.lines)).ok
    assert billed(dune) == ["a", "b", "c"]


def test_a_budget_is_kept_across_runs() -> None:
    """Costs of an earlier call count from the start, and an execution it left running is cancelled at the cap."""
    dune, store = Dune(length=1000, credits=10.0), Lines()
    dune.scenarios["paid"] = (5.0, COMPLETED, 50.0)
    refresh_all(dune, ["paid", "running"], journal=store, timeout=20)
    report = refresh_all(dune, ["paid", "running", "waiting"], journal=store, max_credits=40)
    assert outcomes(report) == {"paid": "succeeded", "running": "canceled", "waiting": "not_started"}
    assert "50 credits are over the cap of 40" in (report.results["running"].reason or "")
    assert sorted(billed(dune)) == ["paid", "running"]


def test_a_failure_that_is_tried_again_is_paid_out_of_the_same_budget() -> None:
    """`retry_failed` allows one new execution after a failure, and the cost of the first still counts."""
    dune, store = Dune(length=60, credits=60.0, end=FAILED), Lines()
    dune.scenarios["w"] = (100.0, COMPLETED, 10.0)
    assert outcomes(refresh_all(dune, ["v", "w"], journal=store, timeout=80)) == {"v": "failed", "w": "running"}
    again = refresh_all(dune, ["v", "w"], journal=store, max_credits=100, retry_failed=True)
    assert outcomes(again) == {"v": "canceled", "w": "succeeded"}
    assert sum(each.credits for each in dune.ledger) == pytest.approx(100, abs=2)
    third = refresh_all(dune, ["v", "w", "x"], journal=store, max_credits=100)
    assert outcomes(third) == {"v": "canceled", "w": "succeeded", "x": "not_started"}
    assert billed(dune) == ["v", "w", "v"]


def test_another_run_does_not_pay_for_the_last_one() -> None:
    """A run under another label in the same file begins with its whole budget."""
    dune, store = Dune(length=5, credits=60.0), Lines()
    assert refresh_all(dune, ["v"], journal=store, max_credits=100).ok
    store.append(NEW_RUN)
    assert refresh_all(dune, ["v"], journal=store, max_credits=100).ok
    assert billed(dune) == ["v", "v"]


def test_adopt_takes_no_execution_that_has_read_old_data() -> None:
    """An execution that began before its upstream was refreshed does not count: another one is started."""
    dune = Dune()
    dune.scenarios = {"base": (30.0, COMPLETED, 1.0), "top": (300.0, COMPLETED, 1.0)}
    dune.run(run_of(dune, ["top"], timeout=1).flow())
    report = refresh_all(dune, {"top": ["base"]}, if_running="adopt")
    assert report.ok
    top = [each for each in dune.ledger if each.name == "top"]
    assert len(top) == 2
    assert report.results["top"].execution_id == top[1].execution_id
    assert top[1].submitted >= next(each.ends for each in dune.ledger if each.name == "base")


@pytest.mark.parametrize("length", [0.5, 1.5, 2.5, 3.5, 4.5])
def test_an_execution_that_ends_between_two_checks_is_not_refreshed_again(length: float) -> None:
    """A run with `max_age` and `adopt` takes it: it has ended since the view was found to be stale."""
    dune = Dune(round_trip=1.0, length=length)
    started = dune._start("v", None)
    report = refresh_all(dune, ["v"], if_running="adopt", max_age=timedelta(hours=1))
    assert report.ok
    assert [each.execution_id for each in dune.ledger] == [started]


def test_adopt_takes_an_execution_that_began_in_time() -> None:
    """An execution that began after its upstream was refreshed is followed, and nothing is paid for it."""
    dune = Dune(length=300.0)
    dune.scenarios = {"base": (30.0, COMPLETED, 1.0)}

    def start_top(name: str, result: ViewResult) -> None:
        if (name, result.outcome) == ("base", Outcome.SUCCEEDED):
            dune.run(run_of(dune, ["top"], timeout=1).flow())

    report = refresh_all(dune, {"top": ["base"]}, if_running="adopt", on_update=start_top)
    assert report.ok
    assert billed(dune) == ["base", "top"]


def test_a_view_that_is_older_than_what_it_reads_is_not_fresh() -> None:
    """Both were refreshed within `max_age`, the upper one first: the upper one is refreshed again."""
    dune = Dune()
    for views in (["top"], ["base"]):
        dune.rest(60)
        refresh_all(dune, views)
    report = refresh_all(dune, {"top": ["base"]}, max_age=timedelta(hours=6))
    assert outcomes(report) == {"top": "succeeded", "base": "fresh"}
    assert billed(dune) == ["top", "base", "top"]


def test_a_success_does_not_outlive_a_newer_one_below() -> None:
    """If another call refreshes a view with this journal, the views that read it are refreshed again."""
    for length, timeout in ((5.0, 100.0), (300.0, 1.0)):
        dune, store = Dune(), Lines()
        dune.scenarios["top"] = (length, COMPLETED, 1.0)
        refresh_all(dune, ["top"], journal=store, timeout=timeout)
        for _ in range(2):
            assert refresh_all(dune, {"top": ["base"]}, journal=store).ok
        assert billed(dune) == ["top", "base", "top"]


def test_a_view_that_an_open_record_names_may_not_be_left_out() -> None:
    """A run without a view that the journal has open is rejected before anything is sent."""
    dune, store = Dune(length=300), Lines()
    refresh_all(dune, ["a", "b"], journal=store, timeout=1)
    before = len(dune.seen)
    with pytest.raises(JournalError, match="refreshes of b that are not settled"):
        refresh_all(dune, ["a"], journal=store)
    assert len(dune.seen) == before
    assert refresh_all(dune, ["a", "b", "c"], journal=store).ok
    assert sorted(billed(dune)) == ["a", "b", "c"]


def test_a_journal_knows_a_view_in_any_spelling() -> None:
    """An execution left running under one spelling of the name is followed under another."""
    dune, store = Dune(length=300), Lines()
    refresh_all(dune, ['dune."21co".result_x'], journal=store, timeout=1)
    assert refresh_all(dune, ["dune.21co.result_x"], journal=store).ok
    assert len(dune.ledger) == 1


def test_what_an_earlier_run_left_running_is_told_when_time_is_over() -> None:
    """A run that is over before it has come to what an earlier one started reports that as running, with its id."""
    dune, store = Dune(length=1000), Lines()
    refresh_all(dune, ["a", "b"], journal=store, timeout=5)
    report = refresh_all(dune, ["a", "b"], journal=store, max_parallel=1, timeout=10)
    assert {name: result.execution_id for name, result in report.results.items()} == {"a": "E1", "b": "E2"}
    assert set(outcomes(report).values()) == {"running"}


def test_what_an_earlier_run_recorded_is_told_when_time_is_over() -> None:
    """A run that is over before it has come to a view reports the result that the journal has of it."""
    dune, store = Dune(), Lines()
    dune.scenarios["long"] = (1000.0, COMPLETED, 1.0)
    refresh_all(dune, ["long", "short"], journal=store, timeout=20)
    report = refresh_all(dune, ["long", "short"], journal=store, max_parallel=1, timeout=10)
    assert outcomes(report) == {"long": "running", "short": "succeeded"}


def test_an_end_that_was_recorded_twice_ended_the_first_time() -> None:
    """If two processes see the end of one execution, refreshes between their two records are not repeated."""
    dune, store = Dune(), Lines()
    assert refresh_all(dune, {"top": ["base"]}, journal=store).ok
    store.append(next(line for line in store.lines if '"ended"' in line and '"base"' in line))
    assert refresh_all(dune, {"top": ["base"]}, journal=store).ok
    assert billed(dune) == ["base", "top"]


def test_a_recorded_result_is_returned_without_a_request() -> None:
    """A repeat sends no request about views with recorded results, regardless of `max_age`."""
    dune, store = Dune(), Lines()
    limits = {"max_age": timedelta(hours=1), "journal": store}
    first = refresh_all(dune, {"top": ["base"]}, **limits)
    before = len(dune.seen)
    again = refresh_all(dune, {"top": ["base"]}, **limits)
    assert len(dune.seen) == before
    assert {name: each.execution_id for name, each in again.results.items()} == {
        name: each.execution_id for name, each in first.results.items()
    }


class Broken(Lines):
    """A store that fails to keep one kind of event."""

    def __init__(self, event: str) -> None:
        super().__init__()
        self.event = event

    def append(self, line: str) -> None:
        """Add a line, unless it is of that kind."""
        if f'"event": "{self.event}"' in line:
            raise OSError(28, "No space left on device")
        super().append(line)


@pytest.mark.parametrize(
    ("event", "expected", "bills"),
    [
        ("intended", {"b": "not_started", "a": "not_started"}, 0),
        ("started", {"b": "not_started", "a": "succeeded"}, 1),
        ("ended", {"b": "not_started", "a": "succeeded"}, 1),
        ("finished", {"b": "succeeded", "a": "succeeded"}, 2),
    ],
)
def test_a_journal_that_fails_in_the_middle_starts_nothing_more(
    event: str, expected: Mapping[str, str], bills: int
) -> None:
    """Executions are followed to their ends without raising, and the repeat pays nothing twice."""
    dune, store = Dune(), Broken(event)
    report = refresh_all(dune, {"b": ["a"]}, journal=store)
    assert outcomes(report) == expected
    assert len(dune.ledger) == bills
    assert report.stopped_by == (None if event == "finished" else "journal")
    store.event = "none"
    assert refresh_all(dune, {"b": ["a"]}, journal=store).ok
    assert billed(dune) == ["a", "b"]


# Several candidates


class Shared(Dune):
    """A Dune where, whenever *view* is refreshed, another program refreshes it in the same moment."""

    def __init__(self, view: str, **options: Any) -> None:
        super().__init__(**options)
        self.view = view
        self.ends = [COMPLETED, COMPLETED]

    def _start(self, name: str, performance: str | None) -> str:
        if name != self.view:
            return super()._start(name, performance)
        first, second = super()._start(name, performance), super()._start(name, performance)
        for execution_id, end in zip((first, second), self.ends, strict=True):
            self._by_id[execution_id].end = end
        return first


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ([COMPLETED, FAILED], "succeeded"),
        ([FAILED, COMPLETED], "succeeded"),
        ([FAILED, FAILED], "failed"),
    ],
)
def test_of_several_candidates_any_success_is_the_views(ends: list[Any], outcome: str) -> None:
    """Two executions may be the lost one: both are polled, a success of either counts, and nothing is sent again."""
    dune, store = Shared("v", length=60), Lines()
    dune.ends = ends
    dune.fail("refresh", Fault(LOST, accepted=True))
    report = refresh_all(dune, {"w": ["v"], "v": []}, journal=store)
    assert outcomes(report) == {"v": outcome, "w": "succeeded" if outcome == "succeeded" else "skipped"}
    assert billed(dune).count("v") == 2
    assert {request.what for request in dune.seen} >= {"status E1", "status E2"}
    if outcome == "succeeded":
        assert report.results["v"].execution_id == f"E{ends.index(COMPLETED) + 1}"
    assert outcomes(refresh_all(dune, {"w": ["v"], "v": []}, journal=Lines(store.lines[:-1]))) == outcomes(report)
    assert billed(dune).count("v") == 2


def test_a_candidate_that_has_succeeded_settles_the_refresh() -> None:
    """Once one of several candidates counts, the next run of the same client is another refresh."""
    dune = Shared("v", length=60)
    dune.fail("refresh", Fault(LOST, accepted=True))
    session = dune.session()
    for bills in (2, 4):
        assert refresh_all(dune, ["v"], session=session).ok
        assert len(dune.ledger) == bills


def test_candidates_are_never_cancelled() -> None:
    """Over the cap two candidates go on, and the report says so: one of them is another program's."""
    dune = Shared("v", length=1000, credits=100.0)
    dune.fail("refresh", Fault(LOST, accepted=True))
    report = refresh_all(dune, ["v"], max_credits=20)
    assert outcomes(report) == {"v": "ambiguous"}
    assert "E2, E1 go on, because they may not be ours to cancel" in (report.results["v"].reason or "")
    assert sent(dune, "cancel") == 0
    assert dune.now < 1000 + 200, "the sum of both passes the cap"


def test_candidates_that_were_polled_are_polled_on_after_a_kill() -> None:
    """Killed while it polls two candidates, a run polls them on; a new run, once both have ended, sends its own."""
    dune, store = Shared("v", length=600), Lines()
    dune.fail("refresh", Fault(LOST, accepted=True))
    for _ in range(2):
        report = refresh_all(dune, ["v"], journal=store, timeout=120)
        assert outcomes(report) == {"v": "ambiguous"}
        assert "may be any of E2, E1" in (report.results["v"].reason or "")
    assert len(dune.ledger) == 2
    dune.rest(1000)
    store.append(NEW_RUN)
    for _ in range(2):
        assert refresh_all(dune, ["v"], journal=store).ok
    assert len(dune.ledger) == 4


def test_candidates_that_dune_no_longer_knows_are_ambiguous() -> None:
    """If neither of two candidates can be read any more, the view is not called failed, and nothing is sent."""
    dune, store = Shared("v", length=600), Lines()
    dune.fail("refresh", Fault(LOST, accepted=True))
    refresh_all(dune, ["v"], journal=store, timeout=60)
    dune._by_id.clear()
    report = refresh_all(dune, ["v"], journal=store)
    assert outcomes(report) == {"v": "ambiguous"}
    assert report.results["v"].remedy == SettleJournal(None, "v")
    assert len(dune.ledger) == 2


def test_an_execution_that_dune_no_longer_knows_is_ambiguous_for_good() -> None:
    """A 404 for an execution of an earlier call is no end: it may have been billed, so nothing is resent."""
    dune, store = Dune(length=600), Lines()
    refresh_all(dune, ["v"], journal=store, timeout=60)
    dune.rest(90 * 86_400)
    dune._by_id.clear()
    for _ in range(2):
        report = refresh_all(dune, ["v"], journal=store)
        assert outcomes(report) == {"v": "ambiguous"}
        assert report.results["v"].remedy == SettleJournal(None, "v")
    assert len(dune.ledger) == 1


@pytest.mark.parametrize("label", ["tonight", "tomorrow"])
def test_a_label_tells_a_repeat_from_another_run(label: str, tmp_path: Path) -> None:
    """The same label continues the run; another one refreshes anew, after settling open refreshes."""
    dune, path = Dune(length=300), tmp_path / "refresh.jsonl"
    refresh_all(dune, {"b": ["a"]}, journal=path, label="tonight", timeout=400)
    dune.rest(1000)
    for _ in range(2):
        assert refresh_all(dune, {"b": ["a"]}, journal=path, label=label).ok
    assert billed(dune) == ["a", "b"] if label == "tonight" else ["a", "b", "a", "b"]


def test_an_open_refresh_is_settled_before_a_success_counts_as_fresh(tmp_path: Path) -> None:
    """A refresh that another run has left in doubt is looked for, although an earlier success is young enough."""
    dune, path = Dune(), tmp_path / "journal"
    assert refresh_all(dune, ["v"]).ok
    dune.fail("refresh", Fault(LOST))
    left = refresh_all(dune, ["v"], journal=path, label="one", timeout=20)
    assert outcomes(left) == {"v": "ambiguous"}
    report = refresh_all(dune, ["v"], journal=path, label="two", max_age=timedelta(hours=1))
    assert outcomes(report) == {"v": "succeeded"}
    assert "refused" in path.read_text()
