"""The way out: builds the httpx clients, and sends every request once, through httpx or the caller's own client.

This module must not know operations, flows or policies, nor what an answer means.

Both clients are subclasses that override `send`, because a custom `transport=` would switch the environment's proxies
off. They leave out what httpx does for each request and nobody needs here: merging a URL and headers that never
change, and looking for cookies. What is sent, and what came back, is the `Exchange`'s: nothing of it is a local
variable of `send`, whose frame is in the traceback of every error.
"""

from __future__ import annotations

import ssl
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from . import __version__
from ._exchange import Exchange, time_left
from ._exchange import deadline as deadline
from ._secrets import ApiKey, keyless_logs
from ._settings import Settings
from .errors import ClientClosedError, ConfigurationError, InvalidArgumentError, RequestFailedError

CONNECTIONS = 20
"""Open at once: enough for any plan's budget.

Requests wait for one of them before their time begins: sent with little of it left, they would end in doubt whether
they were accepted. In httpx's own queue they would lose their time, and take each other's place.
"""


class _NoCookies(httpx.Cookies):
    """Dune's API needs no cookies, and one of them may echo the key: none is kept."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


_NO_COOKIES = _NoCookies()

_HEADERS = httpx.Headers({"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": f"dune-matviews/{__version__}"})

_parsed = lru_cache(maxsize=1024)(httpx.URL)


class SyncTransport(httpx.Client):
    """Sends through httpx, or through the caller's own client where there is one."""

    cookies: Any = _NO_COOKIES

    def __init__(self, settings: Settings, own: httpx.Client | None) -> None:
        options = _options(settings, own, httpx.Client, httpx.BaseTransport())
        with _environment():
            super().__init__(**options)
        self._settings = settings
        self._own = own
        # No semaphore of `threading`, which is Python: a Ctrl-C within it may leave it locked for ever.
        self._free = SimpleQueue[None]()
        for _ in range(CONNECTIONS):
            self._free.put(None)
        self._end_hiding = _hide_in_logs(self, settings.api_key)

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """The request for *url*, which begins where the base URL ends."""
        return _request(method, f"{self._settings.base_url}{url}", **parts)

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send *request* once, as soon as a connection is free for it."""
        try:
            self._free.get(timeout=min(time_left(), threading.TIMEOUT_MAX))
        except Empty:
            raise _crowded() from None
        try:
            _check_open(self, self._own)
            with Exchange(self._settings, request) as exchange:
                self._carry_out(exchange)
        finally:
            self._free.put(None)
        return exchange.outcome()

    def _carry_out(self, exchange: Exchange) -> None:
        send = self._own.send if self._own else super().send
        response = send(exchange.request, stream=True, follow_redirects=False)
        try:
            exchange.begin(response)
            for chunk in response.iter_bytes():
                exchange.add(chunk)
        finally:
            response.close()

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        _check_open(self, self._own)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._end_hiding()


class AsyncTransport(httpx.AsyncClient):
    """Sends through httpx, or through the caller's own client where there is one."""

    cookies: Any = _NO_COOKIES

    def __init__(self, settings: Settings, own: httpx.AsyncClient | None) -> None:
        import asyncio  # 40 ms that the synchronous client does not need

        options = _options(settings, own, httpx.AsyncClient, httpx.AsyncBaseTransport())
        with _environment():
            super().__init__(**options)
        self._settings = settings
        self._own = own
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._end_hiding = _hide_in_logs(self, settings.api_key)

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """The request for *url*, which begins where the base URL ends."""
        return _request(method, f"{self._settings.base_url}{url}", **parts)

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send *request* once, as soon as a connection is free for it."""
        import asyncio  # as above

        try:
            async with asyncio.timeout(time_left()):
                await self._free.acquire()
        except TimeoutError:
            raise _crowded() from None
        try:
            _check_open(self, self._own)
            with Exchange(self._settings, request) as exchange:
                # Each phase ends by its own timeout; this one ends headers that drip on, which no phase bounds.
                async with asyncio.timeout(exchange.time_left.limit + 0.1):
                    await self._carry_out(exchange)
        finally:
            self._free.release()
        return exchange.outcome()

    async def _carry_out(self, exchange: Exchange) -> None:
        send = self._own.send if self._own else super().send
        response = await send(exchange.request, stream=True, follow_redirects=False)
        try:
            exchange.begin(response)
            async for chunk in response.aiter_bytes():
                exchange.add(chunk)
        finally:
            await response.aclose()

    def check_open(self) -> None:
        """Nothing is sent once a client is closed, ours or the caller's own."""
        _check_open(self, self._own)

    async def aclose(self) -> None:
        """Close the connections."""
        await super().aclose()
        self._end_hiding()


def _request(method: str, url: str, *, headers: Any = None, timeout: Any = None, **parts: Any) -> httpx.Request:
    """A request with our headers, and *headers* on top. How long it may take is said when it is sent."""
    merged = httpx.Headers(_HEADERS)
    for name, value in (headers or {}).items():
        merged[name] = value
    # What is read is read again and again, as a status is; what is sent is not.
    return httpx.Request(method, _parsed(url) if method == "get" else url, headers=merged, **parts)


def _check_open(ours: httpx.Client | httpx.AsyncClient, own: httpx.Client | httpx.AsyncClient | None) -> None:
    if ours.is_closed or (own is not None and own.is_closed):
        raise ClientClosedError("The client is closed; create another, or move the call into its `with` block.")


def _crowded() -> RequestFailedError:
    return RequestFailedError("No connection was free for the request in the time that was left.")


def _options(settings: Settings, own: object, kind: type, unused: object) -> dict[str, Any]:
    """Arguments for the httpx client that builds our requests, and sends them unless the caller's own does."""
    if own is not None and not isinstance(own, kind):
        raise InvalidArgumentError(f"http_client must be an httpx.{kind.__name__}, not {type(own).__name__}")
    return {
        "base_url": settings.base_url,
        "follow_redirects": False,
        # With each that is open, httpcore's pool takes longer over every request; and httpx by itself opens a hundred,
        # of which it closes most after each burst, and connects anew for the next.
        "limits": httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        # The environment's proxies are for the way out: to loopback they would carry the key in plain text.
        "trust_env": not settings.is_plaintext,
        # Nor is there anything to verify: a context that trusts nobody spares 15 ms of loading certificates.
        "verify": not settings.is_plaintext or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        # Behind the caller's client nothing of ours is sent, so no certificates need loading.
        "transport": None if own is None else unused,
    }


@contextmanager
def _environment() -> Generator[None]:
    """While httpx sets itself up: all that can still be wrong is what it takes from the environment."""
    try:
        yield
    except Exception as problem:
        raise ConfigurationError(
            f"httpx cannot be set up as the environment asks for ({type(problem).__name__}); check HTTPS_PROXY, "
            "HTTP_PROXY, ALL_PROXY and NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from problem


def _hide_in_logs(transport: SyncTransport | AsyncTransport, key: ApiKey) -> Callable[[], object]:
    """Keep the key out of logs until the returned function is called, or *transport* is forgotten without."""
    keyless_logs.add(key)
    return weakref.finalize(transport, keyless_logs.remove, key)
