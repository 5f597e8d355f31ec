"""How things read on a terminal: amounts, times, and text that others wrote, made harmless.

This module must not know the stream, nor the subject of a text.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

Seconds = float | timedelta

SHORTEST_NAME = 20
"""Characters of a name that are always shown, however narrow the terminal is."""


def line(text: str) -> str:
    """*text* on one line, without control characters, which a terminal would act on."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def command(*words: str) -> str:
    """A command of ours, quoted for a shell."""
    return line(shlex.join(["dune-matviews", *words]))


def credits(amount: float) -> str:
    """`1,234.50 credits`."""
    return f"{amount:,.2f} credits"


def lasted(time: Seconds) -> str:
    """`12.3s`, `1m 05s`, `2h 03m` or `3d 04h`, rounded before the unit is chosen."""
    seconds = max(time.total_seconds() if isinstance(time, timedelta) else time, 0.0)
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    for count, (large, small, unit) in (
        (round(seconds), ("m", "s", 60)),
        (round(seconds / 60), ("h", "m", 60)),
        (round(seconds / 3600), ("d", "h", 24)),
    ):
        if count < unit * unit or large == "d":
            return f"{count // unit}{large} {count % unit:02}{small}"
    raise AssertionError("the last unit takes everything")


def moment(time: datetime) -> str:
    """`2025-01-31 06:00:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count: int) -> str:
    """`512 bytes`, `1.2 MB`."""
    if count < 1000:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        amount /= 1000
        if amount < 999.95 or unit == "PB":
            break
    return f"{amount:,.1f} {unit}"


def shortened(name: str, width: int, ascii: bool) -> str:
    """A name that is too long loses its beginning, which views have in common."""
    cut = "..." if ascii else "…"
    return name if len(name) <= width else f"{cut}{name[len(cut) - width :]}"


def fields(pairs: Sequence[tuple[str, str | None]]) -> str:
    """Names and values, one pair a line; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in shown)


def columns(rows: list[tuple[str, ...]], sides: str) -> list[str]:
    """Rows with their cells one under the other; *sides* has `<` or `>` for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def can_show(text: str, encoding: str) -> bool:
    """A stream of that encoding has all the characters of *text*."""
    try:
        text.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True
