"""The clients and the handles that people hold: every method is one line over a flow.

This module must not know what the flows decide; and it loads httpx and the generated code with the first client only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from . import _arguments, _lookup, _refresh
from ._arguments import Seconds
from ._flow import Flow, T, run, run_async
from ._order import reads
from ._pacing import Pace, RequestBudget
from ._refresh import IF_RUNNING, IfRunning
from ._requests import Session
from ._settings import Plan, Settings
from ._tiers import Performance, SmallTier, Tiers
from .errors import ClientClosedError, InvalidArgumentError
from .models import ExecutionStatus

if TYPE_CHECKING:
    import httpx

    from ._endpoints import Endpoints
    from ._transport import AsyncTransport, SyncTransport
    from .report import RefreshReport, ViewResult


class MatviewsClient:
    """Refreshes Dune's materialized views, and follows their executions.

    Safe to share between threads: they share its connections and its request budgets. Closed by `close()` or `with`.

    Args:
        api_key: Dune's API key; None takes `DUNE_API_KEY`.
        base_url: where the API is, with or without `/api`; None takes `DUNE_API_BASE_URL`, else `https://api.dune.com`.
            Plain http is refused except to loopback.
        timeout: seconds (or a `timedelta`) that one request may take, its whole answer included; None takes
            `DUNE_API_REQUEST_TIMEOUT`, else 10. Looking up the host, each of its addresses and headers that drip in
            byte by byte have their own time in this client; the asynchronous client bounds them all.
        performance: the default tier of every refresh; None leaves it to Dune.
        small_tier: what to do about the tier `small`, on which Dune's page disagrees with itself: "warn" sends it and
            warns once, "allow" sends it, "forbid" refuses.
        plan: the account's plan, which sets the requests a minute: "free", "plus", "enterprise", a `RequestBudget`,
            or None for no pacing.
        http_client: an `httpx.Client` of your own to send through, for its transport, proxies, certificates, auth and
            hooks. It stays yours to close. It must not retry by itself, nor have a hook that raises on a status:
            both take decisions away that keep a refresh from being paid twice.

    Raises:
        ConfigurationError: the environment lacks the key, or holds something that cannot be used.
        InvalidArgumentError: an argument cannot be used.
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
        http_client: httpx.Client | None = None,
    ) -> None:
        settings = Settings.gather(api_key, base_url, timeout, plan)
        tiers = Tiers(performance, small_tier)
        from ._transport import SyncTransport

        self._transport = SyncTransport(settings, http_client)
        self._core = _Core.of(self._transport, settings, tiers)

    def refresh(self, name: str, *, performance: Performance | None = None, if_running: IfRunning = "start") -> Refresh:
        """Start a refresh of a view (`POST /v1/materialized-views/{name}/refresh`), which Dune bills once accepted.

        The request is sent again only where it certainly was not accepted, for at most ten request timeouts; waiting
        for the request budget does not count. Where that is open, the execution is looked for and followed.

        Args:
            name: the view's full name, such as `dune.my_team.result_daily_volume`.
            performance: the tier: "small", "medium" or "large"; None takes the client's default, else Dune's.
            if_running: what to do if an execution of the view is under way already: "start" another without looking,
                "adopt" it, or "refuse". Looking costs free requests.

        Returns:
            The handle of the execution.

        Raises:
            InvalidArgumentError: the name or tier cannot be used; nothing was sent.
            APIError: Dune refused; nothing was started. `UnsupportedTierError` if it was over the tier `small`.
            RequestFailedError: no answer came, and certainly nothing was started.
            AmbiguousRefreshError: it may have been started, and was not found again.
            AlreadyRunningError: `if_running="refuse"`, and an execution is under way.
        """
        execution_id = self._core.run(self._core.refresh(name, performance, if_running))
        return Refresh(self._core, execution_id, name)

    def attach(self, execution_id: str) -> Refresh:
        """The handle of an execution that was started earlier or elsewhere; sends nothing.

        Raises:
            InvalidArgumentError: the id cannot be used.
        """
        return Refresh(self._core, self._core.attach(execution_id), None)

    def refresh_all(
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
        """Refresh each view once, only after the views that it reads are fresh.

        What goes wrong with a view is in the report: those that read it are skipped, the others go on. Ctrl-C leaves
        executions running; the exception then has the report so far as `report`.

        Args:
            views: names, or a mapping of each name to the names that it reads; those are refreshed, too.
            performance: the tier of all, or a mapping of names to tiers; None takes the client's default, else Dune's.
            max_parallel: executions in flight at once.
            max_credits: once the costs together pass this, nothing more is started, and what runs is cancelled.
            max_age: seconds (or a `timedelta`) for which a success is fresh enough, so that the view is not refreshed
                unless something that it reads was. Costs two free requests a view.
            timeout: seconds (or a `timedelta`) for all; what still runs then is left running.
            journal: a file that remembers, so that a second run after a crash follows what runs, and repeats nothing.
            if_running: as for `refresh`.
            on_update: a plain function, called with a name and its result at each step.

        Raises:
            InvalidArgumentError: an argument cannot be used, or views read each other in a circle; nothing was sent.
            JournalError: the journal cannot be used; nothing was sent.
        """
        return self._core.run(
            self._core.refresh_all(
                views, performance, max_parallel, max_credits, max_age, timeout, journal, if_running, on_update
            )
        )

    def close(self) -> None:
        """Close the connections. Executions go on at Dune; handles of this client can no longer be used."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return _described(self)


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
        from ._transport import AsyncTransport

        self._transport = AsyncTransport(settings, http_client)
        self._core = _Core.of(self._transport, settings, tiers)

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

    async def aclose(self) -> None:
        """Close the connections; see `MatviewsClient.close`."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return _described(self)


def _described(client: MatviewsClient | AsyncMatviewsClient) -> str:
    """A client's repr, which debuggers also ask for while it is being made, and when that failed."""
    kind = type(client).__name__
    core: _Core | None = vars(client).get("_core")
    return core.describe(kind) if core else f"<{kind}, never opened>"


class _Handle:
    """One execution of one client."""

    def __init__(self, core: _Core, execution_id: str, name: str | None) -> None:
        self._core = core
        self._since = core.session.clock()
        self._execution_id = execution_id
        self._name = name

    @property
    def execution_id(self) -> str:
        """Dune's id of the execution."""
        return self._execution_id

    @property
    def name(self) -> str | None:
        """The view; None after `attach`, which is not told."""
        return self._name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name or 'a view'}: execution {self.execution_id}>"


