"""TLS within the TLS of an https proxy, for the synchronous client: httpcore's own gives each part the whole time.

This module must not know deadlines: the stream below keeps them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")

RECORD = 16_384
"""The most that one record of TLS holds, in bytes."""


class Tunnel(httpcore.NetworkStream):
    """A stream that is encrypted once more before it goes through *outer*."""

    def __init__(self, outer: httpcore.NetworkStream, context: ssl.SSLContext, hostname: str | None) -> None:
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
