"""Pure numbers: what past executions of a view say of the next one, how long it takes and what it costs.

Durations and costs of one view are log-normal, near enough. This module must not know a clock, requests, or how the
past is kept: the caller hands it numbers, the latest first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

NOTICING = 0.03
"""The chance of an end between two polls that is worth a poll of its own."""

SHORTEST_PAUSE = 0.2
"""Seconds between two polls."""

_FADING = 0.9  # each execution counts so much less than the one after it
_OUTLIER = 2.5  # standard deviations, beyond which a value counts as if it were just so far away
_SPREAD = 0.3  # the standard deviation of logarithms that is likely before anything is known
_SUREST = 8.0  # how many executions the spread of other views is worth at most


class Past(NamedTuple):
    """One past execution.

    Attributes:
        seconds: from its submission to its end.
        queued: the part of that which it spent in the queue.
        credits: its cost, where that is known.
        succeeded: it has made its view fresh.
    """

    seconds: float
    queued: float = 0.0
    credits: float | None = None
    succeeded: bool = True


class LogNormal(NamedTuple):
    """A quantity whose logarithm is normal, as far as *freedom* values tell: with few, its range is wider."""

    mu: float
    sigma: float
    freedom: float = math.inf

    @property
    def mean(self) -> float:
        """The mean."""
        return math.exp(self.mu + self.sigma**2 / 2)

    def quantile(self, chance: float) -> float:
        """It stays below this with such a chance: Student's t, by its first terms."""
        from statistics import NormalDist  # 5 ms that a start does not need

        z, n = NormalDist().inv_cdf(chance), self.freedom
        t = z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n * n)
        return math.exp(self.mu + self.sigma * t)

    def survival(self, value: float) -> float:
        """The chance to pass *value*."""
        return math.erfc((math.log(value) - self.mu) / self.sigma / math.sqrt(2)) / 2 if value > 0 else 1.0

    def density(self, value: float) -> float:
        """The density at *value*."""
        z = (math.log(value) - self.mu) / self.sigma
        return math.exp(-z * z / 2) / (self.sigma * value * math.sqrt(2 * math.pi))


class Prior(NamedTuple):
    """What the known views say of any other: where its logarithms may lie, and how far they spread."""

    mu: float
    between: float
    within: float = _SPREAD
    freedom: float = 1.0

    @classmethod
    def of(cls, groups: Collection[Sequence[float]]) -> Prior | None:
        """Of the values of each view; None where there are none."""
        fits = [_weighed(group, _SPREAD) for group in groups if group]
        if not fits:
            return None
        freedom = 1.0 + math.fsum(each.freedom for each in fits)
        squares = math.fsum(each.freedom * each.sigma**2 for each in fits) + _SPREAD**2
        mu = math.fsum(each.mu for each in fits) / len(fits)
        between = math.fsum((each.mu - mu) ** 2 for each in fits) / max(len(fits) - 1, 1)
        return cls(mu, math.sqrt(between), math.sqrt(squares / freedom), min(freedom, _SUREST))

    def unknown(self) -> LogNormal:
        """A view without a past."""
        return LogNormal(self.mu, math.hypot(self.between, self.within), self.freedom)

    def known(self, values: Sequence[float]) -> LogNormal:
        """The next value of a view, after *values*."""
        fit = _weighed(values, self.within)
        freedom = self.freedom + fit.freedom
        variance = (self.freedom * self.within**2 + fit.freedom * fit.sigma**2) / freedom
        return LogNormal(fit.mu, math.sqrt(variance * (1 + 1 / (1 + fit.freedom))), freedom)


