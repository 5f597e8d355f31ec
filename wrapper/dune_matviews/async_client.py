"""The asynchronous client and its handles, for asyncio: every method is one line over a flow.

This module must not know what the flows decide; and it loads httpx and the generated code with the first client only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from . import _lookup
from ._arguments import KEEP, Keep, Seconds
from ._core import Core, Handle, described, not_pickled
from ._http.settings import Plan, Settings
from ._pacing import RequestBudget
from ._refresh import IfRunning
from ._tiers import Performance, SmallTier, Tiers
from .models import ExecutionStatus, Freshness, Matview, Usage

if TYPE_CHECKING:
    import httpx

    from .report import RefreshReport, ViewResult


class AsyncMatviewsClient:
    """`MatviewsClient` for asyncio: the same arguments, methods and promises, with `await` and `async with`.

    Safe to share between the tasks of one event loop. *http_client* is an `httpx.AsyncClient`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Seconds | None = None,
        performance: Performance | None = None,
        small_tier: SmallTier = "warn",
        plan: Plan | RequestBudget | None = "free",
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        settings = Settings.gather(api_key, base_url, timeout, plan)
        tiers = Tiers(performance, small_tier)
        from ._http.async_transport import AsyncTransport

        self._transport = AsyncTransport(settings, http_client)
        self._core = Core.of(self._transport, settings, tiers)

    async def refresh(
        self, name: str, *, performance: Performance | None = None, if_running: IfRunning = "start"
    ) -> AsyncRefresh:
        """Start a refresh of a view; see `MatviewsClient.refresh`."""
        execution_id = await self._core.run_async(self._core.refresh(name, performance, if_running))
        return AsyncRefresh(self._core, execution_id, name)

    def attach(self, execution_id: str) -> AsyncRefresh:
        """The handle of an execution that was started earlier or elsewhere; see `MatviewsClient.attach`."""
        return AsyncRefresh(self._core, self._core.attach(execution_id), None)

    async def refresh_all(
        self,
        views: Iterable[str] | Mapping[str, Iterable[str]],
        *,
        performance: Performance | Mapping[str, Performance] | None = None,
        max_parallel: int = 3,
        max_credits: float | None = None,
        max_age: Seconds | None = None,
        timeout: Seconds | None = None,
        journal: str | PathLike[str] | None = None,
        if_running: IfRunning = "start",
        on_update: Callable[[str, ViewResult], object] | None = None,
    ) -> RefreshReport:
        """Refresh each view once, only after the views that it reads are fresh; see `MatviewsClient.refresh_all`."""
        return await self._core.run_async(
            self._core.refresh_all(
                views, performance, max_parallel, max_credits, max_age, timeout, journal, if_running, on_update
            )
        )

    async def get(self, name: str) -> Matview:
        """Describe a view; see `MatviewsClient.get`."""
        return await self._core.run_async(self._core.get(name))

    async def list(self) -> AsyncIterator[Matview]:
        """The views of the account, one by one; see `MatviewsClient.list`."""
        offset: int | None = 0
        while offset is not None:
            page = await self._core.run_async(self._core.page(offset))
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
        started = await self._core.run_async(
            self._core.upsert(name, query_id, is_private, performance, cron_expression, expires_at)
        )
        return AsyncRefresh(self._core, started.execution_id, started.name)

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
        started = await self._core.run_async(
            self._core.update(name, query_id, is_private, performance, cron_expression, expires_at)
        )
        return AsyncRefresh(self._core, started.execution_id, started.name)

    async def delete(self, name: str) -> None:
        """Delete a view and its table; see `MatviewsClient.delete`."""
        await self._core.run_async(self._core.delete(name))

    async def lineage(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """The view and everything that it reads; see `MatviewsClient.lineage`."""
        return await self._core.run_async(self._core.lineage(name))

    async def freshness(self, name: str) -> Freshness:
        """When the view was last refreshed with success; see `MatviewsClient.freshness`."""
        return await self._core.run_async(self._core.freshness(name))

    async def usage(self) -> Usage:
        """What the account has used in its present billing period; see `MatviewsClient.usage`."""
        return await self._core.run_async(self._core.usage())

    async def aclose(self) -> None:
        """Close the connections; see `MatviewsClient.close`."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        not_pickled(self)

    def __repr__(self) -> str:
        return described(self)


class AsyncRefresh(Handle):
    """A refresh under way, or over: what `AsyncMatviewsClient.refresh` and `AsyncMatviewsClient.attach` return."""

    async def status(self) -> ExecutionStatus:
        """Look at the execution once; see `Refresh.status`."""
        with _lookup.about(self.execution_id):
            return await self._core.run_async(self._core.look(self.execution_id))

    async def wait(
        self,
        *,
        timeout: Seconds | None = None,
        max_credits: float | None = None,
        on_update: Callable[[ExecutionStatus], object] | None = None,
    ) -> ExecutionStatus:
        """Wait until the view is fresh; see `Refresh.wait`."""
        with _lookup.about(self.execution_id):
            return await self._core.run_async(
                self._core.watch(self.execution_id, self._since, timeout, max_credits, on_update)
            )

    async def cancel(self) -> bool:
        """Cancel the execution; see `Refresh.cancel`."""
        with _lookup.about(self.execution_id):
            return await self._core.run_async(self._core.cancel(self.execution_id))
