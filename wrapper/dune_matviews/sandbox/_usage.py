"""Knows billing periods, which are calendar months, and the credits used in each.
Must not know a clock, nor the origin of charges."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import attrs

from ._execution import Charge


@attrs.frozen
class Period:
    """One billing period: the first day, the day on which the next one begins, and the credits used."""

    start: date
    end: date
    credits: float


def billing_periods(charges: Iterable[Charge], first: date, last: date) -> list[Period]:
    """The periods from the day *first* to the day *last*. A charge counts on the day of its submission."""
    credits: defaultdict[date, float] = defaultdict(float)
    for charge in charges:
        credits[_month(charge.submitted_at.date())] += charge.credits
    return [Period(start, _following(start), credits[start]) for start in _months(first, last)]


def _months(first: date, last: date) -> Iterator[date]:
    month = _month(first)
    while month <= last:
        yield month
        month = _following(month)


def _month(day: date) -> date:
    return day.replace(day=1)


def _following(month: date) -> date:
    return _month(month + timedelta(days=31))
