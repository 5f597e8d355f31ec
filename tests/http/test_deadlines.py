"""`timeout` bounds a whole exchange, however its parts arrive. A dripping server drips until the client hangs up.

No test here measures a time: a client that held on would be told by the server, after a minute.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dune_matviews import MatviewsClient, RequestFailedError, WaitTimeoutError
from tests.http.servers import Script, Server, hold, response, serving, tunnel, wait_for

Connect = Callable[..., MatviewsClient]
Send = Callable[..., Any]

TIMEOUT = 0.3
VIEW = "dune.my_team.result_daily_volume"
STATUS = json.dumps({"execution_id": "E", "state": "QUERY_STATE_EXECUTING"}).encode()

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\n\r\n"

# What arrives at once, and what drips in after it for ever.
DRIPS = {
    "nothing": (b"", b""),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (OK, b"A: b\r\n"),
    "a header": (OK + b"A: ", b"a"),
    "1xx": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (OK + b"Content-Length: 900000\r\n\r\n", b" "),
    "body without a length": (OK + b"\r\n", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "chunk header": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n"),
    "gzip header": (GZIP + b"\x1f\x8b\x08\x08\0\0\0\0\0\0", b"a"),
    "gzip blocks": (GZIP + gzip.compress(b"")[:10], b"\0\0\0\xff\xff"),
}


def dripping(start: bytes, drop: bytes) -> Script:
    """A script that responds with *start*, and then with *drop* forever."""

    def script(server: Server, connection: socket.socket) -> None:
        if server.request(connection):
            connection.sendall(start)
            if drop:
                server.drip(connection, drop)
            else:
                hold(server, connection)

    return script


WAYS = ("plain", "TLS", "proxy", "TLS proxy")
EXCHANGES = [("plain", drip) for drip in DRIPS] + [
    (way, drip) for way in WAYS[1:] for drip in ("headers", "gzip blocks")
]


@pytest.fixture
def reach(trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Script], Any]]:
    """Starts a server that carries out a script; returns it with the URL by which the next client reaches it."""
    with ExitStack() as stack:

        def start(way: str, script: Script) -> tuple[Server, str]:
            if way == "plain":
                server = stack.enter_context(serving(script))
                return server, f"http://127.0.0.1:{server.port}"
            server = stack.enter_context(serving(script, trusted))
            monkeypatch.delenv("HTTPS_PROXY", raising=False)
            if "proxy" in way:
                outer = trusted if way == "TLS proxy" else None
                proxy = stack.enter_context(serving(tunnel(server.port), outer))
                monkeypatch.setenv("HTTPS_PROXY", f"{'https' if outer else 'http'}://localhost:{proxy.port}")
            return server, f"https://localhost:{server.port}"

        yield start


@pytest.mark.parametrize("way", WAYS)
def test_each_way_arrives(connect: Connect, send: Send, reach: Callable[[str, Script], Any], way: str) -> None:
    """Through TLS and proxies, a response arrives as it does without, and its connection serves the next request."""

    def respond(server: Server, connection: socket.socket) -> None:
        while server.request(connection):
            connection.sendall(response(STATUS))

    server, url = reach(way, respond)
    dune = connect("key", base_url=url)
    assert {send(dune).execution_id for _ in range(3)} == {"E"}
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_response_that_drips_is_given_up(
    connect: Connect, send_together: Send, reach: Callable[[str, Script], Any]
) -> None:
    """If any part of a response drips, the exchange ends in time, the server sees it, and it counts as sent."""
    servers, clients = {}, []
    for way, drip in EXCHANGES:
        servers[way, drip], url = reach(way, dripping(*DRIPS[drip]))
        clients.append(connect("key", base_url=url, timeout=1))  # of which connecting takes a part
    failures = dict(zip(EXCHANGES, send_together(clients), strict=True))
    for exchange, failure in failures.items():
        assert isinstance(failure, RequestFailedError), exchange
        assert "no response within 1 s" in str(failure), exchange
        assert (failure.sent, failure.is_transient) == (True, True), exchange
    for exchange, server in servers.items():
        wait_for(lambda server=server: server.hang_ups == 1)  # type: ignore[misc]
        assert len(server.requests) == 1, exchange


def test_a_handshake_that_drips_is_given_up(connect: Connect, send: Send, trusted: Any) -> None:
    """A server that never ends its TLS handshake is one to which nothing was sent."""

    def script(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00\x02\0\x3f\xfc\x03\x03")
        server.drip(connection, b"\0")

    with serving(script) as server:
        with pytest.raises(RequestFailedError, match="no connection in time") as caught:
            send(connect("key", base_url=f"https://localhost:{server.port}", timeout=TIMEOUT))
        assert not caught.value.sent
        wait_for(lambda: server.hang_ups == 1)


def test_a_proxy_that_drips_is_given_up(
    connect: Connect, send_together: Send, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the exchange is also that of the proxy's own response."""
    drips = ("status line", "headers", "1xx")
    with ExitStack() as stack:
        proxies, clients = [], []
        for drip in drips:
            proxies.append(stack.enter_context(serving(dripping(*DRIPS[drip]))))
            monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxies[-1].port}")
            clients.append(connect("key", base_url="https://dune.example", timeout=TIMEOUT))
        for drip, failure in zip(drips, send_together(clients), strict=True):
            assert isinstance(failure, RequestFailedError), drip
            assert f"no response within {TIMEOUT} s" in str(failure), drip
        wait_for(lambda: all(proxy.hang_ups == 1 for proxy in proxies))


