"""The live display: a line for each view under way, redrawn in place, and one with the totals.

This module must not know how refreshes are made. It is the only importer of rich, and imported by terminals only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import rich.live
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from . import _text
from ._output import Output
from ._progress import is_under_way, state

if TYPE_CHECKING:
    from dune_matviews import ViewResult

_STYLES = {
    "executing": "cyan",
    "completed": "green",
    "completed_partial": "green",
    "succeeded": "green",
    "fresh": "green",
    "skipped": "yellow",
    "not started": "yellow",
    "ambiguous": "red",
    "canceled": "red",
    "expired": "red",
    "failed": "red",
}


class Live:
    """Draws the views, those that have ended included, until the block ends; a table then takes its place."""

    def __init__(self, output: Output, expected: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = expected
        self._clock = clock
        self._began = clock()
        self._rows: dict[str, _Row] = {}
        self._latest: ViewResult | None = None
        self._ascii = not _text.can_show("…", output.progress.encoding)
        self._live = rich.live.Live(
            self,
            console=Console(file=output.progress, highlight=False, markup=False, emoji=False),
            transient=True,
            redirect_stdout=output.progress is sys.stdout,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal may be gone; the run goes on
            self._live.stop()

    def update(self, name: str, result: ViewResult) -> None:
        """Show the view as it stands now."""
        now, row = self._clock(), self._rows.get(name)
        waits = row is not None and not row.result.started_at and result.started_at
        row = _Row(result, now if row is None or waits else row.since, None if is_under_way(result) else now)
        self._latest = result
        self._rows = {**self._rows, name: row}  # anew, because the thread that draws may be reading the old one
        self._live.refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The rows that fit on the screen: views under way first, then those that have ended."""
        rows, now = self._rows, self._clock()
        room = max((options.height or console.height) - 2, 1)
        last_seen_first = sorted(rows, key=lambda name: (rows[name].until is not None, -(rows[name].until or 0.0)))
        shown = set(last_seen_first[:room])
        drawn = [(_text.line(name), row) for name, row in rows.items() if name in shown]
        cells = _text.columns([row.cells(now) for _, row in drawn], "<>>") if drawn else []
        # Names are shortened in favour of everything but the reason of an end, which the final table shows in full.
        rest = max((len(cell) + len(row.place) for cell, (_, row) in zip(cells, drawn, strict=True)), default=0)
        width = max(options.max_width - rest - 2, _text.SHORTEST_NAME)
        names = [_text.shortened(name, width, self._ascii) for name, _ in drawn]
        indent = max(map(len, names), default=0) + 2
        for name, cell, (_, row) in zip(names, cells, drawn, strict=True):
            yield self._line(f"{name:<{indent}}{cell}", indent, row)
        yield Text(self._totals(rows, now), style="dim", no_wrap=True, overflow="ellipsis")

    def _line(self, line: str, indent: int, row: _Row) -> Text:
        text, where = Text(line, no_wrap=True, overflow="ellipsis"), state(row.result)
        text.stylize(_STYLES.get(where, ""), indent, indent + len(where))
        return text.append(row.place or row.reason, "dim")

    def _totals(self, rows: dict[str, _Row], now: float) -> str:
        ended = sum(row.until is not None for row in rows.values())
        counts = [
            f"{count} {state}"
            for count, state in (
                (len(rows) - ended, "under way"),
                (ended, "done"),
                (self._expected - len(rows), "to come"),
            )
            if count > 0
        ]
        cost = sum(row.result.cost_credits or 0.0 for row in rows.values())
        told = f"{', '.join(counts)}; {_text.lasted(now - self._began)}, {_text.credits(cost)}"
        return told + self._foreseen

    @property
    def _foreseen(self) -> str:
        """The expected end of the run and the cost to come, if its views have a past."""
        latest = self._latest
        if latest is None or latest.run_ends_at is None:
            return ""
        to_come = "" if latest.run_credits_to_come is None else f", {_text.credits(latest.run_credits_to_come)} to come"
        return f"; ends at about {latest.run_ends_at.astimezone():%H:%M:%S}{to_come}"


class _Row(NamedTuple):
    """A view's line: its latest result, since when it has waited or run, and until when it was under way."""

    result: ViewResult
    since: float
    until: float | None

    def cells(self, now: float) -> tuple[str, ...]:
        """State, time and cost."""
        cost = "" if self.result.cost_credits is None else _text.credits(self.result.cost_credits)
        return state(self.result), self._lasted(now) if self.result.execution_id else "", cost

    def _lasted(self, now: float) -> str:
        """How long it has waited or run; once it has ended, by Dune's own times, as the table tells it."""
        if self.until is not None and self.result.started_at and self.result.ended_at:
            return _text.lasted(self.result.ended_at - self.result.started_at)
        return _text.lasted((self.until or now) - self.since)

    @property
    def place(self) -> str:
        """The place in the queue, of a view under way."""
        place = is_under_way(self.result) and self.result.status and self.result.status.queue_position
        return f"  place {place} in the queue" if place else ""

    @property
    def reason(self) -> str:
        """Why a view that is not under way stands as it does."""
        return f"  {_text.line(self.result.reason)}" if self.result.reason and self.until is not None else ""
