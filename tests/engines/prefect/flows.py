"""Flows that a runner serves, as a person would: `python flows.py`. Each of their runs is a process to be killed."""

import time
from pathlib import Path

from prefect import flow, serve

from dune_matviews.prefect import cancel_refreshes, refresh_matview, refresh_matviews


@flow(on_cancellation=[cancel_refreshes])
def nightly(view: str, gate: str | None = None) -> None:
    """Refresh a view, and then do something else until a file is there."""
    refresh_matview(view)
    while gate is not None and not Path(gate).exists():
        time.sleep(0.1)


@flow(on_cancellation=[cancel_refreshes])
def in_threads(views: list[str]) -> None:
    """Refresh views side by side."""
    refresh_matview.map(views).wait()


@flow
def without_hook(views: dict[str, list[str]]) -> None:
    """Refresh views in order, without a hook."""
    refresh_matviews(views)


if __name__ == "__main__":
    serve(*[each.to_deployment("served") for each in (nightly, in_threads, without_hook)])  # type: ignore[arg-type]