def hanging(server: Server, connection: socket.socket) -> None:
    """A script that accepts refreshes, and says nothing about their executions."""
    while request := server.request(connection):
        if request.startswith(b"POST "):
            connection.sendall(response(json.dumps({"execution_id": f"E{len(server.requests)}"}).encode()))
        elif b"/status " in request:
            hold(server, connection)
            return
        else:
            connection.sendall(response(b'{"last_execution_ids": []}'))


def test_a_socks_proxy_that_is_silent_is_given_up(
    connect: Connect, send: Send, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpcore asks for no timeout where it talks to a SOCKS proxy; the time of the exchange bounds that, too."""
    with serving(hold) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://localhost:{proxy.port}")
        with pytest.raises(RequestFailedError, match="no connection in time") as caught:
            send(connect("key", base_url="https://dune.example", timeout=TIMEOUT))
        assert not caught.value.sent
        wait_for(lambda: proxy.hang_ups == 1)


def test_a_run_is_over_in_time_though_requests_hang(connect: Connect) -> None:
    """The timeout of a run bounds each of its requests, however long one alone may take: the server sees them go."""
    names = [f"{VIEW}_{number}" for number in range(5)]
    with serving(hanging) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}", timeout=3600)
        report = dune.refresh_all(names, max_parallel=5, timeout=TIMEOUT)
        assert {result.outcome for result in report.results.values()} == {"running"}
        asked = [request for request in server.requests if b"/status " in request]
        assert asked
        wait_for(lambda: server.hang_ups == len(asked))


def test_a_wait_is_over_in_time_though_its_request_hangs(connect: Connect) -> None:
    """The timeout of a wait bounds its requests, however long one alone may take."""
    with serving(hanging) as server:
        dune = connect("key", base_url=f"http://127.0.0.1:{server.port}", timeout=3600)
        with pytest.raises(WaitTimeoutError):
            dune.attach("E").wait(timeout=TIMEOUT)
        assert len(server.requests) == 1
        wait_for(lambda: server.hang_ups == 1)


def test_several_addresses_share_the_time(connect: Connect, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first address of a host is silent, the next has its turn within the same time."""
    real = socket.getaddrinfo

    def both(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("localhost", b"localhost"):
            return real(host, port, *args, **kwargs)
        return [*real("127.0.0.2", port, *args, **kwargs), *real("127.0.0.1", port, *args, **kwargs)]

    def respond(server: Server, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(response(STATUS))

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with serving(respond) as server, socket.create_server(("127.0.0.2", server.port), backlog=0) as silent:
        # A full queue of connections that nobody accepts leaves further ones without any response.
        with ExitStack() as fillers:
            for _ in range(4):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            assert send(connect("key", base_url=f"http://localhost:{server.port}", timeout=4)).execution_id == "E"
        assert len(server.requests) == 1


def test_a_host_without_an_address_is_never_reached(
    connect: Connect, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed DNS lookup is a failure to connect."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(RequestFailedError, match="Name or service not known") as caught:
        send(connect("key", base_url="http://localhost:9", timeout=TIMEOUT))
    assert not caught.value.sent
