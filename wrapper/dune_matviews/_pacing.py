"""Pure numbers: request budgets, the cadence of polls, backoff.

This module must not know a clock of its own, nor what is requested: whoever asks says what time it is.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Literal

import attrs

PERIOD = 61.0
"""Seconds over which a budget is counted: a minute, and a margin because requests travel unevenly."""

Bucket = Literal["low", "high"]
"""Dune counts two kinds of requests apart: `low` (execute, write) and `high` (status, get, cancel)."""


@attrs.frozen
class RequestBudget:
    """How many requests a minute an account may make: `low` (execute, write) and `high` (status, get, cancel)."""

    low: int
    high: int


PLANS: dict[str, RequestBudget] = {
    "free": RequestBudget(low=15, high=40),
    "plus": RequestBudget(low=70, high=200),
    "enterprise": RequestBudget(low=350, high=1000),
}

# The shortest pause between two polls, and the part of its age after which an execution is looked at again.
# With these the end is noticed within 1 s or 10 % of the execution's length, in 57 polls for the first ten minutes.
SHORTEST_PAUSE = 0.2
YOUNG = 2.0
EAGERNESS = 0.1

FOR_LOOKS = 0.9
"""The part of the budget that eager looks use up; what remains is for other requests."""


def poll_pause(age: float) -> float:
    """Seconds from one look at an execution to the next, when it is *age* seconds old."""
    return max(SHORTEST_PAUSE, min(age / YOUNG, 1.0), age * EAGERNESS)


def polls_ahead(age: float) -> float:
    """How many polls `poll_pause` makes in the coming `PERIOD`, about, of an execution that is *age* seconds old."""
    steady = 1 / EAGERNESS
    each_second = max(0.0, min(steady, age + PERIOD) - age)
    growing = math.log((age + PERIOD) / max(age, steady)) / math.log1p(EAGERNESS) if age + PERIOD > steady else 0.0
    return each_second + growing


def fair_share(wants: Iterable[float], capacity: float) -> float:
    """The most that anyone gets when *capacity* is shared: whoever wants less gets it, the rest share evenly."""
    ordered = sorted(wants)
    for place, want in enumerate(ordered):
        even = capacity / (len(ordered) - place)
        if want > even:
            return even
        capacity -= want
    return math.inf


def backoff(failures: int, chance: float) -> float:
    """Seconds to pause after so many failures in a row: doubling from 1 s to 30 s, and spread by *chance* in [0, 1)."""
    return min(30.0, 0.5 * 2.0 ** min(failures, 10)) * (0.5 + chance / 2)


@attrs.define
class Turn:
    """A request's place in a window: it may leave at *start*, which moves when the window is closed meanwhile."""

    start: float


class Window:
    """At most *limit* requests in any `PERIOD` seconds (None: no limit), first come, first served. Thread-safe."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._turns: deque[Turn] = deque()  # in order: those of the last period, and all that wait
        self._closed_until = -math.inf
        self._lock = threading.Lock()

    def start_over(self) -> None:
        """In a forked child: nobody waits here yet."""
        self._lock = threading.Lock()

    def reserve(self, now: float, *, latest: float = math.inf) -> Turn | None:
        """Take the next free moment; take nothing, and say None, if it lies past *latest*."""
        with self._lock:
            while len(self._turns) > (self._limit or 0) and self._turns[0].start < now:
                self._turns.popleft()
            start = max(now, self._closed_until)
            if self._turns:
                start = max(start, self._turns[-1].start)
            if self._limit is not None and len(self._turns) >= self._limit:
                start = max(start, self._turns[-self._limit].start + PERIOD)
            if start > latest:
                return None
            self._turns.append(Turn(start))
            return self._turns[-1]

    def close(self, now: float, until: float) -> None:
        """Let nobody through before *until*: the server said so. Whoever waits keeps its place, and waits longer."""
        with self._lock:
            longer = until - max(now, self._closed_until)
            if longer > 0:
                self._closed_until = until
                for turn in self._turns:
                    if turn.start >= now:
                        turn.start += longer

    def closed_for(self, now: float) -> float:
        """Seconds until the server will listen again; 0 while it does."""
        return max(0.0, self._closed_until - now)


class Pace:
    """What one client may ask of Dune, and when: two windows, and the share of each execution that is watched."""

    def __init__(self, budget: RequestBudget | None) -> None:
        self._high = budget.high if budget else None
        self.windows: dict[Bucket, Window] = {
            "low": Window(budget.low if budget else None),
            "high": Window(self._high),
        }
        self._watched: dict[object, float] = {}
        self._cadence_share = _Share(lambda ages: fair_share(map(polls_ahead, ages), self._high or math.inf))
        self._eager_share = _Share(lambda ages: sum(1 / math.sqrt(max(age, 1.0)) for age in ages))
        self._lock = threading.Lock()

    def start_over(self) -> None:
        """In a forked child, where the parent's locks may be held for ever, and its polls are not ours."""
        self._lock = threading.Lock()
        self._watched = {}
        for window in self.windows.values():
            window.start_over()

    @contextmanager
    def watching(self, since: float) -> Generator[None]:
        """While this lasts, an execution that began at *since* has its share of the polls."""
        token = object()
        with self._lock:
            self._watched[token] = since
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(token, None)

    def pause(self, now: float, since: float) -> float:
        """Seconds to the next look at an execution that began at *since*: its cadence, or its share of the budget."""
        cadence = poll_pause(now - since)
        if self._high is None:
            return cadence
        return max(cadence, PERIOD / self._share(self._cadence_share, now))

    def eager_pause(self, now: float, since: float) -> float:
        """Seconds to the next look where every end is worth noticing at once: as soon as the budget allows.

        The chance that an execution ends in the next second falls with its age. The looks of a minute make for the
        least delay in all when each execution's pause grows with the square root of its age.
        """
        if self._high is None:
            return max(SHORTEST_PAUSE, (now - since) * EAGERNESS / 10)
        shares = self._share(self._eager_share, now)
        return max(SHORTEST_PAUSE, math.sqrt(max(now - since, 1.0)) * shares * PERIOD / (self._high * FOR_LOOKS))

    def _share(self, share: _Share, now: float) -> float:
        with self._lock:
            return share.at(now, self._watched.values())


class _Share:
    """A figure of all executions that are watched, computed anew once a twentieth of them came, went or aged.

    So that a pause costs the same however many there are.
    """

    def __init__(self, compute: Callable[[list[float]], float]) -> None:
        self._compute = compute
        self._value = 0.0
        self._count = 0
        self._computed_at = -math.inf
        self._mean_age = 0.0

    def at(self, now: float, began: Collection[float]) -> float:
        """The figure now, of executions that began at those moments."""
        changed = abs(len(began) - self._count) > self._count / 20
        if changed or now - self._computed_at > max(self._mean_age, 1.0) / 20:
            ages = [now - each for each in began]
            self._value, self._count, self._computed_at = self._compute(ages), len(ages), now
            self._mean_age = sum(ages) / max(len(ages), 1)
        return self._value
