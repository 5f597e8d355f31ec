"""The headers of responses: rate limits, which the pace follows, and notices that an operation will end.

This module must not know how headers are written, nor who sends requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._flow.log import log
from .._http.headers import limits, retirement
from .._http.messages import Request
from .._http.redaction import ApiKey
from .session import Session


class Listener:
    """Told of each response of one client whose headers announce something."""

    def __init__(self, session: Session, key: ApiKey) -> None:
        self._session = session
        self._key = key
        self._told: dict[str, object] = {}

    def __call__(self, request: Request, headers: Mapping[str, str]) -> None:
        self._session.pace.learn(request.bucket, request.operation, limits(headers), self._session.clock())
        self._tell_retirement(request.operation, headers)

    def _tell_retirement(self, operation: str, headers: Mapping[str, str]) -> None:
        """Logged, once: a warning of Python's could be an exception, and take a response that was paid for with it."""
        found = retirement(headers)
        token = object()
        if found is None or self._told.setdefault(operation, token) is not token:
            return
        since = f" since {found.since:%Y-%m-%d}" if found.since else ""
        until = f", and goes on {found.until:%Y-%m-%d}" if found.until else ""
        link = f"; see {self._key.printable(found.link)}" if found.link else ""
        log.warning(
            "Dune says that the operation '%s' is deprecated%s%s%s. Look for a newer version of dune-matviews.",
            *(operation, since, until, link),
        )
