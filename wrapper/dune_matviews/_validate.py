"""Argument checks: each returns the value ready for use, or raises an error with the problem and the next step.

This module must not know the environment, nor send requests.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from .errors import InvalidArgumentError

Seconds = float | timedelta
IfRunning = Literal["start", "adopt", "refuse"]
IF_RUNNING: tuple[IfRunning, ...] = get_args(IfRunning)
IfLost = Literal["raise", "resend"]
IF_LOST: tuple[IfLost, ...] = get_args(IfLost)
F = TypeVar("F", bound=Callable[..., object])
C = TypeVar("C", bound=str)


class Keep(Enum):
    """The type of `KEEP`."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return self.name


KEEP: Final = Keep.KEEP
"""For `update`: leave this part as it is."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

LONGEST_SEGMENT = 1_000
"""Characters of a name or id: more than Dune uses, but still short enough for a URL once percent-encoded."""

LONGEST_BARE_NAME = 128
_BARE_NAME = re.compile(r"result_[a-z0-9_]*[a-z0-9]")

LONGEST_TIME = 10 * 365 * 24 * 3600.0
"""Seconds; clocks, sockets and `timedelta` cannot count much further."""


def view_name(name: object) -> str:
    """A view's name, valid as a segment of a URL's path."""
    return _segment(name, "the name of a view", "such as 'dune.my_team.result_daily_volume'")


def execution_id(value: object) -> str:
    """An execution's id, valid as a segment of a URL's path."""
    return _segment(value, "an execution id", "such as '01HZ065JVE23C23FM2HKWQP2RT'")


def _segment(value: object, what: str, example: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"must be a str {example}, not {type(value).__name__}", argument=what)
    if not value.strip():
        raise InvalidArgumentError(f"is empty; pass one {example}", argument=what)
    if len(value) > LONGEST_SEGMENT:
        raise InvalidArgumentError(f"has {len(value):,} characters; pass one {example}", argument=what)
    if value in (".", ".."):  # they survive percent-encoding, and would change the path
        raise InvalidArgumentError(f"{value!r} is not {what}; pass one {example}")
    if _UNPRINTABLE.search(value):
        raise InvalidArgumentError(f"must not have control characters or lone surrogates: {value!r}", argument=what)
    return value


def brief(value: object) -> str:
    """The repr of a value for a message, except that Python refuses to print an integer of thousands of digits."""
    return "an enormous number" if isinstance(value, int) and abs(value) > sys.float_info.max else repr(value)


def _wrong(what: str, must_be: str, value: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"must be {must_be}, not {brief(value)}", argument=what)


def seconds(value: object, what: str, most: float = LONGEST_TIME) -> float:
    """A length of time above zero, in seconds, from a number or a `timedelta`."""
    found = _number(value.total_seconds() if isinstance(value, timedelta) else value)
    if found is None:
        raise _wrong(what, "seconds or a timedelta", value)
    if not 0 < found <= most:
        raise _wrong(what, f"above zero, and at most {most:,.0f} seconds", value)
    return found


def credits(value: object, what: str) -> float:
    """An amount of credits, zero or more."""
    found = _number(value)
    if found is None or not 0 <= found <= sys.float_info.max:
        raise _wrong(what, "a number of credits, zero or more", value)
    return found


def _number(value: object) -> float | None:
    """A number of any kind: Python's, `Decimal`, `Fraction`, numpy's; None for booleans and numpy's times.

    A number too large for a float becomes infinity.
    """
    is_another = type(value).__name__ in ("bool", "bool_", "timedelta64")
    if is_another or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        return None
    try:
        return float(value)  # type: ignore[arg-type]  # or it raises
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):  # an array, or a signaling NaN
        return None


def count(value: object, what: str) -> int:
    """A whole number, one or more."""
    found = _number(value)
    if found is None or found < 1 or not found.is_integer():
        raise _wrong(what, "a whole number, one or more", value)
    return int(found)


def path(value: object, what: str) -> Path:
    """A file's path."""
    if not isinstance(value, str | os.PathLike):
        raise _wrong(what, "a path", value)
    return Path(os.fsdecode(value))


def store(value: object) -> Any:
    """A journal's store: a path, or an object with `read` and `append`."""
    if isinstance(value, str | os.PathLike):
        return path(value, "journal")
    if not callable(getattr(value, "read", None)) or not callable(getattr(value, "append", None)):
        raise InvalidArgumentError(
            f"must be a path, or have read() and append(line); {value!r} is neither", argument="journal"
        )
    return value


def choice(value: object, what: str, choices: tuple[C, ...]) -> C:
    """One of the *choices*."""
    for each in choices:
        if value == each:
            return each
    raise _wrong(what, f"one of {', '.join(map(repr, choices))}", value)


def callback(value: F | None, what: str) -> F | None:
    """A plain function: both clients share the flows that call it, and those do not await."""
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise _wrong(what, "a plain function", value)
    return value


def bare_name(value: object) -> str:
    """The bare name under which a view is created."""
    name = view_name(value)
    if _BARE_NAME.fullmatch(name) and len(name) <= LONGEST_BARE_NAME:
        return name
    bare = name.rpartition(".")[2]
    hint = f"; pass the bare one, {bare!r}" if bare != name and _BARE_NAME.fullmatch(bare) else ""
    raise InvalidArgumentError(
        "a view is created by its bare name: 'result_' and then lower-case letters, digits and underscores, the last "
        f"no underscore, 8 to {LONGEST_BARE_NAME} characters in all; not {name!r}{hint}"
    )


def query_id(value: object) -> int:
    """The number of a query."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise _wrong("query_id", "the number of a saved query, as in the URL of its page", value)
    return value


def cron(value: object) -> str:
    """A cron expression. Dune refuses a wrong one at no cost; a blank one might count as no schedule, and be billed."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong("cron_expression", "a str of five fields, such as '0 */6 * * *'", value)
    return value


def flag(value: object, what: str) -> bool:
    """True or False, rather than a value that is merely truthy or falsy."""
    if not isinstance(value, bool):
        raise _wrong(what, "True or False", value)
    return value


def moment(value: object, what: str) -> str:
    """An aware datetime in the format of RFC 3339, in UTC."""
    expected = "a datetime with a time zone, such as datetime(2027, 1, 1, tzinfo=UTC)"
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise _wrong(what, expected, value)
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:  # in the calendar's last hours
        raise _wrong(what, expected, value) from None
