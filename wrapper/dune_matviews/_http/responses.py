"""Responses: reads the body of a success, and turns any other response into an error of ours.

This module must not know how responses arrive, nor the requests. It reads a whole response first, and redacts the key
in all that it then shows of it; the parts that it reads for itself, such as a date, are as the server wrote them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from ..errors import APIError, UnexpectedResponseError, error_class
from .headers import limits, retry_after
from .messages import Response
from .redaction import ApiKey

LONGEST_MESSAGE = 300
LONGEST_BODY = 20_000
_NOT_CONNECTED = (521, 523, 525, 526)
"""Cloudflare's statuses for: the origin refuses connections, has no route, fails the TLS handshake, has a certificate
that is not valid. In each of them no request reached it, which Cloudflare's documentation confirms."""
_REQUEST_IDS = ("x-request-id", "cf-ray")


def success(status: int, headers: Mapping[str, str], body: bytes, key: ApiKey) -> Response | APIError:
    """A success, whose body must be a JSON object; the error, not yet raised, if it is none.

    The error has no cause: Python's own hold the body as it came.
    """
    try:
        found = key.redact_json(_decoded(body))
    except (ValueError, RecursionError) as problem:
        reason = f"the body is no JSON ({type(problem).__name__})" if body else "the body is empty"
    else:
        if isinstance(found, dict):
            return Response(status, headers, found, _request_id(headers, key))
        reason = "the body is no JSON object"
    request_id = _request_id(headers, key)
    return UnexpectedResponseError(reason, status_code=status, body=_text(body, key), request_id=request_id)


def refusal(status: int, headers: Mapping[str, str], body: bytes, key: ApiKey) -> APIError:
    """The error for a response that is not a success."""
    text = _text(body, key)
    if 300 <= status < 400:
        message = f"a redirect to {headers.get('location', 'nowhere')}, which is not followed"
    else:
        message = _said(body, text) or _phrase(status)
    error = error_class(status)(
        printable(key.redact(message)),
        status_code=status,
        body=text,
        request_id=_request_id(headers, key),
        retry_after=retry_after(headers),
        reached_dune=not (status in _NOT_CONNECTED and "cf-ray" in headers and headers.get("server") == "cloudflare"),
    )
    error.limits = limits({name: printable(key.redact(text)) for name, text in headers.items()})
    return error


def _request_id(headers: Mapping[str, str], key: ApiKey) -> str | None:
    """The id by which Dune's support can find the request; None where the response has none."""
    found = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
    return None if found is None else printable(key.redact(found))


def _decoded(body: bytes) -> str:
    """The JSON that *body* is in UTF-8: Python would accept other encodings, in which a key cannot be found."""
    return body.decode().removeprefix("\ufeff")


def _said(body: bytes, text: str) -> str:
    """The server's own words: Dune's `error` (a text, or an object with `message`), else the text of the body."""
    try:
        found = json.loads(_decoded(body))
    except (ValueError, RecursionError):
        return _plain(text)
    error = found.get("error", found.get("message")) if isinstance(found, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""


def _plain(text: str) -> str:
    """A page without its markup: the pages of proxies have their message somewhere in between."""
    import html  # the names of 2,000 characters

    without_code = re.sub(r"<(script|style)\b.*?</\1\s*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return html.unescape(re.sub(r"<[^<>]*>", " ", without_code))


def printable(text: str) -> str:
    """A text of the server's as a part of a message: on one line, printable, and not too long."""
    words = " ".join("".join(each if each.isprintable() else " " for each in text[:LONGEST_BODY]).split())
    return words if len(words) <= LONGEST_MESSAGE else words[: LONGEST_MESSAGE - 1] + "…"


def _text(body: bytes, key: ApiKey) -> str:
    """The beginning of *body*. Without its NULs, since UTF-16 is then as good as UTF-8 for finding a key."""
    # Redacted before it is cut, so that no part of a key is left at the end.
    text = body[: 5 * LONGEST_BODY].decode("utf-8", errors="replace").replace("\0", "")
    return key.redact(text)[:LONGEST_BODY]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
