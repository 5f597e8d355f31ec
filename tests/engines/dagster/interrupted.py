"""A run in a process of its own, which waits in Dagster's code for an interruption: ours is then told nothing of it."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.execution.plan import execute_step
from dagster._utils.interrupts import check_captured_interrupt

from dune_matviews.dagster import DuneResource, dune_assets
from tests.engines.dagster.definitions import BASE, DAILY


@dune_assets(views={DAILY: [BASE], BASE: []})
def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
    """Refresh the views; Dagster takes until an interruption to store the first result."""
    stored: Any = vars(execute_step)["_type_check_and_store_output"]

    def store(*args: Any) -> Iterator[dg.DagsterEvent]:
        yield from stored(*args)
        while not check_captured_interrupt():
            time.sleep(0.05)

    vars(execute_step)["_type_check_and_store_output"] = store
    yield from dune.refresh_all(context)


def refresh() -> dg.JobDefinition:
    """The job, for each process that takes part."""
    job = dg.define_asset_job("refresh", [dune_views])
    resources = {"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))}
    return dg.Definitions(assets=[dune_views], jobs=[job], resources=resources).resolve_job_def("refresh")


if __name__ == "__main__":
    config: dict[str, Any] = {"execution": {"config": {sys.argv[1]: {}}}}
    with dg.DagsterInstance.get() as found, dg.execute_job(dg.reconstructable(refresh), found, run_config=config):
        pass
