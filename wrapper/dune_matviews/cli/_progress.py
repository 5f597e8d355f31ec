"""The progress of refreshes: a line for each event, or on a terminal a line for each view.

This module must not know how refreshes are made. The live display is imported only at a terminal.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from . import _remedies, _text
from ._output import Output

if TYPE_CHECKING:
    from dune_matviews import ViewResult


class Progress(Protocol):
    """Told of every step of every view."""

    def update(self, name: str, result: ViewResult) -> None:
        """Take in a step."""


@contextmanager
def following(output: Output, names: Collection[str]) -> Generator[Progress]:
    """The progress that suits the output and those views, shown until the block ends."""
    if output.is_live:
        from ._live import Live

        with Live(output, len(names)) as live:
            yield Careful(live, output)
    else:
        yield Careful(Lines(output, names), output)


class Careful:
    """Wraps a display that may fail: a run that costs credits must not end because of its display."""

    def __init__(self, shown: Progress, output: Output) -> None:
        self._shown: Progress | None = shown
        self._output = output

    def update(self, name: str, result: ViewResult) -> None:
        """Pass a step on."""
        try:
            if self._shown is not None:
                self._shown.update(name, result)
        except Exception as problem:
            self._shown = None
            reason = _text.line(f"{type(problem).__name__}: {problem}")
            self._output.warning(f"The progress cannot be shown any longer ({reason}); the run goes on.")


class Lines:
    """One line for each event: the time, the view, the event."""

    def __init__(self, output: Output, names: Collection[str]) -> None:
        self._output = output
        self._width = max(map(len, names), default=0)
        self._shown: dict[str, str] = {}

    def update(self, name: str, result: ViewResult) -> None:
        """Print a line if something happened; a cost that grew is no event."""
        if result.outcome.value == "running" and not is_under_way(result):
            return  # the execution has ended; the outcome of the view follows
        happened = event(result)
        if self._shown.get(name) != happened:
            self._shown[name] = happened
            view = f"{_text.line(name):<{self._width}}"
            if self._output.log_format == "json":
                parts = {
                    "view": name,
                    "state": state(result),
                    "execution_id": result.execution_id,
                    "cost_credits": result.cost_credits,
                }
                self._output.event(happened, **parts)
            else:
                self._output.event(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  {view}  {happened}")


def is_under_way(result: ViewResult) -> bool:
    """An execution of the view goes on, as far as is known."""
    return result.outcome.value == "running" and not (result.status and result.status.is_finished)


def state(result: ViewResult) -> str:
    """Where the view stands, in a word or two."""
    if result.outcome.value == "running":
        return result.status.state.value if result.status else "started"
    return result.outcome.value.replace("_", " ")


def event(result: ViewResult) -> str:
    """The latest event of a view, on one line."""
    where, status = state(result), result.status
    if where == "started":
        return f"started  execution {_text.line(result.execution_id or '')}"
    if status is not None and result.outcome.value == "running":
        return where + (f"  place {status.queue_position} in the queue" if status.queue_position else "")
    told = [where]
    if result.started_at and result.ended_at and result.outcome.value != "fresh":
        told.append(_text.lasted(result.ended_at - result.started_at))
    if result.cost_credits is not None:
        told.append(_text.credits(result.cost_credits))
    if why := _text.line(_remedies.why(result)):
        told.append(why)
    return "  ".join(told)
