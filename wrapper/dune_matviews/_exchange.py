"""One exchange: a request on its way out with the key, and whatever comes back as an answer or an error of ours.

This module must not know operations, flows or policies, nor which client sends; it carries out no request itself.

An error is raised from where no local variable has what the server sent, and its cause is dropped where a traceback
of it would show the key.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, cast

import httpx

from ._answers import payload, readable, refusal
from ._secrets import ApiKey
from ._settings import Settings
from .errors import APIError, RequestFailedError

KEY_HEADER = "X-Dune-Api-Key"
MAX_BODY = 10_000_000
"""Bytes of an answer, decompressed, beyond which it is given up: Dune's answers here have a few thousand."""

_log = logging.getLogger("dune_matviews")

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When a request is given up, by `time.monotonic()`; each thread and task has its own.

Generated functions have no such parameter, so that it travels beside them.
"""

# Failures before a connection was made: Dune has seen nothing. Any other leaves that open.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def time_left() -> float:
    """Seconds until the deadline."""
    return max(deadline.get() - time.monotonic(), 0.0)


class _TimeLeft(dict[str, float]):
    """httpx's table of timeouts, in which each phase gets what the phases before it have left over."""

    def __init__(self, limit: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool"), limit))
        self.limit = limit
        self.end = time.monotonic() + limit

    def get(self, phase: str, default: object = None) -> float:
        return max(self.end - time.monotonic(), 0.001)

    def __getitem__(self, phase: str) -> float:
        return self.get(phase)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end


class _Answer:
    """A success, read to its end: all that the generated code asks of an `httpx.Response`, which costs much to make."""

    def __init__(self, status_code: int, headers: Mapping[str, str], content: bytes, key: ApiKey) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content
        self._key = key

    def json(self) -> dict[str, Any]:
        """The JSON object that the answer is; our error if it is none."""
        found = payload(self.status_code, self.content, self._key)
        if isinstance(found, APIError):
            raise found
        return found


class Exchange:
    """One request on its way out and back, whichever client sends it.

    As a context manager it gives the request the key for as long as it is under way, and takes in what goes wrong.
    """

    def __init__(self, settings: Settings, request: httpx.Request) -> None:
        self.request = request
        self.started = time.monotonic()
        self.time_left = _TimeLeft(min(settings.timeout, time_left()))
        self._key = settings.api_key
        self._response: httpx.Response | None = None
        self._body = bytearray()
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self.request.extensions["timeout"] = self.time_left
        self.request.headers[KEY_HEADER] = self._key.reveal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        _take_key_out(self.request)
        if self._response is not None and self._response.next_request is not None:
            _take_key_out(self._response.next_request)  # httpx copies it for where a redirect leads
        self._failure = error if isinstance(error, Exception) else None
        return self._failure is not None

    def begin(self, response: httpx.Response) -> None:
        """Take in status and headers; give up a body that was packed twice, which unpacks without bound in one go."""
        self._response = response
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "gzip", "identity"):
            raise _GivenUpError("the answer is encoded in another way than gzip")

    def add(self, chunk: bytes) -> None:
        """Take in a part of the body, and give up an answer that is too large or too slow."""
        self._body += chunk
        if len(self._body) > MAX_BODY:
            raise _GivenUpError(f"the answer is larger than {MAX_BODY // 1_000_000} MB")
        if self.time_left.is_over:
            raise _GivenUpError(f"the answer was not complete within {self.time_left.limit:g} s")

    def outcome(self) -> httpx.Response:
        """The answer, if it is a success and complete; else our error is raised."""
        answer = self._success()
        if answer is None:
            raise self._error() from self._cause()
        return cast(httpx.Response, answer)

    def _success(self) -> _Answer | None:
        response = self._response
        if response is None or self._failure or not response.is_success:
            return None
        self._note(response.status_code)
        return _Answer(response.status_code, response.headers, bytes(self._body), self._key)

    def _error(self) -> APIError | RequestFailedError:
        """Our error: a refusal says by its status and headers what it is, however little of its body came."""
        response, failure = self._response, self._failure
        if response is not None and not response.is_success:
            self._note(response.status_code)
            return refusal(response.status_code, response.headers, bytes(self._body), self._key)
        self._note(type(failure).__name__)
        sent = response is not None or not _is_unsent(self.request, failure)
        if isinstance(failure, httpx.TimeoutException | TimeoutError):
            problem = f"no answer within {self.time_left.limit:g} s" if sent else "no connection in time"
        else:
            problem = readable(self._key.blank(str(failure))).rstrip(".") or type(failure).__name__
        where = f"{self.request.method} {self.request.url.copy_with(query=None)}"
        return RequestFailedError(f"{where} failed: {problem}.", sent=sent)

    def _cause(self) -> Exception | None:
        """What went wrong, unless it shows the key: libraries quote what they cannot understand."""
        failure, self._failure = self._failure, None  # its traceback leads back to here: no circle to clean up
        return None if failure is None or self._key.is_shown_by(failure) else failure

    def _note(self, outcome: object) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            milliseconds = (time.monotonic() - self.started) * 1000
            _log.debug("%s %s: %s in %.0f ms", self.request.method, self.request.url.path, outcome, milliseconds)


class _GivenUpError(Exception):
    """An answer that is not waited for, or not read, any further."""


def _take_key_out(request: httpx.Request) -> None:
    with suppress(KeyError):  # a hook of the caller's may have been quicker
        del request.headers[KEY_HEADER]


def _is_unsent(request: httpx.Request, failure: Exception | None) -> bool:
    """No connection was made for *request* itself; what a caller's hooks send elsewhere fails in the same ways."""
    if not isinstance(failure, _NEVER_SENT):
        return False
    try:
        return failure.request is request
    except RuntimeError:  # nobody said which
        return False
