"""Many views as one flow, in virtual time: order, limits, what a failure blocks, and what the server billed."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import (
    AuthenticationError,
    ExecutionState,
    InvalidArgumentError,
    JournalError,
    NotFoundError,
    PaymentRequiredError,
    RequestBudget,
    RequestFailedError,
    ServerError,
)
from dune_matviews._api.values import Started
from dune_matviews._flow.drivers import run, run_async
from dune_matviews._flow.effects import Call, Effect, Flow, Overlap, Result, Sleep
from dune_matviews._journal import Journal
from dune_matviews._order import Order, reads
from dune_matviews._schedule import Limits, Run, StoppedError
from dune_matviews.report import Outcome, RefreshReport, ViewResult
from tests.simulation import EPOCH, Dune, Fault
from tests.workloads import makespan, views_of_all_lengths

FAILED = ExecutionState.FAILED


def refresh_all(
    dune: Dune,
    views: Any,
    *,
    plan: RequestBudget | None = None,
    tiers: Mapping[str, str] | None = None,
    on_update: Any = None,
    **limits: Any,
) -> RefreshReport:
    """One run in virtual time."""
    found = reads(views)
    run = Run(
        dune.session(plan),
        dune,
        found,
        {name: (tiers or {}).get(name) for name in found},
        Limits(**{"max_parallel": 3, **limits}),
        "start",
        on_update,
    )
    return dune.run(run.flow())


def outcomes(report: RefreshReport) -> dict[str, str]:
    """The outcome of each view, as a word."""
    return {name: result.outcome.value for name, result in report.results.items()}


def most_in_flight(dune: Dune) -> int:
    """The most executions that were under way at one time."""
    moments = [each.submitted for each in dune.ledger]
    return max(sum(each.submitted <= moment < each.ends for each in dune.ledger) for moment in moments)


def test_a_view_is_refreshed_after_what_it_reads() -> None:
    """Each view once, only after those that it reads have succeeded; names that are only read included."""
    dune = Dune()
    report = refresh_all(dune, {"d.c": ["d.b", "d.a"], "d.b": ["d.a"]})
    assert [each.name for each in dune.ledger] == ["d.a", "d.b", "d.c"]
    assert all(later.submitted >= earlier.ends for earlier, later in zip(dune.ledger, dune.ledger[1:], strict=False))
    assert report.ok
    assert report.stopped_by is None
    assert list(report.results) == ["d.c", "d.b", "d.a"]
    assert report.cost_credits == 3.0


def test_no_more_than_allowed_are_in_flight() -> None:
    """`max_parallel` executions at once, and as many as that."""
    dune = Dune(length=60)
    refresh_all(dune, [f"v.{number}" for number in range(10)], max_parallel=4)
    assert most_in_flight(dune) == 4


def test_the_longest_chain_starts_first() -> None:
    """Of the views that may start, the one with most waiting behind it goes first; else the order as given."""
    dune = Dune()
    refresh_all(dune, {"z": [], "y": [], "x": [], "x2": ["x"], "x3": ["x2"], "y2": ["y"]}, max_parallel=1)
    assert [each.name for each in dune.ledger] == ["x", "y", "x2", "z", "x3", "y2"]


def test_a_failure_blocks_what_reads_it_and_nothing_else() -> None:
    """Dependents of a failed view are skipped with the reason, directly or not; the others go on."""
    dune = Dune()
    dune.scenarios["b"] = (5.0, FAILED, 1.0)
    report = refresh_all(dune, {"b": ["a"], "c": ["b"], "d": ["c", "a"], "e": ["a"]})
    assert outcomes(report) == {"b": "failed", "c": "skipped", "d": "skipped", "e": "succeeded", "a": "succeeded"}
    assert report.results["d"].reason == "b, which it needs, is failed"
    assert sorted(each.name for each in dune.ledger) == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (ExecutionState.FAILED, "failed"),
        (ExecutionState.CANCELED, "canceled"),
        (ExecutionState.EXPIRED, "expired"),
        (ExecutionState.UNKNOWN, "failed"),
        (ExecutionState.COMPLETED_PARTIAL, "succeeded"),
    ],
)
def test_every_end_has_its_outcome(end: ExecutionState, outcome: str) -> None:
    """The outcome of a view is the end of its execution, with the execution's id, times and cost."""
    dune = Dune(end=end)
    result = refresh_all(dune, ["v"]).results["v"]
    assert (result.outcome, result.execution_id, result.cost_credits) == (outcome, "E1", 1.0)
    assert result.ended_at is not None
    assert result.started_at is not None
    assert (result.ended_at - result.started_at).total_seconds() == 5.0


