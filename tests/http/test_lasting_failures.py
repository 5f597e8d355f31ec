"""Permanent failures end at once and name the setting; transient ones are retried, and logged."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from dune_matviews import MatviewsClient, RequestFailedError
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.http.conftest import server_context
from tests.http.servers import Script, Server, response, serving, tunnel

Connect = Callable[..., MatviewsClient]

VIEW = "dune.my_team.result_daily_volume"
CALLS: dict[str, Callable[[Any], object]] = {
    "refresh": lambda dune: dune.refresh(VIEW),
    "wait": lambda dune: dune.attach("E").wait(),
    "get": lambda dune: dune.get(VIEW),
}


pytestmark = pytest.mark.usefixtures("skipped")


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Callable[[Any], object]:
    """The call made with the client."""
    return CALLS[request.param]


@pytest.fixture
def stranger() -> ssl.SSLContext:
    """A server's context with an untrusted authority."""
    return server_context(trustme.CA())


def test_a_certificate_that_nobody_trusts(
    connect: Connect, call: Callable[[Any], object], trusted: ssl.SSLContext, stranger: ssl.SSLContext
) -> None:
    """An untrusted certificate is met once, and the error names the reason and the variable to set."""
    with serving(lambda server, connection: server.request(connection), stranger) as server:
        with pytest.raises(RequestFailedError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE") as caught:
            call(connect("key", base_url=f"https://localhost:{server.port}"))
        assert (caught.value.sent, caught.value.is_transient) == (False, False)
        assert (server.connections, server.requests) == (1, [])


def test_a_certificate_for_another_host(
    connect: Connect, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another host's certificate become this one's by trying again."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, *args, **kwargs: look_up("127.0.0.1", port, *args, **kwargs)
    )
    with serving(lambda server, connection: server.request(connection), trusted) as server:
        with pytest.raises(RequestFailedError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
            connect("key", base_url=f"https://elsewhere.example:{server.port}").refresh(VIEW)
        assert (server.connections, server.requests) == (1, [])


def refusing(status: str, then: Script | None = None) -> Script:
    """A script of a proxy that refuses its first request, and all others if there is nothing to do *then*."""

    def script(server: Server, connection: socket.socket) -> None:
        if then is not None and server.connections > 1:
            then(server, connection)
        elif server.request(connection):
            connection.sendall(response(b"", status=status))

    return script


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_a_proxy_that_refuses(
    connect: Connect, call: Callable[[Any], object], trusted: Any, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """A proxy's refusal is met once, and the error has its words and names the variable to set."""
    with serving(refusing(status)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.port}")
        with pytest.raises(RequestFailedError, match=rf"{status}.*HTTPS_PROXY.*user:password") as caught:
            call(connect("key", base_url="https://dune.example"))
        assert (caught.value.sent, caught.value.is_transient) == (False, False)
        assert len(proxy.requests) == proxy.connections == 1
        assert b"key" not in proxy.requests[0]


def test_a_proxy_in_trouble_is_tried_again(
    connect: Connect, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's 5xx may pass, and nothing was sent through it: the refresh is sent again, and once in all."""

    def started(server: Server, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(response(json.dumps({"execution_id": "E"}).encode()))

    with (
        serving(started, trusted) as server,
        serving(refusing("502 Bad Gateway", then=tunnel(server.port))) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.port}")
        assert connect("key", base_url=f"https://localhost:{server.port}").refresh(VIEW).execution_id == "E"
        assert (proxy.connections, len(server.requests)) == (2, 1)


def test_what_is_tried_again_says_so(connect: Connect, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """INFO has the failure, the next attempt and the deadline, for a read and for a refresh."""
    caplog.set_level(logging.INFO, "dune_matviews")
    sandbox.fail("status", Fault(status=503, body=b"down for a moment"))
    sandbox.fail("refresh", Fault(status=429, headers={"Retry-After": "3"}))
    connect(sandbox.api_key, base_url=sandbox.url).refresh(VIEW).status()
    said = [record.getMessage() for record in caplog.records if "again" in record.getMessage()]
    assert len(said) == 2
    for message, failure in zip(said, ("429", "down for a moment"), strict=True):
        assert re.fullmatch(rf"Trying again in \d+\.\d s, giving up in \d+ s: .*{failure}.*", message)
