"""Knows the effect of each fault at the client's end of a real connection, and the record that the sandbox keeps.
Must not reach into the sandbox by any other way than users have, but to see its pauses, where they would be waited for.
"""

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dune_matviews.sandbox import DuneSandbox, Fault, _delivery

VIEW = "/v1/materialized-views/dune.my_team.result_x"
REFRESH = f"{VIEW}/refresh"
WIRE_REQUEST = f"POST /api{REFRESH} HTTP/1.1\r\nHost: localhost\r\nX-Dune-Api-Key: sandbox-key\r\n\r\n".encode()


@pytest.fixture
def wire(sandbox: DuneSandbox) -> Iterator[socket.socket]:
    """A bare connection, on which every byte can be seen."""
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        yield connection


def exchange(wire: socket.socket) -> tuple[bytes, bytes, type[Exception] | None]:
    """Send a refresh: the head and the body that come until the connection ends, and the error that it ends with."""
    wire.sendall(WIRE_REQUEST)
    received, error = b"", None
    try:
        while part := wire.recv(65_536):
            received += part
    except ConnectionResetError as reset:
        error = type(reset)
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body, error


@pytest.fixture
def pauses(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int, int | None]]:
    """The sandbox's pauses, which are skipped: seconds, and how many were billed and with which status by then."""
    found: list[tuple[float, int, int | None]] = []

    def skip(seconds: float, _: threading.Event) -> None:
        if seconds:
            status, billed = outcome(sandbox)
            found.append((seconds, billed, status))

    monkeypatch.setattr(_delivery, "_pause", skip)
    return found


def time_out(client: httpx.Client, sandbox: DuneSandbox) -> None:
    """Send a refresh, and wait for a response in vain, until the request has arrived."""
    with pytest.raises(httpx.ReadTimeout):
        client.post(REFRESH, json={}, timeout=httpx.Timeout(600, read=0.05))
    while not sandbox.requests:
        threading.Event().wait(0.001)


def outcome(sandbox: DuneSandbox) -> tuple[int | None, int]:
    """The status on record for the only request, and the number of refreshes that are billed."""
    [request] = sandbox.requests
    return request.status, len(sandbox.ledger)


def tiers(sandbox: DuneSandbox) -> list[str | None]:
    """The tier of each refresh that is billed."""
    return [charge.performance for charge in sandbox.ledger]


@pytest.mark.parametrize("accepted", [False, True])
def test_another_response_can_take_the_place_of_the_own_one(
    sandbox: DuneSandbox, client: httpx.Client, accepted: bool
) -> None:
    """Status, body and headers are those of the fault, whether Dune accepted the refresh or not; then all is well."""
    headers = {"Content-Type": "text/html", "Retry-After": "7"}
    sandbox.fail("refresh", Fault(status=520, body=b"<html>", headers=headers, accepted=accepted))
    response = client.post(REFRESH, json={})
    assert (response.status_code, response.content) == (520, b"<html>")
    assert headers == {name: response.headers[name] for name in headers}
    assert response.headers["X-Request-Id"] == sandbox.requests[0].id
    assert outcome(sandbox) == (520, 1 if accepted else 0)
    assert client.post(REFRESH, json={}).status_code == 200


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize(("reset", "error"), [(False, None), (True, ConnectionResetError)])
def test_a_response_can_be_lost(
    sandbox: DuneSandbox, wire: socket.socket, accepted: bool, reset: bool, error: type[Exception] | None
) -> None:
    """The connection is closed or reset without a byte, before or after the refresh was accepted."""
    sandbox.fail("refresh", Fault(lost=True, reset=reset, accepted=accepted))
    assert exchange(wire) == (b"", b"", error)
    assert outcome(sandbox) == (None, 1 if accepted else 0)


@pytest.mark.parametrize(("reset", "error"), [(False, None), (True, ConnectionResetError)])
@pytest.mark.parametrize("cut", [0, 7, 10_000])
def test_a_body_can_be_cut(
    sandbox: DuneSandbox, wire: socket.socket, cut: int, reset: bool, error: type[Exception] | None
) -> None:
    """So many bytes of the true body arrive after a whole head, then the connection is closed or reset."""
    sandbox.fail("refresh", Fault(cut=cut, reset=reset))
    head, body, end = exchange(wire)
    [charge] = sandbox.ledger
    whole = f'{{"execution_id": "{charge.execution_id}", "sql_id": "{charge.name}"}}'.encode()
    assert (body, end) == (whole[:cut], error)
    assert f"Content-Length: {len(whole)}".encode() in head.splitlines()
    assert outcome(sandbox) == (200, 1)


