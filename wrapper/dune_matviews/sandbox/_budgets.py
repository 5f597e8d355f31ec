"""Knows how many requests a minute each plan allows, and counts them in a sliding window.
Must not know a clock of its own, nor which request belongs to which bucket."""

from collections import deque
from typing import Final, Literal

Bucket = Literal["low", "high"]

PLANS: Final = {"free": (15, 40), "plus": (70, 200), "enterprise": (350, 1000)}
_SECOND: Final = 1_000_000_000  # nanoseconds
_PERIOD: Final = 60 * _SECOND


class Budgets:
    """The two request budgets of *plan*: a word of PLANS, or the numbers (low, high); None is no limit."""

    def __init__(self, plan: str | tuple[int, int] | None) -> None:
        limits = (None, None) if plan is None else _limits(plan)
        self._windows = {"low": _Window(limits[0]), "high": _Window(limits[1])}

    def admit(self, bucket: Bucket, now: int) -> int:
        """Counts a request and answers 0; past the budget, counts nothing and answers the seconds until it frees."""
        return self._windows[bucket].admit(now)


def _limits(plan: str | tuple[int, int]) -> tuple[int, int]:
    if isinstance(plan, str):
        if plan not in PLANS:
            raise ValueError(f"plan must be {', '.join(PLANS)}, (low, high) or None, not {plan!r}")
        return PLANS[plan]
    low, high = plan
    if low < 1 or high < 1:
        raise ValueError(f"a plan allows at least 1 request a minute in each bucket, not {plan!r}")
    return low, high


class _Window:
    """At most *limit* requests within any minute."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._admitted: deque[int] = deque()

    def admit(self, now: int) -> int:
        if self._limit is None:
            return 0
        while self._admitted and self._admitted[0] <= now - _PERIOD:
            self._admitted.popleft()
        if len(self._admitted) < self._limit:
            self._admitted.append(now)
            return 0
        left = self._admitted[0] + _PERIOD - now
        return -(-left // _SECOND)  # rounded up, so that whoever waits as told is admitted