def test_a_lost_refresh_is_ambiguous_and_holds_up_nobody_else() -> None:
    """While one view's lost request is looked for, the others start and end; then it is ambiguous."""
    dune = Dune()
    dune.faults = iter([Fault(RequestFailedError("lost", sent=True))])
    report = refresh_all(dune, {"a": [], "b": ["a"], "c": [], "d": ["c"]}, max_parallel=2)
    assert outcomes(report) == {"a": "ambiguous", "b": "skipped", "c": "succeeded", "d": "succeeded"}
    assert dune.ledger[-1].ends - dune.ledger[0].submitted < 15


@pytest.mark.parametrize(
    "refusal", [AuthenticationError("no", status_code=401), PaymentRequiredError("no", status_code=402)]
)
def test_a_refused_key_or_an_empty_purse_ends_the_run(refusal: Exception) -> None:
    """After 401 or 402 nothing more is started."""
    dune = Dune()
    dune.faults = iter([None, Fault(refusal)])
    report = refresh_all(dune, ["a", "b", "c", "d"], max_parallel=2)
    assert outcomes(report)["a"] in ("succeeded", "running")
    assert [outcomes(report)[name] for name in "bcd"] == ["failed", "not_started", "not_started"]
    assert len(dune.ledger) == 1
    assert report.stopped_by == "refused"


def test_a_budget_of_credits_is_live() -> None:
    """Once the costs together pass the cap, nothing more is started, and what is in flight is cancelled."""
    dune = Dune(length=1000, credits=100.0)
    report = refresh_all(dune, [f"v.{number}" for number in range(6)], max_credits=100)
    assert [each.end for each in dune.ledger] == [ExecutionState.CANCELED] * 3
    assert sorted(outcomes(report).values()) == ["canceled"] * 3 + ["not_started"] * 3
    assert report.cost_credits == pytest.approx(sum(each.credits for each in dune.ledger))
    assert 100 < report.cost_credits < 105
    assert report.stopped_by == "credits"


def test_the_time_of_a_run_ends_it_and_leaves_executions_running() -> None:
    """At the timeout, what runs is left running and reported with its id, and the rest was not started."""
    dune = Dune(length=100)
    began = dune.now
    report = refresh_all(dune, ["a", "b", "c"], max_parallel=2, timeout=30)
    assert dune.now - began == pytest.approx(30, abs=0.01)
    assert outcomes(report) == {"a": "running", "b": "running", "c": "not_started"}
    assert report.results["a"].execution_id == "E1"
    assert report.stopped_by == "timeout"
    assert all(each.end is ExecutionState.COMPLETED for each in dune.ledger)


def test_a_fresh_view_is_not_refreshed() -> None:
    """A view whose last success is young enough costs two free requests and no refresh."""
    dune = Dune()
    refresh_all(dune, ["a", "b"])
    dune.now += 3600
    dune.seen.clear()
    report = refresh_all(dune, ["a", "b"], max_age=timedelta(hours=2))
    assert outcomes(report) == {"a": "fresh", "b": "fresh"}
    assert report.ok
    assert sorted(request.what.split()[0] for request in dune.seen) == ["status", "status", "view", "view"]
    assert len(dune.ledger) == 2
    assert outcomes(refresh_all(dune, ["a"], max_age=timedelta(minutes=30))) == {"a": "succeeded"}


