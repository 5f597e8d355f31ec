"""Pure numbers: the cadence of polls, their share of the request budget, Dune's own limits, backoff.

This module must not know a clock or the purpose of a poll: the caller passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager

from .._http.locks import MomentLock
from .._http.notices import RateLimit
from .._http.rate_limits import MARGIN, PERIOD, Bucket, RequestBudget, Window

# The shortest pause between two polls, and the fraction of its age after which an execution is polled again.
# With these the end is noticed within 1 s or 10 % of the execution's length, in 57 polls for the first ten minutes.
SHORTEST_PAUSE = 0.2
YOUNG = 2.0
EAGERNESS = 0.1

FOR_POLLS = 0.9
"""The part of the budget that eager polls may use; the rest is for other requests."""


def poll_pause(age: float) -> float:
    """Seconds from one poll of an execution to the next, when it is *age* seconds old."""
    return max(SHORTEST_PAUSE, min(age / YOUNG, 1.0), age * EAGERNESS)


def polls_ahead(age: float) -> float:
    """How many polls `poll_pause` makes in the coming `PERIOD`, about, of an execution that is *age* seconds old."""
    steady = 1 / EAGERNESS
    each_second = max(0.0, min(steady, age + PERIOD) - age)
    growing = math.log((age + PERIOD) / max(age, steady)) / math.log1p(EAGERNESS) if age + PERIOD > steady else 0.0
    return each_second + growing


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
        self._learns = learns
        self._policies: dict[str, Window] = {}
        self._settled: set[Bucket] = set()
        self._watched: dict[object, float] = {}
        self._cadence_share = _Share(lambda ages: fair_share(map(polls_ahead, ages), self._polls or math.inf))
        self._eager_share = _Share(lambda ages: sum(1 / math.sqrt(max(age, 1.0)) for age in ages))
        self._lock = MomentLock()

    def start_over(self) -> None:
        """In a forked child, where the parent's locks may be held for ever, and its polls are not ours."""
        self._lock = MomentLock()
        self._watched = {}
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

    def _count_polls(self) -> float | None:
        """How many polls the budget allows in a `PERIOD`; None for any number."""
        window = self.windows["high"]
        return None if window.limit is None else window.limit * PERIOD / window.period

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
        """Seconds to the next poll of an execution that began at *since*: its cadence, or its share of the budget."""
        cadence = poll_pause(now - since)
        if self._polls is None:
            return cadence
        return max(cadence, PERIOD / self._share(self._cadence_share, now))

    def eager_pause(self, now: float, since: float) -> float:
        """Seconds to the next poll where every end matters at once: as soon as the budget allows.

        The chance that an execution ends in the next second falls with its age. The polls of a minute make for the
        least delay in all when each execution's pause grows with the square root of its age.
        """
        if self._polls is None:
            return max(SHORTEST_PAUSE, (now - since) * EAGERNESS / 10)
        shares = self._share(self._eager_share, now)
        return max(SHORTEST_PAUSE, math.sqrt(max(now - since, 1.0)) * shares * PERIOD / (self._polls * FOR_POLLS))

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

    def forget(self) -> None:
        """Compute it anew: something else that it depends on has changed."""
        self._computed_at = -math.inf

    def at(self, now: float, began: Collection[float]) -> float:
        """The figure now, of executions that began at those moments."""
        changed = abs(len(began) - self._count) > self._count / 20
        if changed or now - self._computed_at > max(self._mean_age, 1.0) / 20:
            ages = [now - each for each in began]
            self._value, self._count, self._computed_at = self._compute(ages), len(ages), now
            self._mean_age = sum(ages) / max(len(ages), 1)
        return self._value
