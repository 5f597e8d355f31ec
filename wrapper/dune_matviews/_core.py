"""The code that both clients share: argument checks, the flow of each method, and handles.

This module must not know which of the two clients it serves, nor the decisions of the flows. It imports httpx and the
generated code only with the first client.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import attrs

from . import _validate
from ._api.values import Definition, Page
from ._execution import listing, requests, views, watching
from ._execution.journal import Journal, Store
from ._execution.listening import Listener
from ._execution.pacing import Pace
from ._execution.recovery import ulid_moment
from ._execution.session import Session
from ._execution.starting import start
from ._execution.watching import OnUpdate, Watch
from ._execution.wish import Begun, Wish
from ._flow.drivers import run, run_async
from ._flow.effects import Flow, T
from ._flow.log import log
from ._http.settings import Settings
from ._tiers import Tiers
from ._validate import IF_LOST, IF_RUNNING, KEEP, IfLost, IfRunning, Keep, Seconds
from .errors import APIError, ForecastError, InvalidArgumentError, JournalError, RefreshError
from .models import Account, ExecutionStatus, Freshness, Matview, Retry, Usage
from .remedies import ChangeSetting, Setting
from .report import ViewResult

if TYPE_CHECKING:
    from ._batch.view import Limits
    from ._execution.lineage import Lineage
    from ._http.async_transport import AsyncTransport
    from ._http.transports import SyncTransport
    from .models import Forecast
    from .report import RefreshReport

OLDEST = 3600.0
"""Seconds. An execution with a greater age has ended, or one of the clocks is wrong; it is polled like a new one."""

_MISTAKES = (InvalidArgumentError, JournalError, APIError, RefreshError)
"""Errors caused by a user, a server or a query: the frames of our flows explain nothing about them."""

JournalLike = str | PathLike[str] | Store
"""A path, or an object with `read() -> Iterable[str]` and `append(line: str)`."""


class Terms(NamedTuple):
    """The terms that a refresh and a run have in common, checked."""

    timeout: float
    if_running: IfRunning
    if_lost: IfLost
    retry_failed: bool


class Parts(NamedTuple):
    """The parts of a view, as the caller passed them."""

    query_id: int | Keep
    is_private: bool | Keep
    cron_expression: str | Keep | None
    expires_at: datetime | Keep | None


@attrs.frozen(kw_only=True)
class Execution(Watch):
    """The execution behind a handle, with the journal that records its end, if there is one."""

    journal: Journal | None = None

    def record(self, status: ExecutionStatus) -> Flow[None]:
        """Record the execution if it has ended. If that fails, a repeat finds the end again."""
        if self.journal is not None and status.is_finished and self.view is not None:
            try:
                result = ViewResult.from_status(status)
                yield from self.journal.ended(self.view, result, finished=self.journal.path is not None)
            except JournalError as problem:
                log.warning(
                    "The end of execution %s is not recorded: %s", self.execution_id, problem, extra=self.fields
                )


@attrs.frozen
class Core:
    """Transport, session, and the flow of each method with its arguments checked."""

    transport: SyncTransport | AsyncTransport = attrs.field(repr=False)
    session: Session
    settings: Settings
    tiers: Tiers
    history_path: Path | None = None

    @classmethod
    def of(
        cls,
        transport: SyncTransport | AsyncTransport,
        settings: Settings,
        tiers: Tiers,
        on_retry: Callable[[Retry], object] | None,
        history: str | PathLike[str] | None,
    ) -> Self:
        from ._api.operations import Operations

        pace = Pace(settings.budget, learns=settings.learns)
        on_retry = _validate.callback(on_retry, "on_retry")
        session = Session(Operations(), pace, settings.timeout, on_retry=on_retry)
        transport.on_notice = Listener(session, settings.api_key)
        path = None if history is None else _validate.path(history, "history")
        return cls(transport, session, settings, tiers, path)

    def terms(self, timeout: Seconds | None, if_running: str, if_lost: str, retry_failed: bool) -> Terms:
        return Terms(
            timeout=_seconds(timeout),
            if_running=_validate.choice(if_running, "if_running", IF_RUNNING),
            if_lost=_validate.choice(if_lost, "if_lost", IF_LOST),
            retry_failed=_validate.flag(retry_failed, "retry_failed"),
        )

    def journal(self, store: JournalLike | None, label: str | None) -> Journal | None:
        """The journal of a call, which the call opens and closes."""
        if label is not None and (not isinstance(store, str | PathLike) or not isinstance(label, str) or not label):
            raise InvalidArgumentError(
                "labels a run in a journal file, by a str that is not empty",
                argument="run",
                remedy=ChangeSetting("Pass {} with it.", (Setting("journal"),)),
            )
        return None if store is None else Journal(_validate.store(store), label, wall=self.session.wall)

    def _remembering(self, flow: Flow[T], journal: Journal | None = None) -> Flow[T]:
        """Keep past executions in the client's file, else beside the journal, while *flow* runs."""
        beside = journal.path.with_name(f"{journal.path.name}.history") if journal and journal.path else None
        yield from self.session.history.opened(self.history_path or beside)
        return (yield from flow)

    def refresh(self, name: str, performance: str | None, terms: Terms, journal: Journal | None) -> Flow[Execution]:
        wish = Wish(
            view=_validate.view_name(name),
            tier=self.tiers.choose(performance, stacklevel=3),  # the caller of the client's method
            if_running=terms.if_running,
            if_lost=terms.if_lost,
            retry_failed=terms.retry_failed,
            deadline=self.session.clock() + terms.timeout,
        )
        return self._remembering(self._refresh(wish, journal), journal)

    def _refresh(self, wish: Wish, journal: Journal | None) -> Flow[Execution]:
        try:
            if journal is not None:
                yield from journal.opened()
            return (yield from self._started(start(self.session, wish, journal), wish.view, journal))
        finally:
            if journal is not None:
                journal.close()

    def _started(self, flow: Flow[Begun], view: str, journal: Journal | None = None) -> Flow[Execution]:
        begun = yield from flow
        assert begun.execution_id is not None  # noqa: S101  # only runs accept several candidates
        return Execution(
            execution_id=begun.execution_id,
            view=begun.name or view,
            how=begun.how,
            since=self.session.clock(),
            journal=journal,
        )

    def limits(self, max_parallel: int, max_credits: float | None, max_age: Seconds | None, terms: Terms) -> Limits:
        from ._batch.view import Limits  # a single refresh does not need it

        return Limits(
            max_parallel=_validate.count(max_parallel, "max_parallel"),
            max_credits=_cap(max_credits),
            max_age=_age(max_age),
            **terms._asdict(),
        )

    def refresh_all(
        self,
        views: object,
        performance: str | Mapping[str, str] | None,
        limits: Limits,
        max_forecast: float | None,
        journal: Journal | None,
        on_update: Callable[[str, ViewResult], object] | None,
    ) -> Flow[RefreshReport]:
        from ._batch.graph import reads
        from ._batch.run import Run
        from ._batch.view import Plan

        found = reads(views)
        by_name = performance if isinstance(performance, Mapping) else dict.fromkeys(found, performance)
        if unknown := by_name.keys() - found.keys():
            names = ", ".join(map(repr, unknown))
            raise InvalidArgumentError(f"names views that are not refreshed: {names}", argument="performance")
        plan = Plan(found, {name: self.tiers.choose(by_name.get(name), stacklevel=3) for name in found})
        on_update = _validate.callback(on_update, "on_update")
        if on_update is None and "IPython" in sys.modules:
            from ._display.notebook import progress

            on_update = progress(len(found))
        run = Run(self.session, plan, limits, on_update, journal).flow()
        if max_forecast is not None:
            run = self._within_forecast(run, found, limits, _validate.credits(max_forecast, "max_forecast"))
        return self._remembering(run, journal)

    def _within_forecast(
        self, run: Flow[RefreshReport], views: Lineage, limits: Limits, allowed: float
    ) -> Flow[RefreshReport]:
        from ._batch.forecasting import forecast

        found = yield from forecast(self.session, views, limits.max_parallel, limits.max_age)
        cost = found.cost_credits
        if cost is None or cost.expected > allowed:
            told = f"is forecast to cost {cost} credits" if cost else "has no past whose cost is known"
            raise ForecastError(f"The run {told}; max_forecast={allowed:g}, so nothing was started.", forecast=found)
        return (yield from run)

    def forecast(self, views: object, max_parallel: int, max_age: Seconds | None) -> Flow[Forecast]:
        from ._batch.forecasting import forecast
        from ._batch.graph import reads

        at_once = _validate.count(max_parallel, "max_parallel")
        return self._remembering(forecast(self.session, reads(views), at_once, _age(max_age)))

    def history(self, name: str) -> Flow[tuple[ExecutionStatus, ...]]:
        return self._remembering(views.history(self.session, _validate.view_name(name)))

    def get(self, name: str) -> Flow[Matview]:
        return views.get(self.session, _validate.view_name(name))

    def page(self, offset: int, listed: set[str]) -> Flow[Page]:
        return listing.next_page(self.session, offset, listed)

    def upsert(self, name: str, performance: str | None, parts: Parts) -> Flow[Execution]:
        if parts.expires_at is not None and parts.cron_expression is None:
            remedy = ChangeSetting("Pass {}, too.", (Setting("cron_expression"),))
            raise InvalidArgumentError("ends a schedule, and there is none", argument="expires_at", remedy=remedy)
        view = Definition(
            name=_validate.bare_name(name),
            performance=self.tiers.choose(performance, stacklevel=3),
            **self._checked(parts),
        )
        wish = Wish(view=view.name, tier=view.performance, definition=view)
        return self._started(views.upsert(self.session, wish), view.name)

    def update(self, name: str, performance: str | Keep | None, parts: Parts) -> Flow[Execution]:
        if parts.cron_expression is None and isinstance(parts.expires_at, datetime):
            raise InvalidArgumentError("ends a schedule, which is removed at the same time", argument="expires_at")
        name = _validate.view_name(name)
        changes = self._checked(parts)
        if performance is not KEEP:
            changes["performance"] = self.tiers.choose(performance, stacklevel=3, by_default=False)
        if not changes:
            raise InvalidArgumentError("An update that changes nothing would be billed; a refresh refreshes.")
        return self._started(views.update(self.session, name, changes, self.tiers.check), name)

    def _checked(self, parts: Parts) -> dict[str, Any]:
        """The parts that are not kept, as an upsert sends them."""
        query_id, is_private, cron_expression, expires_at = parts
        found: dict[str, Any] = {}
        if query_id is not KEEP:
            found["query_id"] = _validate.query_id(query_id)
        if is_private is not KEEP:
            found["is_private"] = _validate.flag(is_private, "is_private")
        if cron_expression is not KEEP:
            found["cron_expression"] = None if cron_expression is None else _validate.cron(cron_expression)
        if expires_at is not KEEP:
            found["expires_at"] = None if expires_at is None else self._to_come(expires_at)
        return found

    def _to_come(self, expires_at: datetime) -> str:
        """The end of a schedule. One in the past would still build the view, and be billed."""
        written = _validate.moment(expires_at, "expires_at")
        if expires_at.timestamp() <= self.session.wall():
            problem = f"must be in the future, not {written}: the schedule would never run"
            raise InvalidArgumentError(problem, argument="expires_at")
        return written

    def delete(self, name: str) -> Flow[None]:
        return views.delete(self.session, _validate.view_name(name))

    def lineage(self, name: str) -> Flow[Lineage]:
        from ._execution.lineage import lineage

        return lineage(self.session, _validate.view_name(name))

    def freshness(self, name: str) -> Flow[Freshness]:
        return views.freshness(self.session, _validate.view_name(name))

    def usage(self) -> Flow[Usage]:
        return views.usage(self.session)

    def whoami(self) -> Flow[Account]:
        return views.whoami(self.session)

    def attach(self, execution_id: str, name: str | None) -> Execution:
        self.transport.check_open()
        execution_id = _validate.execution_id(execution_id)
        view = None if name is None else _validate.view_name(name)
        return Execution(execution_id=execution_id, view=view, since=self._began(execution_id))

    def _began(self, execution_id: str) -> float:
        """The start of an execution by the session's clock: from its id if plausible, else now."""
        made = ulid_moment(execution_id)
        age = self.session.wall() - made.timestamp() if made else 0.0
        return self.session.clock() - (age if 0.0 < age < OLDEST else 0.0)

    def poll(self, execution: Execution) -> Flow[ExecutionStatus]:
        found = yield from requests.status(self.session, execution.execution_id, execution.view)
        yield from execution.record(found)
        return found

    def cancel(self, execution: Execution) -> Flow[bool]:
        return watching.cancel(self.session, execution.execution_id, execution.view)

    def watch(
        self, execution: Execution, timeout: Seconds | None, max_credits: float | None, on_update: OnUpdate | None
    ) -> Flow[ExecutionStatus]:
        cap = _cap(max_credits)
        watched = attrs.evolve(
            execution,
            timeout=_seconds(timeout),
            allowance=lambda: cap,
            on_update=_validate.callback(on_update, "on_update"),
        )
        return self._remembering(self._watch(watched), execution.journal)

    def _watch(self, execution: Execution) -> Flow[ExecutionStatus]:
        try:
            status = yield from watching.watch(self.session, execution)
        except RefreshError as failure:
            if failure.status is not None and failure.status.is_finished:
                yield from execution.record(failure.status)
            raise
        yield from execution.record(status)
        return status

    def run(self, flow: Flow[T]) -> T:
        self.transport.check_open()
        try:
            return run(flow, self.transport.send)
        except _MISTAKES as mistake:
            raise mistake.with_traceback(None)  # noqa: B904  # the same error, without the frames of the flows

    async def run_async(self, flow: Flow[T]) -> T:
        self.transport.check_open()
        try:
            return await run_async(flow, self.transport.send)
        except _MISTAKES as mistake:
            raise mistake.with_traceback(None)  # noqa: B904


