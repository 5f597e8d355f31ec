"""The kill matrix: whatever dies, and whenever, a refresh is billed once; more than once only where a person asks.

Real processes, killed with SIGKILL. Nothing is asserted but what the sandbox has in its ledger, and that the task ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import psutil
import pytest

from dune_matviews.sandbox import Charge, DuneSandbox, Fault, Scenario
from tests.engines.airflow.conftest import HERE, connection_to
from tests.engines.airflow.deployment import Airflow, kill, until

pytestmark = pytest.mark.kill

ENDLESS = Scenario(pending=0, running=math.inf, credits=5.0)
_numbers = count()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[DuneSandbox]:
    """A Dune at the speed of life; executions end when a test says so."""
    with DuneSandbox(default=ENDLESS) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(sandbox: DuneSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """A deployment whose connection leads to the sandbox."""
    home = tmp_path_factory.mktemp("airflow")
    with Airflow(home, HERE / "dags", {"AIRFLOW_CONN_DUNE_DEFAULT": connection_to(sandbox)}).running() as deployment:
        yield deployment


class Refresh:
    """One run of a DAG for a view of its own, as the sandbox sees it."""

    def __init__(self, airflow: Airflow, sandbox: DuneSandbox, dag: str) -> None:
        self.view = f"dune.t.{dag}_{next(_numbers)}"
        self.airflow, self.sandbox, self.dag = airflow, sandbox, dag

    def start(self) -> None:
        """Run the DAG."""
        self.run = self.airflow.trigger(self.dag, view=self.view)

    def bills(self) -> list[Charge]:
        """What the ledger has of the view."""
        return [charge for charge in self.sandbox.ledger if charge.name == self.view]

    def billed(self, bills: int = 1) -> Charge:
        """The latest bill, once there are so many."""
        return until(f"{bills} bills", lambda: self.bills() if len(self.bills()) == bills else None)[-1]

    def polled(self, execution_id: str) -> None:
        """Return once an execution is polled again."""
        seen = len(self.sandbox.requests)
        until(
            f"another poll of {execution_id}",
            lambda: any(
                each.operation == "status" and execution_id in each.path for each in self.sandbox.requests[seen:]
            ),
        )

    def wait(self, *states: str, tries: int = 0) -> dict[str, Any]:
        """The task, once it is in one of the states."""
        return self.airflow.wait(self.dag, self.run, *states, tries=tries)

    def clear(self) -> None:
        """Clear the task, as a person does."""
        self.airflow.clear(self.dag, self.run)

    def mark(self, state: str) -> None:
        """Mark the task, as a person does."""
        self.airflow.mark(self.dag, self.run, state)

    def finish(self, end: str | None = None) -> None:
        """Let Dune end the latest execution."""
        self.sandbox.finish(self.bills()[-1].execution_id, end)


BOTH = pytest.mark.parametrize("dag", ["deferred", "waiting"])
STATE = {"deferred": "deferred", "waiting": "running"}
"""The state of a task that waits for its execution."""


@pytest.fixture
def refresh(airflow: Airflow, sandbox: DuneSandbox, dag: str) -> Refresh:
    """A run of the DAG."""
    return Refresh(airflow, sandbox, dag)


def under_way(refresh: Refresh) -> Charge:
    """Start the run, and return the bill once its execution is polled where the task waits for it."""
    refresh.start()
    charge = refresh.billed()
    refresh.wait(STATE[refresh.dag.split("_")[0]])
    refresh.polled(charge.execution_id)
    return charge


def unanswered(refresh: Refresh) -> Charge:
    """Start the run, and return the bill while Dune's response to the POST has not left."""
    refresh.sandbox.fail("refresh", Fault(delay=math.inf))
    refresh.start()
    return refresh.billed()


def ends_with(refresh: Refresh, bills: int = 1, state: str = "success", end: str | None = None) -> list[str]:
    """Let Dune end the latest execution once it is polled; the states of the executions, all that were billed."""
    refresh.polled(refresh.billed(bills).execution_id)
    refresh.finish(end)
    refresh.wait(state)
    assert len(refresh.bills()) == bills
    return [charge.state.removeprefix("QUERY_STATE_") for charge in refresh.bills()]


# Nothing dies


@BOTH
def test_nothing_dies(refresh: Refresh) -> None:
    """Where nothing dies, there is one bill, too."""
    under_way(refresh)
    ends_with(refresh)


# Something dies while the execution is polled


@pytest.mark.parametrize("dag", ["waiting"])
def test_the_tasks_process_dies_while_it_polls(refresh: Refresh, airflow: Airflow) -> None:
    """The retry follows the execution."""
    under_way(refresh)
    kill(airflow.task_process())
    refresh.wait("running", tries=1)
    ends_with(refresh)


@pytest.mark.parametrize("dag", ["waiting"])
def test_the_worker_dies_while_it_polls(refresh: Refresh, airflow: Airflow) -> None:
    """The worker and all below it are gone, and Airflow learns it from the heartbeat that stays away."""
    under_way(refresh)
    kill(parent_of(airflow.task_process()))
    refresh.wait("running", tries=1)
    ends_with(refresh)


