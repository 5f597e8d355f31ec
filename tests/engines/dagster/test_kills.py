"""The kill matrix, on a whole Dagster: processes die, a person terminates and re-executes, and Dune bills once."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from dune_matviews.sandbox import Charge, DuneSandbox, Fault, Scenario

from .definitions import BASE, DAILY, DIES, OTHER
from .engine import Engine, engine, until

pytestmark = pytest.mark.kill

RETRIED = {"dagster/max_retries": "1"}
KEY = "sandbox-key"
ENDLESS = Scenario(running=math.inf)


@pytest.fixture(scope="module")
def port() -> int:
    """Where each test's sandbox listens, for one Dagster that serves them all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def dagster(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A running Dagster."""
    environment = {"DUNE_API_KEY": KEY, "DUNE_API_BASE_URL": f"http://127.0.0.1:{port}", "DUNE_PLAN": "enterprise"}
    with engine(tmp_path_factory.mktemp("dagster"), environment) as found:
        yield found


@pytest.fixture
def dune(port: int) -> Iterator[DuneSandbox]:
    """A stand-in for Dune's API."""
    with DuneSandbox(api_key=KEY, port=port, speed=1_000) as sandbox:
        yield sandbox
        assert sandbox.pending_faults == ()


def charges(dune: DuneSandbox, view: str) -> list[Charge]:
    """What was billed for a view."""
    return [each for each in dune.ledger if each.name == view]


def bills(dune: DuneSandbox) -> dict[str, int]:
    """How often each view was billed."""
    return {view.rpartition("_")[2]: len(charges(dune, view)) for view in (BASE, DAILY, OTHER)}


def running(dune: DuneSandbox, view: str) -> str:
    """The execution of a view, once it is being polled."""
    [charge] = until(lambda: charges(dune, view), f"{view} is started")
    path = f"/{charge.execution_id}/"
    until(lambda: [each for each in dune.requests if path in each.path], f"{view} is polled")
    return str(charge.execution_id)


def polls_again(dune: DuneSandbox, execution_id: str, after: int) -> None:
    """Wait for a poll that came after so many requests."""
    until(lambda: [r for r in dune.requests[after:] if f"/{execution_id}/" in r.path], "it is followed")


def kill(*processes: int) -> None:
    """Kill processes, as a machine does that is lost."""
    for each in processes:
        os.kill(each, signal.SIGKILL)


def test_a_machine_that_is_lost_while_polling_costs_nothing_twice(dagster: Engine, dune: DuneSandbox) -> None:
    """The run's process and the step's are killed; Dagster's own retry follows what was started."""
    dune.rehearse(BASE, ENDLESS)
    run = dagster.launch(BASE, DAILY, tags=RETRIED)
    execution = running(dune, BASE)
    kill(*dagster.processes(run))
    assert dagster.ended(run) == "FAILURE"
    seen = len(dune.requests)
    retry = dagster.retry(run)
    polls_again(dune, execution, seen)
    dune.finish(execution)
    assert dagster.ended(retry) == "SUCCESS"
    assert bills(dune) == {"base": 1, "daily": 1, "other": 0}


def test_a_step_that_is_killed_while_polling_is_followed(dagster: Engine, dune: DuneSandbox) -> None:
    """The step's process alone is killed; the run fails, and Dagster's own retry follows what was started."""
    dune.rehearse(BASE, ENDLESS)
    run = dagster.launch(BASE, DAILY, tags=RETRIED)
    execution = running(dune, BASE)
    kill(dagster.processes(run)[1])
    assert dagster.ended(run) == "FAILURE"
    seen = len(dune.requests)
    retry = dagster.retry(run)
    polls_again(dune, execution, seen)
    dune.finish(execution)
    assert dagster.ended(retry) == "SUCCESS"
    assert bills(dune) == {"base": 1, "daily": 1, "other": 0}


