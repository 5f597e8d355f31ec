"""The transport of the asynchronous client.

This module must not know operations, flows or policies, nor the meaning of a response. Its connections belong to one
event loop of one process: another begins with its own.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from ..errors import ConfigurationError
from . import connections
from .connections import Kept, Route
from .exchange import Exchange
from .settings import Settings
from .transports import Transport, crowded

if TYPE_CHECKING:
    from .._flow.effects import Call, T


limit = asyncio.timeout
"""Bounds a whole exchange, whatever drips."""


class _Connection(Kept, httpcore.AsyncNetworkBackend):
    def __init__(self, route: Route) -> None:
        self._route = route
        self._network: Any = httpcore.AnyIOBackend()
        self._socket: httpcore.AsyncNetworkStream | None = None
        self.http = self._http = route.connect_async(self)

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream: httpcore.AsyncNetworkStream = await self._network.connect_tcp(*args, **options)
        self._socket = stream
        return stream

    @asynccontextmanager
    async def exchange(self, exchange: Exchange) -> AsyncGenerator[httpx.Response]:
        async with limit(exchange.seconds):
            request = self._route.request(exchange.signed(partial(_trace, exchange)))
            response = await self._http.handle_async_request(request)
            async with aclosing(response):
                yield httpx.Response(response.status, headers=response.headers, content=response.stream)

    async def aclose(self) -> None:
        """Close the socket, whatever state the connection is in; it is closed even where this is interrupted."""
        if self._socket is not None:
            await self._socket.aclose()


class _Pool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.slots = asyncio.Semaphore(connections.CONNECTIONS)
        self.guard: AsyncGenerator[None] | None = None
        self._idle: list[_Connection] = []

    async def take(self, is_billed: bool) -> _Connection | None:
        """The last one used, which is the likeliest to be alive."""
        if not self._idle:
            return None
        connection = self._idle.pop()
        if connection.may_carry(is_billed):
            return connection
        await connection.aclose()
        return None

    async def give_back(self, connection: _Connection, is_clean: bool) -> None:
        """Keep a connection whose exchange is complete, and throw away any other."""
        if is_clean and connection.is_idle():
            self._idle.append(connection)
        else:
            await connection.aclose()

    async def aclose(self) -> None:
        """Close the idle ones."""
        while self._idle:
            await self._idle.pop().aclose()


_inherited: list[_Pool] = []
"""Pools of a parent process: their loop's descriptors are the parent's, too, so that they are not even forgotten."""


class AsyncTransport(Transport):
    """Sends from any event loop of any process."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        super().__init__(settings, own, httpx.AsyncClient)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        pool = await self._own_pool()
        try:
            async with asyncio.timeout(None if call.timeout == math.inf else call.timeout):
                await pool.slots.acquire()
        except TimeoutError:
            raise crowded() from None
        try:
            exchange = self._begin(call, end)
            if self._own is None:
                await self._carry_out(exchange, pool, call.request.is_billed)
            else:
                with exchange:
                    await _take_in(exchange, await _opened(self._own, exchange))
        finally:
            pool.slots.release()
        return call.parse(exchange.outcome())

    async def _carry_out(self, exchange: Exchange, pool: _Pool, is_billed: bool) -> None:
        connection = await pool.take(is_billed) or _Connection(self._route)
        try:
            with exchange:
                await _take_in(exchange, connection.exchange(exchange))
        finally:
            await pool.give_back(connection, exchange.is_clean)
            if self.is_closed:
                await pool.aclose()

    async def _own_pool(self) -> _Pool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "AsyncMatviewsClient runs on asyncio only. With another library, such as trio, use MatviewsClient in a "
                "thread (trio.to_thread.run_sync)."
            ) from None
        pool = self._pools.get(loop)
        if pool is not None and pool.process == os.getpid():
            return pool
        for other, each in list(self._pools.items()):
            if each.process != os.getpid():
                _inherited.append(self._pools.pop(other))
            elif other.is_closed():
                del self._pools[other]
        self._pools[loop] = pool = _Pool()
        pool.guard = self._until_it_ends(loop, pool)
        await anext(pool.guard)
        return pool

    async def _until_it_ends(self, loop: asyncio.AbstractEventLoop, pool: _Pool) -> AsyncGenerator[None]:
        """Close the connections of a loop that ends: as its last act, asyncio closes asynchronous generators."""
        try:
            yield
        finally:
            await pool.aclose()
            self._pools.pop(loop, None)

    async def aclose(self) -> None:
        """Close the connections of this loop that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        if self._pools:
            await (await self._own_pool()).aclose()


async def _trace(exchange: Exchange, event: str, info: Mapping[str, Any]) -> None:
    exchange.trace(event, info)


async def _opened(own: httpx.AsyncClient, exchange: Exchange) -> AbstractAsyncContextManager[httpx.Response]:
    request = exchange.signed(partial(_trace, exchange))
    return aclosing(await own.send(request, stream=True, follow_redirects=False))


async def _take_in(exchange: Exchange, opened: AbstractAsyncContextManager[httpx.Response]) -> None:
    async with opened as response:
        exchange.begin(response)
        async for chunk in response.aiter_bytes():
            exchange.add(chunk)