def test_a_view_above_a_refreshed_one_is_not_fresh() -> None:
    """Freshness ends where something that the view reads was refreshed in this run."""
    dune = Dune()
    refresh_all(dune, ["top", "other"])
    report = refresh_all(dune, {"top": ["base"], "other": []}, max_age=timedelta(hours=1))
    assert outcomes(report) == {"top": "succeeded", "other": "fresh", "base": "succeeded"}


def test_updates_tell_each_step() -> None:
    """`on_update` gets each view's name with its result, from its start to its end."""
    dune = Dune()
    steps: list[tuple[str, str]] = []

    def note(name: str, result: ViewResult) -> None:
        if (step := (name, result.outcome.value)) not in steps:
            steps.append(step)

    refresh_all(dune, {"b": ["a"]}, on_update=note)
    assert steps == [("a", "running"), ("a", "succeeded"), ("b", "running"), ("b", "succeeded")]


def test_an_end_is_told_with_its_reason_at_once() -> None:
    """No update shows an end without its reason, nor a reason without its end, nor one end with two reasons."""
    dune = Dune(length=1000, credits=100.0)
    told: list[tuple[str, str | None]] = []

    def note(name: str, result: ViewResult) -> None:
        if result.outcome is not Outcome.RUNNING and (step := (result.outcome.value, result.reason)) not in told:
            told.append(step)

    refresh_all(dune, ["a"], on_update=note)
    refresh_all(dune, ["a"], max_age=timedelta(days=1), on_update=note)
    refresh_all(dune, ["b"], max_credits=10, on_update=note)
    assert [outcome for outcome, _ in told] == ["succeeded", "fresh", "canceled"]
    assert [reason and reason.split()[0] for _, reason in told] == [None, "refreshed", "cancelled:"]


@pytest.mark.parametrize("failure", [ZeroDivisionError(), NotFoundError("", status_code=404)])
@pytest.mark.parametrize("when", ["running", "succeeded", "skipped"])
def test_what_an_update_raises_ends_the_run(failure: Exception, when: str) -> None:
    """An error of the caller's own, be it of the SDK's kind, is no failure of a view: it passes on as it is."""
    dune = Dune()
    dune.scenarios["bad"] = (5.0, ExecutionState.FAILED, 1.0)

    def note(name: str, result: ViewResult) -> None:
        if result.outcome.value == when:
            raise failure

    with pytest.raises(type(failure)) as caught:
        refresh_all(dune, {"reader": ["bad"], "good": []}, on_update=note)
    assert caught.value is failure
    assert len(dune.ledger) <= 2


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("dune.a", "not 'dune.a'"),
        (7, "not 7"),
        ([""], "empty"),
        ([".."], "not the name of a view"),
        ([None], "must be a str"),
        ({"a": "b"}, "list of names"),
        ({"a": None}, "list of names"),
        ({"a": ["a"]}, "a reads a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "in a circle"),
    ],
)
def test_views_that_are_refused(views: object, message: str) -> None:
    """What cannot be a set of views is refused before anything is sent, and a circle is named."""
    with pytest.raises(InvalidArgumentError, match=message):
        reads(views)


def test_a_circle_is_told_in_the_order_of_reading() -> None:
    """Who reads whom is told the right way round."""
    with pytest.raises(InvalidArgumentError) as caught:
        reads({"a": ["b"], "b": ["c"], "c": ["a"]})
    told = str(caught.value).split(": ")[1].split(" reads ")
    circle = {"a": "b", "b": "c", "c": "a"}
    assert all(circle[reader] == read for reader, read in pairwise(told))


def test_an_interruption_carries_the_report() -> None:
    """Ctrl-C passes on unchanged, sends nothing more, and has what there is to report."""
    dune = Dune(length=100)
    run = Run(dune.session(), dune, reads(["a", "b"]), {"a": None, "b": None}, Limits(max_parallel=1), "start", None)
    flow = run.flow()
    carried_out(dune, next(flow))
    flow.send(None)
    interruption = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(interruption)
    assert caught.value is interruption
    report: RefreshReport = interruption.report  # type: ignore[attr-defined]
    assert outcomes(report) == {"a": "running", "b": "not_started"}
    assert report.results["a"].execution_id == "E1"
    assert report.stopped_by == "interrupted"