class Refresh(_Handle):
    """A refresh under way, or over: what `MatviewsClient.refresh` and `MatviewsClient.attach` return."""

    def status(self) -> ExecutionStatus:
        """Look at the execution once (`GET /v1/execution/{execution_id}/status`; free of charge).

        Raises:
            APIError: Dune refused, or its answers cannot be understood.
            RequestFailedError: no answer came for ten request timeouts.
        """
        with _lookup.about(self.execution_id):
            return self._core.run(self._core.look(self.execution_id))

    def wait(
        self,
        *,
        timeout: Seconds | None = None,
        max_credits: float | None = None,
        on_update: Callable[[ExecutionStatus], object] | None = None,
    ) -> ExecutionStatus:
        """Wait until the view is fresh, and return the final status.

        The end is noticed within 1 s or 10 % of the execution's length, whichever is more, while the request budget
        allows. Failures of single looks are outlasted. Ctrl-C leaves the execution running.

        Args:
            timeout: seconds (or a `timedelta`) to wait; None waits as long as Dune answers: until 15 minutes pass
                without a successful look.
            max_credits: cancel the execution when its running cost passes so many credits.
            on_update: a plain function, called with every status seen, the final one included.

        Raises:
            RefreshFailedError, RefreshCanceledError, RefreshExpiredError: that is how it ended.
            RefreshError: it ended in a state that this version does not know.
            CreditLimitError: it was cancelled over *max_credits*. One that finished over the cap is returned.
            WaitTimeoutError: the time is over; the execution goes on.
            APIError: Dune refused to be asked (401, 403, 404, …).
        """
        with _lookup.about(self.execution_id):
            return self._core.run(self._core.watch(self.execution_id, self._since, timeout, max_credits, on_update))

    def cancel(self) -> bool:
        """Cancel the execution (`POST /v1/execution/{execution_id}/cancel`); what it cost so far is billed.

        Returns:
            Whether there was something to cancel.

        Raises:
            APIError: Dune refused, or its answers cannot be understood.
            RequestFailedError: no answer came for ten request timeouts.
        """
        with _lookup.about(self.execution_id):
            return self._core.run(self._core.cancel(self.execution_id))


