"""The code that both clients share: argument checks, the flow of each method, and handles.

This module must not know which of the two clients it serves, nor the decisions of the flows. It imports httpx and the
generated code only with the first client.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import attrs

from . import _validate
from ._api.values import Definition, Page
from ._execution import listing, requests, views, watching
from ._execution.intents import How
from ._execution.journal import Journal, Store
from ._execution.listening import Listener
from ._execution.pacing import Pace
from ._execution.recovery import ulid_moment
from ._execution.session import Session
from ._execution.starting import start
from ._execution.watching import Watch, result_of
from ._execution.wish import Begun, Wish
from ._flow.drivers import run, run_async
from ._flow.effects import Flow, T
from ._flow.log import log
from ._http.settings import Settings
from ._tiers import Performance, Tiers
from ._validate import IF_LOST, IF_RUNNING, KEEP, Keep, Seconds
from .errors import APIError, ForecastError, InvalidArgumentError, JournalError, RefreshError
from .models import Account, ExecutionStatus, Freshness, Matview, Retry, Usage
from .remedies import ChangeSetting, Setting

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

_PASS_CRON = ChangeSetting("Pass {}, too.", (Setting("cron_expression"),))

JournalLike = str | PathLike[str] | Store
"""A path, or an object with `read() -> Iterable[str]` and `append(line: str)`."""


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
        path = None if history is None else Path(_validate.path(history, "history"))
        return cls(transport, session, settings, tiers, path)

    def _remembering(self, journal: Journal | None = None) -> Flow[None]:
        """Keep past executions in the client's file, else beside the journal."""
        beside = journal.path.with_name(f"{journal.path.name}.history") if journal and journal.path else None
        return self.session.history.opened(self.history_path or beside)

    def refresh(self, name: str, options: Mapping[str, Any]) -> Flow[Execution]:
        """*options* are the keyword arguments of `MatviewsClient.refresh`."""
        name = _validate.view_name(name)
        wish = Wish(
            view=name,
            tier=self.tiers.choose(options["performance"], stacklevel=3),  # the caller of the client's method
            if_running=_validate.choice(options["if_running"], "if_running", IF_RUNNING),
            if_lost=_validate.choice(options["if_lost"], "if_lost", IF_LOST),
            retry_failed=_validate.flag(options["retry_failed"], "retry_failed"),
            deadline=self.session.clock() + _seconds(options["timeout"], "timeout"),
        )
        return self._refresh(wish, self._journal(options["journal"], options["run"]))

    def _refresh(self, wish: Wish, journal: Journal | None) -> Flow[Execution]:
        try:
            if journal is not None:
                yield from journal.opened()
            yield from self._remembering(journal)
            begun = yield from start(self.session, wish, journal)
            return Execution.of(begun, wish.view, self.session.clock(), journal)
        finally:
            if journal is not None:
                journal.close()

    def _journal(self, store: JournalLike | None, label: str | None) -> Journal | None:
        if label is not None and (not isinstance(store, str | PathLike) or not isinstance(label, str) or not label):
            raise InvalidArgumentError(
                "labels a run in a journal file, by a str that is not empty",
                argument="run",
                remedy=ChangeSetting("Pass {} with it.", (Setting("journal"),)),
            )
        if store is None:
            return None
        if isinstance(store, str | PathLike):
            return Journal(Path(_validate.path(store, "journal")), label, wall=self.session.wall)
        return Journal(_validate.store(store, "journal"), wall=self.session.wall)

    def refresh_all(self, given: object, options: Mapping[str, Any]) -> Flow[RefreshReport]:
        """*options* are the keyword arguments of `MatviewsClient.refresh_all`."""
        from ._batch.graph import reads  # a single refresh does not need it
        from ._batch.run import Run
        from ._batch.view import Limits, Plan

        found = reads(given)
        performance, max_credits, max_age = options["performance"], options["max_credits"], options["max_age"]
        by_name = performance if isinstance(performance, Mapping) else dict.fromkeys(found, performance)
        if unknown := by_name.keys() - found.keys():
            names = ", ".join(map(repr, unknown))
            raise InvalidArgumentError(f"names views that are not refreshed: {names}", argument="performance")
        limits = Limits(
            max_parallel=_validate.count(options["max_parallel"], "max_parallel"),
            max_credits=_cap(max_credits),
            max_age=_age(max_age),
            timeout=_seconds(options["timeout"], "timeout"),
            if_running=_validate.choice(options["if_running"], "if_running", IF_RUNNING),
            if_lost=_validate.choice(options["if_lost"], "if_lost", IF_LOST),
            retry_failed=_validate.flag(options["retry_failed"], "retry_failed"),
        )
        plan = Plan(found, {name: self.tiers.choose(by_name.get(name), stacklevel=3) for name in found})
        on_update = _validate.callback(options["on_update"], "on_update")
        if on_update is None and "IPython" in sys.modules:
            from ._display.notebook import progress

            on_update = progress(len(found))
        journal = self._journal(options["journal"], options["run"])
        run = Run(self.session, plan, limits, on_update, journal).flow()
        if (max_forecast := options.get("max_forecast")) is None:
            return self._run(run, journal)
        allowed = _validate.credits(max_forecast, "max_forecast")
        return self._run(run, journal, partial(self._within_forecast, found, limits, allowed))

    def _run(
        self, run: Flow[RefreshReport], journal: Journal | None, before: Callable[[], Flow[None]] | None = None
    ) -> Flow[RefreshReport]:
        yield from self._remembering(journal)
        if before is not None:
            yield from before()
        return (yield from run)

    def _within_forecast(self, views: Lineage, limits: Limits, allowed: float) -> Flow[None]:
        from ._batch.forecasting import forecast

        found = yield from forecast(self.session, views, limits.max_parallel, limits.max_age)
        cost = found.cost_credits
        if cost is None or cost.expected > allowed:
            told = f"is forecast to cost {cost} credits" if cost else "has no past whose cost is known"
            raise ForecastError(f"The run {told}; max_forecast={allowed:g}, so nothing was started.", forecast=found)

    def forecast(self, given: object, max_parallel: int, max_age: Seconds | None) -> Flow[Forecast]:
        from ._batch.forecasting import forecast
        from ._batch.graph import reads

        age = _age(max_age)
        flow = forecast(self.session, reads(given), _validate.count(max_parallel, "max_parallel"), age)
        return self._remembered(flow)

    def history(self, name: str) -> Flow[tuple[ExecutionStatus, ...]]:
        return self._remembered(views.history(self.session, _validate.view_name(name)))

    def _remembered(self, flow: Flow[T]) -> Flow[T]:
        yield from self._remembering()
        return (yield from flow)

    def get(self, name: str) -> Flow[Matview]:
        return views.get(self.session, _validate.view_name(name))

    def page(self, offset: int, listed: set[str]) -> Flow[Page]:
        return listing.next_page(self.session, offset, listed)

    def upsert(
        self,
        name: str,
        query_id: int,
        is_private: bool,
        performance: Performance | None,
        cron_expression: str | None,
        expires_at: datetime | None,
    ) -> Flow[Execution]:
        from ._execution import cron

        if expires_at is not None and cron_expression is None:
            raise InvalidArgumentError("ends a schedule, and there is none", argument="expires_at", remedy=_PASS_CRON)
        view = Definition(
            name=_validate.bare_name(name),
            query_id=_validate.query_id(query_id),
            is_private=_validate.flag(is_private, "is_private"),
            cron_expression=None if cron_expression is None else cron.cron(cron_expression),
            expires_at=None if expires_at is None else self._to_come(expires_at),
            performance=self.tiers.choose(performance, stacklevel=3),
        )
        return self._begun(views.upsert(self.session, Wish(view=view.name, tier=view.performance, definition=view)))

    def update(
        self,
        name: str,
        query_id: int | Keep,
        is_private: bool | Keep,
        performance: Performance | Keep | None,
        cron_expression: str | Keep | None,
        expires_at: datetime | Keep | None,
    ) -> Flow[Execution]:
        from ._execution import cron

        if cron_expression is None and isinstance(expires_at, datetime):
            raise InvalidArgumentError("ends a schedule, which is removed at the same time", argument="expires_at")
        name = _validate.view_name(name)
        changes: dict[str, Any] = {}
        if query_id is not KEEP:
            changes["query_id"] = _validate.query_id(query_id)
        if is_private is not KEEP:
            changes["is_private"] = _validate.flag(is_private, "is_private")
        if cron_expression is not KEEP:
            changes["cron_expression"] = None if cron_expression is None else cron.cron(cron_expression)
        if expires_at is not KEEP:
            changes["expires_at"] = None if expires_at is None else self._to_come(expires_at)
        if performance is not KEEP:
            changes["performance"] = self.tiers.choose(performance, stacklevel=3, by_default=False)
        if not changes:
            raise InvalidArgumentError("An update that changes nothing would be billed; a refresh refreshes.")
        return self._begun(views.update(self.session, name, changes, self.tiers.check))

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

    def _begun(self, flow: Flow[Begun]) -> Flow[Execution]:
        begun = yield from flow
        return Execution.of(begun, begun.name or "", self.session.clock())

    def attach(self, execution_id: str, name: str | None) -> Execution:
        self.transport.check_open()
        execution_id = _validate.execution_id(execution_id)
        view = None if name is None else _validate.view_name(name)
        return Execution(execution_id, view, None, self._began(execution_id))

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
        self,
        execution: Execution,
        timeout: Seconds | None,
        max_credits: float | None,
        on_update: Callable[[ExecutionStatus], object] | None,
    ) -> Flow[ExecutionStatus]:
        cap = _cap(max_credits)
        watched = Watch(
            execution_id=execution.execution_id,
            view=execution.view,
            how=execution.how,
            since=execution.since,
            timeout=_seconds(timeout, "timeout"),
            allowance=lambda: cap,
            on_update=_validate.callback(on_update, "on_update"),
        )
        return self._watch(execution, watched)

    def _watch(self, execution: Execution, watched: Watch) -> Flow[ExecutionStatus]:
        yield from self._remembering(execution.journal)
        try:
            status = yield from watching.watch(self.session, watched)
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

    def describe(self, kind: str) -> str:
        return f"<{kind} of {self.settings.base_url}{', closed' if self.transport.is_closed else ''}>"


