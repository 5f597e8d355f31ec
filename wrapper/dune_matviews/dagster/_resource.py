"""The resource that asset functions get: it refreshes views, and tells Dagster of each as soon as it is fresh.

This module must not know how a run is carried out, nor where its journal is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, TypedDict, Unpack

import dagster as dg

from dune_matviews import (
    IfLost,
    IfRunning,
    MatviewsClient,
    Outcome,
    Performance,
    RefreshesFailedError,
    RefreshReport,
)

from ._assets import selection
from ._journal import is_asked_to_retry
from ._worker import Fresh, Worker


class RefreshOptions(TypedDict, total=False):
    """Keyword arguments of `MatviewsClient.refresh_all`, for `DuneResource.refresh_all`."""

    performance: Performance | Mapping[str, Performance] | None
    max_parallel: int
    max_credits: float | None
    max_forecast: float | None
    max_age: float | timedelta | None
    timeout: float | timedelta | None
    retry_failed: bool
    if_running: IfRunning
    if_lost: IfLost


class DuneResource(dg.ConfigurableResource):
    """Dune, as asset functions use it.

    Attributes:
        api_key: Dune's API key: `dg.EnvVar("DUNE_API_KEY")`, so that Dagster shows it nowhere.
        base_url: where the API is; None takes `DUNE_API_BASE_URL`, else `https://api.dune.com`.
        plan: the account's plan, for its request limits: "free", "analyst", "plus" or "enterprise"; None takes the plan
            file's `dune_plan`, else `DUNE_PLAN`, else "free".
        timeout: seconds that one request may take; None takes `DUNE_API_REQUEST_TIMEOUT`, else 10.
    """

    api_key: str
    base_url: str | None = None
    plan: str | None = None
    timeout: float | None = None

    def __repr__(self) -> str:
        return f"DuneResource(base_url={self.base_url!r}, plan={self.plan!r}, timeout={self.timeout!r})"

    def __str__(self) -> str:
        return repr(self)

    def client(self) -> MatviewsClient:
        """A client, for anything else; it is ystale to close."""
        return MatviewsClient(**self._arguments(None))

    def refresh_all(
        self, context: dg.AssetExecutionContext, **options: Unpack[RefreshOptions]
    ) -> Iterator[dg.MaterializeResult]:
        """Refresh the selected views of `@dune_assets`, and yield each as soon as it is fresh.

        Dagster's event log is the journal: a run that is re-executed, or that Dagster retries, follows what was started
        before, and pays for nothing again. A person who re-executes a run has what failed, or was cancelled, refreshed
        once more; a retry of Dagster's does not, nor that of a step. When a person terminates the run, its executions
        are cancelled at Dune; when the process crashes, they go on.

        Args:
            context: the step's.
            options: as for `MatviewsClient.refresh_all`. They take the place of the plan file's.

        Raises:
            dagster.Failure: not all views are fresh. It has Dune's reasons. The others are materialized.
            DuneError: as for `MatviewsClient.refresh_all`.
        """
        views = selection(context)
        given = {"retry_failed": is_asked_to_retry(context), **views.options, **options}
        client = self._arguments(given.pop("dune_plan", None))
        worker = Worker(context, client, views.reads, given)
        try:
            for fresh in worker.fresh():
                yield _materialized(views.keys[fresh.view], fresh)
        except BaseException:
            worker.stop()
            raise
        _check(worker.report(), can_retry=given["retry_failed"])

    def _arguments(self, dune_plan: str | None) -> dict[str, Any]:
        """The arguments of a client."""
        plan = self.plan or dune_plan or "auto"
        return {"api_key": self.api_key, "base_url": self.base_url, "plan": plan, "timeout": self.timeout}


def _materialized(key: dg.AssetKey, fresh: Fresh) -> dg.MaterializeResult:
    result, status = fresh.result, fresh.status
    query_id = status.query_id if status else None
    metadata = {
        "dune/execution_id": result.execution_id,
        "dune/outcome": result.outcome.value,
        "dune/cost_credits": result.cost_credits,
        "dagster/row_count": status.row_count if status else None,
        "dune/size_bytes": status.size_bytes if status else None,
        "dune/query": query_id and dg.MetadataValue.url(f"https://dune.com/queries/{query_id}"),
        "dune/started_at": result.started_at and dg.MetadataValue.timestamp(result.started_at),
        "dune/ended_at": result.ended_at and dg.MetadataValue.timestamp(result.ended_at),
    }
    return dg.MaterializeResult(
        asset_key=key,
        metadata={name: value for name, value in metadata.items() if value is not None},
        data_version=dg.DataVersion(result.execution_id) if result.execution_id else None,
    )


def _check(report: RefreshReport, can_retry: bool) -> None:
    """Fail the step where a view is not fresh. Where Dune has the last word, another try would only say it again."""
    try:
        report.raise_for_failures()
    except RefreshesFailedError as failure:
        stale = [each for each in report.results.values() if not each.outcome.is_fresh]
        is_under_way = any(each.outcome in (Outcome.RUNNING, Outcome.AMBIGUOUS) for each in stale)
        hint = "\nRe-execute the run: it follows what is under way, and pays for nothing twice." if is_under_way else ""
        raise dg.Failure(
            f"{failure}{hint}",
            metadata={"dune/cost_credits": report.cost_credits},
            allow_retries=can_retry
            or is_under_way
            or any(each.outcome is not Outcome.SKIPPED and each.execution_id is None for each in stale),
        ) from None
