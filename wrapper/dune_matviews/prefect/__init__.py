"""Refreshes in Prefect flows: a credentials block, tasks that pay once for each flow run, and a hook that cancels.

    from prefect import flow
    from dune_matviews.prefect import cancel_refreshes, refresh_matview

    @flow(on_cancellation=[cancel_refreshes])
    def nightly():
        refresh_matview("dune.my_team.result_daily", credentials="my-account")

This module knows which names users import; it must not be imported by the rest of the package, which needs no Prefect.
"""

try:
    import prefect  # noqa: F401
except ImportError as missing:
    raise ImportError("dune_matviews.prefect needs Prefect: pip install 'dune-matviews[prefect]'") from missing

from .cancellation import cancel_refreshes
from .credentials import DuneCredentials
from .tasks import refresh_matview, refresh_matviews

__all__ = ["DuneCredentials", "cancel_refreshes", "refresh_matview", "refresh_matviews"]
