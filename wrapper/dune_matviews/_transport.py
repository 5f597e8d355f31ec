"""The way out: builds the httpx clients, and turns every exchange that is no success into an error of ours.

This module must not know operations, flows or policies: it sends once, and never again.

Both clients are subclasses that override `send`, because a custom `transport=` would switch the environment's proxies
off. The key joins a request just before it leaves and is taken off when it is back, so that no exception, log or
debugger that holds on to the request holds the key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import attrs
import httpx

from . import __version__
from ._answers import payload, refusal
from ._settings import Settings
from .errors import ClientClosedError, InvalidArgumentError, RequestFailedError

KEY_HEADER = "X-Dune-Api-Key"
MAX_BODY = 10_000_000
"""Bytes of an answer, decompressed, beyond which it is given up: Dune's answers here have a few thousand."""

_log = logging.getLogger("dune_matviews")

# Generated functions take no time limit of their own, so it travels beside them; each thread and task has its own.
_limit: ContextVar[float] = ContextVar("limit")

# Failures before a connection was made: Dune has seen nothing. Any other leaves that open.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Requests sent in here may take at most so long each, their whole answer included."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


class _TimeLeft(dict[str, float]):
    """httpx's table of timeouts, in which each phase gets what the phases before it have left over."""

    def __init__(self, limit: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool"), limit))
        self.limit = limit
        self.end = time.monotonic() + limit

    def __getitem__(self, phase: str) -> float:
        return max(self.end - time.monotonic(), 0.001)

    def get(self, phase: str, default: object = None) -> float:
        return self[phase]

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end


@attrs.frozen
class _Answer:
    """A success, read to its end: all that the generated code asks of an `httpx.Response`, which costs much to make."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object that the answer is; our error if it is none."""
        return payload(self.status_code, self.content)


class _Exchange:
    """What one request needs on its way out and back, whichever client sends it."""

    def __init__(self, settings: Settings, request: httpx.Request) -> None:
        self._key = settings.api_key.reveal()
        self.request = request
        self.started = time.monotonic()
        self.time_left = _TimeLeft(min(settings.timeout, _limit.get(settings.timeout)))
        self._body = bytearray()
        request.headers[KEY_HEADER] = self._key
        request.extensions["timeout"] = self.time_left

    def add(self, chunk: bytes) -> None:
        """Take in a part of the body, and give up an answer that is too large or too slow."""
        self._body += chunk
        if len(self._body) > MAX_BODY:
            raise _GivenUpError(f"the answer is larger than {MAX_BODY // 1_000_000} MB")
        if self.time_left.is_over:
            raise _GivenUpError(f"the answer was not complete within {self.time_left.limit:g} s")

    def answer(self, response: httpx.Response) -> httpx.Response:
        """The answer, if it is a success; else our error for it. The key is blanked, should the server echo it."""
        self._note(str(response.status_code))
        body = bytes(self._body).replace(self._key.encode(), b"***")
        headers = {name: value.replace(self._key, "***") for name, value in response.headers.items()}
        if not response.is_success:
            raise refusal(response.status_code, headers, body)
        return cast(httpx.Response, _Answer(response.status_code, headers, body))

    def failed(self, failure: Exception) -> RequestFailedError:
        """Our error for an exchange that brought no answer."""
        self._note(type(failure).__name__)
        sent = not isinstance(failure, _NEVER_SENT)
        if isinstance(failure, httpx.TimeoutException | TimeoutError):
            problem = f"no answer within {self.time_left.limit:g} s" if sent else "no connection in time"
        else:
            problem = str(failure).replace(self._key, "***").rstrip(".") or type(failure).__name__
        where = f"{self.request.method} {self.request.url.copy_with(query=None)}"
        return RequestFailedError(f"{where} failed: {problem[:300]}.", sent=sent)

    def _note(self, outcome: str) -> None:
        milliseconds = (time.monotonic() - self.started) * 1000
        _log.debug("%s %s: %s in %.0f ms", self.request.method, self.request.url.path, outcome, milliseconds)


class _GivenUpError(Exception):
    """An answer that is not waited for, or not read, any further."""


class SyncTransport(httpx.Client):
    """Sends through httpx, or through the caller's own client where there is one."""

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        super().__init__(**_options(settings, own, httpx.Client, httpx.BaseTransport()))
        self._settings = settings
        self._own = own

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send *request* once."""
        _check_open(self, self._own)
        exchange = _Exchange(self._settings, request)
        send = self._own.send if self._own else super().send
        try:
            response = send(request, stream=True, follow_redirects=False)
            try:
                for chunk in response.iter_bytes():
                    exchange.add(chunk)
            finally:
                response.close()
        except Exception as failure:
            raise exchange.failed(failure) from failure
        finally:
            request.headers.pop(KEY_HEADER, None)
        return exchange.answer(response)


class AsyncTransport(httpx.AsyncClient):
    """Sends through httpx, or through the caller's own client where there is one."""

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        super().__init__(**_options(settings, own, httpx.AsyncClient, httpx.AsyncBaseTransport()))
        self._settings = settings
        self._own = own

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send *request* once."""
        import asyncio  # 40 ms that the synchronous client does not need

        _check_open(self, self._own)
        exchange = _Exchange(self._settings, request)
        send = self._own.send if self._own else super().send
        try:
            # Each phase ends by its own timeout; this one ends headers that drip on, which no phase bounds.
            async with asyncio.timeout(exchange.time_left.limit + 0.1):
                response = await send(request, stream=True, follow_redirects=False)
                try:
                    async for chunk in response.aiter_bytes():
                        exchange.add(chunk)
                finally:
                    await response.aclose()
        except Exception as failure:
            raise exchange.failed(failure) from failure
        finally:
            request.headers.pop(KEY_HEADER, None)
        return exchange.answer(response)


def _options(settings: Settings, own: object, kind: type, unused: object) -> dict[str, Any]:
    """Arguments for the httpx client that builds our requests, and sends them unless the caller's own does."""
    if own is not None and not isinstance(own, kind):
        raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
    return {
        "base_url": settings.base_url,
        "headers": {"User-Agent": f"dune-matviews/{__version__}"},
        "follow_redirects": False,
        # The environment's proxies are for the way out: to loopback they would carry the key in plain text.
        "trust_env": not settings.is_plaintext,
        # Behind the caller's client nothing of ours is sent, so no certificates need loading.
        "transport": None if own is None else unused,
    }


def _check_open(*clients: httpx.Client | httpx.AsyncClient | None) -> None:
    if any(client is not None and client.is_closed for client in clients):
        raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")
