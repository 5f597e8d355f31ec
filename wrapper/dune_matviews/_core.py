"""What both clients share: the flow of each method, its arguments checked; and what a handle is.

This module must not know whether it serves the synchronous or the asynchronous client, nor what the flows decide; and
it loads httpx and the generated code with the first client only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn, Self

import attrs

from . import _arguments, _life, _lookup, _refresh
from ._api.values import Definition, Page, Started
from ._arguments import KEEP, Keep, Seconds
from ._flow.drivers import run, run_async
from ._flow.effects import Flow, T
from ._http.settings import Settings
from ._pacing import Pace
from ._refresh import IF_RUNNING, IfRunning
from ._requests import Session
from ._tiers import Performance, Tiers
from .errors import InvalidArgumentError
from .models import ExecutionStatus, Freshness, Matview, Usage

if TYPE_CHECKING:
    from ._api.operations import Operations
    from ._http.async_transport import AsyncTransport
    from ._http.transports import SyncTransport
    from ._lineage import Lineage
    from .report import RefreshReport, ViewResult


@attrs.frozen
class Core:
    """What both clients share: the way out, the session, and the flow of each method, its arguments checked."""

    transport: SyncTransport | AsyncTransport = attrs.field(repr=False)
    api: Operations
    session: Session
    settings: Settings
    tiers: Tiers

    @classmethod
    def of(cls, transport: SyncTransport | AsyncTransport, settings: Settings, tiers: Tiers) -> Self:
        from ._api.operations import Operations

        return cls(transport, Operations(), Session(Pace(settings.budget), settings.timeout), settings, tiers)

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
        from ._order import reads

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

    def get(self, name: str) -> Flow[Matview]:
        return _life.get(self.session, self.api, _arguments.view_name(name))

    def page(self, offset: int) -> Flow[Page]:
        return _lookup.next_page(self.session, self.api, offset)

    def upsert(
        self,
        name: str,
        query_id: int,
        is_private: bool,
        performance: Performance | None,
        cron_expression: str | None,
        expires_at: datetime | None,
    ) -> Flow[Started]:
        from . import _cron

        if expires_at is not None and cron_expression is None:
            raise InvalidArgumentError("expires_at ends a schedule; pass it with cron_expression only")
        view = Definition(
            name=_arguments.bare_name(name),
            query_id=_arguments.query_id(query_id),
            is_private=_arguments.flag(is_private, "is_private"),
            cron_expression=None if cron_expression is None else _cron.cron(cron_expression),
            expires_at=None if expires_at is None else _arguments.moment(expires_at, "expires_at"),
            performance=self.tiers.choose(performance, stacklevel=3),
        )
        return _life.upsert(self.session, self.api, view)

    def update(
        self,
        name: str,
        query_id: int | Keep,
        is_private: bool | Keep,
        performance: Performance | Keep | None,
        cron_expression: str | Keep | None,
        expires_at: datetime | Keep | None,
    ) -> Flow[Started]:
        from . import _cron

        if cron_expression is None and isinstance(expires_at, datetime):
            raise InvalidArgumentError("expires_at ends a schedule, which cron_expression=None removes; pass only one")
        name = _arguments.view_name(name)
        changes: dict[str, Any] = {}
        if query_id is not KEEP:
            changes["query_id"] = _arguments.query_id(query_id)
        if is_private is not KEEP:
            changes["is_private"] = _arguments.flag(is_private, "is_private")
        if cron_expression is not KEEP:
            changes["cron_expression"] = None if cron_expression is None else _cron.cron(cron_expression)
        if expires_at is not KEEP:
            changes["expires_at"] = None if expires_at is None else _arguments.moment(expires_at, "expires_at")
        if performance is not KEEP:
            changes["performance"] = self.tiers.choose(performance, stacklevel=3, by_default=False)
        if not changes:
            raise InvalidArgumentError("update was given nothing to change, and would be billed; refresh() refreshes")
        return _life.update(self.session, self.api, name, changes, self.tiers.check)

    def delete(self, name: str) -> Flow[None]:
        return _life.delete(self.session, self.api, _arguments.view_name(name))

    def lineage(self, name: str) -> Flow[Lineage]:
        from . import _lineage

        return _lineage.lineage(self.session, self.api, _arguments.view_name(name))

    def freshness(self, name: str) -> Flow[Freshness]:
        return _life.freshness(self.session, self.api, _arguments.view_name(name))

    def usage(self) -> Flow[Usage]:
        return _life.usage(self.session, self.api)

    def attach(self, execution_id: str) -> str:
        self.transport.check_open()
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
        self.transport.check_open()
        return run(flow, self.transport.send)

    async def run_async(self, flow: Flow[T]) -> T:
        self.transport.check_open()
        return await run_async(flow, self.transport.send)

    def describe(self, kind: str) -> str:
        return f"<{kind} of {self.settings.base_url}{', closed' if self.transport.is_closed else ''}>"


def described(client: object) -> str:
    """A client's repr, which debuggers also ask for while it is being made, and when that failed."""
    kind = type(client).__name__
    core: Core | None = vars(client).get("_core")
    return core.describe(kind) if core else f"<{kind}, never opened>"


def not_pickled(client: object) -> NoReturn:
    """A client has connections, and its key, which is written nowhere."""
    raise TypeError(f"a {type(client).__name__} is not pickled: make one where it is used, from the same settings")


class Handle:
    """One execution of one client."""

    def __init__(self, core: Core, execution_id: str, name: str | None) -> None:
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

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a handle is not pickled: pass on its execution_id, {self.execution_id!r}, for attach() there")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name or 'a view'}: execution {self.execution_id}>"
