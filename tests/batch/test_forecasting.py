"""What a run is forecast to take and to cost, before anything is started."""

from __future__ import annotations

import json
import math
import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from dune_matviews import (
    ExecutionState,
    ForecastError,
    InvalidArgumentError,
    MatviewsClient,
    NotFoundError,
    ViewResult,
)
from dune_matviews._batch.forecasting import forecast, played
from dune_matviews._batch.graph import reads
from dune_matviews._display.timing import Span, critical_path
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.batch.runs import billed, refresh_all
from tests.simulation import Dune, Fault

FORK = reads({"top": ["slow", "quick"], "slow": [], "quick": []})


def a_fork() -> Dune:
    """A view that reads a slow and a quick one, each refreshed four times before."""
    dune = Dune()
    for name, length in (("top", 10.0), ("slow", 100.0), ("quick", 5.0)):
        dune.scenarios[name] = length, ExecutionState.COMPLETED, length / 10
    for _ in range(4):
        refresh_all(dune, FORK)
    dune.seen.clear()
    return dune


def test_a_forecast_says_time_cost_and_the_critical_path() -> None:
    """Each view is forecast from its own past; the whole from the slowest chain, and nothing is started."""
    dune = a_fork()
    found = dune.run(forecast(dune.session(), FORK, 3, None))
    assert found.critical_path == ("slow", "top")
    assert found.seconds is not None
    assert found.seconds.low < 110.0 < found.seconds.high
    assert found.cost_credits is not None
    assert found.cost_credits.low < 11.5 < found.cost_credits.high
    slow = found.views["slow"]
    assert slow.refreshes
    assert slow.known_executions == 3
    assert slow.seconds is not None
    assert slow.seconds.expected == pytest.approx(100.0, rel=0.1)
    assert found.views["top"].starts_after == pytest.approx(slow.ends_after)
    assert len(dune.ledger) == 12
    assert json.loads(json.dumps(found.to_dict()))["views"]["slow"]["seconds"]["low"] == slow.seconds.low


def test_known_executions_are_not_read_again() -> None:
    """A second forecast asks which executions there are, and for none that is known."""
    dune = a_fork()
    session = dune.session()
    dune.run(forecast(session, FORK, 3, None))
    assert len(dune.seen) == 3 + 9
    dune.seen.clear()
    dune.run(forecast(session, FORK, 3, None))
    assert [each.what.split()[0] for each in dune.seen] == ["view"] * 3


def test_what_is_fresh_costs_nothing() -> None:
    """A view that is young enough is left out of time and cost, unless something that it reads is refreshed."""
    dune = a_fork()
    fresh = dune.run(forecast(dune.session(), FORK, 3, timedelta(hours=1)))
    assert [each.refreshes for each in fresh.views.values()] == [False] * 3
    assert fresh.cost_credits is not None
    assert (fresh.cost_credits.expected, fresh.critical_path) == (0.0, ())
    dune.now += 3_700.0
    refresh_all(dune, ["quick"])
    due = dune.run(forecast(dune.session(), FORK, 3, timedelta(hours=1)))
    assert {name: each.refreshes for name, each in due.views.items()} == {"top": True, "slow": True, "quick": False}


def test_a_view_that_is_not_there_is_told() -> None:
    """Dune's refusal of one view is in the forecast, which says what it can of the others."""
    dune = a_fork()
    dune.fail("view", Fault(NotFoundError("no such view", status_code=404)))
    found = dune.run(forecast(dune.session(), FORK, 3, None))
    (refused,) = (each for each in found.views.values() if each.refreshes is None)
    assert "no such view" in (refused.reason or "")
    assert found.seconds is not None


def test_without_a_past_nothing_is_forecast() -> None:
    """Where no view has succeeded before, time and cost are unknown, not zero."""
    dune = Dune()
    found = dune.run(forecast(dune.session(), FORK, 3, None))
    assert (found.seconds, found.cost_credits) == (None, None)


def test_a_run_is_played_in_its_own_order() -> None:
    """With one slot the longest chain goes first, and the critical path goes through what held the slot."""
    lengths = {"top": 1.0, "slow": 10.0, "quick": 2.0}
    spans = played(FORK, lengths, lengths, 1)
    assert spans == {"slow": Span(0.0, 10.0), "quick": Span(10.0, 12.0), "top": Span(12.0, 13.0)}
    assert critical_path(FORK, spans) == ("slow", "quick", "top")
    assert critical_path({}, {}) == ()


