"""Knows which schedules a view may have, and when they are due.
Must not know how the sandbox takes an expression apart: here it is walked through, run by run."""

from datetime import UTC, datetime, timedelta
from itertools import chain, takewhile

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews.sandbox._schedule import Schedule

NOW = datetime(2027, 5, 5, 5, 5, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "*/15 * * * *",
        "0,15,30,45 * * * *",
        "7 3 * * *",
        "0 0 * * SUN",
        "0 0 * * 7",
        "0 0 1,8,15,22,29 * *",
        "0,55 0,23 * * MON",  # an hour before and after midnight, of days that do not touch
    ],
)
def test_from_each_quarter_to_each_week(expression: str) -> None:
    """Anything from every 15 minutes to once a week is a schedule."""
    assert Schedule(cron_expression=expression).next_time(NOW)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("* * * * *", "15 minutes"),
        ("*/14 * * * *", "15 minutes"),
        ("0,14 0 * * *", "15 minutes"),
        ("0,50 * * * *", "15 minutes"),
        ("5,55 0,23 * * *", "15 minutes"),
        ("5,55 0,23 * * MON,TUE", "15 minutes"),
        ("0 0 1 * *", "once a week"),
        ("0 0 */8 * *", "once a week"),
        ("0 0 * 6-12 *", "once a week"),
        ("0 0 * 2 *", "once a week"),
        ("0 0 29 2 *", "once a week"),
        ("0 0 * * MON#1", "once a week"),
        ("0 0 */31 2 */7", "once a week"),
        ("0 0 * *", "five fields, not 4"),
        ("* * * * * *", "five fields, not 6"),
        ("0 24 * * *", "cannot be read: Bad hour"),
        ("0 0 30 2 *", "cannot be read: Bad day-of-month"),
        ("٣ * * * *", "cannot be read: Bad minute"),
        (f"{'9' * 5_000} * * * *", "cannot be read"),
    ],
    ids=lambda value: value[:20],
)
def test_anything_else_is_no_schedule(expression: str, sentence: str) -> None:
    """Too often, too rarely, and nothing that can be read, are told apart."""
    with pytest.raises(ValueError, match=sentence) as refusal:
        Schedule(cron_expression=expression)
    assert len(str(refusal.value)) < 250


minutes = st.sampled_from(["0", "0,15", "5,55", "*/20", "*/14", "59"])
hours = st.sampled_from(["0", "0,23", "*/12"])
days = st.sampled_from(["*", "1", "*/7", "1,8,15,22,29", "1-20", "L"])
months = st.sampled_from(["*", "2", "6-12", "*/2"])
weekdays = st.sampled_from(["*", "MON", "1-5", "0,6", "FRI#2"])


@given(fields=st.tuples(minutes, hours, days, months, weekdays))
def test_the_limits_hold_for_every_run(fields: tuple[str, ...]) -> None:
    """An expression is a schedule just if no two of its runs, in the years to come, break a limit."""
    expression = " ".join(fields)
    begin, end = datetime(2023, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    runs = takewhile(lambda run: run < end, CronSim(expression, begin))
    shortest, longest = timedelta.max, timedelta.min
    previous = None
    for run in chain(runs, [end]):
        longest = max(longest, run - (previous or begin))
        if previous and run != end:
            shortest = min(shortest, run - previous)
        previous = run
    broken = shortest < timedelta(minutes=15) or longest > timedelta(days=7)
    try:
        Schedule(cron_expression=expression)
    except ValueError:
        assert broken
    else:
        assert not broken


@pytest.mark.parametrize(
    ("expires_at", "due"),
    [
        (None, datetime(2027, 5, 5, 5, 15, tzinfo=UTC)),
        (datetime(2027, 5, 5, 5, 15, 1, tzinfo=UTC), datetime(2027, 5, 5, 5, 15, tzinfo=UTC)),
        (datetime(2027, 5, 5, 5, 15, tzinfo=UTC), None),
        (datetime.min.replace(tzinfo=UTC), None),
    ],
)
def test_a_schedule_is_due_until_it_expires(expires_at: datetime | None, due: datetime | None) -> None:
    """The next run is the first after the present, if the schedule has not ended by then."""
    assert Schedule(cron_expression="*/15 * * * *", expires_at=expires_at).next_time(NOW) == due


def test_the_next_run_is_never_the_present_one() -> None:
    """In the very moment in which a run is due, the next one is the one after it."""
    due = datetime(2027, 5, 5, 6, tzinfo=UTC)
    assert Schedule(cron_expression="0 * * * *").next_time(due) == due + timedelta(hours=1)
