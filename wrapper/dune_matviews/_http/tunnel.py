"""TLS within the TLS of an https proxy, for the synchronous client: httpcore's own gives each read the whole time.

This module must not know deadlines: the streams that it uses keep them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")

RECORD = 16_384
"""The most that one record of TLS holds, in bytes."""


class Tunnel(httpcore.NetworkStream):
    """A stream that is encrypted once more before it goes through *below*."""

    def __init__(self, below: httpcore.NetworkStream, context: ssl.SSLContext, hostname: str | None) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        try:
            with _instead(httpcore.ConnectTimeout, httpcore.ConnectError):
                self._carry_out(self._tls.do_handshake)
        except httpcore.NetworkError:
            self.close()
            raise

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _instead(httpcore.ReadTimeout, httpcore.ReadError):
            return self._carry_out(lambda: self._tls.read(max_bytes))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _instead(httpcore.WriteTimeout, httpcore.WriteError):
            self._carry_out(lambda: self._tls.write(buffer))

    def _carry_out(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._below.write(self._outgoing.read())
                if received := self._below.read(RECORD):
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                self._below.write(self._outgoing.read())
                return result

    def close(self) -> None:
        self._below.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._below.get_extra_info(info)


@contextmanager
def _instead(timeout: type[Exception], error: type[Exception]) -> Generator[None]:
    """A failure of the layer below, as an error of this one."""
    try:
        yield
    except httpcore.TimeoutException as problem:
        raise timeout(str(problem)) from problem
    except (httpcore.NetworkError, ssl.SSLError) as problem:
        raise error(str(problem)) from problem
