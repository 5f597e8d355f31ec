"""Pure numbers: the cadence of polls, their share of the request budget, Dune's own limits, backoff.

This module must not know a clock or the purpose of a poll: the caller passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from itertools import starmap
from threading import RLock
from typing import Generic, TypeVar

from .._http.headers import RateLimit
from .._http.rate_limits import MARGIN, PERIOD, Bucket, RequestBudget, Window
from .forecast import NOTICING, SHORTEST_PAUSE, Expected

# The shortest pause between two polls, and the fraction of its age after which an execution is polled again.
# With these the end is noticed within 1 s or 10 % of the execution's length, in 57 polls for the first ten minutes.
YOUNG = 2.0
EAGERNESS = 0.1

S = TypeVar("S")

FOR_THE_PAST = 0.05
"""The part of the budget in which past executions are read."""

FOR_POLLS = 0.9
"""The part of the budget that eager polls may use; the rest is for other requests."""


class Watched:
    """An execution that is polled: when it began, and what its view's past says of it, if anything."""

    __slots__ = ("expected", "since")

    def __init__(self, since: float, expected: Expected | None = None) -> None:
        self.since = since
        self.expected = expected


def poll_pause(age: float, expected: Expected | None = None) -> float:
    """Seconds from one poll of an execution to the next, when it is *age* seconds old."""
    if expected is not None:
        return expected.pause(age, _promise(age))
    return max(SHORTEST_PAUSE, min(age / YOUNG, 1.0), age * EAGERNESS)


def polls_ahead(age: float, expected: Expected | None = None) -> float:
    """How many polls `poll_pause` makes in the coming `PERIOD`, about, of an execution that is *age* seconds old."""
    steady = 1 / EAGERNESS
    each_second = max(0.0, min(steady, age + PERIOD) - age)
    growing = math.log((age + PERIOD) / max(age, steady)) / math.log1p(EAGERNESS) if age + PERIOD > steady else 0.0
    return each_second + growing + (expected.ahead(age, PERIOD) / NOTICING if expected is not None else 0.0)


def eager_polls(each: Collection[tuple[float, Expected | None]], rate: float) -> tuple[float, float]:
    """How to spend *rate* polls a second on executions, by age and expectation, so that ends are noticed soonest.

    The delay in all is least when polls go with the square root of the chance of an end in the next second; without a
    past that falls with the age. Of what is expected to go on, up to half the polls go to the promise all the same.

    Returns:
        Polls a second for each square root of a chance, and the part of the promise that there is room for.
    """
    weights = [math.sqrt(_hazard(age, expected)) for age, expected in each]
    promised = [1 / _promise(age) if expected is not None else 0.0 for age, expected in each]
    part = min(1.0, rate / 2 / max(math.fsum(promised), 1e-9))
    steepest = sorted(zip(weights, promised, strict=True), key=lambda pair: pair[1] / pair[0])
    left, total = rate, math.fsum(weights)
    while steepest and steepest[-1][1] * part > steepest[-1][0] * left / total:
        weight, promise = steepest.pop()
        left, total = left - promise * part, total - weight
    return left / total if steepest else rate, part


def _promise(age: float) -> float:
    """The longest pause that keeps what is promised."""
    return max(1.0, age * EAGERNESS)


def _hazard(age: float, expected: Expected | None) -> float:
    return 1 / max(age, 1.0) if expected is None else max(expected.hazard(max(age, 1.0)), 1e-9)


def fair_share(wants: Iterable[float], capacity: float) -> float:
    """The largest share when *capacity* is divided: small wants are met in full, and the others get equal shares."""
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


_SETTLING = ("refresh", "status")
"""The operations whose responses say for good by which of Dune's policies their bucket is counted."""


