"""The transport of the asynchronous client.

This module must not know operations, flows or policies, nor the meaning of a response. Its connections belong to one
event loop of one process: another begins with its own.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import ConfigurationError
from . import connections
from .connections import AsyncLane, Builder
from .exchange import Exchange
from .messages import OnResponse, Request, Response
from .settings import Settings
from .transports import checked, closed, crowded, hide_in_logs, ignore, limit

if TYPE_CHECKING:
    from .._flow.effects import Call, T


class _Lanes:
    """The lanes of one event loop."""

    def __init__(self, first: list[AsyncLane]) -> None:
        self.process = os.getpid()
        self.free = asyncio.Semaphore(connections.CONNECTIONS)
        self.idle = first
        self.disturbed: list[AsyncLane] = []  # closed when somebody may wait for it, which a cancelled task may not
        self.guard: AsyncGenerator[None] | None = None

    async def close_disturbed(self) -> None:
        while self.disturbed:
            lane = self.disturbed[-1]
            await lane.aclose()
            if lane in self.disturbed:  # no other task was faster
                self.disturbed.remove(lane)

    async def close(self) -> None:
        while self.idle:
            self.disturbed.append(self.idle.pop())
        await self.close_disturbed()


_inherited: list[_Lanes] = []
"""Lanes of a parent process: their loop's descriptors are the parent's, too, so that they are not even forgotten."""


class AsyncTransport:
    """Sends from any event loop of any process."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        self.is_closed = False
        self.on_response: OnResponse = ignore
        self._settings = settings
        self._own = checked(own, httpx.AsyncClient)
        self._builder = Builder(settings)
        self._first = [self._new_lane()]  # now, so that a wrong environment is told at once
        self._by_loop: dict[asyncio.AbstractEventLoop, _Lanes] = {}
        self._end_hiding = hide_in_logs(self, settings.api_key)

    async def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        lanes = await self._lanes()
        if lanes.free.locked():
            try:
                async with asyncio.timeout(None if call.timeout == math.inf else call.timeout):
                    await lanes.free.acquire()
            except TimeoutError:
                raise crowded() from None
        else:
            await lanes.free.acquire()  # returns at once
        try:
            response = await self._exchange(lanes, call, end)
        finally:
            lanes.free.release()
        return call.parse(response)

    async def _exchange(self, lanes: _Lanes, call: Call[Any], end: float) -> Response:
        self.check_open()
        await lanes.close_disturbed()
        request: Request = call.request
        lane = self._lane(lanes, request.is_billed)
        is_kept = False
        try:
            if call.before is not None:
                call.before()
            with Exchange(self._settings, request, limit(self._settings, end), self.on_response) as exchange:
                await _carry_out(lane.reserved(exchange.end), exchange)
            is_kept = exchange.is_clean
        finally:
            (lanes.idle if is_kept else lanes.disturbed).append(lane)
        if self.is_closed:
            await lanes.close()
        elif not is_kept:
            await lanes.close_disturbed()
        return exchange.outcome()

    def _lane(self, lanes: _Lanes, is_billed: bool) -> AsyncLane:
        """The last one used, which is the likeliest to be alive; a billed request leaves on one that certainly is."""
        if not lanes.idle:
            return self._new_lane()
        lane = lanes.idle.pop()
        if not (is_billed and lane.is_stale):
            return lane
        lanes.disturbed.append(lane)
        return self._new_lane()

    def _new_lane(self) -> AsyncLane:
        return self._builder.async_lane() if self._own is None else AsyncLane(self._own, None)

    async def _lanes(self) -> _Lanes:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "AsyncMatviewsClient runs on asyncio only. With another library, such as trio, use MatviewsClient in a "
                "thread (trio.to_thread.run_sync)."
            ) from None
        lanes = self._by_loop.get(loop)
        if lanes is not None and lanes.process == os.getpid():
            return lanes
        for other, those in list(self._by_loop.items()):
            if those.process != os.getpid():
                _inherited.append(self._by_loop.pop(other))
            elif other.is_closed():
                del self._by_loop[other]
        first, self._first = self._first, []
        self._by_loop[loop] = lanes = _Lanes(first)
        lanes.guard = self._until_it_ends(loop, lanes)
        await anext(lanes.guard)
        return lanes

    async def _until_it_ends(self, loop: asyncio.AbstractEventLoop, lanes: _Lanes) -> AsyncGenerator[None]:
        """Close the connections of a loop that ends: as its last act, asyncio closes asynchronous generators."""
        try:
            yield
        finally:
            await lanes.close()
            self._by_loop.pop(loop, None)

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        if self.is_closed or (self._own is not None and self._own.is_closed):
            raise closed()

    async def aclose(self) -> None:
        """Close the connections of this loop that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        self._end_hiding()
        if self._by_loop:
            await (await self._lanes()).close()


async def _carry_out(client: httpx.AsyncClient, exchange: Exchange) -> None:
    response = await client.send(exchange.signed(), stream=True, follow_redirects=False)
    try:
        exchange.begin(response)
        async for chunk in response.aiter_bytes():
            exchange.add(chunk)
    finally:
        await response.aclose()