def test_a_whole_response_may_be_the_last(sandbox: DuneSandbox, wire: socket.socket) -> None:
    """A reset alone leaves the response whole, and harms only the next request on the connection."""
    sandbox.fail("refresh", Fault(reset=True))
    _, body, error = exchange(wire)
    assert json.loads(body)["execution_id"] == sandbox.ledger[0].execution_id
    assert error is ConnectionResetError


def test_headers_of_the_own_response_can_be_wrong(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A header can be replaced, added or left out, while status, body and work stay true."""
    wrong_date = "Thu, 01 Jan 1970 00:00:00 GMT"
    sandbox.fail("refresh", Fault(headers={"date": wrong_date, "Age": "9"}), Fault(headers={"Date": None}))
    wrong, without = (client.post(REFRESH, json={}) for _ in range(2))
    assert (wrong_date, "9") == (wrong.headers["Date"], wrong.headers["Age"])
    assert "Date" not in without.headers
    assert [each.execution_id for each in sandbox.ledger] == [each.json()["execution_id"] for each in (wrong, without)]


def test_an_encoding_can_be_a_lie(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A body that is not encoded as its header says can be rehearsed with the true body."""
    sandbox.fail("get", Fault(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(httpx.DecodingError):
        client.get(VIEW)


def test_a_body_without_a_length_ends_with_its_connection(sandbox: DuneSandbox, wire: socket.socket) -> None:
    """Without Content-Length the body is whole when the connection is closed, which it is."""
    sandbox.fail("refresh", Fault(body=b"[]", headers={"Content-Length": None}))
    head, body, error = exchange(wire)
    assert (body, error) == (b"[]", None)
    assert b"content-length" not in head.lower()


def test_a_response_can_be_late(
    sandbox: DuneSandbox, client: httpx.Client, pauses: list[tuple[float, int, int | None]]
) -> None:
    """The response leaves only after the delay, although the work was done at once."""
    sandbox.fail("refresh", Fault(delay=30))
    response = client.post(REFRESH, json={})
    assert pauses == [(30, 1, None)]
    assert sandbox.ledger[0].execution_id == response.json()["execution_id"]


@pytest.mark.parametrize(("fault", "billed"), [(Fault(delay=math.inf), 1), (Fault(delay=math.inf, lost=True), 0)])
def test_a_response_can_fail_to_come(sandbox: DuneSandbox, client: httpx.Client, fault: Fault, billed: int) -> None:
    """A client that waits in vain times out; no status is on record, and the refresh is billed if it was accepted."""
    sandbox.fail("refresh", fault)
    time_out(client, sandbox)
    assert outcome(sandbox) == (None, billed)


@pytest.mark.parametrize(("drip", "head_drip"), [(2, 0), (0, 3), (2, 3)])
def test_a_response_can_drip(
    sandbox: DuneSandbox,
    wire: socket.socket,
    pauses: list[tuple[float, int, int | None]],
    drip: float,
    head_drip: float,
) -> None:
    """The body, the head, or both arrive byte by byte, up to the cut."""
    sandbox.fail("refresh", Fault(status=502, body=b"x" * 30, cut=20, drip=drip, head_drip=head_drip))
    head, body, error = exchange(wire)
    before = [head_drip] * len(head + b"\r\n\r\n") if head_drip else []
    assert [seconds for seconds, *_ in pauses] == before + ([drip] * len(body) if drip else [])
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert (body, error) == (b"x" * 20, None)


def see_it_begin(client: httpx.Client, _: DuneSandbox) -> None:
    """Send a refresh, and receive the head of the response."""
    with client.stream("POST", REFRESH, json={}) as response:
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("fault", "begin"),
    [
        (Fault(delay=math.inf), time_out),
        (Fault(lost=True, delay=1e300), time_out),
        (Fault(head_drip=3600), time_out),
        (Fault(drip=3600), see_it_begin),
    ],
    ids=["delay", "lost", "head_drip", "drip"],
)
def test_closing_does_not_wait_for_a_fault(
    client: httpx.Client, sandbox: DuneSandbox, fault: Fault, begin: Callable[[httpx.Client, DuneSandbox], None]
) -> None:
    """A fault that takes its time, hours or for ever, ends with the sandbox."""
    sandbox.fail("refresh", fault)
    begin(client, sandbox)
    closing = threading.Thread(target=sandbox.close, daemon=True)
    closing.start()
    closing.join(600)
    assert not closing.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sandbox")]


def test_a_slow_response_keeps_nobody_else_waiting(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """While a fault delays one response, others leave as ever."""
    sandbox.fail("refresh", Fault(delay=math.inf))
    time_out(client, sandbox)
    assert client.post(REFRESH, json={}).status_code == 200


@pytest.mark.parametrize("operation", ["refresh", None])
@pytest.mark.parametrize(("key", "body"), [("wrong", b""), ("sandbox-key", b"no JSON")])
def test_a_fault_meets_wrong_requests_as_well(
    sandbox: DuneSandbox, client: httpx.Client, operation: str | None, key: str, body: bytes
) -> None:
    """The next request to the operation meets the fault, valid or not; but no wrong one is ever accepted."""
    sandbox.fail(operation, Fault(status=503, accepted=True))
    response = client.post(REFRESH, content=body, headers={"X-Dune-Api-Key": key})
    assert (response.status_code, sandbox.ledger) == (503, ())


def test_a_fault_waits_for_its_operation(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Requests of other operations, and those that are for none, do not meet it."""
    sandbox.fail("cancel", Fault(status=503))
    sandbox.fail(None, Fault(status=504))
    responses = [
        client.get("/v1/elsewhere"),
        client.get(REFRESH),
        client.post("/v1/execution/01/cancel"),
        client.get(VIEW),
        client.get(VIEW),
    ]
    assert [response.status_code for response in responses] == [404, 405, 503, 504, 200]


def test_an_accepted_cancel_is_carried_out(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Any operation may be accepted although its response says otherwise."""
    execution_id = client.post(REFRESH, json={}).json()["execution_id"]
    sandbox.fail("cancel", Fault(status=500), Fault(status=500, accepted=True))
    states = []
    for _ in range(2):
        client.post(f"/v1/execution/{execution_id}/cancel")
        states.append(sandbox.ledger[0].state)
    assert states == ["QUERY_STATE_PENDING", "QUERY_STATE_CANCELED"]


@pytest.mark.parametrize("shape", [{"status": 502}, {"lost": True}], ids=str)
def test_a_refresh_can_be_accepted_late(sandbox: DuneSandbox, client: httpx.Client, shape: dict[str, Any]) -> None:
    """A poll at once finds no execution, and one after the delay finds the execution that is billed by then."""
    sandbox.fail("refresh", Fault(**shape, accepted=True, late=60))
    with suppress(httpx.RemoteProtocolError):
        client.post(REFRESH, json={})
    assert (client.get(VIEW).json()["last_execution_ids"], len(sandbox.ledger)) == ([], 0)
    sandbox.advance(60)
    executions = client.get(VIEW).json()["last_execution_ids"]
    assert executions == [charge.execution_id for charge in sandbox.ledger]
    assert sandbox.ledger[0].submitted_at >= sandbox.requests[0].at + timedelta(seconds=60)


def test_late_work_is_done_before_anything_else(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Overdue work is done before the ledger is read; a wrong request is refused late, too."""
    sandbox.fail("refresh", *[Fault(status=502, accepted=True, late=60)] * 2)
    client.post(REFRESH, json={"performance": "large"})
    client.post(REFRESH, json={"performance": "huge"})
    assert tiers(sandbox) == []
    sandbox.advance(60)
    assert tiers(sandbox) == ["large"]
    client.post(REFRESH, json={})
    assert tiers(sandbox) == ["large", None]


def test_an_empty_fault_lets_a_request_pass(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """With faults that say nothing before it, a later request fails."""
    sandbox.fail("get", Fault(), Fault(), Fault(status=502))
    assert [client.get(VIEW).status_code for _ in range(4)] == [200, 200, 502, 200]


def test_an_unknown_operation_is_refused(sandbox: DuneSandbox) -> None:
    """A word that names no operation is an error in the test that says it, and tells the words there are."""
    with pytest.raises(
        ValueError, match="list, upsert, get, delete, refresh, status, cancel, pipeline, usage, whoami, or None"
    ):
        sandbox.fail("update", Fault())
