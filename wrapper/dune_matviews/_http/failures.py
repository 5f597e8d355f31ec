"""Failures as errors of ours: refusals, responses that cannot be read, and requests without a response.

This module must not know how responses arrive, nor the requests. It redacts the key in all that it shows of a response;
the parts that it reads for itself, such as a date, are as the server wrote them.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from http import HTTPStatus

import httpcore
import httpx

from ..errors import APIError, RequestFailedError, UnexpectedResponseError, error_class
from ..remedies import ChangeSetting, Remedy, Setting
from .headers import limits, retry_after
from .redaction import LONGEST_BODY, ApiKey, decoded

_NOT_CONNECTED = (521, 523, 525, 526)
"""Cloudflare's statuses for: the origin refuses connections, has no route, fails the TLS handshake, has a certificate
that is not valid. In each of them no request reached it, which Cloudflare's documentation confirms."""

# Another transport than httpx's may give a reset the name of any other timeout.
_LATE = (TimeoutError, httpcore.TimeoutException, httpx.ReadTimeout, httpx.WriteTimeout)


def unreadable(reason: str, status: int, body: bytes, request_id: str | None, key: ApiKey) -> UnexpectedResponseError:
    """The error for a success whose body is no JSON object."""
    return UnexpectedResponseError(reason, status_code=status, body=_text(body, key), request_id=request_id)


def refusal(status: int, headers: Mapping[str, str], body: bytes, request_id: str | None, key: ApiKey) -> APIError:
    """The error for a response that is not a success."""
    text = _text(body, key)
    if 300 <= status < 400:
        message = f"a redirect to {headers.get('location', 'nowhere')}, which is not followed"
    else:
        message = _said(body, text) or _phrase(status)
    error = error_class(status)(
        key.printable(message),
        status_code=status,
        body=text,
        request_id=request_id,
        retry_after=retry_after(headers),
        reached_dune=not (status in _NOT_CONNECTED and "cf-ray" in headers and headers.get("server") == "cloudflare"),
    )
    error.limits = limits({name: key.printable(text) for name, text in headers.items()})
    return error


def _said(body: bytes, text: str) -> str:
    """The server's own words: Dune's `error` (a text, or an object with `message`), else the text of the body."""
    try:
        found = json.loads(decoded(body))
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


def lost(
    request: httpx.Request, failure: Exception | None, seconds: float, key: ApiKey, *, sent: bool
) -> RequestFailedError:
    """The error for a request that got no complete response."""
    if isinstance(failure, _LATE) or (isinstance(failure, httpx.TimeoutException) and not sent):
        problem = f"no response within {round(seconds, 3):g} s" if sent else "no connection in time"
    else:
        problem = key.printable(str(failure)).rstrip(".") or type(failure).__name__
    message = f"{request.method} {request.url.copy_with(query=None)} failed: {problem}."
    lasting = None if sent else _lasting(failure)
    remedy = lasting or (None if sent else _REACH)
    return RequestFailedError(message, sent=sent, is_transient=lasting is None, remedy=remedy)


def _lasting(failure: Exception | None) -> Remedy | None:
    """How to mend a failure that will not pass by itself; None for one that may."""
    if isinstance(failure, httpx.ProxyError | httpcore.ProxyError):
        if re.match(r"5\d\d |Proxy Server could not connect: ", str(failure)):  # httpcore tells it in no other way
            return None
        return ChangeSetting(
            "The proxy refuses the connection. Check {} or {}, which also takes a user and a password "
            "(http://user:password@host:port), or name the host in {}.",
            tuple(Setting(variable=each) for each in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")),
        )
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ChangeSetting(
                "The server's certificate is not trusted here. If a proxy or gateway of yours signs certificates, set "
                "{} to a file with its certificate authority.",
                (Setting(variable="SSL_CERT_FILE"),),
            )
        cause = cause.__cause__ or cause.__context__
    return None


_REACH = ChangeSetting(
    "Check {}, and that this machine reaches that host: a proxy is named by {}.",
    (Setting("base_url", variable="DUNE_API_BASE_URL"), Setting(variable="HTTPS_PROXY")),
)
"""What to do about a connection that could not be made."""