def test_a_run_over_its_forecast_is_refused(tmp_path: Path) -> None:
    """`max_forecast` refuses a run that is expected to cost more, or whose cost nobody knows, and nothing is billed."""
    views = ["dune.my_team.result_a", "dune.my_team.result_b"]
    with (
        DuneSandbox(default=Scenario(pending=0, running=0, credits=4.0)) as sandbox,
        MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None, history=tmp_path / "history") as dune,
    ):
        with pytest.raises(ForecastError, match="no past") as unknown:
            dune.refresh_all(views, max_forecast=10)
        assert unknown.value.forecast.cost_credits is None
        assert sandbox.ledger == ()
        assert dune.refresh_all(views).ok
        with pytest.raises(ForecastError, match="max_forecast=5") as over:
            dune.refresh_all(views, max_forecast=5)
        assert over.value.forecast.cost_credits is not None
        assert len(sandbox.ledger) == 2
        assert dune.refresh_all(views, max_forecast=20).ok
        with pytest.raises(InvalidArgumentError, match="max_forecast"):
            dune.refresh_all(views, max_forecast=-1)
        assert len((tmp_path / "history").read_text("utf-8").splitlines()) == 4


def test_a_history_lies_beside_the_journal(tmp_path: Path) -> None:
    """With a journal that is a path, past executions are kept beside it; by itself the library writes nowhere."""
    with DuneSandbox(default=Scenario(pending=0, running=0)) as sandbox:
        for journal, files in ((None, set[str]()), (tmp_path / "j.jsonl", {"j.jsonl", "j.jsonl.history"})):
            with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
                dune.refresh_all(["dune.my_team.result_a"], journal=journal)
            assert {each.name for each in tmp_path.iterdir()} == files
        with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
            before = len(sandbox.requests)
            assert len(dune.history("dune.my_team.result_a")) == 2
            assert [each.operation for each in sandbox.requests[before:]] == ["get", "status", "status"]


def test_updates_tell_when_the_run_ends_and_what_it_still_costs() -> None:
    """With a past, each update foresees the end of the run and the cost to come, and comes nearer to the truth."""
    dune = a_fork()
    session = dune.session()
    dune.run(forecast(session, FORK, 3, None))
    updates: list[ViewResult] = []
    report = refresh_all(dune, FORK, session=session, on_update=lambda name, result: updates.append(result))
    ends = [(each.run_ends_at - report.started_at).total_seconds() for each in updates if each.run_ends_at is not None]
    assert len(ends) == len(updates)
    assert ends[0] == pytest.approx(report.seconds, rel=0.2)
    assert ends[-1] == pytest.approx(report.seconds, rel=0.01)
    costs = [each.run_credits_to_come for each in updates]
    assert costs[0] == pytest.approx(11.5, rel=0.2)
    assert costs[-1] == 0.0
    assert json.loads(json.dumps(updates[0].to_dict()))["run_credits_to_come"] == costs[0]
    assert all(each.run_ends_at is None for each in report.results.values())


def test_a_run_learns_which_of_the_waiting_views_takes_longest() -> None:
    """While one view is refreshed, the past of those that wait is read, and of these the longest starts first."""
    dune = Dune()
    names = ["first", "short", "long"]
    for name, length in zip(names, (100.0, 5.0, 300.0), strict=True):
        dune.scenarios[name] = length, ExecutionState.COMPLETED, 1.0
    for _ in range(2):  # by clients of their own
        report = refresh_all(dune, names, max_parallel=1)
        assert report.ok
    assert billed(dune)[3:] == ["first", "long", "short"]


def test_without_a_past_updates_foresee_nothing() -> None:
    """What nobody knows is left out of updates and documents."""
    updates: list[ViewResult] = []
    refresh_all(Dune(), FORK, on_update=lambda name, result: updates.append(result))
    assert {each.run_ends_at for each in updates} == {None}
    assert "run_ends_at" not in updates[0].to_dict()


def test_a_report_says_where_the_time_went() -> None:
    """The parts along the critical path make up the run: waiting, the queue, executing, and noticing ends."""
    dune = a_fork()
    report = refresh_all(dune, FORK, max_parallel=1)
    assert report.critical_path == ("slow", "quick", "top")
    assert math.fsum(report.time_spent.values()) == pytest.approx(report.seconds)
    assert report.time_spent["executing"] == pytest.approx(115.0)
    assert report.time_spent["noticing"] > 0.0
    assert pickle.loads(pickle.dumps(report)).critical_path == report.critical_path
    assert report.to_dict()["time_spent"] == report.time_spent