@pytest.mark.parametrize(
    ("plan", "max_parallel"),
    [
        (RequestBudget(low=15, high=40), 3),
        (RequestBudget(low=70, high=200), 3),
        (RequestBudget(low=350, high=1000), 3),
        (RequestBudget(low=70, high=200), 10),
        (RequestBudget(low=350, high=1000), 10),
    ],
)
def test_a_hundred_views_take_little_longer_than_they_must(plan: RequestBudget, max_parallel: int) -> None:
    """With ends noticed within the plan's budget, a run takes at most 5 % longer than with ends noticed at once."""
    lengths = views_of_all_lengths(100)
    dune = Dune()
    dune.scenarios = {name: (length, END, 1.0) for name, length in lengths.items()}
    began = dune.now
    assert refresh_all(dune, list(lengths), plan=plan, max_parallel=max_parallel).ok
    taken = dune.now - began
    assert taken <= 1.05 * makespan([lengths[each.name] for each in dune.ledger], max_parallel, plan.low)
    for bucket, limit in (("refresh", plan.low), ("status", plan.high)):
        moments = [request.at for request in dune.seen if request.what.startswith(bucket)]
        assert all(later - earlier > 60 for earlier, later in zip(moments, moments[limit:], strict=False))


END = ExecutionState.COMPLETED


graphs = st.integers(1, 9).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            f"v{place}": st.lists(st.sampled_from([f"v{below}" for below in range(place)]), max_size=3)
            if place
            else st.just([])
            for place in range(size)
        }
    )
)
lives = st.tuples(
    st.sampled_from([0.0, 1.0, 30.0, 500.0]),
    st.sampled_from(
        [ExecutionState.COMPLETED, ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.EXPIRED]
    ),
    st.sampled_from([0.0, 1.0, 50.0]),
)
troubles = st.lists(
    st.one_of(
        st.none(),
        st.none(),
        st.builds(lambda: Fault(RequestFailedError("refused", sent=False))),
        st.builds(lambda accepted: Fault(RequestFailedError("lost", sent=True), accepted=accepted), st.booleans()),
        st.builds(lambda accepted: Fault(ServerError("", status_code=502), accepted=accepted), st.booleans()),
        st.builds(lambda: Fault(AuthenticationError("", status_code=401))),
    ),
    max_size=30,
)


@given(
    graphs,
    st.lists(lives, min_size=9, max_size=9),
    troubles,
    st.integers(1, 4),
    st.sampled_from([math.inf, 40.0, 700.0]),
    st.sampled_from([math.inf, 0.0, 60.0]),
)
def test_whatever_happens_order_limits_and_bills_are_kept(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    max_parallel: int,
    timeout: float,
    max_credits: float,
) -> None:
    """No view is billed twice or before what it reads has succeeded; limits hold; and the report tells the truth."""
    dune = Dune(round_trip=0.1)
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    seen: dict[str, float] = {}
    started = dune._start

    def start_within_budget(name: str, performance: str | None) -> str:
        assert sum(seen.values()) <= max_credits, "started although the costs seen had passed the cap"
        return started(name, performance)

    def see(name: str, result: ViewResult) -> None:
        seen[name] = result.cost_credits or 0.0

    dune._start = start_within_budget  # type: ignore[method-assign]
    report = refresh_all(
        dune, graph, max_parallel=max_parallel, timeout=timeout, max_credits=max_credits, on_update=see
    )
    billed = {each.name: each for each in dune.ledger}
    assert len(billed) == len(dune.ledger)
    for name, execution in billed.items():
        for upstream in graph[name]:
            assert billed[upstream].end.succeeded
            assert billed[upstream].ends <= execution.submitted
    for name, result in report.results.items():
        if result.outcome in (Outcome.SKIPPED, Outcome.NOT_STARTED, Outcome.FRESH):
            assert name not in billed
        elif result.execution_id:
            assert billed[name].execution_id == result.execution_id
        if result.outcome is Outcome.SUCCEEDED:
            assert billed[name].end.succeeded
        if result.outcome is Outcome.SKIPPED:
            assert any(not report.results[each].outcome.is_fresh for each in graph[name])
    if all(fault is None or not fault.accepted for fault in troubles):
        assert not dune.ledger or most_in_flight(dune) <= max_parallel


