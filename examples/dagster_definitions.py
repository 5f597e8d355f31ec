"""The views of `plan.toml` as assets of Dagster, refreshed every night. A run pays once, even after crashes.

To try it at no cost, run `dune-matviews sandbox --example`, and in another shell, after the two lines that it prints:

    dagster dev -f examples/dagster_definitions.py
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from dune_matviews.dagster import DuneResource, dune_assets


@dune_assets(views=Path(__file__).with_name("plan.toml"), group_name="dune")
def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
    """Refresh the selected views, in order, by the limits of the plan."""
    yield from dune.refresh_all(context)


nightly = dg.ScheduleDefinition(
    job=dg.define_asset_job("nightly", [dune_views], tags={"dagster/max_retries": "2"}),
    cron_schedule="0 6 * * *",
)

defs = dg.Definitions(
    assets=[dune_views],
    schedules=[nightly],
    resources={"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))},
)
