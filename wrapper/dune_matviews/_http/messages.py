"""Requests and responses as plain data.

This module must not know httpx, nor what any request means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Request:
    """A request, as the generated code builds it.

    Attributes:
        parts: `method`, `url` (the path, from where the base URL ends), and what else `httpx.Request` takes.
        is_billed: a duplicate may cost money, so it leaves on a connection that is certainly alive.
        max_bytes: the largest response, decompressed, that makes sense.
    """

    parts: Mapping[str, Any]
    is_billed: bool = False
    max_bytes: int = 1_000_000


@attrs.frozen(repr=False)  # headers may echo the key
class Response:
    """A success, read to its end.

    Attributes:
        status_code: the HTTP status.
        headers: the headers, as the server wrote them.
        payload: the JSON object that is the body, without the key.
    """

    status_code: int
    headers: Mapping[str, str]
    payload: dict[str, Any]