class AsyncRefresh(_Handle):
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


@attrs.frozen
class _Core:
    """What both clients share: the way out, the session, and the flow of each method, its arguments checked."""

    transport: SyncTransport | AsyncTransport = attrs.field(repr=False)
    api: Endpoints
    session: Session
    settings: Settings
    tiers: Tiers

    @classmethod
    def of(cls, transport: SyncTransport | AsyncTransport, settings: Settings, tiers: Tiers) -> Self:
        from ._endpoints import Endpoints

        return cls(transport, Endpoints(transport), Session(Pace(settings.budget), settings.timeout), settings, tiers)

    def refresh(self, name: str, performance: Performance | None, if_running: IfRunning) -> Flow[str]:
        name = _arguments.view_name(name)
        _arguments.choice(if_running, "if_running", IF_RUNNING)
        tier = self.tiers.choose(performance, stacklevel=3)  # the caller of the client's method
        return _refresh.start(self.session, self.api, name, tier, if_running)

    def refresh_all(
        self,
        views: object,
        performance: str | Mapping[str, str] | None,
        max_parallel: int,
        max_credits: float | None,
        max_age: Seconds | None,
        timeout: Seconds | None,
        journal: str | PathLike[str] | None,
        if_running: IfRunning,
        on_update: Callable[[str, ViewResult], object] | None,
    ) -> Flow[RefreshReport]:
        from . import _schedule  # nothing that a single refresh needs

        found = reads(views)
        by_name = performance if isinstance(performance, Mapping) else dict.fromkeys(found, performance)
        if unknown := by_name.keys() - found.keys():
            raise InvalidArgumentError(
                f"performance names views that are not refreshed: {', '.join(map(repr, unknown))}"
            )
        return _schedule.refresh_all(
            self.session,
            self.api,
            found,
            {name: self.tiers.choose(by_name.get(name), stacklevel=3) for name in found},
            _schedule.Limits(
                max_parallel=_arguments.count(max_parallel, "max_parallel"),
                max_credits=math.inf if max_credits is None else _arguments.credits(max_credits, "max_credits"),
                max_age=None if max_age is None else timedelta(seconds=_arguments.seconds(max_age, "max_age")),
                timeout=math.inf if timeout is None else _arguments.seconds(timeout, "timeout"),
            ),
            _arguments.choice(if_running, "if_running", IF_RUNNING),
            _arguments.callback(on_update, "on_update"),
            None if journal is None else _arguments.path(journal, "journal"),
        )

    def attach(self, execution_id: str) -> str:
        self._check_open()
        execution_id = _arguments.execution_id(execution_id)
        self.session.claim(execution_id)
        return execution_id

    def look(self, execution_id: str) -> Flow[ExecutionStatus]:
        return _lookup.look(self.session, self.api, execution_id)

    def cancel(self, execution_id: str) -> Flow[bool]:
        return _refresh.cancel(self.session, self.api, execution_id)

    def watch(
        self,
        execution_id: str,
        since: float,
        timeout: Seconds | None,
        max_credits: float | None,
        on_update: Callable[[ExecutionStatus], object] | None,
    ) -> Flow[ExecutionStatus]:
        cap = math.inf if max_credits is None else _arguments.credits(max_credits, "max_credits")
        return _refresh.watch(
            self.session,
            self.api,
            execution_id,
            since=since,
            timeout=math.inf if timeout is None else _arguments.seconds(timeout, "timeout"),
            allowance=lambda: cap,
            on_update=_arguments.callback(on_update, "on_update"),
        )

    def run(self, flow: Flow[T]) -> T:
        self._check_open()
        return run(flow)

    async def run_async(self, flow: Flow[T]) -> T:
        self._check_open()
        return await run_async(flow)

    def describe(self, kind: str) -> str:
        return f"<{kind} of {self.settings.base_url}{', closed' if self.transport.is_closed else ''}>"

    def _check_open(self) -> None:
        if self.transport.is_closed:
            raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")
