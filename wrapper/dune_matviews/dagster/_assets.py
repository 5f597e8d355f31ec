"""Views as assets: their keys, dependencies and metadata, told before anything runs.

This module must not know clients, runs or requests: Dagster loads it whenever it loads the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from os import PathLike
from typing import Any, NamedTuple

import dagster as dg

from dune_matviews.plan import read_plan

_VIEW = "dune/view"
_OPTIONS = "dune/options"


def dune_assets(
    *,
    views: str | PathLike[str] | Mapping[str, Iterable[str]],
    name: str = "dune_views",
    group_name: str | None = None,
    **step: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make one asset of each view, all of them materialized by the decorated function, as one step.

    The key of an asset is its view's name, split at the dots. Its dependencies are the views that it reads. Any of them
    can be selected; those that are not are left as they are.

    Args:
        views: a plan file, or a mapping of names to the names that each reads: `MatviewsClient.lineage` returns one.
            Nothing is asked of Dune here. The tiers and limits of a plan file become the defaults of
            `DuneResource.refresh_all`; its `journal` is not used, because Dagster's event log is the journal.
        name: the step's name.
        group_name: the group of all the assets. For more, see `dagster.map_asset_specs`.
        step: passed on to `dagster.multi_asset`, for example `retry_policy` or `pool`.

    Raises:
        InvalidArgumentError: the plan file cannot be read, or has mistakes.
    """
    specs = [
        dg.AssetSpec(
            key=_key(view),
            deps=[_key(each) for each in reads],
            group_name=group_name,
            kinds={"dune"},
            metadata={_VIEW: view, _OPTIONS: options},
        )
        for view, (reads, options) in _planned(views).items()
    ]
    return dg.multi_asset(name=name, specs=specs, can_subset=True, **step)


class Selection(NamedTuple):
    """The views of the assets that are selected: the key of each, what it reads of the others, and the options."""

    keys: dict[str, dg.AssetKey]
    reads: dict[str, list[str]]
    options: dict[str, Any]


def selection(context: dg.AssetExecutionContext) -> Selection:
    """What a step has to refresh."""
    specs = [spec for spec in context.assets_def.specs if spec.key in context.selected_asset_keys]
    views = {spec.key: spec.metadata[_VIEW] for spec in specs}
    reads = {views[spec.key]: [views[dep.asset_key] for dep in spec.deps if dep.asset_key in views] for spec in specs}
    own = {views[spec.key]: dict(spec.metadata[_OPTIONS]) for spec in specs}
    tiers = {view: options.pop("performance") for view, options in own.items() if "performance" in options}
    shared = next(iter(own.values()))
    return Selection({view: key for key, view in views.items()}, reads, {**shared, "performance": tiers or None})


def _key(view: str) -> dg.AssetKey:
    return dg.AssetKey(view.split("."))


def _planned(
    views: str | PathLike[str] | Mapping[str, Iterable[str]],
) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Each view with what it reads and its options, in a form that Dagster can show."""
    shared: dict[str, Any] = {}
    tiers: Mapping[str, str] = {}
    if isinstance(views, Mapping):
        reads = {view: tuple(each) for view, each in views.items()}
        reads |= {each: () for upstream in tuple(reads.values()) for each in upstream if each not in reads}
    else:
        plan = read_plan(views)
        reads = dict(plan.views)
        shared = {key: _plain(value) for key, value in plan.options.items() if key not in ("journal", "performance")}
        tiers = plan.options.get("performance", {})
        if plan.dune_plan is not None:
            shared["dune_plan"] = plan.dune_plan
    own = {view: {"performance": tiers[view]} if view in tiers else {} for view in reads}
    return {view: (each, {**shared, **own[view]}) for view, each in reads.items()}


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value
