"""Single JSON values: text, numbers, dates and moments, each None where it cannot be read.

This module must not know the property of a value, nor its meaning.
"""

from __future__ import annotations

import math
import re
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime


def text(value: object) -> str | None:
    """A text that is not blank."""
    return value if isinstance(value, str) and value.strip() else None


def number(value: object) -> float | None:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def amount(value: object) -> float | None:
    """A finite number, zero or more, or a text that is one."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def integer(*values: object) -> int | None:
    """The first of *values* that is a whole number of at most 64 bits: a larger one is no count, and overflows."""
    for value in values:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
    return None


def moment(value: object) -> datetime | None:
    """An aware datetime in UTC, as is a moment without a zone.

    None in the first and the last year of the calendar: no moment is meant there, and arithmetic with it overflows.
    """
    found = _written_moment(value)
    if found is None or not MINYEAR < found.year < MAXYEAR:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def day(value: object) -> date | None:
    """A calendar date; of a moment, the date that it is written with."""
    found = _written_moment(value)
    return found and found.date()


def _written_moment(value: object) -> datetime | None:
    written = (text(value) or "").strip()
    if not written:
        return None
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return _odd_moment(written)


def _odd_moment(written: str) -> datetime | None:
    """A moment written in another way, such as `2024-12-20 11:04:18.724 UTC`, if it begins with a whole date."""
    if not re.match(r"\d{4}-\d\d-\d\d", written) or len(written) > 64:
        return None
    try:
        from dateutil import parser  # 30 ms of import for a format that Dune's API itself does not send

        return parser.parse(written)
    except (ImportError, ValueError, OverflowError):
        return None
