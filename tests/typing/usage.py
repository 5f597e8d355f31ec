"""Typed usage of all that users see. Never run: `make check-wheel` has it type-checked against the installed wheel."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, assert_type

import httpx

from dune_api import AuthenticatedClient
from dune_api.api.executions import get_execution_status, get_execution_status_request
from dune_api.api.materialized_views import list_materialized_views_request
from dune_api.models import ExecutionStatusResponse
from dune_matviews import (
    KEEP,
    Account,
    APIError,
    AsyncMatviewsClient,
    AsyncRefresh,
    DuneError,
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
    Freshness,
    Matview,
    MatviewsClient,
    Outcome,
    RateLimit,
    RateLimitError,
    Refresh,
    RefreshError,
    RefreshReport,
    RequestBudget,
    Retry,
    Schedule,
    Usage,
    ViewResult,
)
from dune_matviews.sandbox import DuneSandbox

VIEW = "dune.my_team.result_daily_volume"
READS = {VIEW: ["dune.my_team.result_base"], "dune.my_team.result_base": []}


def told(status: ExecutionStatus) -> None:
    """What a status tells."""
    assert_type(status.state, ExecutionState)
    assert_type(status.ended_at, datetime | None)
    assert_type(status.cost_credits, float | None)
    assert_type(status.error, ErrorDetail | None)
    assert_type(status.succeeded, bool)
    assert_type(status.request_id, str | None)
    assert_type(status.raw, dict[str, Any])


def stepped(name: str, result: ViewResult) -> None:
    """What a step of a run tells."""
    assert_type(result.outcome, Outcome)
    assert_type(result.status, ExecutionStatus | None)


def retried(retry: Retry) -> None:
    """What a retry tells."""
    assert_type(retry.error, DuneError)
    assert_type(retry.seconds, float)
    assert_type(retry.view, str | None)


def made() -> None:
    """Ways to make a client."""
    MatviewsClient(
        "key", base_url="https://dune.test", timeout=30, performance="large", small_tier="forbid", plan="plus"
    )
    MatviewsClient(timeout=timedelta(minutes=1), plan=RequestBudget(low=15, high=40), http_client=httpx.Client())
    AsyncMatviewsClient(plan=None, on_retry=retried, http_client=httpx.AsyncClient())
    MatviewsClient(performance="huge")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    MatviewsClient(http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refreshed() -> None:
    """One view, and many."""
    with MatviewsClient() as dune:
        assert_type(dune, MatviewsClient)
        refresh = dune.refresh(VIEW, performance="small", if_running="adopt")
        assert_type(refresh, Refresh)
        assert_type(refresh.execution_id, str)
        assert_type(refresh.name, str | None)
        assert_type(refresh.wait(timeout=timedelta(hours=1), max_credits=50, on_update=told), ExecutionStatus)
        assert_type(refresh.status(), ExecutionStatus)
        assert_type(refresh.cancel(), bool)
        assert_type(dune.attach("01HZ"), Refresh)
        report = dune.refresh_all(READS, max_age=timedelta(hours=6), max_credits=200, journal="j", on_update=stepped)
        assert_type(report, RefreshReport)
        assert_type(report.results, Mapping[str, ViewResult])
        assert_type(report.cost_credits, float)
        assert_type(report.ok, bool)
        report.raise_for_failures()
        dune.refresh_all([VIEW], performance={VIEW: "medium"})
        dune.refresh(VIEW, if_running="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def lived() -> None:
    """The life of a view."""
    with MatviewsClient() as dune:
        view = dune.get(VIEW)
        assert_type(view, Matview)
        assert_type(view.schedule, Schedule | None)
        assert_type(view.last_execution_ids, tuple[str, ...])
        assert_type(dune.list(), Iterator[Matview])
        expires_at = datetime(2027, 1, 1, tzinfo=UTC)
        assert_type(dune.upsert("result_new", 7, cron_expression="0 6 * * *", expires_at=expires_at), Refresh)
        assert_type(dune.update(VIEW, cron_expression=None, is_private=KEEP), Refresh)
        assert_type(dune.lineage(VIEW), Mapping[str, tuple[str, ...]])
        assert_type(dune.freshness(VIEW), Freshness)
        assert_type(dune.freshness(VIEW).age, timedelta | None)
        assert_type(dune.usage(), Usage)
        assert_type(dune.usage().period_start, date | None)
        assert_type(dune.whoami(), Account)
        assert_type(dune.whoami().is_team, bool | None)
        dune.delete(VIEW)
        dune.refresh_all(dune.lineage(VIEW))


async def awaited() -> None:
    """The same, with await."""
    async with AsyncMatviewsClient() as dune:
        assert_type(dune, AsyncMatviewsClient)
        refresh = await dune.refresh(VIEW)
        assert_type(refresh, AsyncRefresh)
        assert_type(await refresh.wait(timeout=60), ExecutionStatus)
        assert_type(await refresh.cancel(), bool)
        assert_type(dune.attach("01HZ"), AsyncRefresh)
        assert_type(await dune.refresh_all(READS, on_update=stepped), RefreshReport)
        assert_type(dune.list(), AsyncIterator[Matview])
        async for view in dune.list():
            assert_type(view, Matview)
        assert_type(await dune.get(VIEW), Matview)
        assert_type(await dune.update(VIEW, performance="large"), AsyncRefresh)
        assert_type(await dune.lineage(VIEW), Mapping[str, tuple[str, ...]])
        assert_type(await dune.usage(), Usage)
        assert_type(await dune.whoami(), Account)


def failed() -> None:
    """What the exceptions carry."""
    try:
        refreshed()
    except RateLimitError as error:
        assert_type(error.limits, tuple[RateLimit, ...])
        assert_type(error.retry_after, float | None)
    except APIError as error:
        assert_type(error.status_code, int)
        assert_type(error.message, str)
    except RefreshError as error:
        assert_type(error.execution_id, str)
        assert_type(error.status, ExecutionStatus | None)
    except DuneError as error:
        assert_type(error, DuneError)


def rehearsed(dune_sandbox: DuneSandbox) -> None:
    """The sandbox, and the generated client below all this."""
    assert_type(dune_sandbox.url, str)
    client = AuthenticatedClient(base_url=f"{dune_sandbox.url}/api", token=dune_sandbox.api_key)
    status = get_execution_status.sync("01HZ", client=client)
    if isinstance(status, ExecutionStatusResponse):
        status.to_dict()
    assert_type(get_execution_status_request("01HZ"), dict[str, Any])
    get_execution_status_request(execution="01HZ")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    list_materialized_views_request(limit="ten")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