class Pace:
    """When one client may send its next request: two windows, and the share of each watched execution.

    With *learns* the budget is a guess, and quotas that Dune announces take its place: each policy of Dune's has one
    window, which may count both buckets. Without it, the budget stays. A spent quota is obeyed in any case.
    """

    def __init__(self, budget: RequestBudget | None, *, learns: bool = False) -> None:
        self.windows: dict[Bucket, Window] = {
            "low": Window(budget.low if budget else None, is_guess=learns),
            "high": Window(budget.high if budget else None, is_guess=learns),
        }
        self._polls = self._count_polls()
        self._past = Window(None)
        self._learns = learns
        self._policies: dict[str, Window] = {}
        self._settled: set[Bucket] = set()
        self._watched: set[Watched] = set()
        self._cadence_share = _Share(lambda each: fair_share(starmap(polls_ahead, each), self._polls or math.inf))
        self._eager_share = _Share(lambda each: eager_polls(each, (self._polls or math.inf) * FOR_POLLS / PERIOD))
        self._lock = RLock()

    def start_over(self) -> None:
        """In a forked child, where the parent's locks may be held for ever, and its polls are not ours."""
        self._lock = RLock()
        self._watched = set()
        for window in (*self.windows.values(), *self._policies.values()):
            window.start_over()

    def learn(self, bucket: Bucket, operation: str, limits: Collection[RateLimit], now: float) -> None:
        """Take in the rate-limit policies that a response to *operation* announces."""
        quotas = [limit for limit in limits if limit.quota] if self._learns else []
        if quotas:
            self._follow(bucket, operation, min(quotas, key=lambda limit: limit.quota / limit.seconds), now)
        spent_for = max((limit.spent_for for limit in limits), default=0)
        self.windows[bucket].spend(now, now + spent_for)

    def _follow(self, bucket: Bucket, operation: str, limit: RateLimit, now: float) -> None:
        """Have the tightest policy of a response count the bucket, unless another is known to."""
        with self._lock:
            settles = operation in _SETTLING
            window = self._policies.get(limit.policy)
            if settles or bucket not in self._settled:
                if window is None:
                    own = self.windows[bucket]
                    window = own if own.is_guess else Window(None)
                self._policies[limit.policy] = self.windows[bucket] = window
            if settles:
                self._settled.add(bucket)
            if window is not None and window.follow(limit.quota, limit.seconds + MARGIN, now):
                self._polls = self._count_polls()
                self._cadence_share.forget()
                self._eager_share.forget()

    def _count_polls(self) -> float | None:
        """How many polls the budget allows in a `PERIOD`; None for any number."""
        window = self.windows["high"]
        return None if window.limit is None else window.limit * PERIOD / window.period

    def may_look_back(self, now: float) -> bool:
        """A past execution may be read now, out of the small part of the budget that is for it."""
        if self._polls is not None:
            self._past.limit = int(self._polls * FOR_THE_PAST)
        return self._past.limit != 0 and self._past.reserve(now, latest=now) is not None

    @contextmanager
    def watching(self, watched: Watched) -> Generator[None]:
        """While this lasts, an execution has its share of the polls."""
        with self._lock:
            self._watched.add(watched)
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(watched)

    def pause(self, now: float, watched: Watched) -> float:
        """Seconds to the next poll of an execution: its cadence, or its share of the budget."""
        cadence = poll_pause(now - watched.since, watched.expected)
        if self._polls is None:
            return cadence
        return max(cadence, PERIOD / self._share(self._cadence_share, now))

    def eager_pause(self, now: float, watched: Watched) -> float:
        """Seconds to the next poll where every end is worth noticing at once: as soon as the budget allows."""
        age, expected = now - watched.since, watched.expected
        if self._polls is None:
            return max(SHORTEST_PAUSE, age * EAGERNESS / 10)
        steepness, part = self._share(self._eager_share, now)
        if expected is not None:
            return expected.pause(age, _promise(age) / part, steepness)
        return max(SHORTEST_PAUSE, 1 / (math.sqrt(_hazard(age, None)) * steepness))

    def _share(self, share: _Share[S], now: float) -> S:
        with self._lock:
            return share.at(now, self._watched)


class _Share(Generic[S]):
    """A figure of all executions that are watched, computed anew once a twentieth of them came, went or aged.

    So that a pause costs the same however many there are.
    """

    def __init__(self, compute: Callable[[list[tuple[float, Expected | None]]], S]) -> None:
        self._compute = compute
        self._count = 0
        self._computed_at = -math.inf
        self._mean_age = 0.0

    def forget(self) -> None:
        """Compute it anew: something else that it depends on has changed."""
        self._computed_at = -math.inf

    def at(self, now: float, watched: Collection[Watched]) -> S:
        """The figure now, of what is watched."""
        changed = abs(len(watched) - self._count) > self._count / 20
        if changed or now - self._computed_at > max(self._mean_age, 1.0) / 20:
            each = [(now - one.since, one.expected) for one in watched]
            self._value, self._count, self._computed_at = self._compute(each), len(each), now
            self._mean_age = sum(age for age, _ in each) / max(len(each), 1)
        return self._value
