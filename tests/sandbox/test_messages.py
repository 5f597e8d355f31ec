"""Knows how requests are read from bytes, and responses written.
Must not use a socket."""

from io import BytesIO

import h11
import pytest

from dune_matviews.sandbox._http import (
    MAX_BODY,
    MAX_HEAD,
    Request,
    RequestReader,
    changed_headers,
    head_of,
    json_response,
    raw_response,
)


def reader(text: str) -> RequestReader:
    """Reads *text*, of which a few bytes arrive at a time."""
    stream = BytesIO(text.encode("latin-1"))
    return RequestReader(lambda: stream.read(1 + len(text) // 5))


def read(text: str) -> Request:
    """The first request in *text*."""
    request = reader(text).read()
    assert request is not None
    return request


def test_a_request_is_read_as_it_was_sent() -> None:
    """The path stays encoded, the query is apart from it, header names are in lower case."""
    request = read("POST /a%2Fb?c=%20 HTTP/1.1\r\nHost: x\r\nContent-Length:  2 \r\n\r\n{}")
    assert Request("POST", "/a%2Fb", "c=%20", {"host": "x", "content-length": "2"}, b"{}") == request


def test_requests_follow_each_other() -> None:
    """The next request begins where the one before ended, and the end of the stream is the end."""
    ahead = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = reader(ahead)
    read = [requests.read() for _ in range(3)]
    assert [each and each.path for each in read] == ["/a", "/b", None]


def test_a_repeated_header_is_a_list() -> None:
    """Several headers of one name are one header with several values."""
    headers = read("GET / HTTP/1.1\r\nHost: x\r\nAccept: a\r\naccept: \xe9\r\n\r\n").headers
    assert headers == {"host": "x", "accept": "a, \xe9"}


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (f"Content-Length: {MAX_BODY + 100}\r\n\r\n{'x' * (MAX_BODY + 100)}", MAX_BODY + 1),
        ("Transfer-Encoding: chunked\r\n\r\n" + f"80000\r\n{'x' * 0x80000}\r\n" * 3 + "0\r\n\r\n", MAX_BODY + 1),
        ("Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", 12),
    ],
    ids=["length", "chunks", "short"],
)
def test_a_body_past_the_limit_is_cut_but_read(head: str, size: int) -> None:
    """Of too long a body one byte more than allowed is kept, and the next request is still found."""
    requests = reader(f"POST /a HTTP/1.1\r\nHost: x\r\n{head}GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    first, second = requests.read(), requests.read()
    assert first is not None
    assert second is not None
    assert (len(first.body), second.path) == (size, "/b")


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        ("GET / HTTP/1.1\r\nHost: x\r\n", True),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n", True),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n", False),
        ("GET / HTTP/1.0\r\n", False),
    ],
)
def test_connections_are_kept_unless_the_client_says_otherwise(head: str, keep_alive: bool) -> None:
    """HTTP/1.1 keeps a connection until one side says close; HTTP/1.0 does not keep it."""
    assert keep_alive is read(f"{head}\r\n").keep_alive


@pytest.mark.parametrize(
    "text",
    [
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        f"GET /{'a' * 2 * MAX_HEAD} HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n",
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{",
    ],
)
def test_bytes_that_are_no_request_are_refused(text: str) -> None:
    """A malformed message, one that is too long and one that breaks off are errors, and no request."""
    with pytest.raises(h11.RemoteProtocolError):
        reader(text).read()


def test_a_head_is_status_and_headers() -> None:
    """A body is preceded by the status with its phrase, and by the headers, the body's length among them."""
    response = json_response(405, {"error": "é"}, {"Allow": "GET"})
    assert response.body == b'{"error": "\\u00e9"}'
    assert head_of(response, keep_alive=True) == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nAllow: GET\r\nContent-Length: 19\r\n\r\n"
    )


def test_the_last_response_on_a_connection_says_so() -> None:
    """Where the connection ends with the response, a header tells the client."""
    expected = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    assert expected == head_of(raw_response(200, b"{}"), keep_alive=False)


def test_a_status_that_no_standard_lists_has_no_phrase() -> None:
    """Statuses such as 520, which proxies invent, can be written as well."""
    assert head_of(raw_response(520, b""), keep_alive=True).startswith(b"HTTP/1.1 520 \r\n")


def test_headers_are_changed_by_name() -> None:
    """A change adds, replaces or removes a header, in any case of its name."""
    headers = {"Date": "today", "Content-Length": "2", "Allow": "GET"}
    changes = {"date": "yesterday", "CONTENT-LENGTH": None, "Location": "/", "Absent": None}
    assert changed_headers(headers, changes) == {"Allow": "GET", "date": "yesterday", "Location": "/"}
