"""One deadline for a whole exchange: every read and write below httpx gets the time that is left.

This module must not know requests or responses. httpx knows a timeout for each phase, and httpcore applies it to every
single read, so that a server which drips byte by byte is never too slow; some reads get none. A backend of ours serves
one exchange at a time, whose end it is told; what httpx and httpcore ask for counts for nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import httpcore
import httpx

from .tunnel import Tunnel


def bound(transport: httpx.HTTPTransport) -> Backend:
    """Have *transport* keep deadlines, and return the backend that holds its sockets.

    httpcore's pools take a `network_backend`, which httpx does not pass on: `_pool` is its one private attribute that
    we touch, here and in `bound_async` only. The pool's lock goes: it is for pools that are shared, and Ctrl-C in the
    moment in which it is taken would have httpcore wait for it for ever, in its own handler.
    """
    pool: Any = transport._pool
    pool._optional_thread_lock = nullcontext()
    pool._network_backend = backend = Backend(pool._network_backend)
    return backend


def bound_async(transport: httpx.AsyncHTTPTransport) -> AsyncBackend:
    """The same for an asynchronous transport."""
    pool = transport._pool
    pool._network_backend = backend = AsyncBackend(pool._network_backend)
    return backend


class _Deadline:
    """The knowledge that both backends share.

    Attributes:
        end: when the exchange has to be over, by `time.monotonic()`.
        last_read: when something was last read, by the same clock; a connection just made counts.
        streams: the open sockets.
    """

    def __init__(self) -> None:
        self.end = self.last_read = -float("inf")
        self.streams: list[Any] = []

    def left(self, over: type[Exception]) -> float:
        """Seconds; *over* is raised where there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise over("the time for the request is over")
        return left

    def opened(self, stream: object) -> None:
        """A socket was opened, or is one in TLS now."""
        self.streams.append(stream)
        self.last_read = time.monotonic()

    def closed(self, stream: object) -> None:
        """A socket was closed, or another stands for it."""
        if stream in self.streams:
            self.streams.remove(stream)


class Backend(_Deadline, httpcore.NetworkBackend):
    """Opens sockets that keep deadlines, and can close all of them without asking the pool that uses them.

    A pool takes a lock to close itself, which Ctrl-C may have left locked for ever.
    """

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        super().__init__()
        self._inner = inner

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
        while True:
            share = self.left(httpcore.ConnectTimeout) / len(addresses)
            address = addresses.pop(0)
            try:
                return _Stream(self, self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise

    def close(self) -> None:
        """Close every socket that was opened here."""
        while self.streams:
            self.streams.pop().close()


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of *host*, one at least. The look-up itself takes as long as the system lets it."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as problem:
        raise httpcore.ConnectError(str(problem)) from problem


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: Backend, inner: httpcore.NetworkStream) -> None:
        self._backend = backend
        self._inner = inner
        backend.opened(inner)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, self._backend.left(httpcore.ReadTimeout))
        self._backend.last_read = time.monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._backend.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()
        self._backend.closed(self._inner)

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._inner.get_extra_info("ssl_object") is not None:
            return Tunnel(self, ssl_context, server_hostname)
        inner = self._inner.start_tls(ssl_context, server_hostname, self._backend.left(httpcore.ConnectTimeout))
        self._backend.closed(self._inner)
        return _Stream(self._backend, inner)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class AsyncBackend(_Deadline, httpcore.AsyncNetworkBackend):
    """The same for an asynchronous pool, which may have lost a connection where a task was cancelled."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        super().__init__()
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = self.left(httpcore.ConnectTimeout)
        return _AsyncStream(self, await self._inner.connect_tcp(host, port, left, local_address, socket_options))

    async def aclose(self) -> None:
        """Close every socket that was opened here; where that is interrupted, it can be done again."""
        while self.streams:
            stream = self.streams[-1]
            await stream.aclose()
            self.closed(stream)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, backend: AsyncBackend, inner: httpcore.AsyncNetworkStream) -> None:
        self._backend = backend
        self._inner = inner
        backend.opened(inner)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._inner.read(max_bytes, self._backend.left(httpcore.ReadTimeout))
        self._backend.last_read = time.monotonic()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, self._backend.left(httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._backend.closed(self._inner)

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        left = self._backend.left(httpcore.ConnectTimeout)
        inner = await self._inner.start_tls(ssl_context, server_hostname, left)
        self._backend.closed(self._inner)
        return _AsyncStream(self._backend, inner)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