def layers(count: int, width: int) -> dict[str, list[str]]:
    """Views in layers; each reads three of the layer below."""
    return {
        f"v{layer}.{place}": [f"v{layer - 1}.{(place + step) % width}" for step in range(3)] if layer else []
        for layer in range(count)
        for place in range(width)
    }


@pytest.mark.parametrize("failing", [False, True])
def test_the_work_grows_no_faster_than_the_views(failing: bool) -> None:
    """A thousand views in twenty layers take as many steps a view as a hundred, also where many fail."""
    steps = {}
    for width in (5, 50):
        dune = Dune()
        graph = layers(20, width)
        if failing:
            dune.scenarios = {name: (5.0, FAILED, 1.0) for name in graph if name.startswith("v0.")}
        updates: list[str] = []
        report = refresh_all(dune, graph, max_parallel=10, on_update=lambda name, _, seen=updates: seen.append(name))
        assert len(report.results) == 20 * width
        assert report.ok is not failing
        steps[width] = len(dune.seen) + len(updates)
    assert steps[50] <= 1.1 * 10 * steps[5]


def test_many_failures_block_each_view_once() -> None:
    """What a thousand failures block in common is gone through once."""
    size = 500
    bottom = {f"b{place}": list[str]() for place in range(size)}
    order = Order({**reads(bottom), "t0": tuple(bottom)} | {f"t{n}": (f"t{n - 1}",) for n in range(1, size)})
    blocked = [order.block(name) for name in bottom]
    assert sorted(map(len, blocked), reverse=True) == [size, *[0] * (size - 1)]


def wall_clock(dune: Dune) -> datetime:
    """What this computer's clock says, which need not be what the server's does."""
    return EPOCH + timedelta(seconds=dune.now)


def journaled(dune: Dune, graph: Mapping[str, list[str]], path: Path, **limits: Any) -> Run:
    """A run with a journal, by a client of its own."""
    found = reads(graph)
    return Run(
        dune.session(),
        dune,
        found,
        dict.fromkeys(found),
        Limits(**{"max_parallel": 3, **limits}),
        "start",
        None,
        Journal.open(path, found, now=lambda: wall_clock(dune)),
        now=lambda: wall_clock(dune),
    )


def carried_out(dune: Dune, effect: Effect, calls: int | None = None) -> None:
    """Carry out an effect in virtual time; of calls that are in flight together, the first so many only."""
    if isinstance(effect, Sleep):
        return dune.rest(effect.seconds)
    assert isinstance(effect, Overlap)
    for key, call in list(effect.calls.items())[:calls]:
        effect.results[key] = outcome_of(dune, call)
    return None


def outcome_of(dune: Dune, call: Call[Any]) -> Result[Any]:
    """The outcome of one call."""
    try:
        return Result(dune.send(call))
    except Exception as failure:
        return Result(failure=failure)


def started_by(dune: Dune, call: Call[Started]) -> str:
    """The execution that a refresh starts."""
    started: Started | None = outcome_of(dune, call).result
    assert started is not None
    return started.execution_id


def killed(
    dune: Dune, flow: Flow[RefreshReport], path: Path, steps: int, calls: int, torn: float
) -> RefreshReport | Path:
    """Let the flow go on for so many steps, then kill it: it leaves the journal as it is on disk at that moment.

    The last effect is half done: the first *calls* of its requests arrive, their answers do not. Where none does, the
    kill may come in the middle of the last write to the journal, of which the part *torn* is missing.
    """
    before = path.stat().st_size
    try:
        for _ in range(steps):
            before = path.stat().st_size
            carried_out(dune, flow.send(None))
        before = path.stat().st_size
        effect = flow.send(None)
    except StopIteration as stop:
        report: RefreshReport = stop.value
        return report
    if isinstance(effect, Overlap):
        if calls:
            before = path.stat().st_size
            carried_out(dune, effect, calls)
        if len(effect.calls) > calls:  # the next one's intent is written, and it never arrives
            before = path.stat().st_size
            dune.faults, later = iter([Fault(KeyboardInterrupt())]), dune.faults
            with suppress(KeyboardInterrupt, StoppedError):  # which the run itself may have been
                dune.send(list(effect.calls.values())[calls])
            dune.faults = later
    left = path.read_bytes()
    if not calls or not isinstance(effect, Overlap) or len(effect.calls) > calls:
        left = left[: len(left) - round((len(left) - before) * torn)]
    survivor = path.with_name(f"{path.name}.")
    survivor.write_bytes(left)
    flow.close()  # whatever this writes goes into the file that is forsaken
    return survivor


