"""The asynchronous client and its handles, for asyncio: every method runs one flow.

This module must not know the decisions of the flows. It imports httpx and the generated code only with the first
client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Self

from ._core import Client, Core, Handle, JournalLike, Parts
from ._http.rate_limits import Plan, RequestBudget
from ._http.settings import Settings
from ._tiers import Performance, SmallTier, Tiers
from ._validate import KEEP, IfLost, IfRunning, Keep, Seconds
from .models import Account, ExecutionStatus, Freshness, Matview, Retry, Usage

if TYPE_CHECKING:
    import httpx

    from .models import Forecast
    from .report import RefreshReport, ViewResult


class AsyncMatviewsClient(Client):
    """`MatviewsClient` for asyncio: the same arguments, methods and promises, with `await` and `async with`.

    >>> import asyncio
    >>> from dune_matviews import AsyncMatviewsClient
    >>> async def main():
    ...     async with AsyncMatviewsClient() as dune:  # the key is in DUNE_API_KEY
    ...         refresh = await dune.refresh("dune.my_team.result_daily")
    ...         return await refresh.wait(timeout=3600)
    >>> asyncio.run(main()).succeeded
    True

    The tasks of one event loop may share a client. *http_client* is an `httpx.AsyncClient`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Seconds | None = None,
        performance: Performance | None = None,
        small_tier: SmallTier = "warn",
        plan: Plan | RequestBudget | None = "auto",
        on_retry: Callable[[Retry], object] | None = None,
        history: str | PathLike[str] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        settings = Settings.gather(api_key, base_url, timeout, plan)
        tiers = Tiers(performance, small_tier)
        from ._http.async_transport import AsyncTransport

        self._transport = AsyncTransport(settings, http_client)
        self._core = Core.of(self._transport, settings, tiers, on_retry, history)

    async def refresh(
        self,
        name: str,
        *,
        performance: Performance | None = None,
        if_running: IfRunning = "start",
        timeout: Seconds | None = None,
        journal: JournalLike | None = None,
        run: str | None = None,
        retry_failed: bool = False,
        if_lost: IfLost = "raise",
    ) -> AsyncRefresh:
        """Start a refresh of a view; see `MatviewsClient.refresh`."""
        terms = self._core.terms(timeout, if_running, if_lost, retry_failed)
        flow = self._core.refresh(name, performance, terms, self._core.journal(journal, run))
        return AsyncRefresh(self._core, await self._core.run_async(flow))

    def attach(self, execution_id: str, name: str | None = None) -> AsyncRefresh:
        """Return the handle of an execution that was started earlier or elsewhere; see `MatviewsClient.attach`."""
        return AsyncRefresh(self._core, self._core.attach(execution_id, name))

    async def refresh_all(
        self,
        views: Iterable[str] | Mapping[str, Iterable[str]],
        *,
        performance: Performance | Mapping[str, Performance] | None = None,
        max_parallel: int = 3,
        max_credits: float | None = None,
        max_forecast: float | None = None,
        max_age: Seconds | None = None,
        timeout: Seconds | None = None,
        journal: JournalLike | None = None,
        run: str | None = None,
        retry_failed: bool = False,
        if_running: IfRunning = "start",
        if_lost: IfLost = "raise",
        on_update: Callable[[str, ViewResult], object] | None = None,
    ) -> RefreshReport:
        """Refresh each view once, after the views it reads; see `MatviewsClient.refresh_all`."""
        terms = self._core.terms(timeout, if_running, if_lost, retry_failed)
        limits = self._core.limits(max_parallel, max_credits, max_age, terms)
        run_journal = self._core.journal(journal, run)
        flow = self._core.refresh_all(views, performance, limits, max_forecast, run_journal, on_update)
        return await self._core.run_async(flow)

    async def forecast(
        self,
        views: Iterable[str] | Mapping[str, Iterable[str]],
        *,
        max_parallel: int = 3,
        max_age: Seconds | None = None,
    ) -> Forecast:
        """Forecast the time and cost of a run of `refresh_all`; see `MatviewsClient.forecast`."""
        return await self._core.run_async(self._core.forecast(views, max_parallel, max_age))

    async def history(self, name: str) -> tuple[ExecutionStatus, ...]:
        """Return past executions of a view, latest first; see `MatviewsClient.history`."""
        return await self._core.run_async(self._core.history(name))

    async def get(self, name: str) -> Matview:
        """Describe a view; see `MatviewsClient.get`."""
        return await self._core.run_async(self._core.get(name))

    async def list(self) -> AsyncIterator[Matview]:
        """Iterate over the account's views; see `MatviewsClient.list`."""
        offset: int | None = 0
        listed: set[str] = set()
        while offset is not None:
            page = await self._core.run_async(self._core.page(offset, listed))
            for view in page.views:
                yield view
            offset = page.next_offset

    async def upsert(
        self,
        name: str,
        query_id: int,
        *,
        is_private: bool = False,
        performance: Performance | None = None,
        cron_expression: str | None = None,
        expires_at: datetime | None = None,
    ) -> AsyncRefresh:
        """Create a view, or replace the one of that name; see `MatviewsClient.upsert`."""
        flow = self._core.upsert(name, performance, Parts(query_id, is_private, cron_expression, expires_at))
        return AsyncRefresh(self._core, await self._core.run_async(flow))

    async def update(
        self,
        name: str,
        *,
        query_id: int | Keep = KEEP,
        is_private: bool | Keep = KEEP,
        performance: Performance | Keep | None = KEEP,
        cron_expression: str | Keep | None = KEEP,
        expires_at: datetime | Keep | None = KEEP,
    ) -> AsyncRefresh:
        """Change parts of a view and keep the others; see `MatviewsClient.update`."""
        flow = self._core.update(name, performance, Parts(query_id, is_private, cron_expression, expires_at))
        return AsyncRefresh(self._core, await self._core.run_async(flow))

    async def delete(self, name: str) -> None:
        """Delete a view and its table; see `MatviewsClient.delete`."""
        await self._core.run_async(self._core.delete(name))

    async def lineage(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Return the view and everything it reads; see `MatviewsClient.lineage`."""
        return await self._core.run_async(self._core.lineage(name))

    async def freshness(self, name: str) -> Freshness:
        """Return the time of the view's last successful refresh; see `MatviewsClient.freshness`."""
        return await self._core.run_async(self._core.freshness(name))

    async def usage(self) -> Usage:
        """Return the account's usage in the current billing period; see `MatviewsClient.usage`."""
        return await self._core.run_async(self._core.usage())

    async def whoami(self) -> Account:
        """Return the account that owns the key; see `MatviewsClient.whoami`."""
        return await self._core.run_async(self._core.whoami())

    async def aclose(self) -> None:
        """Close the connections; see `MatviewsClient.close`."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


class AsyncRefresh(Handle):
    """The handle of one execution, returned by `AsyncMatviewsClient.refresh` and `AsyncMatviewsClient.attach`."""

    async def status(self) -> ExecutionStatus:
        """Poll the execution once; see `Refresh.status`."""
        return await self._core.run_async(self._core.poll(self._execution))

    async def wait(
        self,
        *,
        timeout: Seconds | None = None,
        max_credits: float | None = None,
        on_update: Callable[[ExecutionStatus], object] | None = None,
    ) -> ExecutionStatus:
        """Wait until the view is fresh; see `Refresh.wait`."""
        return await self._core.run_async(self._core.watch(self._execution, timeout, max_credits, on_update))

    async def cancel(self) -> bool:
        """Cancel the execution; see `Refresh.cancel`."""
        return await self._core.run_async(self._core.cancel(self._execution))
