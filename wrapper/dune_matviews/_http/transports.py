"""The transports: a request leaves once, on a connection of our own or through the caller's own httpx client.

This module must not know operations, flows or policies, nor the meaning of a response. Both clients share it: nothing
of a synchronous client waits where it is awaited, so that its coroutines run to their ends at once.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import httpx

from .._flow.drivers import completed
from ..errors import ClientClosedError, InvalidArgumentError, RequestFailedError
from .connections import Connection, Route
from .exchange import Exchange
from .messages import OnNotice, Request
from .redaction import keep_out_of_logs
from .settings import Settings

if TYPE_CHECKING:
    from .._flow.effects import Call, T

CONNECTIONS = 20
"""Open at once: enough for any plan's budget.

Requests wait for one of them before their time begins: sent with little of it left, they would end in doubt whether
they were accepted.
"""

CERTAIN = 1.0
"""Seconds since its last exchange in which a connection certainly is alive."""

NAP = 0.5
"""Seconds after which a waiting thread checks its place by itself: Ctrl-C may keep another from calling it."""


class Pool:
    """The connections of one process, or of one of its event loops.

    It knows the idle ones only. One that is in use has nothing but its exchange to lose, wherever that is interrupted.
    """

    def __init__(self, slots: Any, connect: Callable[[], Any]) -> None:
        self.process = os.getpid()
        self.guard: Any = None  # closes it with its event loop
        self.slots = slots
        self._connect = connect
        self._idle: list[tuple[Any, float]] = []

    async def take(self, is_billed: bool) -> Any:
        """The last one used, which is the likeliest to be alive; a billed request leaves on one that certainly is."""
        try:
            connection, used_at = self._idle.pop()
        except IndexError:
            return self._connect()
        is_certain = time.monotonic() - used_at <= CERTAIN
        if (is_certain or not is_billed) and not connection.http.has_expired():
            return connection
        await connection.aclose()
        return self._connect()

    async def give_back(self, connection: Any, is_clean: bool) -> None:
        """Keep a connection whose exchange is complete, and throw away any other."""
        if is_clean and connection.http.is_idle():
            self._idle.append((connection, time.monotonic()))
        else:
            await connection.aclose()

    async def aclose(self) -> None:
        """Close the idle ones."""
        while self._idle:
            await self._idle.pop()[0].aclose()


class Transport:
    """The parts that both transports share."""

    def __init__(self, settings: Settings, own: Any, kind: type) -> None:
        if own is not None and not isinstance(own, kind):
            raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
        self.is_closed = False
        self.on_notice: OnNotice = lambda request, headers: None
        self._settings = settings
        self._own: Any = own
        self._route = Route(settings)  # now, so that a wrong environment is told at once
        keep_out_of_logs(settings.api_key)

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        if self.is_closed or (self._own is not None and self._own.is_closed):
            raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")

    async def _exchange(self, pool: Pool, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        slot = await pool.slots.acquire(call.timeout)
        try:
            self.check_open()
            left = end - time.monotonic()
            if slot is None or left <= 0:
                raise RequestFailedError("No connection was free for the request in the time that was left.")
            if call.before is not None:
                call.before()
            exchange = await self._carried_out(pool, call.request, min(self._settings.timeout, left))
        finally:
            if slot is not None:
                del slot
                pool.slots.call_next()
        return call.parse(exchange.outcome())

    async def _carried_out(self, pool: Pool, request: Request, seconds: float) -> Exchange:
        connection = None if self._own else await pool.take(request.is_billed)
        is_clean = False
        try:
            with Exchange(self._settings, request, seconds, self.on_notice) as exchange:
                exchange.sign()
                await (connection.carry_out(exchange) if connection else self._through_own(exchange))
            is_clean = exchange.is_clean
        finally:
            if connection is not None:
                await pool.give_back(connection, is_clean)
                if self.is_closed:
                    await pool.aclose()
        return exchange

    async def _through_own(self, exchange: Exchange) -> None:
        raise NotImplementedError


class SyncTransport(Transport):
    """Sends from any thread of any process: another process than before begins with connections of its own."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        super().__init__(settings, own, httpx.Client)
        self._pool = self._new_pool()

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """Send *call* once, as soon as a connection is free for it."""
        return self._exchange(self._own_pool(), call)

    async def _through_own(self, exchange: Exchange) -> None:
        exchange.request.extensions["trace"] = exchange.trace
        with closing(self._own.send(exchange.request, stream=True, follow_redirects=False)) as response:
            exchange.read(response)

    def _new_pool(self) -> Pool:
        return Pool(Slots(CONNECTIONS), partial(Connection, self._route))

    def _own_pool(self) -> Pool:
        if self._pool.process != os.getpid():
            inherited, self._pool = self._pool, self._new_pool()
            completed(inherited.aclose())  # the parent's connections stay open: each process has its own descriptors
        return self._pool

    def close(self) -> None:
        """Close the connections that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        completed(self._own_pool().aclose())


class Slot:
    """A place in the queue, and near enough to the front the right to one exchange. It is given back by dropping it."""

    called: queue.SimpleQueue[None] | None = None  # for who waits


class Slots:
    """At most so many exchanges at once, in the order of their threads, without a lock that could be left locked.

    A slot is held by a local variable, so that an interruption that ends the function gives it back. None of our code
    runs then: a `__del__` would be interrupted in its turn, and Python would drop that interruption.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: list[ref[Slot]] = []

    async def acquire(self, timeout: float) -> Slot | None:
        """A slot, as soon as one is free; None where that takes more seconds than these."""
        slot = Slot()
        self._queue.append(ref(slot, self._queue.remove))
        if len(self._queue) <= self._most:
            return slot
        end = time.monotonic() + timeout
        slot.called = called = queue.SimpleQueue[None]()
        while not any(each() is slot for each in self._queue[: self._most]):
            left = end - time.monotonic()
            if left <= 0:
                return None
            with suppress(queue.Empty):
                called.get(timeout=min(left, NAP))
        return slot

    def call_next(self) -> None:
        """Wake the threads whose turn it is, after a slot was dropped."""
        if len(self._queue) >= self._most:
            for each in self._queue[: self._most]:
                if (slot := each()) is not None and slot.called is not None and slot.called.empty():
                    slot.called.put(None)