def _seconds(timeout: Seconds | None) -> float:
    return math.inf if timeout is None else _validate.seconds(timeout, "timeout")


def _cap(max_credits: float | None) -> float:
    return math.inf if max_credits is None else _validate.credits(max_credits, "max_credits")


def _age(max_age: Seconds | None) -> timedelta | None:
    return None if max_age is None else timedelta(seconds=_validate.seconds(max_age, "max_age"))


class Client:
    """The part of both clients that has nothing to wait for."""

    _core: Core

    def __reduce__(self) -> NoReturn:
        # It has connections, and a key that must not be written anywhere.
        raise TypeError(f"a {type(self).__name__} is not pickled: make one where it is used, from the same settings")

    def __repr__(self) -> str:
        core: Core | None = vars(self).get("_core")  # debuggers ask during and after a failed construction, too
        if core is None:
            return f"<{type(self).__name__}, never opened>"
        return f"<{type(self).__name__} of {core.settings.base_url}{', closed' if core.transport.is_closed else ''}>"


class Handle:
    """One execution of one client."""

    def __init__(self, core: Core, execution: Execution) -> None:
        self._core = core
        self._execution = execution

    @property
    def execution_id(self) -> str:
        """Dune's id of the execution."""
        return self._execution.execution_id

    @property
    def name(self) -> str | None:
        """The view; None after `attach` without a name."""
        return self._execution.view

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a handle is not pickled: pass on its execution_id, {self.execution_id!r}, for attach() there")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name or 'a view'}: execution {self.execution_id}>"

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._display.notebook import handle

        return handle(self.execution_id, self.name)
