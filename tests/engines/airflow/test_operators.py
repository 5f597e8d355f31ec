"""What the operators do in an Airflow in this process: its own runner, API and database, with the trigger in line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dune_matviews.sandbox import DuneSandbox, Fault, Scenario
from tests.engines.airflow.conftest import DAGS, HERE, connection_to

Run = Callable[..., Any]
ROOT = HERE.parents[2]


@pytest.fixture(scope="module")
def bag() -> Any:
    """The DAGs, and a database for their runs."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    found = DagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
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


def test_the_view_may_be_a_template(run: Run, sandbox: DuneSandbox) -> None:
    """The view comes from the run's configuration."""
    assert states(run("deferred", view="dune.t.from_conf")) == {"refresh": "success"}
    assert billed(sandbox) == ["dune.t.from_conf"]


def test_a_task_may_wait_in_its_worker(run: Run, sandbox: DuneSandbox) -> None:
    """With deferrable=False, the task's own process polls until the end."""
    assert states(run("waiting", view="dune.t.waiting")) == {"refresh": "success"}
    assert billed(sandbox) == ["dune.t.waiting"]


@pytest.mark.parametrize("dag", ["deferred", "waiting"])
def test_a_view_that_dune_fails_fails_the_task(dag: str, run: Run, sandbox: DuneSandbox) -> None:
    """No retry is left to it: it would have to be paid for, too."""
    sandbox.rehearse("dune.t.failing", Scenario(end="failed"))
    assert states(run(dag, view="dune.t.failing")) == {"refresh": "failed"}
    assert billed(sandbox) == ["dune.t.failing"]


@pytest.mark.parametrize("dag", ["deferred_capped", "waiting_capped"])
def test_a_refresh_over_its_cap_is_cancelled_and_fails_the_task(dag: str, run: Run, sandbox: DuneSandbox) -> None:
    """Whoever waits, the triggerer or the worker, keeps to max_credits."""
    sandbox.rehearse("dune.t.dear", Scenario(pending=0, running=10_000, credits=10_000))
    assert states(run(dag, view="dune.t.dear")) == {"refresh": "failed"}
    assert [(charge.name, charge.state) for charge in sandbox.ledger] == [("dune.t.dear", "QUERY_STATE_CANCELED")]


def test_a_refresh_that_dune_refuses_costs_nothing(run: Run, sandbox: DuneSandbox) -> None:
    """A view of another account fails the task at once."""
    sandbox.add_view("dune.theirs.daily", owned=False)
    assert states(run("deferred", view="dune.theirs.daily")) == {"refresh": "failed"}
    assert billed(sandbox) == []


def test_a_lost_response_is_billed_once(run: Run, sandbox: DuneSandbox) -> None:
    """The execution is found in the view's history."""
    sandbox.fail("refresh", Fault(lost=True, accepted=True))
    assert states(run("deferred", view="dune.t.lost")) == {"refresh": "success"}
    assert billed(sandbox) == ["dune.t.lost"]


def test_many_views_are_refreshed_in_order(run: Run, sandbox: DuneSandbox) -> None:
    """One task, one refresh of each view, what is read before what reads it; the report is the task's XCom."""
    done = run("many")
    assert states(done) == {"refresh": "success"}
    assert sorted(billed(sandbox)) == ["dune.t.many_base", "dune.t.many_daily", "dune.t.many_users"]
    assert billed(sandbox).index("dune.t.many_base") < billed(sandbox).index("dune.t.many_daily")
    assert done.get_task_instance("refresh").xcom_pull(task_ids="refresh")["cost_credits"] == 3.0


def test_a_plan_file_is_run_as_one_task(run: Run, sandbox: DuneSandbox) -> None:
    """Its views, their order and their tiers are the file's."""
    assert states(run("plan")) == {"refresh": "success"}
    assert [(charge.name, charge.performance) for charge in sandbox.ledger] == [
        ("dune.t.base", "large"),
        ("dune.t.daily", None),
    ]


def test_a_plan_file_is_a_group_of_tasks(run: Run, sandbox: DuneSandbox) -> None:
    """A task for each view, downstream of those that it reads."""
    assert states(run("group")) == {"matviews.dune.t.base": "success", "matviews.dune.t.daily": "success"}
    assert [(charge.name, charge.performance) for charge in sandbox.ledger] == [
        ("dune.t.base", "large"),
        ("dune.t.daily", None),
    ]