kills = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.sampled_from([0.0, 2.5, 60.0, 3600.0]),
    ),
    min_size=1,
    max_size=3,
)


@given(
    graphs,
    st.lists(lives, min_size=9, max_size=9),
    troubles,
    kills,
    st.integers(1, 4),
    st.sampled_from([0.0, 0.1, 9.0]),
    st.sampled_from([0.0, -86_400.0, 3.3]),
    st.sampled_from([0.0, 20.0]),
)
def test_killed_anywhere_a_run_goes_on_where_it_was(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    kills: list[tuple[int, int, float, float]],
    max_parallel: int,
    round_trip: float,
    clock_offset: float,
    listed_after: float,
) -> None:
    """Killed at any effect, even half-way through one, and run again: no view is billed twice, and none is left out."""
    dune = Dune(round_trip=round_trip, clock_offset=clock_offset, listed_after=listed_after)
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refresh.jsonl"
        for steps, calls, torn, pause in kills:
            run = journaled(dune, graph, path, max_parallel=max_parallel)
            left = killed(dune, run.flow(), path, steps, calls, torn)
            if isinstance(left, RefreshReport):
                if is_over(path):
                    check(dune, graph, left)
                    return
            else:
                path = left
            dune.rest(pause)
        for _ in range(len(troubles) + 2):  # each may end one run
            report = dune.run(journaled(dune, graph, path, max_parallel=max_parallel).flow())
            if is_over(path):
                break
        else:
            pytest.fail("the run came to no end")
        check(dune, graph, report)


def test_a_look_that_had_to_wait_misses_nothing(tmp_path: Path) -> None:
    """Lost refreshes are looked for one after the other, slowly: none is taken for never sent, and paid twice."""
    for pause in (0.0, 5.0, 60.0):
        dune, graph = Dune(length=500.0, round_trip=9.0), {f"v{place}": list[str]() for place in range(8)}
        path = tmp_path / f"{pause}.jsonl"
        for steps, calls in ((0, 2), (2, 0)):
            left = killed(dune, journaled(dune, graph, path, max_parallel=4).flow(), path, steps, calls, 0.0)
            assert isinstance(left, Path)
            path = left
            dune.rest(pause)
        check(dune, graph, dune.run(journaled(dune, graph, path, max_parallel=4).flow()))


def is_over(path: Path) -> bool:
    """The journal's run has nothing left to do."""
    return b'"finished"' in path.read_bytes()


def check(dune: Dune, graph: Mapping[str, list[str]], report: RefreshReport) -> None:
    """Bills, order, and a report that tells the truth."""
    bills = Counter(each.name for each in dune.ledger)
    assert set(bills.values()) <= {1}
    billed = {each.name: each for each in dune.ledger}
    for name, execution in billed.items():
        for upstream in graph[name]:
            assert billed[upstream].end.succeeded
            assert billed[upstream].ends <= execution.submitted
    for name, result in report.results.items():
        if result.outcome is Outcome.SKIPPED:
            assert name not in billed
            assert any(not report.results[each].outcome.is_fresh for each in graph[name])
        elif result.outcome is Outcome.AMBIGUOUS:
            assert result.execution_id is None
        elif result.execution_id is None:
            assert result.outcome is Outcome.FAILED, "only a refusal leaves a view without an execution"
            assert name not in billed
        else:
            assert billed[name].execution_id == result.execution_id
            assert result.outcome.is_fresh is billed[name].end.succeeded


