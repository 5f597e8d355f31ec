"""The two transports: each sends every request once, on a lane of its own, or through the caller's own httpx client.

This module must not know operations, flows or policies, nor what a response means. Neither transport is an httpx
client; each holds some, and the state that they share with nobody: another process or event loop begins with its own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import ClientClosedError, ConfigurationError, InvalidArgumentError, RequestFailedError
from .connections import AsyncLane, Builder, Lane
from .exchange import Exchange
from .messages import Request, Response
from .redaction import ApiKey, keyless_logs
from .settings import Settings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .._flow.effects import Call, T

CONNECTIONS = 20
"""Open at once: enough for any plan's budget.

Requests wait for one of them before their time begins: sent with little of it left, they would end in doubt whether
they were accepted.
"""


class _Permit:
    """The right to one exchange. It returns when it is dropped, wherever an interruption makes somebody drop it."""

    def __init__(self, lanes: weakref.ref[_Lanes]) -> None:
        self._lanes = lanes

    def __del__(self) -> None:
        if (lanes := self._lanes()) is not None:
            lanes.permits.put(_Permit(self._lanes))


class _Lanes:
    """The lanes of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        # No semaphore of `threading`, which is Python: a Ctrl-C within it may leave it locked for ever.
        self.permits = SimpleQueue[_Permit]()
        for _ in range(CONNECTIONS):
            self.permits.put(_Permit(weakref.ref(self)))
        self.idle: list[Lane] = []


_inherited: list[_Lanes] = []
"""Lanes of a parent process, which this one must neither use nor close."""


class SyncTransport:
    """Sends from any thread of any process."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        self.is_closed = False
        self._settings = settings
        self._own = _checked(own, httpx.Client)
        self._builder = Builder(settings)
        self._lanes = _Lanes()
        self._lanes.idle.append(self._new_lane())  # now, so that a wrong environment is told at once
        self._end_hiding = _hide_in_logs(self, settings.api_key)

    def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        lanes = self._own_lanes()
        try:
            permit = lanes.permits.get(timeout=_bounded(call.timeout))
        except Empty:
            raise _crowded() from None
        try:
            response = self._exchange(lanes, call, end)
        finally:
            del permit
        return call.parse(response)

    def _exchange(self, lanes: _Lanes, call: Call[Any], end: float) -> Response:
        self.check_open()
        request: Request = call.request
        lane = self._lane(lanes)
        intact = True
        try:
            if request.is_billed and not lane.is_alive:
                lane.close()
                lane = self._new_lane()
            if call.before is not None:
                call.before()
            end = _end(self._settings, end)
            intact = False
            with Exchange(self._settings, request, end) as exchange:
                _carry_out(lane.client, exchange)
            intact = exchange.is_clean
        finally:
            if intact and not self.is_closed:
                lanes.idle.append(lane)
            else:
                lane.close()
        return exchange.outcome()

    def _own_lanes(self) -> _Lanes:
        if self._lanes.process != os.getpid():
            _inherited.append(self._lanes)
            self._lanes = _Lanes()
        return self._lanes

    def _lane(self, lanes: _Lanes) -> Lane:
        try:
            return lanes.idle.pop()  # the last one used, which is the most alive
        except IndexError:
            return self._new_lane()

    def _new_lane(self) -> Lane:
        return self._builder.lane() if self._own is None else Lane(self._own, None)

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        _check_open(self, self._own)

    def close(self) -> None:
        """Close the connections that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        self._end_hiding()
        lanes = self._own_lanes()
        while lanes.idle:
            lanes.idle.pop().close()


def _carry_out(client: httpx.Client, exchange: Exchange) -> None:
    response = client.send(exchange.request, stream=True, follow_redirects=False)
    try:
        exchange.begin(response)
        for chunk in response.iter_bytes():
            exchange.add(chunk)
    finally:
        response.close()


class _AsyncLanes:
    """The lanes of one event loop."""

    def __init__(self) -> None:
        import asyncio  # 40 ms that the synchronous client does not need

        self.process = os.getpid()
        self.free = asyncio.Semaphore(CONNECTIONS)
        self.idle: list[AsyncLane] = []
        self.disturbed: list[AsyncLane] = []  # closed when somebody may wait for it, which a cancelled task may not


