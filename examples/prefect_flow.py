"""A flow that refreshes the views of `plan.toml`, in order. Each run pays once, even after crashes and retries.

To try it at no cost, run `dune-matviews sandbox --example`, and in another shell, after the two lines that it prints:

    python examples/prefect_flow.py
"""

from pathlib import Path

from prefect import flow

from dune_matviews.plan import read_plan
from dune_matviews.prefect import cancel_refreshes, refresh_matviews

PLAN = read_plan(Path(__file__).with_name("plan.toml"))


@flow(on_cancellation=[cancel_refreshes])
def nightly(credentials: str | None = None) -> None:
    """Refresh all views of the plan; *credentials* names a block, None is the key of the environment."""
    refresh_matviews(PLAN.views, credentials=credentials, **PLAN.options)


if __name__ == "__main__":
    nightly()
