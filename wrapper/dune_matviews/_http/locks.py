"""A lock that is held for moments, and that Ctrl-C cannot leave locked for good.

This module must not know the data that a lock protects.
"""

from __future__ import annotations

import threading
from contextlib import suppress

LONGEST = 1.0
"""Seconds after which a lock that is held for microseconds was left locked."""


class MomentLock:
    """A lock for a few statements. An interruption between them and the release costs the next thread a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=LONGEST):
            self._lock = threading.Lock()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # it was replaced meanwhile
            self._lock.release()
