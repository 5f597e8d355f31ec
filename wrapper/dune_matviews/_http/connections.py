"""Lanes: each has one connection of httpx's, used by one exchange at a time, and is thrown away once it was disturbed.

This module must not know requests or responses. A pool that is shared loses a connection wherever a task is cancelled
at the wrong moment, and its lock for ever where Ctrl-C hits it; a lane that is used alone has nothing to lose but
itself.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from ..errors import ConfigurationError
from .deadline import AsyncBackend, Backend, bound, bound_async
from .settings import Settings

CONNECTIONS = 20
"""Open at once: enough for any plan's budget.

Requests wait for one of them before their time begins: sent with little of it left, they would end in doubt whether
they were accepted.
"""

CERTAIN = 1.0
"""Seconds since something was last read from a connection in which it certainly is alive."""


class Lane:
    """One connection of a synchronous client, or the caller's own client."""

    def __init__(self, client: httpx.Client, backend: Backend | None) -> None:
        self._client = client
        self._backend = backend

    def reserved(self, end: float) -> httpx.Client:
        """The client, for an exchange that has to be over by then."""
        if self._backend is not None:
            self._backend.end = end
        return self._client

    @property
    def is_stale(self) -> bool:
        """The connection may be dead without our knowing; the caller's own client looks after its own."""
        return self._backend is not None and _is_stale(self._backend)

    def close(self) -> None:
        """Close the connection, in any state; the caller's own client stays open."""
        if self._backend is not None:
            self._backend.close()


class AsyncLane:
    """One connection of an asynchronous client, or the caller's own client."""

    def __init__(self, client: httpx.AsyncClient, backend: AsyncBackend | None) -> None:
        self._client = client
        self._backend = backend

    def reserved(self, end: float) -> httpx.AsyncClient:
        """The client, for an exchange that has to be over by then."""
        if self._backend is not None:
            self._backend.end = end
        return self._client

    @property
    def is_stale(self) -> bool:
        """The connection may be dead without our knowing; the caller's own client looks after its own."""
        return self._backend is not None and _is_stale(self._backend)

    async def aclose(self) -> None:
        """Close the connection, in any state; the caller's own client stays open."""
        if self._backend is not None:
            await self._backend.aclose()


def _is_stale(backend: Backend | AsyncBackend) -> bool:
    return bool(backend.streams) and time.monotonic() - backend.last_read > CERTAIN


class Builder:
    """Makes the lanes of one client, all of them by the same settings and environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with _environment():
            self._proxy = self._named_proxy()
            self._verify = self._certificates()

    def _named_proxy(self) -> str | None:
        """The proxy that the environment names for the base URL, if it names one."""
        # The environment's proxies are for the way out: to loopback they would carry the key in plain text.
        if self._settings.is_plaintext:
            return None
        from urllib.request import getproxies, proxy_bypass

        proxies = getproxies()
        url = httpx.URL(self._settings.base_url)
        proxy = proxies.get(url.scheme) or proxies.get("all")
        if not proxy or proxy_bypass(url.netloc.decode("ascii")):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _certificates(self) -> ssl.SSLContext:
        # To loopback there is nothing to verify: a context that trusts nobody spares 15 ms of loading certificates.
        if self._settings.is_plaintext:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # An httpx before 0.28 passes over a file that is missing, and trusts whom it trusts by itself.
        if (file := os.environ.get("SSL_CERT_FILE")) and not os.path.isfile(file):
            raise FileNotFoundError(file)
        return httpx.create_ssl_context()

    def lane(self) -> Lane:
        """A new lane, not yet connected."""
        with _environment():
            transport = httpx.HTTPTransport(verify=self._verify, limits=_ONE, proxy=self._proxy)
            client = httpx.Client(transport=transport, trust_env=False)
        _keep_no_cookies(client)
        return Lane(client, bound(transport))

    def async_lane(self) -> AsyncLane:
        """A new lane, not yet connected."""
        with _environment():
            transport = httpx.AsyncHTTPTransport(verify=self._verify, limits=_ONE, proxy=self._proxy)
            client = httpx.AsyncClient(transport=transport, trust_env=False)
        _keep_no_cookies(client)
        return AsyncLane(client, bound_async(transport))


_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0)


def _keep_no_cookies(client: httpx.Client | httpx.AsyncClient) -> None:
    """Dune's API needs no cookies, and one of them may echo the key."""
    from http.cookiejar import DefaultCookiePolicy  # httpx has loaded it already

    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))


@contextmanager
def _environment() -> Generator[None]:
    """While httpx sets itself up: all that can still be wrong comes from the environment."""
    try:
        yield
    except ImportError as problem:
        raise ConfigurationError(
            "The environment names a SOCKS proxy, for which a package is missing: pip install 'httpx[socks]', or unset "
            "ALL_PROXY and HTTPS_PROXY."
        ) from problem
    except Exception as problem:
        raise ConfigurationError(
            f"httpx cannot be set up as the environment asks for ({type(problem).__name__}); check HTTPS_PROXY, "
            "ALL_PROXY and NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from problem
