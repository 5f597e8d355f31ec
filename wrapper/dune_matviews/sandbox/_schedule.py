"""Knows how often a view may be refreshed by itself, and when it is due next.
Must not know views or requests, nor a clock."""

import reprlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Final

import attrs
from cronsim import CronSim, CronSimError

_TIGHTEST: Final = timedelta(minutes=15)
_SPARSEST: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)
# The last minute before a leap year, in which an expression shows all that it can do.
_EVE: Final = datetime(2023, 12, 31, 23, 59, tzinfo=UTC)


def _is_allowed(schedule: "Schedule", attribute: object, expression: str) -> None:
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"cron_expression must have five fields, not {len(fields)}")
    shown = reprlib.repr(expression)
    minute, hour, day, month, weekday = fields
    try:
        times = CronSim(f"{minute} {hour} * * *", _EVE)
        days = CronSim(f"0 0 {day} {month} {weekday}", _EVE)
    except (CronSimError, ValueError) as error:  # a number of thousands of digits is the latter
        raise ValueError(f"cron_expression {shown} cannot be read: {error}") from None
    between_days = _gaps(takewhile(lambda each: each.year < 2026, days))
    if max(between_days, default=timedelta.max) > _SPARSEST:
        raise ValueError(f"cron_expression {shown} must be due at least once a week")
    if _shortest_gap(takewhile(lambda each: each < _EVE + _DAY, times), daily=_DAY in between_days) < _TIGHTEST:
        raise ValueError(f"cron_expression {shown} must leave at least 15 minutes between two refreshes")


def _gaps(times: Iterable[datetime]) -> list[timedelta]:
    return [later - earlier for earlier, later in pairwise(times)]


def _shortest_gap(times_of_day: Iterable[datetime], *, daily: bool) -> timedelta:
    """The least time between two refreshes. *daily* says whether a day may follow one on which there are any."""
    times = list(times_of_day)
    over_night = [times[0] + _DAY - times[-1]] if daily else []
    return min(_gaps(times) + over_night, default=_DAY)


@attrs.frozen(kw_only=True)
class Schedule:
    """When a view is refreshed by itself. Raises ValueError for a cron expression that Dune would not take.

    *expires_at* is an aware datetime, None for no end. *performance* is the tier of each refresh, None where it was
    left out.
    """

    cron_expression: str = attrs.field(validator=_is_allowed)
    performance: str | None = None
    expires_at: datetime | None = None

    def next_time(self, now: datetime) -> datetime | None:
        """When the next refresh is due; None where the schedule ends before."""
        due = next(CronSim(self.cron_expression, now))
        return due if self.expires_at is None or due < self.expires_at else None
