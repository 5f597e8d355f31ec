"""Definitions as a user writes them, for the engine to load: a chain of two views, and one that stands alone."""

import os
import signal
from collections.abc import Iterator

import dagster as dg

from dune_matviews.dagster import DuneResource, dune_assets

BASE, DAILY, OTHER = (f"dune.my_team.result_{name}" for name in ("base", "daily", "other"))

DIES = "test/dies"
"""A tag of a run that dies before Dagster gets its first result. Who re-executes the run does so with its tags."""


@dune_assets(views={DAILY: [BASE], BASE: [], OTHER: []})
def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
    """Refresh the views."""
    for result in dune.refresh_all(context):
        if DIES in context.run.tags and context.run.parent_run_id is None:
            os.kill(os.getpid(), signal.SIGKILL)
        yield result


defs = dg.Definitions(
    assets=[dune_views],
    jobs=[dg.define_asset_job("refresh", [dune_views])],
    resources={"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))},
)


def refresh() -> dg.JobDefinition:
    """The job, for a process that runs it by itself."""
    return defs.resolve_job_def("refresh")
