"""Past executions: remembered, kept in a file, and read from Dune with spare budget."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from dune_matviews import ExecutionState, RequestBudget
from dune_matviews._execution.history import KEPT, History
from dune_matviews._execution.session import Session
from dune_matviews._execution.watching import Watch, watch
from tests.batch.runs import refresh_all, sent
from tests.execution.refreshing import VIEW, started
from tests.simulation import Dune

FREE = RequestBudget(low=15, high=40)


def a_past(dune: Dune, *lengths: float, view: str = VIEW) -> None:
    """Let other clients have refreshed a view."""
    for length in lengths:
        dune.scenarios[view] = length, ExecutionState.COMPLETED, 1.0
        refresh_all(dune, [view])
    dune.seen.clear()


def known(session: Session, view: str = VIEW) -> int:
    """How many past successes the client knows."""
    found = session.history.expected(view)
    return 0 if found is None else found.known


def test_what_a_client_sees_end_it_knows() -> None:
    """A client predicts a view by its own observations, without a request."""
    dune = Dune(length=30.0)
    session = dune.session()
    refresh_all(dune, [VIEW], session=session)
    assert known(session) == 1
    assert [each.cost_credits for each in session.history.of(VIEW)] == [1.0]


def test_the_past_is_read_after_ten_seconds_and_once() -> None:
    """A wait that is over by then reads nothing; a longer one reads up to five past ends, and never one twice."""
    dune = Dune(length=5.0)
    a_past(dune, *[30.0] * 7)
    session = dune.session(RequestBudget(low=70, high=200))
    for length, reads in ((5.0, 0), (60.0, 5), (60.0, 0)):
        dune.scenarios[VIEW] = length, ExecutionState.COMPLETED, 1.0
        dune.seen.clear()
        refresh_all(dune, [VIEW], session=session)
        own = f"status {dune.ledger[-1].execution_id}"
        assert sum(each.what.startswith("status") and each.what != own for each in dune.seen) <= reads
    others = [each.what for each in dune.seen if each.what.startswith("status")]
    assert len(set(others)) == 1
    assert known(session) >= 5


def test_reading_the_past_delays_no_start() -> None:
    """Views start at the same moments whether the past of a hundred others is there to be read or not."""
    views = [f"dune.my_team.result_{number}" for number in range(20)]
    starts: list[list[float]] = []
    for past in (0, 3):
        dune = Dune(length=40.0)
        for _ in range(past):
            refresh_all(dune, views, max_parallel=20)
        began, before = dune.now, len(dune.ledger)
        refresh_all(dune, views, session=dune.session(FREE), max_parallel=3)
        starts.append([each.submitted - began for each in dune.ledger[before:]])
    assert max(starts[1]) <= max(starts[0]) * 1.02


def test_a_spent_budget_reads_nothing() -> None:
    """Where polls need the whole budget, the past stays unread."""
    dune = Dune(length=60.0)
    a_past(dune, 60.0, 60.0)
    refresh_all(dune, [VIEW], session=dune.session(RequestBudget(low=2, high=4)))
    assert sent(dune, "view") == 1  # the baseline


def test_a_file_keeps_the_past(tmp_path: Path) -> None:
    """With a file between them, another client predicts the same; without one, nothing is written."""
    dune = Dune(length=30.0)
    path = tmp_path / "cache" / "history.jsonl"
    for count in (0, 1, 2):
        session = dune.session()
        dune.run(session.history.opened(path))
        assert known(session) == count
        refresh_all(dune, [VIEW], session=session)
    refresh_all(dune, [VIEW])
    assert len(path.read_text("utf-8").splitlines()) == 3
    assert list(tmp_path.iterdir()) == [path.parent]


def test_a_broken_file_is_no_error(tmp_path: Path) -> None:
    """Unreadable lines are skipped, and a folder in the file's place changes nothing."""
    dune = Dune(length=30.0)
    path = tmp_path / "history.jsonl"
    session = dune.session()
    dune.run(session.history.opened(path))
    refresh_all(dune, [VIEW], session=session)
    whole = path.read_text("utf-8")
    broken = ["", "{", "[]", "null", "7", '{"view": 1}', whole[:40], whole.replace("T00", "noon"), json.dumps({"a": 1})]
    path.write_text("\n".join([*broken, whole, "\udcff"]).encode("utf-8", "surrogateescape").decode("latin-1"), "utf-8")
    for where, count in ((path, 1), (tmp_path, 0)):
        session = dune.session()
        dune.run(session.history.opened(where))
        assert known(session) == count
        refresh_all(dune, [VIEW], session=session)


def test_an_old_past_is_let_go_of(tmp_path: Path) -> None:
    """Memory and file hold the latest executions of a view, and the file shrinks when it is read."""
    dune, path = Dune(length=1.0), tmp_path / "history.jsonl"
    session = dune.session()
    dune.run(session.history.opened(path))
    for _ in range(KEPT + 150):
        refresh_all(dune, [VIEW], session=session)
    assert len(session.history) == KEPT
    again = History()
    dune.run(again.opened(path))
    assert len(path.read_text("utf-8").splitlines()) == len(again) == KEPT
    assert again.of(VIEW)[0].execution_id == dune.ledger[-1].execution_id


def test_a_wait_without_a_name_has_no_history() -> None:
    """An execution without a known view is polled at the usual cadence, and nothing else is read."""
    dune = Dune(length=60.0)
    a_past(dune, 60.0, 60.0)
    execution_id = started(dune)
    dune.seen.clear()
    dune.run(watch(dune.session(), Watch(execution_id=execution_id, since=dune.now)))
    assert {each.what for each in dune.seen} == {f"status {execution_id}"}


def test_a_file_proves_nothing(tmp_path: Path) -> None:
    """That a file calls an execution a success makes no view fresh: its end is read from Dune once more."""
    dune, path = Dune(length=5.0, end=ExecutionState.FAILED), tmp_path / "history.jsonl"
    session = dune.session()
    dune.run(session.history.opened(path))
    refresh_all(dune, [VIEW], session=session)
    path.write_text(path.read_text("utf-8").replace("failed", "completed"), "utf-8")
    again = dune.session()
    dune.run(again.history.opened(path))
    assert known(again) == 1
    report = refresh_all(dune, [VIEW], session=again, max_age=timedelta(hours=1))
    assert report.results[VIEW].outcome.value == "failed"
