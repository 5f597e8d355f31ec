"""Many views as one flow, in virtual time: order, limits, blocked views, and bills."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import AuthenticationError, ExecutionState, PaymentRequiredError, RequestBudget
from dune_matviews.report import Outcome, ViewResult
from tests.batch.runs import (
    CANCELED,
    COMPLETED,
    FAILED,
    LOST,
    check,
    costs_seen,
    graphs,
    lives,
    most_in_flight,
    outcomes,
    refresh_all,
    run_of,
    troubles,
)
from tests.batch.workloads import makespan, views_of_all_lengths
from tests.profiles import fewer
from tests.simulation import Dune, Fault, driven_by_asyncio, driven_in_a_thread


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
    assert report.results["d"].reason == "it reads b (failed)"
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
    """While a lost refresh is searched for, other views start and end; then the view is ambiguous."""
    dune = Dune()
    began = dune.now
    dune.fail("refresh", Fault(LOST))
    report = refresh_all(dune, {"a": [], "b": ["a"], "c": [], "d": ["c"]}, max_parallel=1)
    assert outcomes(report) == {"a": "ambiguous", "b": "skipped", "c": "succeeded", "d": "succeeded"}
    assert dune.ledger[-1].ends - began < 15
    assert "looks for it again" in report.results["a"].describe()


@pytest.mark.parametrize(
    "refusal", [AuthenticationError("no", status_code=401), PaymentRequiredError("no", status_code=402)]
)
def test_a_refused_key_or_an_empty_purse_ends_the_run(refusal: Exception) -> None:
    """After 401 or 402 nothing more is started."""
    dune = Dune()
    dune.fail("refresh", None, Fault(refusal))
    report = refresh_all(dune, ["a", "b", "c", "d"], max_parallel=2)
    assert outcomes(report)["a"] in ("succeeded", "running")
    assert [outcomes(report)[name] for name in "bcd"] == ["failed", "not_started", "not_started"]
    assert len(dune.ledger) == 1
    assert report.stopped_by == "refused"


def test_a_budget_of_credits_is_live() -> None:
    """Once the total cost passes the cap, nothing more is started, and executions in flight are cancelled."""
    dune = Dune(length=1000, credits=100.0)
    report = refresh_all(dune, [f"v.{number}" for number in range(6)], max_credits=100)
    assert [each.end for each in dune.ledger] == [CANCELED] * 3
    assert sorted(outcomes(report).values()) == ["canceled"] * 3 + ["not_started"] * 3
    assert report.cost_credits == pytest.approx(sum(each.credits for each in dune.ledger))
    assert 100 < report.cost_credits < 105
    assert report.stopped_by == "credits"


def test_the_time_of_a_run_ends_it_and_leaves_executions_running() -> None:
    """At the timeout, executions are left running and reported with their ids, and the rest is not started."""
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


@pytest.mark.parametrize(
    ("budget", "max_parallel"),
    [
        (RequestBudget(low=15, high=40), 3),
        (RequestBudget(low=70, high=200), 3),
        (RequestBudget(low=70, high=200), 10),
        (RequestBudget(low=350, high=1000), 10),
    ],
)
def test_fifty_views_take_little_longer_than_they_must(budget: RequestBudget, max_parallel: int) -> None:
    """With ends noticed within the plan's budget, a run takes at most 5 % longer than with ends noticed at once."""
    lengths = views_of_all_lengths(50)
    dune = Dune()
    dune.scenarios = {name: (length, COMPLETED, 1.0) for name, length in lengths.items()}
    began = dune.now
    assert refresh_all(dune, list(lengths), budget=budget, max_parallel=max_parallel).ok
    taken = dune.now - began
    assert taken <= 1.05 * makespan([lengths[each.name] for each in dune.ledger], max_parallel, budget.low)
    for bucket, limit in (("refresh", budget.low), ("status", budget.high)):
        moments = [request.at for request in dune.seen if request.what.startswith(bucket)]
        assert all(later - earlier > 60 for earlier, later in zip(moments, moments[limit:], strict=False))


@given(
    graphs,
    lives,
    troubles,
    st.integers(1, 4),
    st.sampled_from([math.inf, 40.0, 700.0]),
    st.sampled_from([math.inf, 0.0, 60.0]),
)
def test_order_limits_and_bills_are_kept_through_every_fault(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    max_parallel: int,
    timeout: float,
    max_credits: float,
) -> None:
    """No view is billed twice or before the views it reads; limits hold; and the report is true."""
    dune = Dune(round_trip=0.1)
    dune.scenarios = dict(zip(graph, lives, strict=False))
    dune.faults = iter(troubles)
    seen: dict[str, float] = {}
    started = dune._start

    def start_within_budget(name: str, performance: str | None) -> str:
        assert sum(seen.values()) <= max_credits, "started although the costs seen had passed the cap"
        return started(name, performance)

    dune._start = start_within_budget  # type: ignore[method-assign]
    limits = {"max_parallel": max_parallel, "timeout": timeout, "max_credits": max_credits}
    report = refresh_all(dune, graph, on_update=costs_seen(seen), **limits)
    check(dune, graph, report)
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
    """Five hundred views in twenty layers take as many steps a view as a hundred, also where many fail."""
    steps = {}
    for width in (5, 25):
        dune = Dune()
        graph = layers(20, width)
        if failing:
            dune.scenarios = {name: (5.0, FAILED, 1.0) for name in graph if name.startswith("v0.")}
        updates: list[str] = []
        report = refresh_all(dune, graph, max_parallel=10, on_update=lambda name, _, seen=updates: seen.append(name))
        assert len(report.results) == 20 * width
        assert report.ok is not failing
        steps[width] = len(dune.seen) + len(updates)
    assert steps[25] <= 1.1 * 5 * steps[5]


@given(graphs, lives, troubles, st.sampled_from([math.inf, 40.0]))
@fewer(2)
def test_both_drivers_leave_the_same_traces(
    graph: dict[str, list[str]],
    lives: list[tuple[float, ExecutionState, float]],
    troubles: list[Fault | None],
    timeout: float,
) -> None:
    """Both clients send the same requests at the same times, and report the same, if responses are instant.

    Calls side by side have each seen the other's failure in one driver, and not in the other: failures come one by one.
    Nor need requests of one moment leave in the same order, so executions are told by their views; and ends of one
    moment may be noticed in another order, which would decide who starts next, so no view has to wait for a place.
    """
    traces = []
    for drive in (driven_in_a_thread, driven_by_asyncio):
        dune = Dune()
        dune.scenarios = dict(zip(graph, lives, strict=False))
        dune.faults = iter([each and attrs.evolve(each, takes=0.0) for each in troubles])
        flow = run_of(dune, graph, max_parallel=1 if any(troubles) else len(graph), timeout=timeout).flow()
        report = repr(drive(dune, flow).to_dict())
        requests = sorted((each.at, told_by_view(each.what, dune)) for each in dune.seen)
        traces.append((told_by_view(report, dune), requests, dune.now))
    assert traces[0] == traces[1]


def told_by_view(text: str, dune: Dune) -> str:
    """The text with each execution's id replaced by its view and the number of those that the view had before."""
    before: Counter[str] = Counter()
    told = {}
    for each in dune.ledger:
        told[each.execution_id] = f"{each.name}/{before[each.name]}"
        before[each.name] += 1
    return re.sub(r"\bE\d+\b", lambda found: told[found.group()], text)
