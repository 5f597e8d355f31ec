"""Knows how the sandbox behaves as a server: connections, threads, and how it stops.
Must not know the responses of any operation."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import httpx
import pytest

from dune_matviews.sandbox import DuneSandbox

PATH = "/api/v1/materialized-views/dune.my_team.result_x"
HEAD = "Host: localhost\r\nX-Dune-Api-Key: sandbox-key\r\n"


def connect(sandbox: DuneSandbox) -> socket.socket:
    """A bare connection, for bytes that no HTTP client would send."""
    return socket.create_connection(address(sandbox), timeout=600)


def address(sandbox: DuneSandbox) -> tuple[str, int]:
    """Host and port, from the URL."""
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    return host, int(port)


def received_until_closed(connection: socket.socket) -> bytes:
    """Everything that comes until the other side closes."""
    with connection.makefile("rb") as stream:
        return stream.read()


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed; a reset is how it does so when there is something that it has not read."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_kept() -> None:
    """Many requests, refused ones with bodies too, go over one connection."""
    with DuneSandbox() as sandbox:
        connection = HTTPConnection(*address(sandbox), timeout=600)
        connection.connect()
        first = connection.sock
        for body in (b"x" * 2_000_000, b"{}", b"[]"):
            connection.request("POST", f"{PATH}/refresh", body, {"X-Dune-Api-Key": sandbox.api_key})
            connection.getresponse().read()
            assert first is connection.sock
        connection.close()


def test_requests_may_be_sent_ahead() -> None:
    """Requests that arrive together get their responses in order, and `Connection: close` ends the connection."""
    with DuneSandbox() as sandbox, connect(sandbox) as connection:
        connection.sendall(
            f"GET {PATH} HTTP/1.1\r\n{HEAD}\r\nHEAD {PATH} HTTP/1.1\r\n{HEAD}\r\n"
            f"GET /x HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode()
        )
        responses = received_until_closed(connection)
        assert [part[:3] for part in responses.split(b"HTTP/1.1 ")[1:]] == [b"200", b"405", b"404"]
        assert [request.status for request in sandbox.requests] == [200, 405, 404]


def test_what_is_no_request_ends_the_connection() -> None:
    """After bytes that are no HTTP, a last response says so, and the connection is over."""
    with DuneSandbox() as sandbox, connect(sandbox) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n")
        response = received_until_closed(connection)
        assert response.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close\r\n" in response
        assert sandbox.requests == ()


def test_clients_that_go_away_disturb_nobody() -> None:
    """A client that breaks off in the middle of a request leaves the others their sandbox."""
    with DuneSandbox() as sandbox:
        with connect(sandbox) as connection:
            connection.sendall(
                f"POST {PATH}/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{{".encode()
            )
        assert httpx.get(sandbox.url + PATH, trust_env=False, timeout=600).status_code == 401
        assert len(sandbox.requests) == 1


def test_many_clients_at_once_are_each_billed() -> None:
    """Refreshes from many threads get an execution and a charge each."""

    def refresh_often(url: str) -> list[str]:
        with httpx.Client(headers={"X-Dune-Api-Key": "sandbox-key"}, trust_env=False, timeout=600) as client:
            return [client.post(url, json={}).json()["execution_id"] for _ in range(20)]

    with DuneSandbox() as sandbox, ThreadPoolExecutor(8) as pool:
        ids = [each for some in pool.map(refresh_often, [f"{sandbox.url}{PATH}/refresh"] * 8) for each in some]
        assert sorted(ids) == sorted(charge.execution_id for charge in sandbox.ledger)
        assert len(set(ids)) == 160


def test_closing_ends_threads_and_connections() -> None:
    """After close nothing is left: no thread, no open connection, no port; and closing again is fine."""
    before = set(threading.enumerate())
    sandbox = DuneSandbox()
    with connect(sandbox) as busy, connect(sandbox) as idle:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        # Connections are accepted in order: once the second has a response, both are being served.
        idle.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096).endswith(b"\r\n\r\n")
        sandbox.close()
        assert before == set(threading.enumerate())
        assert all(is_closed(connection) for connection in (idle, busy))
    with pytest.raises(ConnectionRefusedError):
        connect(sandbox)
    sandbox.close()


def test_the_record_outlives_the_server() -> None:
    """Requests and ledger can be read after close."""
    with DuneSandbox() as sandbox:
        headers = {"X-Dune-Api-Key": sandbox.api_key}
        httpx.post(f"{sandbox.url}{PATH}/refresh", json={}, headers=headers, trust_env=False, timeout=600)
    sandbox.advance(5)
    assert (len(sandbox.requests), sandbox.ledger[0].state) == (1, "QUERY_STATE_COMPLETED")


def test_a_port_can_be_chosen_and_used_again() -> None:
    """A sandbox listens where it is told, refuses a port that is taken, and leaves it free for the next one."""
    with DuneSandbox() as sandbox:
        port = address(sandbox)[1]
        with pytest.raises(OSError, match="in use"):
            DuneSandbox(port=port)
    with DuneSandbox(port=port) as again:
        assert f"http://127.0.0.1:{port}" == again.url
        assert f"<DuneSandbox {again.url}>" == repr(again)


def test_a_fault_of_the_sandbox_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the sandbox itself go wrong, the client gets a 500 that says so, and the connection lives on."""
    with DuneSandbox() as sandbox, httpx.Client(trust_env=False, timeout=600) as client:

        def fail(_: object) -> None:
            raise ZeroDivisionError("broken")

        monkeypatch.setattr(sandbox._api, "respond", fail)
        response = client.get(sandbox.url)
        assert (
            response.status_code,
            response.json()["error"],
        ) == (500, "this is a bug in the sandbox: ZeroDivisionError('broken')")
