"""What the operators do in an Airflow in this process: its own runner, API and database, with the trigger in line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dune_matviews.sandbox import DuneSandbox

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def bag() -> Any:
    """The DAGs, and a database for their runs."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    from tests.engines.airflow.conftest import HERE

    initdb()
    found = DagBag(dag_folder=HERE / "dags", bundle_path=HERE / "dags", bundle_name="dags-folder")
    assert found.import_errors == {}
    return found


@pytest.fixture
def run(bag: Any, sandbox: DuneSandbox) -> Run:
    """Runs a DAG to its end: `run("one")`, `run("deferred", view=…)`; returns the run."""
    return lambda dag, **conf: bag.dags[dag].test(run_conf=conf)


def states(run: Any) -> dict[str, str]:
    """The states of a run's tasks."""
    return {
        f"{ti.task_id}" + f"[{ti.map_index}]" * (ti.map_index >= 0): str(ti.state) for ti in run.get_task_instances()
    }


def billed(sandbox: DuneSandbox) -> list[str]:
    """The views of the ledger, in order."""
    return [charge.name for charge in sandbox.ledger]


def test_a_view_is_refreshed_once_and_its_execution_is_the_tasks_result(run: Run, sandbox: DuneSandbox) -> None:
    """One refresh of the tier that was asked for; its id, cost and rows are the task's XCom."""
    done = run("one")
    assert states(done) == {"refresh": "success"}
    (charge,) = sandbox.ledger
    assert (charge.name, charge.performance) == ("dune.t.one", "large")
    told = done.get_task_instance("refresh").xcom_pull(task_ids="refresh")
    assert (told["execution_id"], told["cost_credits"], told["row_count"]) == (charge.execution_id, 1.0, 1000)
