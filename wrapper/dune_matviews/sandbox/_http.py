"""Knows HTTP/1.1 as bytes: requests are read with h11, and the head of a response is written.
Must not know of sockets, threads or Dune."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import attrs
import h11

MAX_HEAD: Final = 65_536
MAX_BODY: Final = 1_000_000
# One byte past the limit is kept, which shows that the body was too long.
_KEPT: Final = MAX_BODY + 1


@attrs.frozen
class Request:
    """One request. *path* is raw, still percent-encoded; names of *headers* are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes = b""
    keep_alive: bool = True


@attrs.frozen
class Response:
    """One response. Whether its connection is kept is not among its headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


def raw_response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, body, {**(headers or {}), "Content-Length": str(len(body))})


def json_response(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content).encode()
    return raw_response(status, body, {"Content-Type": "application/json", **(headers or {})})


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(status, {"error": message}, headers)


def changed_headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Replace those of *headers* that *changes* name, in any case; None removes one."""
    changing = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in changing}
    return kept | {name: value for name, value in changes.items() if value is not None}


def head_of(response: Response, *, keep_alive: bool) -> bytes:
    """The bytes that precede the body. Not by h11, which refuses to write most faults."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:  # a status in no standard, such as the 520 of a proxy
        phrase = ""
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {value}" for name, value in response.headers.items())]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class RequestReader:
    """Reads the requests on one connection. *receive* returns the next bytes, and none at the end of them."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._ahead = b""

    def read(self) -> Request | None:
        """Read the next request; None where the client has closed the connection.

        Raises h11.RemoteProtocolError for bytes that are no request, after which no other can be read.
        """
        # One parser for each request: it would wait for a response that is sent by way of itself.
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        if self._ahead:
            parser.receive_data(self._ahead)
        head, body = None, bytearray()
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data[: _KEPT - len(body)]
            elif isinstance(event, h11.ConnectionClosed):
                return None
            else:
                parser.receive_data(self._receive())
        assert head is not None  # noqa: S101 - h11 ends no message that did not begin
        self._ahead, _ = parser.trailing_data
        return _request(head, bytes(body), keep_alive=parser.their_state is h11.DONE)


def _request(head: h11.Request, body: bytes, *, keep_alive: bool) -> Request:
    headers: dict[str, str] = {}
    for name, value in ((name.decode(), value.decode("latin-1")) for name, value in head.headers):
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = head.target.decode().partition("?")
    return Request(head.method.decode(), path, query, headers, body, keep_alive)
