"""Knows how requests are read from bytes, and answers written.
Must not use a socket."""

from io import BytesIO

import pytest

from dune_matviews.sandbox._http import (
    MAX_BODY,
    MAX_LINE,
    MalformedRequestError,
    Request,
    changed_headers,
    json_answer,
    raw_answer,
    read_request,
    write_head,
)


def read(text: str) -> Request:
    """The first request in *text*."""
    return read_request(BytesIO(text.encode("latin-1")))


def test_a_request_is_read_as_it_was_sent() -> None:
    """The path stays encoded, the query is apart from it, header names are in lower case."""
    request = read("POST /a%2Fb?c=%20 HTTP/1.1\r\nHost: x\r\nContent-Length:  2 \r\n\r\n{}")
    assert Request("POST", "/a%2Fb", "c=%20", {"host": "x", "content-length": "2"}, b"{}") == request


def test_requests_follow_each_other() -> None:
    """The next request begins where the one before ended, and the end of the stream is the end."""
    stream = BytesIO(b"POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\n1GET /b HTTP/1.1\r\n\r\n")
    assert [read_request(stream).path, read_request(stream).path] == ["/a", "/b"]
    with pytest.raises(EOFError):
        read_request(stream)


def test_a_repeated_header_is_a_list() -> None:
    """Several headers of one name are one header with several values."""
    assert read("GET / HTTP/1.1\r\nAccept: a\r\naccept: b\r\n\r\n").headers == {"accept": "a, b"}


def test_chunks_are_put_together() -> None:
    """A body may come in chunks, whose extensions and trailers say nothing."""
    body = "2;x=y\r\n{}\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    assert read(f"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}").body == b"{}0123456789"


@pytest.mark.parametrize(
    "head",
    [
        f"Content-Length: {MAX_BODY + 100}\r\n\r\n{'x' * (MAX_BODY + 100)}",
        "Transfer-Encoding: chunked\r\n\r\n" + f"80000\r\n{'x' * 0x80000}\r\n" * 3 + "0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
def test_a_body_past_the_limit_is_cut_but_read(head: str) -> None:
    """Of too long a body one byte more than allowed is kept, and the next request is still found."""
    stream = BytesIO(f"POST /a HTTP/1.1\r\n{head}GET /b HTTP/1.1\r\n\r\n".encode())
    assert len(read_request(stream).body) == MAX_BODY + 1
    assert read_request(stream).path == "/b"


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        ("GET / HTTP/1.1\r\n", True),
        ("GET / HTTP/1.1\r\nConnection: Keep-Alive\r\n", True),
        ("GET / HTTP/1.1\r\nConnection: x, Close\r\n", False),
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
        "GET / HTTP/2\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /\xe9 HTTP/1.1\r\n\r\n",
        "\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nName : x\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        f"GET /{'a' * MAX_LINE} HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        f"POST / HTTP/1.1\r\nContent-Length: {'1' * 5000}\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n1\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n",
    ],
)
def test_what_http_does_not_know_is_refused(text: str) -> None:
    """A message with a fault is told apart from one that breaks off."""
    with pytest.raises(MalformedRequestError):
        read(text)


@pytest.mark.parametrize(
    "text",
    ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"],
)
def test_a_request_may_break_off(text: str) -> None:
    """A client that goes away in the middle of a request has not sent one."""
    with pytest.raises(EOFError):
        read(text)


def test_a_head_is_status_and_headers() -> None:
    """What precedes a body is the status with its phrase, and the answer's headers, the body's length among them."""
    answer = json_answer(405, {"error": "é"}, {"Allow": "GET"})
    assert answer.body == b'{"error": "\\u00e9"}'
    assert write_head(answer, keep_alive=True) == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nAllow: GET\r\nContent-Length: 19\r\n\r\n"
    )


def test_the_last_answer_of_a_connection_says_so() -> None:
    """Where the connection ends with the answer, a header tells the client."""
    expected = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    assert expected == write_head(raw_answer(200, b"{}"), keep_alive=False)


def test_a_status_that_no_standard_lists_has_no_phrase() -> None:
    """Statuses such as 520, which proxies invent, can be written as well."""
    assert write_head(raw_answer(520, b""), keep_alive=True).startswith(b"HTTP/1.1 520 \r\n")


def test_headers_are_changed_by_name() -> None:
    """A change adds a header, replaces one whatever the case of its name, or leaves it out."""
    headers = {"Date": "today", "Content-Length": "2", "Allow": "GET"}
    changes = {"date": "yesterday", "CONTENT-LENGTH": None, "Location": "/", "Absent": None}
    assert changed_headers(headers, changes) == {"Allow": "GET", "date": "yesterday", "Location": "/"}
