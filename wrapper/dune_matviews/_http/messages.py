"""Requests and responses as plain data.

This module must not know httpx, nor the meaning of any request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .rate_limits import Bucket


class Request(NamedTuple):
    """A request, as the generated code builds it.

    Attributes:
        operation: the operation's name.
        parts: `method`, `url` (the path, from where the base URL ends), and further arguments of `httpx.Request`.
        bucket: the budget that it is assumed to count in.
        is_billed: a duplicate may cost money, so it leaves on a connection that is certainly alive.
        max_bytes: the largest response, decompressed, that makes sense.
    """

    operation: str
    parts: Mapping[str, Any]
    bucket: Bucket = "high"
    is_billed: bool = False
    max_bytes: int = 1_000_000


class Response(NamedTuple):
    """A success, read to its end.

    Attributes:
        status_code: the HTTP status.
        headers: the headers, as the server wrote them.
        payload: the JSON object that is the body, without the key.
        request_id: the id by which Dune's support can find the request, without the key.
    """

    status_code: int
    headers: Mapping[str, str]
    payload: dict[str, Any]
    request_id: str | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status_code}>"  # headers may echo the key


OnNotice = Callable[[Request, Mapping[str, str]], object]
"""Told of each response, refusals included, whose headers announce limits or the end of an operation: of the request,
and of the headers as the server wrote them."""
