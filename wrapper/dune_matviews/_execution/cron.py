"""When Dune refreshes a view by itself: the cron expressions that it takes.

This module must not know how a schedule is sent, nor the current time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

from cronsim import CronSim, CronSimError

from ..errors import InvalidArgumentError

TIGHTEST = timedelta(minutes=15)
SPARSEST = timedelta(days=7)
RULE = "five fields (minute, hour, day, month, weekday), from every 15 minutes to once a week, such as '0 */6 * * *'"

# Four years have every length of month, each on every day of the week that matters: the leap day is among them.
_BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
_END = datetime(2031, 1, 1, tzinfo=UTC)


def cron(value: object) -> str:
    """A cron expression that Dune takes for a schedule."""
    if not isinstance(value, str):
        raise _refused(f"must be a str of {RULE}; not {type(value).__name__}")
    if len(value.split()) != 5:
        raise _refused(f"must have {RULE}; {value!r} has {len(value.split())}")
    try:
        gaps = list(_gaps(value))
    except (CronSimError, AssertionError, TypeError, ValueError) as problem:  # the others for steps of `L` and the like
        raise _refused(f"{value!r} cannot be read ({problem}); it takes {RULE}") from None
    if min(gaps) < TIGHTEST:
        raise _refused(f"{value!r} asks for runs {min(gaps)} apart; it takes {RULE}")
    if max(gaps) > SPARSEST:
        raise _refused(f"{value!r} leaves more than a week between runs; it takes {RULE}")
    return value


def _refused(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(problem, argument="cron_expression")


def _gaps(text: str) -> Iterator[timedelta]:
    """The lengths of time between one run and the next: those within a day, then those from day to day."""
    minute, hour, *dates = text.split()
    runs = list(_until(_BEGIN + timedelta(days=1), f"{minute} {hour} * * *"))
    yield from (later - earlier for earlier, later in pairwise(runs))
    days = list(_until(_END, f"0 0 {' '.join(dates)}"))
    night = runs[0] - runs[-1]
    yield from (later - earlier + night for earlier, later in pairwise(days))
    # The way from the last day to the end tells where there is next to no day at all.
    yield max(_END - (days or [_BEGIN])[-1], TIGHTEST)


def _until(end: datetime, text: str) -> Iterator[datetime]:
    return takewhile(lambda moment: moment < end, CronSim(text, _BEGIN - timedelta(seconds=1)))
