"""The synchronous client and its handles: every method runs one flow.

This module must not know the decisions of the flows. It imports httpx and the generated code only with the first
client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


class MatviewsClient(Client):
    """Refreshes Dune's materialized views and follows their executions.

    >>> from dune_matviews import MatviewsClient
    >>> with MatviewsClient() as dune:  # the key is in DUNE_API_KEY
    ...     status = dune.refresh("dune.my_team.result_daily").wait(timeout=3600, max_credits=50)
    >>> status.succeeded, status.cost_credits
    (True, 1.0)

    Threads may share a client, with its connections and request budgets. Close it with `close()` or `with`.

    Args:
        api_key: Dune's API key; None takes `DUNE_API_KEY`.
        base_url: the API's URL, with or without `/api`; None takes `DUNE_API_BASE_URL`, else `https://api.dune.com`.
            Plain http is refused except to loopback.
        timeout: seconds (or a `timedelta`) for one request, including its whole response; None takes
            `DUNE_API_REQUEST_TIMEOUT`, else 10. In this client the DNS lookup comes on top, for as long as the system
            allows; the asynchronous client bounds that, too.
        performance: the default tier of every refresh; None leaves it to Dune.
        small_tier: the policy for the tier `small`, on which Dune's page disagrees with itself: "warn" sends it and
            warns once, "allow" sends it, "forbid" raises `InvalidArgumentError`.
        plan: the account's plan, for the requests per minute at the start: "free", "analyst", "plus", "enterprise", or
            "auto", which takes `DUNE_PLAN`, else "free". Quotas that Dune announces in its responses replace the
            plan's. A `RequestBudget` of your own stays as it is; None turns pacing off.
        on_retry: a plain function, called with a `Retry` before each backoff. If it raises, the call ends.
        history: a file for the past executions of views, which forecasts, the order of runs and the cadence of polls
            draw on. It is safe to delete. None stores them beside a journal that is a path (`….history`), else in the
            client alone.
        http_client: an `httpx.Client` of your own to send through, for its transport, proxies, certificates, auth and
            hooks. The SDK never closes it. It must not retry, and no hook may raise on a status: either would defeat
            the protection against paying twice.

    Raises:
        ConfigurationError: the environment lacks the key, or holds an invalid setting.
        InvalidArgumentError: an argument is invalid.
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
        http_client: httpx.Client | None = None,
    ) -> None:
        settings = Settings.gather(api_key, base_url, timeout, plan)
        tiers = Tiers(performance, small_tier)
        from ._http.transports import SyncTransport

        self._transport = SyncTransport(settings, http_client)
        self._core = Core.of(self._transport, settings, tiers, on_retry, history)

    def refresh(
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
    ) -> Refresh:
        """Start a refresh of a view (`POST /v1/materialized-views/{name}/refresh`).

        >>> refresh = dune.refresh("dune.my_team.result_daily", performance="large")
        >>> refresh.wait().state
        <ExecutionState.COMPLETED: 'completed'>

        Dune may bill a refresh once it has accepted it, even if it fails. A cancelled one is billed for the credits it
        has used.

        This reads the view's executions first (`GET /v1/materialized-views/{name}`; free of charge). If the response
        to the refresh is lost, the execution that is new in that list is followed. The request is resent only if it was
        certainly not accepted, for at most ten request timeouts; waiting for the request budget does not count.

        Args:
            name: the view's full name, such as `dune.my_team.result_daily_volume`.
            performance: the tier: "small", "medium" or "large"; None takes the client's default, else Dune's.
            if_running: the policy if an execution of the view is already under way: "start" another one, "adopt" it, or
                "refuse". The check costs free requests.
            timeout: seconds (or a `timedelta`) for the call; None sets no limit.
            journal: a path, or an object with `read()` and `append(line)`, that outlives this process. A repeat with
                the same journal follows the execution that was started, even after a crash, and starts no second one.
            run: a label for this run, if the journal is a path: the same label is a repeat, a new one a new run.
            retry_failed: after a recorded failure, cancellation or expiry, start anew instead of returning it.
            if_lost: the policy if the response was lost and no execution is found: "raise" after a minute, or "resend"
                once the view's history proves, after three minutes, that there is none.

        Returns:
            The handle of the execution.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing was sent.
            APIError: Dune refused; nothing was started. `UnsupportedTierError` if Dune rejected the tier.
            RequestFailedError: no response came, and certainly nothing was started.
            AmbiguousRefreshError: it may have been started, and was not found.
            JournalError: the journal is unusable, or another process is making this refresh; nothing was sent.
            AlreadyRunningError: `if_running="refuse"`, and an execution is under way.
        """
        terms = self._core.terms(timeout, if_running, if_lost, retry_failed)
        flow = self._core.refresh(name, performance, terms, self._core.journal(journal, run))
        return Refresh(self._core, self._core.run(flow))

    def attach(self, execution_id: str, name: str | None = None) -> Refresh:
        """Return the handle of an execution that was started earlier or elsewhere; sends nothing.

        >>> execution_id = dune.refresh("dune.my_team.result_daily").execution_id
        >>> dune.attach(execution_id).wait().succeeded
        True

        Args:
            execution_id: Dune's id of the execution.
            name: its view, for messages.

        Raises:
            InvalidArgumentError: the id or the name is invalid.
        """
        return Refresh(self._core, self._core.attach(execution_id, name))

    def refresh_all(
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
        """Refresh each view once, after the views it reads.

        >>> report = dune.refresh_all(
        ...     {"dune.my_team.result_daily": ["dune.my_team.result_base"], "dune.my_team.result_base": []},
        ...     max_credits=50,
        ... )
        >>> report.ok, report.cost_credits
        (True, 2.0)

        The report has the failures of views: the views that read a failed one are skipped, and the others go on. Ctrl-C
        leaves executions running. Any exception that ends the run has the report so far as its attribute `report`.

        Args:
            views: names, or a mapping from each name to the names that it reads; those are refreshed, too.
            performance: one tier for all, or a mapping from names to tiers; None takes the client's default, else
                Dune's.
            max_parallel: executions in flight at once.
            max_credits: once the total cost passes this, nothing more is started and running executions are cancelled.
                Those are billed for the credits they have used, and Dune's figures lag, so the total exceeds the cap.
            max_forecast: refuse the run before anything is started if its expected cost, in credits, is higher than
                this or unknown. It takes the requests of `forecast`.
            max_age: seconds (or a `timedelta`) for which a success counts as fresh. Such a view is not refreshed,
                unless a view it reads was. The check costs two free requests per view, or more after failures.
            timeout: seconds (or a `timedelta`) for the whole run; executions still running then are left running.
            journal, run, retry_failed, if_running, if_lost: as for `refresh`.
            on_update: a plain function, called with a name and its `ViewResult` at each step. Without one, a Jupyter
                notebook shows the progress as a table.

        Returns:
            The result of each view, and the totals.

        Raises:
            InvalidArgumentError: an argument is invalid, or views read each other in a circle; nothing was sent.
            JournalError: the journal is unusable; nothing was sent.
            ForecastError: the forecast exceeds *max_forecast*; nothing was started.
        """
        terms = self._core.terms(timeout, if_running, if_lost, retry_failed)
        limits = self._core.limits(max_parallel, max_credits, max_age, terms)
        run_journal = self._core.journal(journal, run)
        flow = self._core.refresh_all(views, performance, limits, max_forecast, run_journal, on_update)
        return self._core.run(flow)

    def forecast(
        self,
        views: Iterable[str] | Mapping[str, Iterable[str]],
        *,
        max_parallel: int = 3,
        max_age: Seconds | None = None,
    ) -> Forecast:
        """Forecast the time and cost of a run of `refresh_all` from past executions of its views; starts nothing.

        >>> forecast = dune.forecast(["dune.my_team.result_daily"])
        >>> forecast.views["dune.my_team.result_daily"].refreshes
        True

        The first forecast takes up to five free requests per view, within the request budget; later ones read only new
        executions. A view without past executions is expected to behave like the others.

        Args:
            views, max_parallel, max_age: as for `refresh_all`.

        Raises:
            InvalidArgumentError: an argument is invalid, or views read each other in a circle; nothing was sent.
            APIError, RequestFailedError: as for `get`, except that the forecast itself reports a missing view.
        """
        return self._core.run(self._core.forecast(views, max_parallel, max_age))

    def history(self, name: str) -> tuple[ExecutionStatus, ...]:
        """Return past executions of a view, latest first: those that Dune lists, and those known from before.

        >>> [each.state.value for each in dune.history("dune.my_team.result_daily")]
        ['completed']

        This takes a free request for the list, and one for each new execution. `raw` is empty if no request was needed.

        Raises:
            InvalidArgumentError, APIError, RequestFailedError: as for `get`.
        """
        return self._core.run(self._core.history(name))

    def get(self, name: str) -> Matview:
        """Describe a view (`GET /v1/materialized-views/{name}`; free of charge).

        >>> view = dune.get("dune.my_team.result_daily")
        >>> view.query_id, view.is_private
        (1001, False)

        Args:
            name: the view's full name, such as `dune.my_team.result_daily_volume`.

        Raises:
            InvalidArgumentError: the name is invalid; nothing was sent.
            APIError: Dune refused, or its responses are unreadable; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.get(name))

    def list(self) -> Iterator[Matview]:
        """Iterate over the account's views (`GET /v1/materialized-views`; free of charge), page by page as needed.

        >>> [view.name for view in dune.list()]
        ['dune.my_team.result_daily', 'dune.my_team.result_base']

        The list has neither executions nor schedules; `get` has them. Dune counts views to find the next page, so it
        skips one for each view deleted meanwhile: to delete views, iterate over `list(dune.list())`. The iteration
        raises the errors of `get`.
        """
        offset: int | None = 0
        listed: set[str] = set()
        while offset is not None:
            page = self._core.run(self._core.page(offset, listed))
            yield from page.views
            offset = page.next_offset

    def upsert(
        self,
        name: str,
        query_id: int,
        *,
        is_private: bool = False,
        performance: Performance | None = None,
        cron_expression: str | None = None,
        expires_at: datetime | None = None,
    ) -> Refresh:
        """Create a view, or replace the one of that name (`POST /v1/materialized-views`), which starts an execution.

        >>> refresh = dune.upsert("result_hourly", 4711, cron_expression="0 * * * *")
        >>> refresh.name
        'dune.my_team.result_hourly'

        It may be billed like a refresh, and is sent with the same care. It replaces the whole view, including its
        schedule; use `update` to change parts of a view.

        Args:
            name: the bare name: `result_` and then lower-case letters, digits and underscores.
            query_id: the query whose result the view holds: saved, without parameters, owned by the key's account.
            is_private: True if only the owner may read the view.
            performance: the tier of this execution and of scheduled ones: "small", "medium" or "large"; None takes the
                client's default, else Dune's.
            cron_expression: the schedule on which Dune refreshes the view: five fields, from every 15 minutes to once a
                week; None for no schedule.
            expires_at: the end of that schedule, an aware datetime; None for no end.

        Returns:
            The handle of the execution; its `name` is the view's full name.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing was sent.
            APIError, RequestFailedError, AmbiguousRefreshError: as for `refresh`.
        """
        flow = self._core.upsert(name, performance, Parts(query_id, is_private, cron_expression, expires_at))
        return Refresh(self._core, self._core.run(flow))

    def update(
        self,
        name: str,
        *,
        query_id: int | Keep = KEEP,
        is_private: bool | Keep = KEEP,
        performance: Performance | Keep | None = KEEP,
        cron_expression: str | Keep | None = KEEP,
        expires_at: datetime | Keep | None = KEEP,
    ) -> Refresh:
        """Change parts of a view and keep the others; this starts an execution, which may be billed like a refresh.

        >>> refresh = dune.update("dune.my_team.result_daily", cron_expression="0 6 * * *")
        >>> refresh.wait().succeeded
        True

        Dune can only replace a view as a whole. So this reads the view (`GET /v1/materialized-views/{name}`), checks
        that the account owns it (`GET /v1/materialized-views`), and sends it again with your changes
        (`POST /v1/materialized-views`). A change that somebody else makes in between is overwritten.

        Args:
            name: the view's full name.
            query_id, is_private: as for `upsert`.
            performance: as for `upsert`, except that the client's default does not apply; None leaves it to Dune. Dune
                reports only the tier of a schedule, so a view without a schedule has no tier to keep.
            cron_expression: as for `upsert`; None removes the schedule.
            expires_at: as for `upsert`; None removes the end of the schedule.

        Returns:
            The handle of the execution; its `name` is the view's full name.

        Raises:
            InvalidArgumentError: an argument is invalid or changes nothing, or another account owns the view; nothing
                was changed.
            UnexpectedResponseError: Dune does not report a part that must be sent again; nothing was changed.
            APIError, RequestFailedError, AmbiguousRefreshError: as for `refresh`.
        """
        flow = self._core.update(name, performance, Parts(query_id, is_private, cron_expression, expires_at))
        return Refresh(self._core, self._core.run(flow))

    def delete(self, name: str) -> None:
        """Delete a view and its table (`DELETE /v1/materialized-views/{name}`); this cannot be undone.

        >>> dune.delete("dune.my_team.result_daily")

        Raises:
            InvalidArgumentError: the name is invalid; nothing was sent.
            APIError: Dune refused, or its responses are unreadable; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts; the view may still have been deleted.
        """
        self._core.run(self._core.delete(name))

    def lineage(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Return the view and everything it reads, directly or not, ready for `refresh_all`.

        >>> dune.lineage("dune.my_team.result_daily")
        {'dune.my_team.result_base': (), 'dune.my_team.result_daily': ('dune.my_team.result_base',)}

        This takes two free requests: for the view's query, and for its pipeline (`GET /v1/query/{query_id}/pipeline`).
        Plain queries in between are resolved to the views they read.

        Returns:
            A mapping from each full name to the full names it reads directly, upstream first, the view itself last.

        Raises:
            InvalidArgumentError: the name is invalid; nothing was sent.
            UnexpectedResponseError: the pipeline has no nodes, a circle or gaps, so it defines no order.
            APIError: Dune refused; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.lineage(name))

    def freshness(self, name: str) -> Freshness:
        """Return the time of the view's last successful refresh, and its age.

        >>> from datetime import timedelta
        >>> dune.freshness("dune.my_team.result_daily").age > timedelta(hours=6)
        True

        This takes two free requests, and one more for each newer execution that did not succeed.

        Raises:
            InvalidArgumentError: the name is invalid; nothing was sent.
            APIError: Dune refused, or its responses are unreadable; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.freshness(name))

    def usage(self) -> Usage:
        """Return the account's usage in the current billing period (`POST /v1/usage`; free of charge).

        >>> usage = dune.usage()
        >>> usage.credits_used, usage.credits_included
        (0.0, 2500.0)

        Raises:
            APIError: Dune refused, or its response is unreadable.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.usage())

    def whoami(self) -> Account:
        """Return the account that owns the key, a person or a team (`GET /whoami`; free of charge).

        >>> dune.whoami().handle
        'my_team'

        Raises:
            APIError: Dune refused, or its response is unreadable.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.whoami())

    def close(self) -> None:
        """Close the connections. Executions go on at Dune, but this client's handles can no longer be used."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Refresh(Handle):
    """The handle of one execution, returned by `MatviewsClient.refresh` and `MatviewsClient.attach`."""

    def status(self) -> ExecutionStatus:
        """Poll the execution once (`GET /v1/execution/{execution_id}/status`; free of charge).

        >>> refresh.status().is_finished
        False

        Raises:
            APIError: Dune refused, or its response is unreadable.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.poll(self._execution))

    def wait(
        self,
        *,
        timeout: Seconds | None = None,
        max_credits: float | None = None,
        on_update: Callable[[ExecutionStatus], object] | None = None,
    ) -> ExecutionStatus:
        """Wait until the view is fresh, and return the final status.

        >>> status = refresh.wait(timeout=3600, max_credits=50)
        >>> status.cost_credits
        1.0

        This notices the end within 1 s or 10 % of the execution's length, whichever is longer, as far as the request
        budget allows. Failed polls are retried. Ctrl-C leaves the execution running.

        Args:
            timeout: seconds (or a `timedelta`) to wait; None waits as long as Dune responds: until 15 minutes pass
                without a successful poll.
            max_credits: cancel the execution once its running cost passes this many credits. Dune bills the credits it
                has used by then, and its figures lag, so an execution can pass its cap before anyone sees it.
            on_update: a plain function, called with every status, including the final one.

        Raises:
            RefreshFailedError, RefreshCanceledError, RefreshExpiredError: the execution failed, was cancelled, or
                expired.
            RefreshError: it ended in a state that this version does not know.
            CreditLimitError: it passed *max_credits* and was cancelled, or goes on because another program may have
                started it. An execution that completed over the cap is returned.
            WaitTimeoutError: the timeout is over; the execution goes on.
            APIError: Dune refused the poll (401, 403, 404, …).
        """
        return self._core.run(self._core.watch(self._execution, timeout, max_credits, on_update))

    def cancel(self) -> bool:
        """Cancel the execution (`POST /v1/execution/{execution_id}/cancel`); Dune bills the credits it has used.

        >>> refresh.cancel()
        True

        Returns:
            True if it was cancelled, False if there was nothing to cancel.

        Raises:
            APIError: Dune refused, or its response is unreadable.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.cancel(self._execution))
