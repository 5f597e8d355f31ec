"""Request budgets: how many requests an account may make in which time, and when the next one may leave.

This module must not know a clock of its own, nor any request: the caller tells the time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from threading import RLock
from typing import Literal, NamedTuple

MARGIN = 1.0
"""Seconds added to each window, because requests travel unevenly."""

PERIOD = 60.0 + MARGIN
"""Seconds over which a plan's budget is counted."""

Bucket = Literal["low", "high"]
"""Dune counts two kinds of requests apart: `low` (execute, write) and `high` (status, get, cancel)."""


class RequestBudget(NamedTuple):
    """How many requests a minute an account may make: `low` (execute, write) and `high` (status, get, cancel)."""

    low: int
    high: int


Plan = Literal["auto", "free", "analyst", "plus", "enterprise"]

PLANS: dict[str, RequestBudget] = {
    "free": RequestBudget(low=15, high=40),
    "analyst": RequestBudget(low=15, high=40),  # unpublished: it begins like Free, and learns from Dune's headers
    "plus": RequestBudget(low=70, high=200),
    "enterprise": RequestBudget(low=350, high=1000),
}


class Turn:
    """A request's place in a window: it may leave at *start*, which moves when the window changes meanwhile."""

    __slots__ = ("start",)

    def __init__(self, start: float) -> None:
        self.start = start


class Window:
    """At most *limit* requests in any *period* seconds (None: no limit), first come, first served. Thread-safe.

    Attributes:
        limit: requests.
        period: seconds.
        is_guess: Dune may announce another limit with its next response.
    """

    def __init__(self, limit: int | None, period: float = PERIOD, *, is_guess: bool = False) -> None:
        self.limit = limit
        self.period = period
        self.is_guess = is_guess
        self._turns: deque[Turn] = deque()  # in order: those of the last period, and all that wait
        self._spent_until = -math.inf
        self._closed_until = -math.inf
        self._lock = RLock()  # Python runs no signal handler between taking it and what it protects

    def start_over(self) -> None:
        """In a forked child: nobody waits here yet."""
        self._lock = RLock()

    def reserve(self, now: float, *, latest: float = math.inf) -> Turn | None:
        """Take the next free moment; take nothing, and say None, if it lies past *latest*."""
        with self._lock:
            while len(self._turns) > (self.limit or 0) and self._turns[0].start < now:
                self._turns.popleft()
            start = self._earliest(self._turns, len(self._turns), now)
            if start > latest:
                return None
            self._turns.append(Turn(start))
            return self._turns[-1]

    def follow(self, limit: int, period: float, now: float) -> bool:
        """Keep to what Dune has announced from now on; whether it was something else before."""
        with self._lock:
            changes = (limit, period) != (self.limit, self.period)
            self.limit, self.period, self.is_guess = limit, period, False
            if changes:
                self._reschedule(now)
            return changes

    def spend(self, now: float, until: float) -> None:
        """Let nobody through before *until*: the server says that the quota is spent. Who waits keeps their place."""
        with self._lock:
            if until > max(now, self._spent_until):
                self._spent_until = until
                self._reschedule(now)

    def close(self, now: float, until: float) -> None:
        """The same after a refusal, which counts as a failure of the request: see `closed_for`."""
        self._closed_until = max(self._closed_until, until)
        self.spend(now, until)

    def closed_for(self, now: float) -> float:
        """Seconds until the server, which has refused a request, will listen again; 0 while it does."""
        return max(0.0, self._closed_until - now)

    def _reschedule(self, now: float) -> None:
        turns = list(self._turns)
        for place, turn in enumerate(turns):
            if turn.start > now:
                turn.start = self._earliest(turns, place, now)

    def _earliest(self, turns: Sequence[Turn], place: int, now: float) -> float:
        """When the request at *place* may leave, after those before it."""
        start = max(now, self._spent_until)
        if place:
            start = max(start, turns[place - 1].start)
        if self.limit is not None and place >= self.limit:
            start = max(start, turns[place - self.limit].start + self.period)
        return start