def test_a_step_that_outlives_its_run_starts_nothing_beside_the_retry(dagster: Engine, dune: DuneSandbox) -> None:
    """The run's process is killed and its step's is not: both it and the retry see the end, and one starts the next."""
    dune.rehearse(BASE, ENDLESS)
    run = dagster.launch(BASE, DAILY, tags=RETRIED)
    execution = running(dune, BASE)
    parent, step = dagster.processes(run)
    kill(parent)
    assert dagster.ended(run) == "FAILURE"
    retry = dagster.retry(run)
    dagster.processes(retry)
    dune.finish(execution)
    assert dagster.ended(retry) == "SUCCESS"
    until(lambda: not os.path.exists(f"/proc/{step}"), "the step that was left ends")
    assert bills(dune) == {"base": 1, "daily": 1, "other": 0}


@pytest.mark.parametrize("is_booked", [True, False])
def test_a_refresh_that_was_never_answered_is_looked_for(dagster: Engine, dune: DuneSandbox, is_booked: bool) -> None:
    """Everything is killed while the request is out; a person re-executes, which sends only what was not booked."""
    dune.fail("refresh", Fault(lost=True, accepted=is_booked, delay=math.inf))
    run = dagster.launch(BASE)
    until(lambda: [each for each in dune.requests if each.operation == "refresh"], "the refresh is sent")
    kill(*dagster.processes(run))
    assert dagster.ended(run) == "FAILURE"
    dune.advance(300)  # by Dune's clock, what was sent before is either listed by now, or was never accepted
    assert dagster.ended(dagster.reexecute(run)) == "SUCCESS"
    assert bills(dune)["base"] == 1


def test_an_end_whose_event_was_not_stored_is_materialized_by_the_retry(dagster: Engine, dune: DuneSandbox) -> None:
    """The step dies when the view is fresh and Dagster does not know it yet; the retry tells it, and pays nothing."""
    run = dagster.launch(OTHER, tags={**RETRIED, DIES: "yes"})
    assert dagster.ended(run) == "FAILURE"
    assert not dagster.materialized(run)
    retry = dagster.retry(run)
    assert dagster.ended(retry) == "SUCCESS"
    assert dagster.materialized(retry) == [OTHER]
    assert bills(dune)["other"] == 1


def test_a_person_who_terminates_a_run_cancels_at_dune_and_pays_again_by_reexecuting(
    dagster: Engine, dune: DuneSandbox
) -> None:
    """Terminating cancels what runs; re-executing starts that anew, and nothing that was fresh already."""
    dune.rehearse(DAILY, ENDLESS)
    run = dagster.launch(BASE, DAILY)
    running(dune, DAILY)
    dagster.terminate(run)
    assert dagster.ended(run) == "CANCELED"
    assert charges(dune, DAILY)[0].state == "QUERY_STATE_CANCELED"
    assert dagster.ended(dagster.reexecute(run)) == "SUCCESS"
    assert bills(dune) == {"base": 1, "daily": 2, "other": 0}


def test_an_interruption_that_nobody_asked_for_leaves_executions_running(dagster: Engine, dune: DuneSandbox) -> None:
    """SIGTERM, as when a machine is drained, cancels nothing at Dune; re-executing the run follows what runs."""
    dune.rehearse(BASE, ENDLESS)
    run = dagster.launch(BASE)
    execution = running(dune, BASE)
    os.kill(dagster.processes(run)[0], signal.SIGTERM)
    assert dagster.ended(run) in ("CANCELED", "FAILURE")
    assert charges(dune, BASE)[0].state == "QUERY_STATE_EXECUTING"
    seen = len(dune.requests)
    again = dagster.reexecute(run)
    polls_again(dune, execution, seen)
    dune.finish(execution)
    assert dagster.ended(again) == "SUCCESS"
    assert bills(dune)["base"] == 1


def test_what_dune_fails_is_paid_again_only_where_a_person_asks(dagster: Engine, dune: DuneSandbox) -> None:
    """Dagster's own retry reports the failure and starts nothing; a person who re-executes has it refreshed again."""
    dune.rehearse(BASE, Scenario(end="failed"))
    run = dagster.launch(BASE, OTHER, tags=RETRIED)
    assert dagster.ended(run) == "FAILURE"
    retry = dagster.retry(run)
    assert dagster.ended(retry) == "FAILURE"
    assert bills(dune) == {"base": 1, "daily": 0, "other": 1}
    assert dagster.ended(dagster.reexecute(retry, "FROM_ASSET_FAILURE")) == "SUCCESS"
    assert bills(dune) == {"base": 2, "daily": 0, "other": 1}