@pytest.mark.parametrize("dag", ["waiting"])
def test_the_machine_ends_the_task_while_it_polls(refresh: Refresh, airflow: Airflow) -> None:
    """A SIGTERM that no person sent, as of a pod that is moved: nothing is cancelled, and the retry follows."""
    under_way(refresh)
    airflow.task_process().terminate()
    refresh.wait("running", tries=1)
    assert ends_with(refresh) == ["COMPLETED"]


@pytest.mark.parametrize("dag", ["deferred"])
def test_the_triggerer_dies_while_it_polls(refresh: Refresh, airflow: Airflow) -> None:
    """The next triggerer takes the trigger over."""
    under_way(refresh)
    airflow.kill("triggerer")
    airflow.start("triggerer")
    ends_with(refresh)


@BOTH
def test_the_schedulers_machine_dies_while_the_execution_is_polled(refresh: Refresh, airflow: Airflow) -> None:
    """Scheduler and workers are gone at once; the task goes on, or is tried again, and follows the execution."""
    under_way(refresh)
    airflow.kill("scheduler")
    airflow.start("scheduler")
    if refresh.dag == "waiting":
        refresh.wait("running", tries=1)
    ends_with(refresh)


# A time is over


@pytest.mark.parametrize("dag", ["deferred_for_seconds", "waiting_for_seconds", "waiting_too_long"])
def test_the_time_of_a_try_is_over(refresh: Refresh) -> None:
    """A try that ends by its timeout, or by Airflow's execution_timeout, cancels nothing: the next one follows."""
    refresh.start()
    refresh.billed()
    refresh.wait(STATE[refresh.dag.split("_")[0]], tries=1)
    assert ends_with(refresh) == ["COMPLETED"]


# Something dies while the POST is booked, and its response has not arrived


@BOTH
def test_the_tasks_process_dies_before_the_response(refresh: Refresh, airflow: Airflow) -> None:
    """The retry finds the execution in the view's history."""
    unanswered(refresh)
    kill(airflow.task_process())
    refresh.wait(STATE[refresh.dag], tries=1)
    ends_with(refresh)


@pytest.mark.parametrize("dag", ["deferred"])
def test_the_worker_dies_before_the_response(refresh: Refresh, airflow: Airflow) -> None:
    """As before, and Airflow learns of it from the heartbeat that stays away."""
    unanswered(refresh)
    kill(parent_of(airflow.task_process()))
    refresh.wait("deferred", tries=1)
    ends_with(refresh)


@pytest.mark.parametrize("dag", ["deferred"])
def test_the_schedulers_machine_dies_before_the_response(refresh: Refresh, airflow: Airflow) -> None:
    """As before, with the scheduler gone, too."""
    unanswered(refresh)
    airflow.kill("scheduler")
    airflow.start("scheduler")
    refresh.wait("deferred", tries=1)
    ends_with(refresh)


@pytest.mark.parametrize("dag", ["deferred"])
def test_the_tasks_process_dies_before_dune_accepts(refresh: Refresh, airflow: Airflow, sandbox: DuneSandbox) -> None:
    """A request that was never accepted is sent again once that is proven, and billed once."""
    sandbox.fail("refresh", Fault(lost=True, delay=math.inf))
    seen = len(sandbox.requests)
    refresh.start()
    until("the POST", lambda: any(each.operation == "refresh" for each in sandbox.requests[seen:]))
    kill(airflow.task_process())
    assert refresh.bills() == []
    sandbox.advance(600)  # by Dune's clock, the permit is long over: half a minute of looking is proof
    ends_with(refresh)


# Something dies after the end


@pytest.mark.parametrize("dag", ["deferred"])
def test_the_triggerer_is_dead_when_the_execution_ends(refresh: Refresh, airflow: Airflow) -> None:
    """The next triggerer sees the end."""
    under_way(refresh)
    airflow.kill("triggerer")
    refresh.finish()
    airflow.start("triggerer")
    refresh.wait("success")
    assert len(refresh.bills()) == 1


@pytest.mark.parametrize("dag", ["lingering"])
def test_the_tasks_process_dies_between_the_end_and_its_success(refresh: Refresh, airflow: Airflow) -> None:
    """The journal is kept after a success, so that the retry returns the recorded result."""
    refresh.start()
    refresh.polled(refresh.billed().execution_id)
    refresh.wait("deferred")
    refresh.finish()
    until("the end", (airflow.home / f"{refresh.run}.lingers").exists)
    kill(airflow.task_process())
    refresh.wait("success")
    assert len(refresh.bills()) == 1


# A person acts


@BOTH
def test_a_person_clears_the_task_while_it_waits(refresh: Refresh) -> None:
    """The execution is cancelled at Dune, and the person gets the other refresh that was asked for."""
    under_way(refresh)
    refresh.clear()
    assert ends_with(refresh, bills=2) == ["CANCELED", "COMPLETED"]


