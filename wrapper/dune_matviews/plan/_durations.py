"""Lengths of time as people write them: `90s`, `30m`, `6h`, `2d`, `1h30m`.

This module must not know the purpose of the time.
"""

from __future__ import annotations

import re
from datetime import timedelta

from ..errors import InvalidArgumentError

LONGEST = timedelta(days=3650)

_NUMBER = r"\d+(?:\.\d+)?"
_DURATION = re.compile(
    " ?".join(rf"(?:(?P<{unit}>{_NUMBER}){unit[0]})?" for unit in ("days", "hours", "minutes", "seconds")), re.ASCII
)
_FORMS = "write it like 90s, 30m, 6h, 2d or 1h30m"


def parse_duration(text: str) -> timedelta:
    """Parse a length of time as plan files have it: `90s`, `30m`, `6h`, `2d` or `1h30m`; at most ten years.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)

    Raises:
        InvalidArgumentError: *text* is not a length of time. The message shows how to write one.
    """
    text = text.strip()
    if re.fullmatch(_NUMBER, text, re.ASCII):
        raise InvalidArgumentError(f"{text!r} has no unit: write {text}s, {text}m, {text}h or {text}d")
    match = _DURATION.fullmatch(text)
    parts = {unit: number for unit, number in (match.groupdict() if match else {}).items() if number is not None}
    if not parts:
        raise InvalidArgumentError(f"{text!r} is no length of time: {_FORMS}")
    try:
        found = timedelta(**{unit: float(number) for unit, number in parts.items()})
    except OverflowError:
        found = timedelta.max
    if not found:
        raise InvalidArgumentError(f"{text!r} is no time at all: it must be above zero")
    if found > LONGEST:
        raise InvalidArgumentError(f"{text!r} is more than {LONGEST.days} days")
    return found
