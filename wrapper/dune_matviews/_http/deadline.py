"""One deadline for a whole exchange: every read and write below httpx gets the time that is left.

This module must not know requests or responses. httpx knows a timeout for each phase, and httpcore applies it to every
single read, so that a server which drips byte by byte is never too slow. Both pass the timeout on as the object it is:
a `TimeLeft` is a number to them, and to the network backend at the bottom the moment at which all is over.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from .tunnel import Tunnel


class TimeLeft(float):
    """Seconds that are left, which remember when they end."""

    end: float

    @classmethod
    def until(cls, end: float) -> TimeLeft:
        """What is left until *end*, by `time.monotonic()`; never zero, which would mean "do not block"."""
        left = cls(max(end - time.monotonic(), 0.001))
        left.end = end
        return left


class Timeouts(dict[str, float]):
    """httpx's table of timeouts, in which each phase has what the phases before it left over."""

    def __init__(self, end: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool"), TimeLeft.until(end)))
        self._end = end

    def get(self, phase: str, default: object = None) -> float:
        return TimeLeft.until(self._end)

    def __getitem__(self, phase: str) -> float:
        return TimeLeft.until(self._end)


def _left(timeout: float | None, over: type[Exception]) -> float | None:
    if not isinstance(timeout, TimeLeft):
        return timeout
    left = timeout.end - time.monotonic()
    if left <= 0:
        raise over("the time for the request is over")
    return left


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of *host*. The look-up itself takes as long as the system lets it."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as problem:
        raise httpcore.ConnectError(str(problem)) from problem


def bound(transport: httpx.HTTPTransport) -> Backend:
    """Have *transport* keep deadlines, and return the backend that holds its sockets.

    httpcore's pools take a `network_backend`, which httpx does not pass on: `_pool` is its one private attribute that
    we touch, here and in `bound_async` only.
    """
    pool = transport._pool
    pool._network_backend = backend = Backend(pool._network_backend)
    return backend


def bound_async(transport: httpx.AsyncHTTPTransport) -> AsyncBackend:
    """The same for an asynchronous transport."""
    pool = transport._pool
    pool._network_backend = backend = AsyncBackend(pool._network_backend)
    return backend


class Backend(httpcore.NetworkBackend):
    """Opens sockets that keep deadlines, and can close all of them without asking the pool that uses them.

    A pool takes a lock to close itself, which Ctrl-C may have left locked for ever.
    """

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner
        self._streams: list[httpcore.NetworkStream] = []
        self.last_read = -float("inf")

    @property
    def is_connected(self) -> bool:
        """A socket that was opened here is still open."""
        return bool(self._streams)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of *host* that answers; each may take its share of the time that is left."""
        addresses = _addresses(host, port)
        for ahead in range(len(addresses), 0, -1):
            left = _left(timeout, httpcore.ConnectTimeout)
            share = left and left / ahead
            address = addresses[-ahead]
            try:
                return _Stream(self, self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if ahead == 1:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def close(self) -> None:
        """Close every socket that was opened here."""
        while self._streams:
            self._streams.pop().close()


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: Backend, inner: httpcore.NetworkStream) -> None:
        self._backend = backend
        self._inner = inner
        backend._streams.append(inner)
        backend.last_read = time.monotonic()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))
        self._backend.last_read = time.monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()
        _forget(self._backend._streams, self._inner)

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._inner.get_extra_info("ssl_object") is not None:
            return Tunnel(self, ssl_context, server_hostname, timeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout))
        _forget(self._backend._streams, self._inner)
        return _Stream(self._backend, inner)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """The same for an asynchronous pool, which may have lost a connection where a task was cancelled."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner
        self._streams: list[httpcore.AsyncNetworkStream] = []
        self.last_read = -float("inf")

    @property
    def is_connected(self) -> bool:
        """A socket that was opened here is still open."""
        return bool(self._streams)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(self, await self._inner.connect_tcp(host, port, left, local_address, socket_options))

    async def aclose(self) -> None:
        """Close every socket that was opened here; where that is interrupted, it can be done again."""
        while self._streams:
            stream = self._streams[-1]
            await stream.aclose()
            _forget(self._streams, stream)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, backend: AsyncBackend, inner: httpcore.AsyncNetworkStream) -> None:
        self._backend = backend
        self._inner = inner
        backend._streams.append(inner)
        backend.last_read = time.monotonic()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))
        self._backend.last_read = time.monotonic()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._inner.aclose()
        _forget(self._backend._streams, self._inner)

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        inner = await self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout))
        _forget(self._backend._streams, self._inner)
        return _AsyncStream(self._backend, inner)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _forget(streams: list[Any], stream: object) -> None:
    if stream in streams:
        streams.remove(stream)
