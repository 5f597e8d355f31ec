"""The tasks: refreshes that a flow run pays for once, whatever dies and is retried.

This module must not know how journals are kept, nor how refreshes are cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger

from dune_matviews import ConfigurationError, IfLost, IfRunning, Performance, RefreshReport, ViewResult

from .cancellation import follow_cancellation
from .credentials import shared_client
from .journal import FlowRunJournal, Writer, ancestry


@task(task_run_name="refresh {view}", cache_policy=NO_CACHE)  # the journal knows what is done, and no cache may differ
def refresh_matview(
    view: str,
    *,
    credentials: str | None = None,
    run: str | None = None,
    performance: Performance | None = None,
    max_credits: float | None = None,
    max_forecast: float | None = None,
    max_age: float | timedelta | None = None,
    timeout: float | timedelta | None = None,
    if_running: IfRunning = "start",
    if_lost: IfLost = "raise",
    retry_failed: bool = False,
) -> ViewResult:
    """Refresh one view, and follow the refresh to its end.

    A flow run refreshes a view once: a retry of this task, or of the flow, follows the same execution, or returns the
    same result, failures included. Another flow run is another refresh.

    Args:
        view: its full name, such as `dune.my_team.result_daily`.
        credentials: the name of a `DuneCredentials` block; None takes `DUNE_API_KEY` and the other variables.
        run: a label that tells several refreshes of a view in one flow run apart.
        performance, max_credits, max_forecast, max_age, timeout, if_running, if_lost, retry_failed: as for
            `MatviewsClient.refresh_all`.

    Raises:
        RefreshesFailedError: the view is not fresh; it has the report as `report`.
        ConfigurationError: there is no flow run, or no key.
        DuneError: as from `MatviewsClient.refresh_all`.
    """
    options = {
        "performance": performance,
        "max_credits": max_credits,
        "max_forecast": max_forecast,
        "max_age": max_age,
        "timeout": timeout,
        "if_running": if_running,
        "if_lost": if_lost,
        "retry_failed": retry_failed,
    }
    return _refreshed([view], (run, view), credentials, options).results[view]


@task(cache_policy=NO_CACHE)
def refresh_matviews(
    views: Iterable[str] | Mapping[str, Iterable[str]],
    *,
    credentials: str | None = None,
    run: str | None = None,
    performance: Performance | Mapping[str, Performance] | None = None,
    max_parallel: int = 3,
    max_credits: float | None = None,
    max_forecast: float | None = None,
    max_age: float | timedelta | None = None,
    timeout: float | timedelta | None = None,
    if_running: IfRunning = "start",
    if_lost: IfLost = "raise",
    retry_failed: bool = False,
) -> RefreshReport:
    """Refresh each view once, only after the views that it reads are fresh, and follow all to their end.

    As `refresh_matview`, for many: what a flow run refreshes by this task is one run, in which each view is refreshed
    once, and whose costs count together, however often it is called. Another `run` label makes another one.

    Args:
        views: names, or a mapping of each name to the names that it reads; those are refreshed, too.
        credentials, run: as for `refresh_matview`.
        performance, max_parallel, max_credits, max_forecast, max_age, timeout, if_running, if_lost, retry_failed: as
            for `MatviewsClient.refresh_all`.

    Raises:
        RefreshesFailedError: some view is not fresh; it has the report as `report`.
        ConfigurationError: there is no flow run, or no key.
        DuneError: as from `MatviewsClient.refresh_all`.
    """
    options = {
        "performance": performance,
        "max_parallel": max_parallel,
        "max_credits": max_credits,
        "max_forecast": max_forecast,
        "max_age": max_age,
        "timeout": timeout,
        "if_running": if_running,
        "if_lost": if_lost,
        "retry_failed": retry_failed,
    }
    return _refreshed(views, (run,), credentials, options)


def _refreshed(
    views: Iterable[str] | Mapping[str, Iterable[str]],
    name: tuple[str | None, ...],
    credentials: str | None,
    options: Mapping[str, Any],
) -> RefreshReport:
    """The report of a run whose journal is that of this flow run by that name."""
    flow_run_id = _flow_run_id()
    with get_client(sync_client=True) as api, shared_client(credentials) as dune:
        # A retried flow starts its subflows as new flow runs: only the outermost flow run stays the same.
        root = ancestry(api, flow_run_id)[-1]
        journal = FlowRunJournal(api, root.id, repr(name), Writer(flow_run_id, credentials))
        try:
            report = dune.refresh_all(views, journal=journal, on_update=_Log(), **options)
        except BaseException as end:
            if not isinstance(end, Exception):
                follow_cancellation(api, flow_run_id)
            raise
    report.raise_for_failures()
    return report


def _flow_run_id() -> UUID:
    context = TaskRunContext.get()
    flow_run_id = None if context is None else context.task_run.flow_run_id
    if flow_run_id is None:
        raise ConfigurationError("A refresh keeps its journal in the flow run: call the task within a flow.")
    return flow_run_id


class _Log:
    """Logs each change of a view's outcome or execution."""

    def __init__(self) -> None:
        self._logger = get_run_logger()
        self._told: dict[str, tuple[str, str | None]] = {}

    def __call__(self, view: str, result: ViewResult) -> None:
        told = (result.outcome.value, result.execution_id)
        if self._told.get(view) != told:
            self._told[view] = told
            self._logger.info("%s: %s%s", view, told[0], f" (execution {told[1]})" if told[1] else "")
