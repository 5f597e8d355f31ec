"""Knows HTTP/1.1 as bytes: how a request is read, strictly, and how an answer is written.
Must not know of sockets, threads or Dune."""

import json
import string
from collections.abc import Mapping
from http import HTTPStatus
from typing import BinaryIO, Final

import attrs

MAX_LINE: Final = 65_536
# What is kept of a body. The byte past the limit lets a reader see that the body was too long.
MAX_BODY: Final = 1_000_000
_KEPT: Final = MAX_BODY + 1
_DIGITS: Final = {10: string.digits, 16: string.hexdigits}


class MalformedRequestError(ValueError):
    """These bytes are no HTTP/1.1 request; what follows them cannot be read either."""


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
class Answer:
    """One answer, with all its headers but the one that follows from its connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


def raw_answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, body, {**(headers or {}), "Content-Length": str(len(body))})


def json_answer(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(content).encode()
    return raw_answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Answer:
    return json_answer(status, {"error": sentence}, headers)


def changed_headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """*headers* with *changes* in place of those of the same name, in any case; None leaves one out."""
    changing = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in changing}
    return kept | {name: value for name, value in changes.items() if value is not None}


def write_head(answer: Answer, *, keep_alive: bool) -> bytes:
    """All that precedes the body."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:  # a status that no standard lists, as proxies send them
        phrase = ""
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers.items())]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def read_request(stream: BinaryIO) -> Request:
    """Reads the next request. Raises MalformedRequestError, and EOFError where the client has nothing more to say."""
    method, target, version = _request_line(_line(stream))
    headers = _headers(stream)
    body = _body(stream, headers)
    path, _, query = target.partition("?")
    tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
    return Request(method, path, query, headers, body, version == "HTTP/1.1" and "close" not in tokens)


def _line(stream: BinaryIO) -> str:
    line = stream.readline(MAX_LINE)
    if line.endswith(b"\n"):
        return line.rstrip(b"\r\n").decode("latin-1")
    if len(line) == MAX_LINE:
        raise MalformedRequestError(f"a line is longer than {MAX_LINE} bytes")
    raise EOFError


def _request_line(line: str) -> tuple[str, str, str]:
    words = line.split(" ")
    if not line.isascii():
        raise MalformedRequestError("the first line has characters that must be percent-encoded")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise MalformedRequestError("the first line is not METHOD TARGET HTTP/1.1")
    return words[0], words[1], words[2]


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := _line(stream):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedRequestError("a header is not NAME: VALUE")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise MalformedRequestError("a body is either chunked or has a Content-Length")
        return _chunks(stream)
    return b"" if length is None else _take(stream, _number(length, base=10), _KEPT)


def _chunks(stream: BinaryIO) -> bytes:
    body = b""
    while size := _number(_line(stream).partition(";")[0].strip(), base=16):
        body += _take(stream, size, _KEPT - len(body))
        if _line(stream):
            raise MalformedRequestError("a chunk is longer than it says")
    _headers(stream)  # trailers, which say nothing here
    return body


def _number(text: str, *, base: int) -> int:
    # int() alone would also take signs, underscores, prefixes and the digits of other scripts.
    if not 0 < len(text) < 16 or text.strip(_DIGITS[base]):
        raise MalformedRequestError(f"not a length: {text[:16]!r}")
    return int(text, base)


def _take(stream: BinaryIO, size: int, room: int) -> bytes:
    """Reads *size* bytes and keeps the first *room* of them, so that no body costs more memory than that."""
    kept = stream.read(min(size, room))
    left = size - len(kept)
    while left:
        dropped = stream.read(min(left, MAX_LINE))
        if not dropped:
            raise EOFError
        left -= len(dropped)
    return kept
