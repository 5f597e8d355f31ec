"""DAGs for Airflow 3.3 or newer, with `pip install 'dune-matviews[airflow]'` and a connection `dune_default`.

The first refreshes one view every hour, and waits in the triggerer. The second refreshes the views of `plan.toml`,
beside this file, once a day. The third runs after each refresh of the first, and prints its cost.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, task

from dune_matviews.airflow import RefreshMatviewOperator, RefreshMatviewsOperator

VIEW = "dune.my_team.result_daily_volume"
RETRIES = {"retries": 3, "retry_delay": timedelta(minutes=1)}  # a retry follows the execution, and costs nothing

with DAG("dune_hourly", schedule="@hourly", default_args=RETRIES):
    RefreshMatviewOperator(task_id="refresh", view=VIEW, max_credits=20, timeout=timedelta(hours=2))

with DAG("dune_nightly", schedule="0 6 * * *", default_args=RETRIES):
    RefreshMatviewsOperator(task_id="refresh", plan=Path(__file__).with_name("plan.toml"), options={"max_credits": 50})

with DAG("dune_told", schedule=[Asset(VIEW)]):

    @task
    def tell(triggering_asset_events=None):
        """Print the execution, its cost and its rows."""
        for event in triggering_asset_events[Asset(VIEW)]:
            print(event.extra["execution_id"], event.extra["cost_credits"], event.extra["row_count"])

    tell()
