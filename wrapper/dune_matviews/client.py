"""The synchronous client and its handles: every method is one line over a flow.

This module must not know the decisions of the flows; and it loads httpx and the generated code with the first client
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from ._core import Core, Handle, JournalLike, described, not_pickled
from ._http.rate_limits import Plan, RequestBudget
from ._http.settings import Settings
from ._tiers import Performance, SmallTier, Tiers
from ._validate import KEEP, IfLost, IfRunning, Keep, Seconds
from .models import Account, ExecutionStatus, Freshness, Matview, Retry, Usage

if TYPE_CHECKING:
    import httpx

    from .report import RefreshReport, ViewResult


class MatviewsClient:
    """Refreshes Dune's materialized views, and follows their executions.

    >>> from dune_matviews import MatviewsClient
    >>> with MatviewsClient() as dune:  # the key is in DUNE_API_KEY
    ...     status = dune.refresh("dune.my_team.result_daily").wait(timeout=3600, max_credits=50)
    >>> status.succeeded, status.cost_credits
    (True, 1.0)

    Safe to share between threads: they share its connections and its request budgets. Closed by `close()` or `with`.

    Args:
        api_key: Dune's API key; None takes `DUNE_API_KEY`.
        base_url: where the API is, with or without `/api`; None takes `DUNE_API_BASE_URL`, else `https://api.dune.com`.
            Plain http is refused except to loopback.
        timeout: seconds (or a `timedelta`) that one request may take, its whole response included; None takes
            `DUNE_API_REQUEST_TIMEOUT`, else 10. Looking up the host's name comes on top in this client, and takes as
            long as the system lets it; the asynchronous client bounds that, too.
        performance: the default tier of every refresh; None leaves it to Dune.
        small_tier: the policy for the tier `small`, on which Dune's page disagrees with itself: "warn" sends it and
            warns once, "allow" sends it, "forbid" refuses.
        plan: the account's plan, for the requests a minute to begin with: "free", "analyst", "plus", "enterprise", or
            "auto", which is `DUNE_PLAN`, else "free". The quotas that Dune announces in its responses take their place.
            A `RequestBudget` of your own stays as it is; None is no pacing.
        on_retry: a plain function, called with a `Retry` before the pause after each request that failed and is sent
            again. An exception of its own ends the call.
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
        plan: Plan | RequestBudget | None = "auto",
        on_retry: Callable[[Retry], object] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        settings = Settings.gather(api_key, base_url, timeout, plan)
        tiers = Tiers(performance, small_tier)
        from ._http.transports import SyncTransport

        self._transport = SyncTransport(settings, http_client)
        self._core = Core.of(self._transport, settings, tiers, on_retry)

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

        Once accepted, it may be billed, even if it fails; what is cancelled is billed for what it has used.

        Before it, the view's executions are read (`GET /v1/materialized-views/{name}`; free of charge): where a
        response is lost, the execution that is new in that list is followed. The request is sent again only where it
        certainly was not accepted, for at most ten request timeouts; waiting for the request budget does not count.

        Args:
            name: the view's full name, such as `dune.my_team.result_daily_volume`.
            performance: the tier: "small", "medium" or "large"; None takes the client's default, else Dune's.
            if_running: the policy if an execution of the view is under way already: "start" another all the same,
                "adopt" it, or "refuse". Finding out costs free requests.
            timeout: seconds (or a `timedelta`) for the call; None has no limit of its own.
            journal: a path, or an object with `read()` and `append(line)`, that outlives this process: a repeat with
                the same journal follows the same execution, and starts none where one was started, even after a crash.
            run: a label of this run in a journal that is a path: the same label is a repeat, another one a new run.
            retry_failed: after a recorded failure or cancellation, start anew instead of returning that execution.
            if_lost: the policy where a response was lost and no execution is found: "raise" after a minute, or "resend"
                once Dune's history of the view proves, after three minutes, that there is none.

        Returns:
            The handle of the execution.

        Raises:
            InvalidArgumentError: the name or tier cannot be used; nothing was sent.
            APIError: Dune refused; nothing was started. `UnsupportedTierError` if it was over the tier.
            RequestFailedError: no response came, and certainly nothing was started.
            AmbiguousRefreshError: it may have been started, and was not found again.
            JournalError: the journal cannot be used, or another process has this refresh in hand; nothing was sent.
            AlreadyRunningError: `if_running="refuse"`, and an execution is under way.
        """
        options = {
            "performance": performance,
            "if_running": if_running,
            "timeout": timeout,
            "journal": journal,
            "run": run,
            "retry_failed": retry_failed,
            "if_lost": if_lost,
        }
        return Refresh(self._core, self._core.run(self._core.refresh(name, options)))

    def attach(self, execution_id: str, name: str | None = None) -> Refresh:
        """The handle of an execution that was started earlier or elsewhere; sends nothing.

        >>> execution_id = dune.refresh("dune.my_team.result_daily").execution_id
        >>> dune.attach(execution_id).wait().succeeded
        True

        Args:
            execution_id: Dune's id of the execution.
            name: its view, for messages.

        Raises:
            InvalidArgumentError: the id cannot be used.
        """
        return Refresh(self._core, self._core.attach(execution_id, name))

    def refresh_all(
        self,
        views: Iterable[str] | Mapping[str, Iterable[str]],
        *,
        performance: Performance | Mapping[str, Performance] | None = None,
        max_parallel: int = 3,
        max_credits: float | None = None,
        max_age: Seconds | None = None,
        timeout: Seconds | None = None,
        journal: JournalLike | None = None,
        run: str | None = None,
        retry_failed: bool = False,
        if_running: IfRunning = "start",
        if_lost: IfLost = "raise",
        on_update: Callable[[str, ViewResult], object] | None = None,
    ) -> RefreshReport:
        """Refresh each view once, only after the views that it reads are fresh.

        >>> report = dune.refresh_all(
        ...     {"dune.my_team.result_daily": ["dune.my_team.result_base"], "dune.my_team.result_base": []},
        ...     max_credits=50,
        ... )
        >>> report.ok, report.cost_credits
        (True, 2.0)

        Failures of views are in the report: the views that read a failed one are skipped, the others go on. Ctrl-C
        leaves executions running; any exception that ends the run has the report so far as `report`.

        Args:
            views: names, or a mapping of each name to the names that it reads; those are refreshed, too.
            performance: the tier of all, or a mapping of names to tiers; None takes the client's default, else Dune's.
            max_parallel: executions in flight at once.
            max_credits: once the costs together pass this, nothing more is started, and the rest is cancelled. What is
                cancelled is billed for what it has used, and Dune's figures lag, so that the sum comes out higher.
            max_age: seconds (or a `timedelta`) for which a success is fresh enough, so that the view is not refreshed
                unless something that it reads was. Costs two free requests a view.
            timeout: seconds (or a `timedelta`) for all; executions that are still running then are left running.
            journal, run, retry_failed, if_running, if_lost: as for `refresh`.
            on_update: a plain function, called with a name and its result at each step.

        Raises:
            InvalidArgumentError: an argument cannot be used, or views read each other in a circle; nothing was sent.
            JournalError: the journal cannot be used; nothing was sent.
        """
        options = {
            "performance": performance,
            "max_parallel": max_parallel,
            "max_credits": max_credits,
            "max_age": max_age,
            "timeout": timeout,
            "journal": journal,
            "run": run,
            "retry_failed": retry_failed,
            "if_running": if_running,
            "if_lost": if_lost,
            "on_update": on_update,
        }
        return self._core.run(self._core.refresh_all(views, options))

    def get(self, name: str) -> Matview:
        """Describe a view (`GET /v1/materialized-views/{name}`; free of charge).

        >>> view = dune.get("dune.my_team.result_daily")
        >>> view.query_id, view.is_private
        (1001, False)

        Args:
            name: the view's full name, such as `dune.my_team.result_daily_volume`.

        Raises:
            InvalidArgumentError: the name cannot be used; nothing was sent.
            APIError: Dune refused, or its responses cannot be understood; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.get(name))

    def list(self) -> Iterator[Matview]:
        """The account's views (`GET /v1/materialized-views`), one by one; asks for the next page when it is needed.

        >>> [view.name for view in dune.list()]
        ['dune.my_team.result_daily', 'dune.my_team.result_base']

        Dune lists neither executions nor schedules; `get` has them. It counts views to find the next page, and passes
        one over for each that was deleted meanwhile: to delete, go through `list(dune.list())`, which has them all.
        Raises, while it is iterated, the errors of `get`.
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

        It may be billed as a refresh is, and sent as carefully. Everything that the view had is replaced, its schedule
        included: `update` changes parts of a view.

        Args:
            name: the bare name: `result_` and then lower-case letters, digits and underscores.
            query_id: the query whose result it holds: saved, without parameters, owned by the key's account.
            is_private: only its owner can read it.
            performance: the tier of this execution and of those by schedule: "small", "medium" or "large"; None takes
                the client's default, else Dune's.
            cron_expression: when Dune refreshes it by itself: five fields, from every 15 minutes to once a week.
            expires_at: when that schedule ends; an aware datetime.

        Returns:
            The handle of the execution; its `name` is the view's full name.

        Raises:
            InvalidArgumentError: an argument cannot be used; nothing was sent.
            APIError, RequestFailedError, AmbiguousRefreshError: as for `refresh`.
        """
        started = self._core.run(
            self._core.upsert(name, query_id, is_private, performance, cron_expression, expires_at)
        )
        return Refresh(self._core, started)

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
        """Change parts of a view and keep the others, which starts an execution that may be billed as a refresh is.

        >>> refresh = dune.update("dune.my_team.result_daily", cron_expression="0 6 * * *")
        >>> refresh.wait().succeeded
        True

        Dune can only replace a view as a whole. So this reads it (`GET /v1/materialized-views/{name}`), makes sure that
        it is the account's own (`GET /v1/materialized-views`), and sends it again with the changes that are
        passed (`POST /v1/materialized-views`). A view that somebody else changes in between is overwritten.

        Args:
            name: the view's full name.
            query_id, is_private: as for `upsert`.
            performance: as for `upsert`, but for the client's default, which does not apply; None leaves it to Dune.
                Dune tells the tier of a schedule only: a view without one has none to keep.
            cron_expression: as for `upsert`; None removes the schedule.
            expires_at: as for `upsert`; None lets the schedule go on without end.

        Returns:
            The handle of the execution; its `name` is the view's full name.

        Raises:
            InvalidArgumentError: an argument cannot be used, or the view is another account's; nothing was changed.
            UnexpectedResponseError: Dune does not tell a part that has to be sent again; nothing was changed.
            APIError, RequestFailedError, AmbiguousRefreshError: as for `refresh`.
        """
        started = self._core.run(
            self._core.update(name, query_id, is_private, performance, cron_expression, expires_at)
        )
        return Refresh(self._core, started)

    def delete(self, name: str) -> None:
        """Delete a view and its table (`DELETE /v1/materialized-views/{name}`); there is no way back.

        >>> dune.delete("dune.my_team.result_daily")

        Raises:
            InvalidArgumentError: the name cannot be used; nothing was sent.
            APIError: Dune refused, or its responses cannot be understood; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts; the view may be deleted all the same.
        """
        self._core.run(self._core.delete(name))

    def lineage(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """The view and everything that it reads, directly or not, ready for `refresh_all`.

        >>> dune.lineage("dune.my_team.result_daily")
        {'dune.my_team.result_base': (), 'dune.my_team.result_daily': ('dune.my_team.result_base',)}

        Two free requests: for the view's query, and for its pipeline (`GET /v1/query/{query_id}/pipeline`). Plain
        queries in between are passed through, so that the order of the views is kept.

        Returns:
            A mapping of full names to the full names that each reads directly, upstream first, the view itself last.

        Raises:
            InvalidArgumentError: the name cannot be used; nothing was sent.
            UnexpectedResponseError: the pipeline has no nodes, a circle, or gaps, so that no order follows from it.
            APIError: Dune refused; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.lineage(name))

    def freshness(self, name: str) -> Freshness:
        """When the view was last refreshed with success, and how long that is ago.

        >>> from datetime import timedelta
        >>> dune.freshness("dune.my_team.result_daily").age > timedelta(hours=6)
        True

        Two free requests, and one more for each newer execution that did not succeed.

        Raises:
            InvalidArgumentError: the name cannot be used; nothing was sent.
            APIError: Dune refused, or its responses cannot be understood; `NotFoundError` if there is no such view.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.freshness(name))

    def usage(self) -> Usage:
        """The account's usage in its present billing period (`POST /v1/usage`; free of charge).

        >>> usage = dune.usage()
        >>> usage.credits_used, usage.credits_included
        (0.0, 2500.0)

        Raises:
            APIError: Dune refused, or its responses cannot be understood.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.usage())

    def whoami(self) -> Account:
        """Whose the key is (`GET /whoami`; free of charge): a person's or a team's.

        >>> dune.whoami().handle
        'my_team'

        Raises:
            APIError: Dune refused, or its response cannot be understood.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.whoami())

    def close(self) -> None:
        """Close the connections. Executions go on at Dune; handles of this client can no longer be used."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        not_pickled(self)

    def __repr__(self) -> str:
        return described(self)


class Refresh(Handle):
    """A refresh under way, or over, from `MatviewsClient.refresh` or `MatviewsClient.attach`."""

    def status(self) -> ExecutionStatus:
        """Look at the execution once (`GET /v1/execution/{execution_id}/status`; free of charge).

        >>> refresh.status().is_finished
        False

        Raises:
            APIError: Dune refused, or its responses cannot be understood.
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

        The end is noticed within 1 s or 10 % of the execution's length, the longer of the two, while the request budget
        allows. Failures of single polls are retried. Ctrl-C leaves the execution running.

        Args:
            timeout: seconds (or a `timedelta`) to wait; None waits as long as Dune responds: until 15 minutes pass
                without a successful poll.
            max_credits: cancel the execution when its running cost passes so many credits. What it has used by then is
                billed, and Dune's figure lags, so that an execution can pass its cap before that is seen.
            on_update: a plain function, called with every status seen, the final one included.

        Raises:
            RefreshFailedError, RefreshCanceledError, RefreshExpiredError: that is how it ended.
            RefreshError: it ended in a state that this version does not know.
            CreditLimitError: it was cancelled over *max_credits*. One that finished over the cap is returned.
            WaitTimeoutError: the time is over; the execution goes on.
            APIError: Dune refused to be asked (401, 403, 404, …).
        """
        return self._core.run(self._core.watch(self._execution, timeout, max_credits, on_update))

    def cancel(self) -> bool:
        """Cancel the execution (`POST /v1/execution/{execution_id}/cancel`); what it has used by then is billed.

        >>> refresh.cancel()
        True

        Returns:
            Whether there was something to cancel.

        Raises:
            APIError: Dune refused, or its responses cannot be understood.
            RequestFailedError: no response came for ten request timeouts.
        """
        return self._core.run(self._core.cancel(self._execution))