class AsyncTransport:
    """Sends from any event loop of any process."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        self.is_closed = False
        self._settings = settings
        self._own = _checked(own, httpx.AsyncClient)
        self._builder = Builder(settings)
        self._first: AsyncLane | None = self._new_lane()  # now, so that a wrong environment is told at once
        self._by_loop: weakref.WeakKeyDictionary[AbstractEventLoop, _AsyncLanes] = weakref.WeakKeyDictionary()
        self._end_hiding = _hide_in_logs(self, settings.api_key)

    async def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        import asyncio  # as above

        end = time.monotonic() + call.timeout
        lanes = self._lanes()
        if lanes.free.locked():
            try:
                async with asyncio.timeout(_bounded(call.timeout)):
                    await lanes.free.acquire()
            except TimeoutError:
                raise _crowded() from None
        else:
            await lanes.free.acquire()  # returns at once
        try:
            response = await self._exchange(lanes, call, end)
        finally:
            lanes.free.release()
        return call.parse(response)

    async def _exchange(self, lanes: _AsyncLanes, call: Call[Any], end: float) -> Response:
        self.check_open()
        while lanes.disturbed:
            await lanes.disturbed.pop().aclose()
        request: Request = call.request
        lane = lanes.idle.pop() if lanes.idle else self._new_lane()
        intact = True
        try:
            if request.is_billed and not lane.is_alive:
                lanes.disturbed.append(lane)
                lane = self._new_lane()
            if call.before is not None:
                call.before()
            end = _end(self._settings, end)
            intact = False
            with Exchange(self._settings, request, end) as exchange:
                await _carry_out_async(lane.client, exchange)
            intact = exchange.is_clean
        finally:
            (lanes.idle if intact else lanes.disturbed).append(lane)
        if self.is_closed:
            await self._close(lanes)
        return exchange.outcome()

    def _lanes(self) -> _AsyncLanes:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "AsyncMatviewsClient runs on asyncio only. With another library, such as trio, use MatviewsClient in a "
                "thread (trio.to_thread.run_sync)."
            ) from None
        lanes = self._by_loop.get(loop)
        if lanes is None or lanes.process != os.getpid():
            lanes = self._by_loop[loop] = _AsyncLanes()
            if self._first is not None:
                lanes.idle.append(self._first)
                self._first = None
        return lanes

    def _new_lane(self) -> AsyncLane:
        return self._builder.async_lane() if self._own is None else AsyncLane(self._own, None)

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        _check_open(self, self._own)

    async def aclose(self) -> None:
        """Close the connections that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        self._end_hiding()
        await self._close(self._lanes())

    async def _close(self, lanes: _AsyncLanes) -> None:
        for idle in (lanes.idle, lanes.disturbed):
            while idle:
                await idle.pop().aclose()


async def _carry_out_async(client: httpx.AsyncClient, exchange: Exchange) -> None:
    response = await client.send(exchange.request, stream=True, follow_redirects=False)
    try:
        exchange.begin(response)
        async for chunk in response.aiter_bytes():
            exchange.add(chunk)
    finally:
        await response.aclose()


def _end(settings: Settings, end: float) -> float:
    """When an exchange that begins now has to be over; *end* is when its caller gives it up."""
    now = time.monotonic()
    if end <= now:
        raise _crowded()
    return min(now + settings.timeout, end)


def _bounded(seconds: float) -> float:
    return max(min(seconds, threading.TIMEOUT_MAX), 0.0)


def _crowded() -> RequestFailedError:
    return RequestFailedError("No connection was free for the request in the time that was left.")


def _checked(own: Any, kind: type) -> Any:
    if own is not None and not isinstance(own, kind):
        raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
    return own


def _check_open(transport: SyncTransport | AsyncTransport, own: httpx.Client | httpx.AsyncClient | None) -> None:
    if transport.is_closed or (own is not None and own.is_closed):
        raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")


def _hide_in_logs(transport: SyncTransport | AsyncTransport, key: ApiKey) -> Callable[[], object]:
    """Keep the key out of logs until the returned function is called, or *transport* is forgotten without."""
    keyless_logs.add(key)
    return weakref.finalize(transport, keyless_logs.remove, key)