def test_a_dag_is_parsed_without_dune(sandbox: DuneSandbox) -> None:
    """Nothing is asked while DAGs are parsed, and each view that is no template is an asset that its task updates."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert sandbox.requests == ()
    outlets = {
        name: sorted(asset.name for task in dag.tasks for asset in task.outlets) for name, dag in bag.dags.items()
    }
    assert outlets["group"] == outlets["plan"] == ["dune.t.base", "dune.t.daily"]
    assert outlets["one"] == ["dune.t.one"]
    assert outlets["deferred"] == []


def test_a_group_refuses_what_only_a_whole_run_can_keep(tmp_path: Path) -> None:
    """A cap on the credits of all views is not silently the cap of none."""
    from dune_matviews.airflow import matview_task_group

    plan = tmp_path / "plan.toml"
    plan.write_text('max_credits = 5\nmax_parallel = 2\n[views."dune.t.a"]')
    with pytest.raises(ValueError, match=r"max_credits, max_parallel would hold for the run as a whole"):
        matview_task_group(plan)


def test_a_mapped_task_has_a_journal_for_each_view(run: Run, sandbox: DuneSandbox) -> None:
    """Each view of an expanded task is refreshed once."""
    assert states(run("mapped")) == {"refresh[0]": "success", "refresh[1]": "success"}
    assert sorted(billed(sandbox)) == ["dune.t.first", "dune.t.second"]


def test_an_assets_event_tells_what_the_refresh_cost(run: Run, sandbox: DuneSandbox) -> None:
    """Whoever is scheduled on the view reads the execution's id, cost and rows from the event."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    done = run("one")
    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_run_id=done.run_id).all()
        (extra,) = [dict(event.extra) for event in events]
    assert (extra["execution_id"], extra["cost_credits"]) == (sandbox.ledger[0].execution_id, 1.0)


def test_the_link_leads_to_the_query(run: Run, sandbox: DuneSandbox) -> None:
    """The task has a link to the page of the query behind the view."""
    done = run("one")
    link = done.get_task_instance("refresh").xcom_pull(task_ids="refresh", key="_link_DuneQueryLink")
    assert link.startswith("https://dune.com/queries/")
    assert link.removeprefix("https://dune.com/queries/").isdigit()


def test_airflow_knows_the_connection_type(sandbox: DuneSandbox) -> None:
    """The form has an API key, a base URL and a plan, and the hook tells whose the key is."""
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    from dune_matviews.airflow import DuneHook

    found = ProvidersManagerTaskRuntime().hooks["dune"]  # type: ignore[no-untyped-call]  # of Airflow's
    assert found is not None
    assert (found.hook_name, found.hook_class_name) == ("Dune", "dune_matviews.airflow.hook.DuneHook")
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # of Airflow's
    assert manager.field_behaviours["dune"]["relabeling"] == {"password": "API key", "host": "Base URL"}
    assert "extra__dune__plan" in manager.connection_form_widgets
    assert "dune_matviews.airflow.operators.DuneQueryLink" in manager.extra_links_class_names
    assert DuneHook().test_connection()[0] is True


def test_a_wrong_key_fails_the_test_of_the_connection(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Dune says about the key is what the form shows."""
    from dune_matviews.airflow import DuneHook

    monkeypatch.setenv("AIRFLOW_CONN_DUNE_DEFAULT", connection_to(sandbox).replace(sandbox.api_key, "wrong"))
    accepted, message = DuneHook().test_connection()
    assert not accepted
    assert "401" in message


def test_the_example_runs_as_it_stands(run: Run, sandbox: DuneSandbox) -> None:
    """One view, all views of the plan file beside it, and what runs after a refresh, in examples/airflow_dag.py."""
    assert states(run("dune_hourly")) == states(run("dune_nightly")) == {"refresh": "success"}
    names = [name.removeprefix("dune.my_team.result_") for name in billed(sandbox)]
    assert names[0] == "daily_volume"
    assert sorted(names[1:]) == ["base", "daily", "daily_users", "daily_volume", "prices", "weekly"]


def test_the_dag_of_the_manual_is_one(tmp_path: Path) -> None:
    """The snippet is a DAG with the view as its task's outlet."""
    from airflow.dag_processing.dagbag import DagBag

    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "airflow.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "manual.py").write_text(snippet)
    bag = DagBag(dag_folder=tmp_path, bundle_path=tmp_path, bundle_name="manual")
    assert bag.import_errors == {}
    (task,) = bag.dags["dune_hourly"].tasks
    assert [asset.name for asset in task.outlets] == ["dune.my_team.result_daily_volume"]
