"""One exchange: a request on its way out with the key, and its response, or an error of ours.

This module must not know operations, flows or policies, nor which client sends; it carries out no request itself.

An error is raised from where no local variable holds text of the server's, and its cause is dropped where a traceback
of it would show the key.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from .. import __version__
from .._flow.log import log
from ..errors import APIError, RequestFailedError
from .failures import lost, refusal, unreadable
from .messages import OnNotice, Request, Response
from .redaction import clear_ended_frames
from .settings import Settings

KEY_HEADER = "X-Dune-Api-Key"

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": f"dune-matviews/{__version__}"}

_REQUEST_IDS = ("x-request-id", "cf-ray")
"""Headers by which Dune's support can find a request."""

_NOTICES = frozenset({"ratelimit", "ratelimit-policy", "deprecation", "sunset"})

_url = lru_cache(maxsize=256)(httpx.URL)  # parsing one costs as much as all that we do besides, and polls repeat theirs

# How the names of httpcore's steps begin that make a connection, apart from the requests that it sends to a proxy.
_CONNECTING = ("connection.", "proxy.", "socks.")


class Exchange:
    """One request on its way out and back, through either client.

    As a context manager it takes the key from the request when that is no longer under way, and takes in failures. An
    interruption passes on, without the key in the local variables of the frames that it has ended.
    """

    def __init__(self, settings: Settings, request: Request, seconds: float, on_notice: OnNotice) -> None:
        parts = {**request.parts, "url": _url(settings.base_url + request.parts["url"])}
        self.request = httpx.Request(headers=_HEADERS | parts.pop("headers", {}), **parts)
        self.request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
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

    def sign(self) -> None:
        """Give the request the key."""
        self.request.headers[KEY_HEADER] = self._key.reveal()

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
            if isinstance(found, Response):
                return found
            cause = self._cause()
        except BaseException as interruption:
            clear_ended_frames(interruption, self._earlier)
            raise
        raise found from cause

    def _found(self) -> Response | APIError | RequestFailedError:
        """A refusal is one by its status and headers, however little of its body came; a success has to be complete."""
        response, failure = self._response, self._failure
        if response is None or (response.is_success and failure is not None):
            self._note(type(failure).__name__)
            sent = response is not None or not self._is_unsent(failure)
            return lost(self.request, failure, self.seconds, self._key, sent=sent)
        status, headers, body = response.status_code, response.headers, bytes(self._body)
        self._note(status)
        told_by = next((each for each in _REQUEST_IDS if each in headers), None)
        request_id = None if told_by is None else self._key.printable(headers[told_by])
        if not response.is_success:
            return refusal(status, headers, body, request_id, self._key)
        try:
            found = self._key.redact_json(body)
        except (ValueError, RecursionError) as problem:  # no cause of our error: it holds the body as it came
            reason = f"the body is no JSON ({type(problem).__name__})" if body else "the body is empty"
        else:
            if isinstance(found, dict):
                return Response(status, headers, found, request_id)
            reason = "the body is no JSON object"
        return unreadable(reason, status, body, request_id, self._key)

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
