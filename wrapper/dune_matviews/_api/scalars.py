"""Single JSON values: text, numbers, dates and moments, each None where it cannot be read.

This module must not know the property of a value, nor its meaning.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime


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


def integer(*values: object) -> int | None:
    """The first of *values* that is a whole number."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return None


def moment(value: object) -> datetime | None:
    """An aware datetime; a moment without a zone is in UTC."""
    written = (text(value) or "").strip()
    if not written:
        return None
    try:
        found: datetime | None = datetime.fromisoformat(written)
    except ValueError:
        found = _odd_moment(written)
    return found.replace(tzinfo=UTC) if found and not found.tzinfo else found


def day(value: object) -> date | None:
    """A calendar date; of a moment, the date that it is written with."""
    found = moment(value)
    return found and found.date()


def _odd_moment(written: str) -> datetime | None:
    """A moment written in another way, such as `2024-12-20 11:04:18.724 UTC`, if it begins with a whole date."""
    if not re.match(r"\d{4}-\d\d-\d\d", written) or len(written) > 64:
        return None
    try:
        from dateutil import parser  # 30 ms of import for a format that Dune's API itself does not send

        return parser.parse(written)
    except (ImportError, ValueError, OverflowError):
        return None