@given(graphs, st.lists(lives, min_size=9, max_size=9), troubles, st.integers(0, 40))
def test_interrupted_at_any_step_a_run_reports_and_sends_nothing_more(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    steps: int,
) -> None:
    """Ctrl-C at any step passes on unchanged with the report so far, frees the journal, and no request follows it."""
    dune = Dune(round_trip=0.1)
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refresh.jsonl"
        flow, result = journaled(dune, graph, path).flow(), None
        try:
            for _ in range(steps):
                carried_out(dune, flow.send(None))
            flow.send(result)
        except StopIteration:
            return
        before, interruption = len(dune.seen), KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt) as caught:
            flow.throw(interruption)
        assert caught.value is interruption
        assert len(dune.seen) == before
        report: RefreshReport = interruption.report  # type: ignore[attr-defined]
        known = {each.name: each.execution_id for each in dune.ledger}
        for name, outcome in report.results.items():
            if outcome.execution_id:
                assert known[name] == outcome.execution_id
            elif name in known:
                assert outcome.outcome is Outcome.AMBIGUOUS
        Journal.open(path, graph).close()  # it is free


@given(graphs, st.lists(lives, min_size=9, max_size=9), troubles, st.sampled_from([math.inf, 40.0]))
def test_both_drivers_leave_the_same_traces(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    timeout: float,
) -> None:
    """Sync and async send the same requests at the same times, and report the same, where responses take no time.

    Calls side by side have each seen the other's failure in one driver, and not in the other: failures come one by one.
    """
    traces = []
    for drive in (driven_in_a_thread, driven_by_asyncio):
        dune = Dune()
        dune.scenarios = dict(zip(graph, lives, strict=False))
        dune.faults = iter([each and attrs.evolve(each, takes=0.0) for each in troubles])
        found = reads(graph)
        limits = Limits(max_parallel=1 if any(troubles) else 3, timeout=timeout)
        now = partial(wall_clock, dune)
        flow = Run(dune.session(), dune, found, dict.fromkeys(found), limits, "start", None, now=now).flow()
        traces.append((drive(dune, flow).to_dict(), dune.seen, dune.now))
    assert traces[0] == traces[1]


def driven_in_a_thread(dune: Dune, flow: Flow[RefreshReport]) -> RefreshReport:
    """The synchronous driver, in virtual time."""
    return run(flow, dune.send, sleep=dune.rest)


def driven_by_asyncio(dune: Dune, flow: Flow[RefreshReport]) -> RefreshReport:
    """The asynchronous driver, in virtual time."""

    async def rest(seconds: float) -> None:
        dune.rest(seconds)

    return asyncio.run(run_async(flow, dune.send_async, sleep=rest))


def recorded(path: Path, dune: Dune, graph: Mapping[str, list[str]]) -> Journal:
    """The journal of an earlier run, to be written and closed."""
    return Journal.open(path, reads(graph), now=lambda: wall_clock(dune))


def test_an_execution_that_dune_keeps_no_longer_was_over_long_ago(tmp_path: Path) -> None:
    """A 404 to what an earlier run left running has it refreshed again a day later, and not just after its start."""
    for hours, expected in ((1, {"v": "running"}), (25, {"v": "succeeded"})):
        dune = Dune()
        path = tmp_path / f"{hours}.jsonl"
        with recorded(path, dune, {"v": []}) as journal:
            journal.intended("v")
            journal.started("v", "E99")
        dune.rest(hours * 3600)
        assert outcomes(dune.run(journaled(dune, {"v": []}, path).flow())) == expected
        assert len(dune.ledger) == (expected["v"] == "succeeded")


def test_a_success_that_nobody_saw_does_not_count_for_ever(tmp_path: Path) -> None:
    """An execution that ended while no run watched is refreshed again once its success is older than a day."""
    for hours, bills in ((23, 1), (25, 2)):
        dune = Dune(clock_offset=5.0)
        path = tmp_path / f"{hours}.jsonl"
        flow = journaled(dune, {"v": []}, path).flow()
        carried_out(dune, effect := flow.send(None))
        assert isinstance(effect, Overlap)
        flow.close()
        with recorded(path, dune, {"v": []}) as journal:
            journal.started("v", "E1")
        dune.rest(hours * 3600)
        assert dune.run(journaled(dune, {"v": []}, path).flow()).ok
        assert len(dune.ledger) == bills


