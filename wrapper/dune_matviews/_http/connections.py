"""Connections to Dune: the route, decided once for each client, and the connections of the synchronous client.

This module must not know the meaning of requests or responses. The connections are httpcore's, but none of its pools
holds them: a shared pool loses a connection where a task is cancelled at the wrong moment, and stays locked where
Ctrl-C hits its lock.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import httpcore
import httpx

from ..errors import ConfigurationError
from .exchange import Exchange
from .settings import Settings
from .tunnel import Tunnel

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


def as_httpx(response: httpcore.Response) -> httpx.Response:
    """*response* as httpx reads it."""
    return httpx.Response(response.status, headers=response.headers, content=response.stream)


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


class Connection(httpcore.NetworkBackend):
    """One connection of a synchronous client: httpcore's, on a socket of ours that keeps one deadline for an exchange.

    httpcore applies a timeout to each read, so that a server which drips byte by byte is never too slow, and asks for
    none where it talks to a SOCKS proxy. Its own timeouts are ignored here.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._deadline = -math.inf
        self._network = httpcore.SyncBackend()
        self._socket: httpcore.NetworkStream | None = None
        self.http = route.connect(self)

    async def carry_out(self, exchange: Exchange) -> None:
        """Send the request and take in its response, without ever waiting for the event loop."""
        self._deadline = exchange.deadline
        if self._socket is None:
            exchange.request.extensions["trace"] = exchange.trace
        with closing(self.http.handle_request(self._route.request(exchange.request))) as response:
            exchange.read(as_httpx(response))

    async def aclose(self) -> None:
        """Close the socket, in any state of the connection."""
        if self._socket is not None:
            self._socket.close()

    def left(self) -> float:
        """Seconds to the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for the request is over")
        return left

    def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.NetworkStream:
        """Connect to the first address of *host* that accepts; each may take its share of the time that is left.

        The look-up itself takes as long as the system lets it.
        """
        addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        while True:
            options["timeout"] = self.left() / len(addresses)
            try:
                return self.bound(self._network.connect_tcp(addresses.pop(0), port, **options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise

    def bound(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """*stream*, which is the connection's socket from now on, kept to the deadline."""
        self._socket = stream
        return _Stream(self, stream)


class _Stream(httpcore.NetworkStream):
    def __init__(self, connection: Connection, inner: httpcore.NetworkStream) -> None:
        self._connection = connection
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._connection.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._connection.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._inner.get_extra_info("ssl_object") is not None:
            return Tunnel(self, ssl_context, server_hostname)
        return self._connection.bound(self._inner.start_tls(ssl_context, server_hostname, self._connection.left()))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