def described(client: object) -> str:
    """A client's repr; debuggers also request it during and after a failed construction."""
    kind = type(client).__name__
    core: Core | None = vars(client).get("_core")
    return core.describe(kind) if core else f"<{kind}, never opened>"


def not_pickled(client: object) -> NoReturn:
    """Refuse to pickle a client: it has connections, and a key that must not be written anywhere."""
    raise TypeError(f"a {type(client).__name__} is not pickled: make one where it is used, from the same settings")


@attrs.frozen
class Execution:
    """The execution behind a handle.

    Attributes:
        execution_id: its id.
        view: its view, or None if unknown.
        how: the source of the id; None if the caller passed it.
        since: its start, by the session's clock.
        journal: the journal that records its end, if any.
    """

    execution_id: str
    view: str | None
    how: How | None
    since: float
    journal: Journal | None = None

    @classmethod
    def of(cls, begun: Begun, view: str, since: float, journal: Journal | None = None) -> Self:
        """Wrap the execution that was begun."""
        assert begun.execution_id is not None  # noqa: S101  # only runs accept several candidates
        return cls(begun.execution_id, begun.name or view, begun.how, since, journal)

    def record(self, status: ExecutionStatus) -> Flow[None]:
        """Record the execution if it has ended. If that fails, a repeat finds the end again."""
        if self.journal is not None and status.is_finished and self.view is not None:
            try:
                yield from self.journal.ended(self.view, result_of(status), finished=self.journal.path is not None)
            except JournalError as problem:
                fields = {"view": self.view, "execution_id": self.execution_id}
                log.warning("The end of execution %s is not recorded: %s", self.execution_id, problem, extra=fields)


def _seconds(value: Seconds | None, what: str) -> float:
    return math.inf if value is None else _validate.seconds(value, what)


def _cap(max_credits: float | None) -> float:
    return math.inf if max_credits is None else _validate.credits(max_credits, "max_credits")


def _age(max_age: Seconds | None) -> timedelta | None:
    return None if max_age is None else timedelta(seconds=_validate.seconds(max_age, "max_age"))


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
