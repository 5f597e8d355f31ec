"""One exchange: a request on its way out with the key, and its response, or an error of ours.

This module must not know operations, flows or policies, nor which client sends; it carries out no request itself.

An error is raised from where no local variable holds text of the server's, and its cause is dropped where a traceback
of it would show the key.
"""

from __future__ import annotations

import logging
import re
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from .. import __version__
from .._flow.log import log
from ..errors import APIError, RequestFailedError
from ..remedies import ChangeSetting, Remedy, Setting
from .messages import OnNotice, Request, Response
from .redaction import clear_ended_frames
from .responses import printable, refusal, success
from .settings import Settings

KEY_HEADER = "X-Dune-Api-Key"

Trace = Callable[[str, Mapping[str, Any]], object]
"""What httpcore's `trace` extension calls at each of its steps."""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": f"dune-matviews/{__version__}"}

_NOTICES = frozenset({"ratelimit", "ratelimit-policy", "deprecation", "sunset"})

_url = lru_cache(maxsize=256)(httpx.URL)  # parsing one costs as much as all that we do besides, and polls repeat theirs

# How the names of httpcore's steps begin that make a connection, apart from the requests that it sends to a proxy.
_CONNECTING = ("connection.", "proxy.", "socks.")

# Another transport than httpx's may give a reset the name of any other timeout.
_LATE = (TimeoutError, httpcore.TimeoutException, httpx.ReadTimeout, httpx.WriteTimeout)


class Exchange:
    """One request on its way out and back, through either client.

    As a context manager it takes the key from the request when that is no longer under way, and takes in failures. An
    interruption passes on, without the key in the local variables of the frames that it has ended.
    """

    def __init__(self, settings: Settings, request: Request, seconds: float, on_notice: OnNotice) -> None:
        parts = {**request.parts, "url": _url(settings.base_url + request.parts["url"])}
        self.request = httpx.Request(headers=_HEADERS | parts.pop("headers", {}), **parts)
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self._key = settings.api_key
        self._asked = request
        self._on_notice = on_notice
        self._response: httpx.Response | None = None
        self._body = bytearray()
        self._failure: Exception | None = None
        self._is_connecting: bool | None = None  # None where httpcore has not said so
        self._earlier = sys.exception()
        self.is_clean = False

    def __enter__(self) -> Self:
        return self

    def signed(self, trace: Trace | None) -> httpx.Request:
        """The request, with the key. *trace* passes httpcore's steps to `trace`; an open connection needs none."""
        self.request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self.seconds)
        if trace is not None:
            self.request.extensions["trace"] = trace
        self.request.headers[KEY_HEADER] = self._key.reveal()
        return self.request

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take in a step of httpcore. As long as all steps were those of connecting, nothing has been sent."""
        if event.endswith(".started"):
            request = info.get("request")
            is_connecting = event.startswith(_CONNECTING) or (request is not None and request.method == b"CONNECT")
            self._is_connecting = is_connecting and self._is_connecting is not False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            self.request.extensions.clear()  # `trace` leads back to here: no circle to clean up
            _take_key_out(self.request)
            if self._response is not None and self._response.next_request is not None:
                _take_key_out(self._response.next_request)  # httpx copies it for where a redirect leads
            self.is_clean = error is None
            self._failure = error if isinstance(error, Exception) else None
            if error is not None and self._failure is None:
                clear_ended_frames(error, self._earlier)
        except BaseException as interruption:
            clear_ended_frames(interruption, self._earlier)
            raise
        return self._failure is not None

    def read(self, response: httpx.Response) -> None:
        """Take in the response of a synchronous connection."""
        self.begin(response)
        for chunk in response.iter_bytes():
            self.add(chunk)

    def begin(self, response: httpx.Response) -> None:
        """Take in status and headers; give up a body that was packed twice, which unpacks without bound in one go."""
        self._response = response
        if not _NOTICES.isdisjoint(response.headers):
            try:
                self._on_notice(self._asked, response.headers)
            except Exception as problem:  # nothing about a notice makes a response less than it is
                log.debug("A response's headers cannot be used (%s)", type(problem).__name__)
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "gzip", "identity"):
            raise _GivenUpError("the response is encoded in another way than gzip")

    def add(self, chunk: bytes) -> None:
        """Take in a part of the body, and give up a response that is too large or too slow."""
        self._body += chunk
        if len(self._body) > self._asked.max_bytes:
            raise _GivenUpError(f"the response is larger than {self._asked.max_bytes // 1_000_000} MB")
        if time.monotonic() > self.deadline:
            raise TimeoutError  # where the connection is the caller's own, which knows no deadline

    def outcome(self) -> Response:
        """The response, if it is a success and complete; else our error is raised."""
        try:
            found = self._found()
            cause = self._cause()
        except BaseException as interruption:
            clear_ended_frames(interruption, self._earlier)
            raise
        if isinstance(found, Response):
            return found
        raise found from cause

    def _found(self) -> Response | APIError | RequestFailedError:
        """A refusal is one by its status and headers, however little of its body came; a success has to be complete."""
        response, failure = self._response, self._failure
        if response is None or (response.is_success and failure is not None):
            self._note(type(failure).__name__)
            return self._lost(failure, sent=response is not None or not self._is_unsent(failure))
        self._note(response.status_code)
        read = success if response.is_success else refusal
        return read(response.status_code, response.headers, bytes(self._body), self._key)

    def _lost(self, failure: Exception | None, *, sent: bool) -> RequestFailedError:
        if isinstance(failure, _LATE) or (isinstance(failure, httpx.TimeoutException) and not sent):
            problem = f"no response within {round(self.seconds, 3):g} s" if sent else "no connection in time"
        else:
            problem = printable(self._key.redact(str(failure))).rstrip(".") or type(failure).__name__
        message = f"{self.request.method} {self.request.url.copy_with(query=None)} failed: {problem}."
        lasting = None if sent else _lasting(failure)
        remedy = lasting or (None if sent else _REACH)
        return RequestFailedError(message, sent=sent, is_transient=lasting is None, remedy=remedy)

    def _is_unsent(self, failure: Exception | None) -> bool:
        """httpcore was connecting, or had not begun to, for want of a connection; other transports prove nothing."""
        if self._is_connecting is None:
            return failure is not None and isinstance(failure.__cause__, httpcore.PoolTimeout)
        return self._is_connecting

    def _cause(self) -> Exception | None:
        """The failure, unless it shows the key: libraries quote any text that they cannot parse."""
        failure, self._failure = self._failure, None  # its traceback leads back to here: no circle to clean up
        return None if failure is None or self._key.is_shown_by(failure) else failure

    def _note(self, outcome: object) -> None:
        if log.isEnabledFor(logging.DEBUG):
            milliseconds = (time.monotonic() - self.deadline + self.seconds) * 1000
            log.debug("%s %s: %s in %.0f ms", self.request.method, self.request.url.path, outcome, milliseconds)


class _GivenUpError(Exception):
    """A response that is not waited for, or not read, any further."""


def _take_key_out(request: httpx.Request) -> None:
    with suppress(KeyError):  # a hook of the caller's may have been quicker
        del request.headers[KEY_HEADER]


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