def median(values: Iterable[float]) -> float:
    """The middle of values; of two in the middle, the larger."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _weighed(values: Sequence[float], within: float) -> LogNormal:
    """Mean and spread of logarithms: older ones count less, and those far away as if they were nearer."""
    logs = [math.log(max(each, 1e-3)) for each in values]
    weights = [_FADING**place for place in range(len(logs))]
    centre = median(logs)
    reach = _OUTLIER * max(within, 1.5 * median(abs(each - centre) for each in logs))
    logs = [min(max(each, centre - reach), centre + reach) for each in logs]
    total, squared = math.fsum(weights), math.fsum(weight**2 for weight in weights)
    mu = math.fsum(weight * each for weight, each in zip(weights, logs, strict=True)) / total
    squares = math.fsum(weight * (each - mu) ** 2 for weight, each in zip(weights, logs, strict=True))
    freedom = total**2 / squared - 1
    return LogNormal(mu, math.sqrt(squares / (total - squared / total)) if freedom > 0 else 0.0, max(freedom, 0.0))


class Expected(NamedTuple):
    """The next execution of a view.

    Attributes:
        seconds: from its submission to its end, if it succeeds.
        credits: its cost; None where no cost is known.
        queued: seconds in the queue.
        surprise: the chance of another end: it fails, or the view is no longer what it was.
        known: how many past successes say so; 0 where only other views do.
    """

    seconds: LogNormal
    credits: LogNormal | None
    queued: float
    surprise: float
    known: int

    def survival(self, age: float) -> float:
        """The chance that it goes on for longer than *age* seconds."""
        vague = self.surprise / (1 + age / math.exp(self.seconds.mu))
        return (1 - self.surprise) * self.seconds.survival(age) + vague

    def hazard(self, age: float) -> float:
        """The chance of its end in the next moment, for each second, at an age of *age* seconds."""
        usual = math.exp(self.seconds.mu)
        vague = self.surprise / usual / (1 + age / usual) ** 2
        return ((1 - self.surprise) * self.seconds.density(age) + vague) / self.survival(age)

    def pause(self, age: float, longest: float, steepness: float = math.inf) -> float:
        """Seconds to the next poll: *longest*, or fewer where the end is likely before.

        The integral of hazard over a pause is at most `NOTICING`; or with *steepness*, that of its square root, so many
        times, is at most one.
        """
        pause = longest
        while pause > SHORTEST_PAUSE:
            chance = self.ahead(age, pause)
            if (chance <= NOTICING) if steepness == math.inf else (chance * pause * steepness**2 <= 1):
                break
            pause *= 0.85
        return pause

    def ahead(self, age: float, period: float) -> float:
        """The integral of hazard over the next *period*."""
        return math.log(self.survival(age) / self.survival(age + period))

    def end(self, age: float) -> float:
        """At what age it is expected to end, when it has come to *age*."""
        left = self.survival(age) / 2
        end = max(age, SHORTEST_PAUSE)
        while self.survival(end) > left:
            end *= 1.02
        return end


class Outlook(NamedTuple):
    """What all known views together say of any one of them."""

    seconds: Prior
    credits: Prior | None
    queued: float

    @classmethod
    def of(cls, pasts: Iterable[Sequence[Past]]) -> Outlook | None:
        """Of the past of each view, the latest execution first; None where nothing has succeeded yet."""
        done = [[each for each in past if each.succeeded] for past in pasts]
        seconds = Prior.of([[each.seconds for each in past] for past in done])
        if seconds is None:
            return None
        return cls(seconds, Prior.of(list(map(_costs, done))), median(each.queued for past in done for each in past))

    def expected(self, past: Sequence[Past]) -> Expected:
        """The next execution of a view with such a past."""
        done = [each for each in past if each.succeeded]
        costs = _costs(done)
        return Expected(
            self.seconds.known([each.seconds for each in done]) if done else self.seconds.unknown(),
            self.credits and (self.credits.known(costs) if costs else self.credits.unknown()),
            median(each.queued for each in done) if done else self.queued,
            (len(past) - len(done) + 0.5) / (len(past) + 10),
            len(done),
        )


def _costs(past: Sequence[Past]) -> list[float]:
    return [each.credits for each in past if each.credits is not None]
