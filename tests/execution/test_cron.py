"""The cron expressions that a view can be scheduled by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import InvalidArgumentError
from dune_matviews._execution.cron import cron
from tests.profiles import fewer


@pytest.mark.parametrize(
    "text",
    [
        "*/15 * * * *",
        "0 */6 * * *",
        "5,20,35,50 * * * *",
        "0 9 * * 1",
        "0 9 * * MON-FRI",
        "30 23 * * 0",
        "0 0 1,8,15,22,29 * *",
        "0 0 * 1-12 *",
        "  0   0 * * *  ",
        "59 23,0 * * *",
    ],
)
def test_what_runs_from_every_quarter_of_an_hour_to_once_a_week_is_taken(text: str) -> None:
    """It comes back as it was written."""
    assert cron(text) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("* * * * *", "0:01:00 apart"),
        ("*/14 * * * *", "apart"),
        ("0,10 9 * * 1", "0:10:00 apart"),
        ("50 23 * * *", None),
        ("0,50 0,23 * * *", "0:10:00 apart"),
        ("0 0 1 * *", "more than a week"),
        ("0 0 * 1 *", "more than a week"),
        ("0 0 29 2 *", "more than a week"),
        ("0 0 2,9,16,23,30 * *", "more than a week"),  # from the 23rd of a leap February to the 2nd: 8 days
        ("0 0 1 1 1", "more than a week"),
        ("0 0 31 2 *", "cannot be read"),
        ("61 * * * *", "cannot be read"),
        ("a b c d e", "cannot be read"),
        ("0 0 * * *L", "cannot be read"),
        ("9" * 5000 + " 0 * * *", "cannot be read"),
        ("0 * * * * *", "has 6"),
        ("@daily", "has 1"),
        ("", "has 0"),
        (15, "not int"),
        (None, "not NoneType"),
    ],
)
def test_what_dune_would_not_take_is_refused_with_the_rule(text: object, problem: str | None) -> None:
    """The message names the problem, and the values that Dune accepts."""
    if problem is None:
        assert cron(text) == text
        return
    with pytest.raises(InvalidArgumentError, match=problem) as caught:
        cron(text)
    assert "from every 15 minutes to once a week" in str(caught.value)


def some(numbers: range, most: int) -> st.SearchStrategy[str]:
    """A field that lists a few numbers."""
    chosen = st.lists(st.sampled_from(numbers), min_size=1, max_size=most, unique=True)
    return chosen.map(lambda found: ",".join(map(str, sorted(found))))


fields = st.tuples(
    some(range(60), 3),
    some(range(24), 3),
    st.one_of(st.just("*"), some(range(1, 29), 6)),
    st.one_of(st.just("*"), st.just("*"), some(range(1, 13), 11)),
    st.one_of(st.just("*"), some(range(7), 3)),
)


@fewer(5)
@given(fields)
def test_the_rule_is_what_the_runs_themselves_say(written: tuple[str, ...]) -> None:
    """An expression is taken if and only if no two of its runs in four years are too close, or too far apart."""
    text = " ".join(written)
    begin = datetime(2027, 1, 1, tzinfo=UTC)
    runs = [begin]
    for run in CronSim(text, begin):
        runs.append(run)
        if run.year > 2030:
            break
    gaps = [later - earlier for earlier, later in pairwise(runs[1:])]
    allowed = min(gaps) >= timedelta(minutes=15) and max(gaps) <= timedelta(days=7)
    try:
        taken = cron(text) == text
    except InvalidArgumentError:
        taken = False
    assert taken == allowed
