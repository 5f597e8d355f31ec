"""The transport of the asynchronous client.

This module must not know operations, flows or policies, nor the meaning of a response. Its connections belong to one
event loop of one process: another begins with its own.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from ..errors import ConfigurationError
from . import transports
from .connections import Route, as_httpx
from .exchange import Exchange
from .settings import Settings
from .transports import Pool, Transport

if TYPE_CHECKING:
    from .._flow.effects import Call, T

limit = asyncio.timeout
"""Bounds a whole exchange, however slowly its parts arrive."""


class _Connection(httpcore.AsyncNetworkBackend):
    def __init__(self, route: Route) -> None:
        self._route = route
        self._network: Any = httpcore.AnyIOBackend()
        self._socket: httpcore.AsyncNetworkStream | None = None
        self.http = route.connect_async(self)

    async def carry_out(self, exchange: Exchange) -> None:
        if self._socket is None:
            exchange.request.extensions["trace"] = _trace(exchange)
        async with limit(exchange.seconds):
            request = self._route.request(exchange.request)
            async with aclosing(await self.http.handle_async_request(request)) as response:
                await _read(exchange, as_httpx(response))

    async def aclose(self) -> None:
        """Close the socket, in any state of the connection; it is closed even where this is interrupted."""
        if self._socket is not None:
            await self._socket.aclose()

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream: httpcore.AsyncNetworkStream = await self._network.connect_tcp(*args, **options)
        self._socket = stream
        return stream


class _Slots:
    """At most so many exchanges at once, in the order of their tasks."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def acquire(self, timeout: float) -> object | None:
        try:
            async with asyncio.timeout(None if timeout == math.inf else timeout):
                await self._free.acquire()
        except TimeoutError:
            return None
        return self

    def call_next(self) -> None:
        self._free.release()


def _trace(exchange: Exchange) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    async def trace(event: str, info: Mapping[str, Any]) -> None:
        exchange.trace(event, info)

    return trace


async def _read(exchange: Exchange, response: httpx.Response) -> None:
    exchange.begin(response)
    async for chunk in response.aiter_bytes():
        exchange.add(chunk)


_inherited: list[Pool] = []
"""Pools of a parent process: their loop's descriptors are the parent's, too, so that they are not even forgotten."""


class AsyncTransport(Transport):
    """Sends from any event loop of any process."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        super().__init__(settings, own, httpx.AsyncClient)
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}

    async def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        return await self._exchange(await self._own_pool(), call)

    async def _through_own(self, exchange: Exchange) -> None:
        exchange.request.extensions["trace"] = _trace(exchange)
        async with aclosing(await self._own.send(exchange.request, stream=True, follow_redirects=False)) as response:
            await _read(exchange, response)

    async def _own_pool(self) -> Pool:
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
        pool = Pool(_Slots(transports.CONNECTIONS), partial(_Connection, self._route))
        pool.guard = self._until_it_ends(loop, pool)
        self._pools[loop] = pool
        await anext(pool.guard)
        return pool

    async def _until_it_ends(self, loop: asyncio.AbstractEventLoop, pool: Pool) -> AsyncGenerator[None]:
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