def test_a_success_does_not_outlive_a_newer_one_below(tmp_path: Path) -> None:
    """A view whose recorded success is older than that of what it reads is refreshed again."""
    dune, graph = Dune(), {"top": ["base"]}
    path = tmp_path / "refresh.jsonl"
    succeeded = ViewResult(outcome=Outcome.SUCCEEDED, execution_id="E0").to_dict()
    with recorded(path, dune, graph) as journal:
        journal.ended("top", succeeded)
        dune.rest(60)
        journal.ended("base", succeeded)
    assert dune.run(journaled(dune, graph, path).flow()).ok
    assert [each.name for each in dune.ledger] == ["top"]


def test_a_budget_is_kept_across_runs(tmp_path: Path) -> None:
    """What an earlier run spent counts: past the cap nothing is started, and what it left running is cancelled."""
    dune, graph = Dune(length=1000, credits=10.0), {"paid": list[str](), "running": [], "waiting": []}
    path = tmp_path / "refresh.jsonl"
    with recorded(path, dune, graph) as journal:
        journal.ended("paid", ViewResult(outcome=Outcome.SUCCEEDED, execution_id="E0", cost_credits=50.0).to_dict())
        journal.started("running", started_by(dune, dune.refresh("running", None)))
    report = dune.run(journaled(dune, graph, path, max_credits=40).flow())
    assert outcomes(report) == {"paid": "succeeded", "running": "canceled", "waiting": "not_started"}
    assert "50 credits are over max_credits=40" in (report.results["running"].reason or "")
    assert len(dune.ledger) == 1


def test_a_clock_that_was_set_back_pays_nothing_twice(tmp_path: Path) -> None:
    """Where the time of a lost refresh lies ahead, nothing is sent, and the view is ambiguous, now and next time."""
    dune = Dune()
    path = tmp_path / "refresh.jsonl"
    with recorded(path, dune, {"v": []}) as journal:
        journal.intended("v")
    dune.now -= 60
    for _ in range(2):
        assert outcomes(dune.run(journaled(dune, {"v": []}, path).flow())) == {"v": "ambiguous"}
    assert dune.seen == []


def test_what_an_earlier_run_left_running_is_told_when_time_is_over(tmp_path: Path) -> None:
    """A run that is over before it has come to what an earlier one started reports that as running, with its id."""
    dune, graph = Dune(length=100), {"a": list[str](), "b": []}
    path = tmp_path / "refresh.jsonl"
    with recorded(path, dune, graph) as journal:
        for name in graph:
            journal.started(name, started_by(dune, dune.refresh(name, None)))
    report = dune.run(journaled(dune, graph, path, max_parallel=1, timeout=10).flow())
    assert {name: result.execution_id for name, result in report.results.items()} == {"a": "E1", "b": "E2"}
    assert set(outcomes(report).values()) == {"running"}


@pytest.mark.parametrize("event", ["intended", "started", "ended", "finished"])
def test_a_journal_that_fails_in_the_middle_starts_nothing_more(
    event: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is followed to its end, and reported; what was not sent is not started; nothing is raised."""
    dune = Dune()
    run = journaled(dune, {"b": ["a"]}, tmp_path / "refresh.jsonl")

    def fail(*_: object, **__: object) -> None:
        raise JournalError("disk full", path=tmp_path)

    monkeypatch.setattr(Journal, event, fail)
    report = dune.run(run.flow())
    expected = {"intended": {"b": "not_started", "a": "not_started"}, "finished": {"b": "succeeded", "a": "succeeded"}}
    assert outcomes(report) == expected.get(event, {"b": "not_started", "a": "succeeded"})
    assert len(dune.ledger) == {"intended": 0, "finished": 2}.get(event, 1)
    assert report.stopped_by == (None if event == "finished" else "journal")
