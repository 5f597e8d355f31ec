"""The DAGs of the tests. Views that a run names come from its configuration, so that each test has its own."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator

from dune_matviews.airflow import RefreshMatviewOperator, RefreshMatviewsOperator, matview_task_group
from dune_matviews.airflow.journal import TaskJournal

VIEW = "{{ dag_run.conf['view'] }}"
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}


class LingeringOperator(RefreshMatviewOperator):
    """Its first try does not get from the end of the refresh to its own: there it can be killed."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        told = super().execute_complete(context, event)
        if context["ti"].try_number == 1:
            Path(os.environ["AIRFLOW_HOME"], f"{context['run_id']}.lingers").touch()
            time.sleep(600)
        return told


class FencedOperator(BaseOperator):
    """Its first try appends lines until Airflow refuses one; its second tells what it reads."""

    def execute(self, context: Any) -> None:
        journal, place = TaskJournal(context["task_state_store"], 1), Path(os.environ["AIRFLOW_HOME"])
        told: dict[str, Any] = {"read": journal.read(), "appended": []}
        try:
            for number in range(10_000 if context["ti"].try_number == 1 else 1):
                line = f"try {context['ti'].try_number}, line {number}"
                journal.append(line)
                told["appended"].append(line)
        except Exception as refusal:
            told["refusal"] = str(refusal)
        unfinished = place / f"{context['run_id']}.unfinished"
        unfinished.write_text(json.dumps(told))
        unfinished.rename(place / f"{context['run_id']}.try{context['ti'].try_number}")


for deferrable in (True, False):
    how = "deferred" if deferrable else "waiting"
    with DAG(how, schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, **RETRIES)
    with DAG(f"{how}_retry_failed", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, retry_failed=True, **RETRIES)
    with DAG(f"{how}_for_seconds", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, timeout=3, **RETRIES)
    with DAG(f"{how}_capped", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, max_credits=1)
    with DAG(f"{how}_left_running", schedule=None):
        RefreshMatviewOperator(task_id="refresh", view=VIEW, deferrable=deferrable, cancel_on_kill=False, **RETRIES)

with DAG("lingering", schedule=None):
    LingeringOperator(task_id="refresh", view=VIEW, **RETRIES)

with DAG("fenced", schedule=None):
    FencedOperator(task_id="refresh")

with DAG("waiting_too_long", schedule=None):
    RefreshMatviewOperator(
        task_id="refresh", view=VIEW, deferrable=False, execution_timeout=timedelta(seconds=8), **RETRIES
    )

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