@pytest.mark.parametrize("dag", ["deferred_left_running", "waiting_left_running"])
def test_a_person_clears_a_task_that_leaves_executions_running(refresh: Refresh) -> None:
    """With cancel_on_kill=False, the cleared task follows the execution that is running."""
    under_way(refresh)
    refresh.clear()
    refresh.wait(STATE[refresh.dag.split("_")[0]], tries=1)
    assert ends_with(refresh) == ["COMPLETED"]


@BOTH
def test_a_person_clears_the_task_after_its_success(refresh: Refresh) -> None:
    """Whoever clears a task that succeeded asks for another refresh."""
    under_way(refresh)
    ends_with(refresh)
    refresh.clear()
    assert ends_with(refresh, bills=2) == ["COMPLETED", "COMPLETED"]


@pytest.mark.parametrize("dag", ["deferred"])
def test_a_person_clears_the_task_while_no_triggerer_runs(refresh: Refresh, airflow: Airflow) -> None:
    """Nobody could tell Dune to cancel: the next try does, before it starts the other refresh."""
    under_way(refresh)
    airflow.kill("triggerer")
    refresh.clear()
    refresh.billed(2)
    airflow.start("triggerer")
    assert ends_with(refresh, bills=2) == ["CANCELED", "COMPLETED"]


@pytest.mark.parametrize("dag", ["deferred"])
def test_a_person_clears_the_task_while_its_refresh_is_in_doubt(refresh: Refresh, airflow: Airflow) -> None:
    """The request that may have been accepted is found and followed, before there can be another."""
    unanswered(refresh)
    kill(airflow.task_process())
    refresh.wait("up_for_retry")
    refresh.clear()
    assert ends_with(refresh) == ["COMPLETED"]


@BOTH
def test_a_person_marks_the_task_as_failed(refresh: Refresh) -> None:
    """The execution is cancelled at Dune, and nothing else is started."""
    charge = under_way(refresh)
    refresh.mark("failed")
    until("the end", lambda: refresh.bills()[0].state == "QUERY_STATE_CANCELED")
    assert [each.execution_id for each in refresh.bills()] == [charge.execution_id]


# Dune fails the view


@BOTH
def test_dune_fails_the_view(refresh: Refresh) -> None:
    """The task fails for good, its retries notwithstanding: another refresh would be billed, too."""
    under_way(refresh)
    assert ends_with(refresh, state="failed", end="failed") == ["FAILED"]


@pytest.mark.parametrize("dag", ["deferred_retry_failed", "waiting_retry_failed"])
def test_dune_fails_a_view_that_is_to_be_tried_again(refresh: Refresh) -> None:
    """With retry_failed=True, the retry starts one more."""
    under_way(refresh)
    refresh.finish("failed")
    assert ends_with(refresh, bills=2) == ["FAILED", "COMPLETED"]


# The journal's contract


def test_an_earlier_try_can_write_nothing_more(airflow: Airflow) -> None:
    """A process whose task was cleared is refused each further line: the next try reads what came before, in order."""

    def told(number: int) -> dict[str, Any]:
        path = airflow.home / f"{run}.try{number}"
        until(f"try {number}", path.exists)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    run = airflow.trigger("fenced")
    airflow.wait("fenced", run, "running")
    seen = until("some lines", lambda: airflow.stored("fenced", run))
    until("more lines", lambda: airflow.stored("fenced", run) > seen)
    airflow.clear("fenced", run)
    first, second = told(1), told(2)
    assert "404" in first["refusal"] or "not found" in first["refusal"].lower()
    assert first["read"] == []
    assert second["read"] == first["appended"] == [f"try 1, line {number}" for number in range(len(second["read"]))]
    assert len(second["read"]) > seen
    assert second["appended"] == ["try 2, line 0"]


# Many views in one task


def test_the_worker_of_many_views_dies(airflow: Airflow, sandbox: DuneSandbox) -> None:
    """Each view is billed once, the one that had not been started included; who clears the task gets each once more."""
    views = ["dune.t.many_base", "dune.t.many_daily", "dune.t.many_users"]
    ids = dict[str, str]()

    def bills(name: str) -> list[str]:
        return [charge.execution_id for charge in sandbox.ledger if charge.name == name]

    run = airflow.trigger("many")
    until("two bills", lambda: bills(views[0]) and bills(views[2]))
    kill(parent_of(airflow.task_process()))
    airflow.wait("many", run, "running", tries=1)
    for name in views:
        (ids[name],) = until(f"the bill of {name}", partial(bills, name))
        sandbox.finish(ids[name])
    airflow.wait("many", run, "success")
    assert {name: bills(name) for name in views} == {name: [ids[name]] for name in views}

    airflow.clear("many", run)
    until("two more bills", lambda: len(bills(views[0])) == len(bills(views[2])) == 2)
    airflow.mark("many", run, "failed")
    until(
        "the cancellations",
        lambda: [charge.state for charge in sandbox.ledger[-2:]] == ["QUERY_STATE_CANCELED"] * 2,
    )
    assert [len(bills(name)) for name in views] == [2, 1, 2]


def parent_of(process: psutil.Process) -> psutil.Process:
    """The process that has started another."""
    parent = process.parent()
    assert parent is not None
    return parent
