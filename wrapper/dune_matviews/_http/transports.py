"""The transport of the synchronous client, and the parts that it shares with the other.

This module must not know operations, flows or policies, nor the meaning of a response. A transport is not an httpx
client: it sends every request once, on a connection of its own or through the caller's own httpx client. It shares its
connections with nobody: another process begins with its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import ClientClosedError, InvalidArgumentError, RequestFailedError
from . import connections
from .connections import Kept, Route
from .deadline import Backend
from .exchange import Exchange
from .messages import OnResponse
from .redaction import keep_out_of_logs
from .settings import Settings
from .slots import Slots

if TYPE_CHECKING:
    from .._flow.effects import Call, T


class Transport:
    """What both transports share: settings, the caller's own httpx client or the way to Dune, and checks."""

    def __init__(self, settings: Settings, own: Any, kind: type) -> None:
        if own is not None and not isinstance(own, kind):
            raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
        self.is_closed = False
        self.on_response: OnResponse = lambda request, headers: None
        self._settings = settings
        self._own: Any = own
        self._route = Route(settings)  # now, so that a wrong environment is told at once
        keep_out_of_logs(settings.api_key)

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        if self.is_closed or (self._own is not None and self._own.is_closed):
            raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")

    def _begin(self, call: Call[Any], end: float) -> Exchange:
        """The exchange that *call* asks for, whose time begins now; *end* is when its caller gives it up."""
        self.check_open()
        left = end - time.monotonic()
        if left <= 0:
            raise crowded()
        if call.before is not None:
            call.before()
        return Exchange(self._settings, call.request, min(self._settings.timeout, left), self.on_response)


def crowded() -> RequestFailedError:
    """The error of a request that has not left."""
    return RequestFailedError("No connection was free for the request in the time that was left.")


class _Connection(Kept):
    def __init__(self, route: Route) -> None:
        self._route = route
        self._backend = Backend()
        self.http = self._http = route.connect(self._backend)

    @contextmanager
    def exchange(self, exchange: Exchange) -> Generator[httpx.Response]:
        self._backend.deadline = exchange.deadline
        response = self._http.handle_request(self._route.request(exchange.signed(exchange.trace)))
        try:
            yield httpx.Response(response.status, headers=response.headers, content=response.stream)
        finally:
            response.close()

    def close(self) -> None:
        self._backend.close()


class _Pool:
    """The connections of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.slots = Slots(connections.CONNECTIONS)
        self._idle: list[_Connection] = []

    def take(self, is_billed: bool) -> _Connection | None:
        """The last one used, which is the likeliest to be alive."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        if connection.may_carry(is_billed):
            return connection
        connection.close()
        return None

    def give_back(self, connection: _Connection, is_clean: bool) -> None:
        """Keep a connection whose exchange is complete, and throw away any other."""
        if is_clean and connection.is_idle():
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle ones. In a forked child this leaves the parent's open: each has its own descriptors."""
        while self._idle:
            self._idle.pop().close()


class SyncTransport(Transport):
    """Sends from any thread of any process."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        super().__init__(settings, own, httpx.Client)
        self._pool = _Pool()

    def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        pool = self._own_pool()
        slot = pool.slots.acquire(call.timeout)
        if slot is None:
            raise crowded()
        try:
            exchange = self._begin(call, end)
            if self._own is None:
                self._carry_out(exchange, pool, call.request.is_billed)
            else:
                with exchange:
                    _take_in(exchange, _opened(self._own, exchange))
        finally:
            del slot
            pool.slots.call_next()
        return call.parse(exchange.outcome())

    def _carry_out(self, exchange: Exchange, pool: _Pool, is_billed: bool) -> None:
        connection = pool.take(is_billed) or _Connection(self._route)
        try:
            with exchange:
                _take_in(exchange, connection.exchange(exchange))
        finally:
            pool.give_back(connection, exchange.is_clean)
            if self.is_closed:
                pool.close()

    def _own_pool(self) -> _Pool:
        if self._pool.process != os.getpid():
            inherited, self._pool = self._pool, _Pool()
            inherited.close()
        return self._pool

    def close(self) -> None:
        """Close the connections that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        self._own_pool().close()


def _opened(own: httpx.Client, exchange: Exchange) -> AbstractContextManager[httpx.Response]:
    return closing(own.send(exchange.signed(exchange.trace), stream=True, follow_redirects=False))


def _take_in(exchange: Exchange, opened: AbstractContextManager[httpx.Response]) -> None:
    with opened as response:
        exchange.begin(response)
        for chunk in response.iter_bytes():
            exchange.add(chunk)
