"""The transport of the synchronous client, and the parts that it shares with the other.

This module must not know operations, flows or policies, nor the meaning of a response. A transport is not an httpx
client; it holds some, and sends every request once, on a lane of its own or through the caller's own httpx client. It
shares them with nobody: another process begins with its own.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import ClientClosedError, InvalidArgumentError, RequestFailedError
from . import connections
from .connections import Builder, Lane
from .exchange import Exchange
from .messages import OnResponse, Request, Response
from .redaction import ApiKey, keyless_logs
from .settings import Settings
from .slots import Slots

if TYPE_CHECKING:
    from .._flow.effects import Call, T


class _Lanes:
    """The lanes of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.slots = Slots(connections.CONNECTIONS)
        self.idle: list[Lane] = []

    def close(self) -> None:
        """Close the idle ones. In a forked child this leaves the parent's open: each has its own descriptors."""
        while self.idle:
            self.idle.pop().close()


class SyncTransport:
    """Sends from any thread of any process."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        self.is_closed = False
        self.on_response: OnResponse = ignore
        self._settings = settings
        self._own = checked(own, httpx.Client)
        self._builder = Builder(settings)
        self._lanes = _Lanes()
        self._lanes.idle.append(self._new_lane())  # now, so that a wrong environment is told at once
        self._end_hiding = hide_in_logs(self, settings.api_key)

    def send(self, call: Call[T]) -> T:
        """Send *call* once, as soon as a connection is free for it."""
        end = time.monotonic() + call.timeout
        lanes = self._own_lanes()
        slot = lanes.slots.acquire(call.timeout)
        if slot is None:
            raise crowded()
        try:
            response = self._exchange(lanes, call, end)
        finally:
            del slot
            lanes.slots.call_next()
        return call.parse(response)

    def _exchange(self, lanes: _Lanes, call: Call[Any], end: float) -> Response:
        self.check_open()
        request: Request = call.request
        lane = self._lane(lanes, request.is_billed)
        is_kept = False
        try:
            if call.before is not None:
                call.before()
            with Exchange(self._settings, request, limit(self._settings, end), self.on_response) as exchange:
                _carry_out(lane.reserved(exchange.end), exchange)
            if exchange.is_clean:
                is_kept = True
                lanes.idle.append(lane)
        finally:
            if not is_kept:
                lane.close()
            if self.is_closed:
                lanes.close()
        return exchange.outcome()

    def _lane(self, lanes: _Lanes, is_billed: bool) -> Lane:
        """The last one used, which is the likeliest to be alive; a billed request leaves on one that certainly is."""
        try:
            lane = lanes.idle.pop()
        except IndexError:
            return self._new_lane()
        if not (is_billed and lane.is_stale):
            return lane
        lane.close()
        return self._new_lane()

    def _new_lane(self) -> Lane:
        return self._builder.lane() if self._own is None else Lane(self._own, None)

    def _own_lanes(self) -> _Lanes:
        if self._lanes.process != os.getpid():
            inherited, self._lanes = self._lanes, _Lanes()
            inherited.close()
        return self._lanes

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        if self.is_closed or (self._own is not None and self._own.is_closed):
            raise closed()

    def close(self) -> None:
        """Close the connections that are ours and idle; those in use close when they have been used."""
        self.is_closed = True
        self._end_hiding()
        self._own_lanes().close()


def _carry_out(client: httpx.Client, exchange: Exchange) -> None:
    response = client.send(exchange.signed(), stream=True, follow_redirects=False)
    try:
        exchange.begin(response)
        for chunk in response.iter_bytes():
            exchange.add(chunk)
    finally:
        response.close()


def ignore(request: Request, headers: Mapping[str, str]) -> None:
    """Do nothing about a response."""


def limit(settings: Settings, end: float) -> float:
    """Seconds that an exchange may take which begins now; *end* is when its caller gives it up."""
    left = end - time.monotonic()
    if left <= 0:
        raise crowded()
    return min(settings.timeout, left)


def crowded() -> RequestFailedError:
    """The error of a request that has not left."""
    return RequestFailedError("No connection was free for the request in the time that was left.")


def checked(own: Any, kind: type) -> Any:
    """The caller's own httpx client, if it is one."""
    if own is not None and not isinstance(own, kind):
        raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
    return own


def closed() -> ClientClosedError:
    """The error of a client that is closed, ours or the caller's own."""
    return ClientClosedError("The client is closed; create another, or move the call into its `with` block.")


def hide_in_logs(transport: object, key: ApiKey) -> Callable[[], object]:
    """Keep the key out of logs until the returned function is called, or *transport* is forgotten without."""
    keyless_logs.add(key)
    return weakref.finalize(transport, keyless_logs.remove, key)
