"""Materialized views of Dune as assets of Dagster: one refresh is paid for each run, whatever crashes.

    import dagster as dg
    from dune_matviews.dagster import DuneResource, dune_assets

    @dune_assets(views="plan.toml")
    def dune_views(context: dg.AssetExecutionContext, dune: DuneResource):
        yield from dune.refresh_all(context)

    defs = dg.Definitions(assets=[dune_views], resources={"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))})

This module knows the names that users import. It must not be imported by the SDK: Dagster is there by the extra only.
"""

try:
    import dagster  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "dagster":
        raise
    raise ImportError("dune_matviews.dagster needs Dagster: pip install 'dune-matviews[dagster]'") from None

from ._assets import dune_assets
from ._resource import DuneResource, RefreshOptions

__all__ = ["DuneResource", "RefreshOptions", "dune_assets"]
