"""The DAGs of the tests. Views that a run names come from its configuration, so that each test has its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from dune_matviews.airflow import RefreshMatviewOperator, RefreshMatviewsOperator, matview_task_group

VIEW = "{{ dag_run.conf['view'] }}"
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}

for deferrable in (True, False):
    how = "deferred" if deferrable else "waiting"
    with DAG(how, schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, **RETRIES)
    with DAG(f"{how}_retry_failed", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, retry_failed=True, **RETRIES)
    with DAG(f"{how}_left_running", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, cancel_on_kill=False, **RETRIES)

with DAG("one", schedule=None):
    RefreshMatviewOperator(task_id="refresh", view="dune.t.one", performance="large")

with DAG("many", schedule=None):
    RefreshMatviewsOperator(
        task_id="refresh",
        views={"dune.t.many_daily": ["dune.t.many_base"], "dune.t.many_base": [], "dune.t.many_users": []},
        **RETRIES,
    )

with DAG("plan", schedule=None):
    RefreshMatviewsOperator(task_id="refresh", plan=Path(__file__).with_name("plan.toml"), options={"max_credits": 50})

with DAG("group", schedule=None):
    matview_task_group(Path(__file__).with_name("plan.toml"))

with DAG("mapped", schedule=None):
    RefreshMatviewOperator.partial(task_id="refresh").expand(view=["dune.t.first", "dune.t.second"])
