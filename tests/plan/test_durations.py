"""Lengths of time as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dune_matviews import InvalidArgumentError
from dune_matviews.plan import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("6h", 21600), ("2d", 172800), ("1h30m", 5400), ("1d 12h", 129600), ("1.5h", 5400)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """A number and its unit, or several from the large to the small."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("30", "write 30s, 30m, 30h or 30d"),
        ("", "write it like 90s, 30m"),
        ("30m1h", "no length of time"),
        ("6 hours", "no length of time"),
        ("-5m", "no length of time"),
        ("0s", "above zero"),
        ("4000d", "more than 3650 days"),
        ("9" * 400 + "d", "more than 3650 days"),
        ("٣m", "no length of time"),
    ],
)
def test_durations_that_are_none_say_how_to_write_one(text: str, says: str) -> None:
    """A duration without a unit, a number or a sense is rejected, with a valid example."""
    with pytest.raises(InvalidArgumentError, match=says):
        parse_duration(text)
