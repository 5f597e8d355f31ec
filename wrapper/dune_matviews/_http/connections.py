"""The way to Dune: httpcore's connections, by the settings and the environment, decided once for each client.

This module must not know requests or responses. Each connection is used by one exchange at a time, without a pool: a
pool that is shared loses a connection wherever a task is cancelled at the wrong moment, and its lock for ever where
Ctrl-C hits it.
"""

from __future__ import annotations

import math
import os
import ssl
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import httpcore
import httpx

from ..errors import ConfigurationError
from .settings import Settings

CONNECTIONS = 20
"""Open at once: enough for any plan's budget.

Requests wait for one of them before their time begins: sent with little of it left, they would end in doubt whether
they were accepted.
"""

CERTAIN = 1.0
"""Seconds since its last exchange in which a connection certainly is alive."""

KEPT = 30.0
"""Seconds for which an idle connection is kept."""


class Route:
    """Makes connections, all of them to one origin through one proxy, if there is one.

    Raises:
        ConfigurationError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.origin = httpcore.URL(settings.base_url).origin
        self._kind = "ConnectionPool"
        self._options: dict[str, Any] = {"keepalive_expiry": KEPT}
        # The environment's proxies are for the way out: to loopback they would carry the key in plain text.
        if settings.is_plaintext:
            return
        try:
            self._options["ssl_context"] = context = _certificates()
            if proxy := _proxy(httpx.URL(settings.base_url)):
                self._use(httpx.Proxy(proxy), context)
        except ConfigurationError:
            raise
        except Exception as problem:
            raise ConfigurationError(
                f"The proxy or the certificates that the environment names cannot be used ({type(problem).__name__}). "
                "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
            ) from problem

    def _use(self, proxy: httpx.Proxy, context: ssl.SSLContext) -> None:
        url = proxy.url
        self._kind = "SOCKSProxy" if url.scheme.startswith("socks") else "HTTPProxy"
        if self._kind == "SOCKSProxy" and find_spec("socksio") is None:
            raise ConfigurationError(
                "The environment names a SOCKS proxy, for which a package is missing: pip install 'httpx[socks]', or "
                "unset ALL_PROXY and HTTPS_PROXY."
            )
        self._options["proxy_url"] = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port)
        self._options["proxy_auth"] = proxy.raw_auth
        if url.scheme == "https":
            self._options["proxy_ssl_context"] = context

    def connect(self, backend: httpcore.NetworkBackend) -> httpcore.ConnectionInterface:
        """A connection, not yet open, whose sockets are *backend*'s."""
        pool: Callable[..., httpcore.ConnectionPool] = getattr(httpcore, self._kind)
        return pool(network_backend=backend, **self._options).create_connection(self.origin)

    def connect_async(self, backend: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionInterface:
        """The same for an asynchronous client."""
        pool: Callable[..., httpcore.AsyncConnectionPool] = getattr(httpcore, f"Async{self._kind}")
        return pool(network_backend=backend, **self._options).create_connection(self.origin)

    def request(self, request: httpx.Request) -> httpcore.Request:
        """*request* as httpcore sends it."""
        url = httpcore.URL(
            scheme=self.origin.scheme, host=self.origin.host, port=self.origin.port, target=request.url.raw_path
        )
        return httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for *url*, if it names one."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.netloc.decode("ascii")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _certificates() -> ssl.SSLContext:
    # An httpx before 0.28 passes over a file that is missing, and trusts whom it trusts by itself.
    if (file := os.environ.get("SSL_CERT_FILE")) and not os.path.isfile(file):
        raise FileNotFoundError(file)
    return httpx.create_ssl_context()


class Kept:
    """A connection that is kept from one exchange to the next.

    Attributes:
        http: the connection itself.
        used_at: when its last exchange ended, by `time.monotonic()`.
    """

    http: httpcore.ConnectionInterface | httpcore.AsyncConnectionInterface
    used_at = -math.inf

    def is_idle(self) -> bool:
        """The exchange that has just ended was complete."""
        self.used_at = time.monotonic()
        return self.http.is_idle()

    def may_carry(self, is_billed: bool) -> bool:
        """The server has not closed it, so far as is known; a billed request leaves on one that certainly is alive."""
        return not self.http.has_expired() and not (is_billed and time.monotonic() - self.used_at > CERTAIN)
