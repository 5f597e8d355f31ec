"""Knows how often a schedule may refresh a view, and when the next refresh is due.
Must not know views, requests or a clock."""

import reprlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Final

import attrs
from cronsim import CronSim, CronSimError

_TIGHTEST: Final = timedelta(minutes=15)
_SPARSEST: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)
# Two years, one of them a leap year, in which an expression shows all its intervals.
_BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
_END: Final = datetime(2026, 1, 1, tzinfo=UTC)


def _is_allowed(schedule: "Schedule", attribute: object, expression: str) -> None:
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"cron_expression must have five fields, not {len(fields)}")
    shown = reprlib.repr(expression)
    minute, hour, day, month, weekday = fields
    try:
        days = _runs(f"0 0 {day} {month} {weekday}", until=_END)
        times = _runs(f"{minute} {hour} * * *", until=_BEGIN + _DAY)
    except (CronSimError, ValueError) as error:  # ValueError for a number of thousands of digits
        raise ValueError(f"cron_expression {shown} cannot be read: {error}") from None
    if max(_gaps([_BEGIN, *days, _END])) > _SPARSEST:
        raise ValueError(f"cron_expression {shown} must be due at least once a week")
    # Midnight is between two runs only where one day follows another.
    over_night = [times[0] + _DAY - times[-1]] if _DAY in _gaps(days) else []
    if min([*_gaps(times), *over_night], default=_DAY) < _TIGHTEST:
        raise ValueError(f"cron_expression {shown} must leave at least 15 minutes between two refreshes")


def _runs(expression: str, until: datetime) -> list[datetime]:
    return list(takewhile(lambda each: each < until, CronSim(expression, _BEGIN - timedelta(seconds=1))))


def _gaps(times: list[datetime]) -> list[timedelta]:
    return [later - earlier for earlier, later in pairwise(times)]


@attrs.frozen(kw_only=True)
class Schedule:
    """When Dune refreshes a view by itself. Raises ValueError for a cron expression that Dune would refuse.

    *expires_at* is an aware datetime, None for no end. *performance* is the tier of each refresh, None where the
    request had none.
    """

    cron_expression: str = attrs.field(validator=_is_allowed)
    performance: str | None = None
    expires_at: datetime | None = None

    def next_time(self, now: datetime) -> datetime | None:
        """The time of the next refresh; None where the schedule ends before it."""
        due = next(CronSim(self.cron_expression, now))
        return due if self.expires_at is None or due < self.expires_at else None
