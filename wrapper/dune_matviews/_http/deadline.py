"""One deadline for a whole exchange of the synchronous client: every read and write below httpcore gets the time left.

This module must not know requests or responses. httpcore applies a timeout to each read, so that a server which drips
byte by byte is never too slow, and asks for none where it talks to a SOCKS proxy; what it asks for counts for nothing.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")

RECORD = 16_384
"""The most that one record of TLS holds, in bytes."""


class Backend(httpcore.NetworkBackend):
    """Opens the socket of one connection.

    Attributes:
        deadline: when the exchange has to be over, by `time.monotonic()`.
    """

    def __init__(self) -> None:
        self.deadline = -math.inf
        self._network = httpcore.SyncBackend()
        self._stream: httpcore.NetworkStream | None = None

    def left(self) -> float:
        """Seconds to the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for the request is over")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of *host* that accepts; each may take its share of the time that is left.

        The look-up itself takes as long as the system lets it.
        """
        addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        while True:
            share = self.left() / len(addresses)
            address = addresses.pop(0)
            try:
                return self.bound(self._network.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise

    def bound(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """*stream*, which is the connection's socket from now on, kept to the deadline."""
        self._stream = stream
        return _Stream(self, stream)

    def close(self) -> None:
        """Close the socket, whatever state the connection is in."""
        if self._stream is not None:
            self._stream.close()


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: Backend, inner: httpcore.NetworkStream) -> None:
        self._backend = backend
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._backend.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._backend.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._inner.get_extra_info("ssl_object") is not None:
            return _Tunnel(self, ssl_context, server_hostname)
        return self._backend.bound(self._inner.start_tls(ssl_context, server_hostname, self._backend.left()))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Tunnel(httpcore.NetworkStream):
    """TLS within the TLS of an https proxy: httpcore's own gives each part of a record the whole time."""

    def __init__(self, outer: _Stream, context: ssl.SSLContext, hostname: str | None) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self._carry_out(self._tls.do_handshake)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._carry_out(lambda: self._tls.read(max_bytes))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._carry_out(lambda: self._tls.write(buffer))

    def _carry_out(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._outer.write(self._outgoing.read())
                if received := self._outer.read(RECORD):
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                self._outer.write(self._outgoing.read())
                return result

    def close(self) -> None:
        self._outer.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._outer.get_extra_info(info)
