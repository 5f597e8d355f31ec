"""The traces of a step in GitHub Actions: annotations, a table in the job's summary, and ids as an output.

This module must not know how views are refreshed. Both files are shared with other commands of the step, so they are
only added to, and neither grows above the size beyond which GitHub drops it as a whole.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import _remedies, _tables, _text

if TYPE_CHECKING:
    from dune_matviews import RefreshReport, ViewResult

    from ._output import Output

LARGEST = 1_048_576
"""Bytes of a step's summary, and of one output."""
_RESERVE = 1_000
"""Bytes for everything in a summary but its rows."""
MOST_ANNOTATIONS = 10
"""GitHub shows no more errors of a step."""
LONGEST_REASON = 500

_MARKDOWN = str.maketrans({character: f"&#{ord(character)};" for character in "&<>|`*_[]\\~@#$"})
_IMPORTANCE = ("failed", "ambiguous", "expired", "canceled", "running", "not_started", "skipped", "succeeded", "fresh")
_HELD_UP = ("not_started", "skipped", "succeeded", "fresh")


def leave_report(report: RefreshReport, output: Output) -> None:
    """Annotate the failures; write the summary and the output, if the step has files for them.

    Raises:
        OSError: a file cannot be written.
    """
    results = sorted(report.results.items(), key=lambda item: _IMPORTANCE.index(item[1].outcome.value))
    if output.is_step:
        _annotate([(name, result) for name, result in results if result.outcome.value not in _HELD_UP], output)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        room = LARGEST - _size_of(path) - _RESERVE
        if room > 0:
            _append(path, "\n".join(_summary(report, results, room)))
    leave_executions({name: result.execution_id for name, result in report.results.items()}, output)


def leave_executions(executions: Mapping[str, str | None], output: Output) -> None:
    """Write the output `execution-ids`: a JSON object of each view's execution, null where it has none.

    Raises:
        OSError: the file cannot be written.
    """
    end = f"end-{secrets.token_hex(16)}"  # nothing that a view is called can end the value early
    if path := os.environ.get("GITHUB_OUTPUT"):
        value = json.dumps(executions)
        if len(value) > LARGEST:
            value = "{}"
            output.warning("There are too many views for the output execution-ids: --output json has their executions.")
        _append(path, f"execution-ids<<{end}\n{value}\n{end}")


def _annotate(results: list[tuple[str, ViewResult]], output: Output) -> None:
    for place, (name, result) in enumerate(results):
        if place == MOST_ANNOTATIONS - 1 and len(results) > MOST_ANNOTATIONS:
            output.annotate("error", f"{len(results) - place} more views are not fresh: the job's summary names them.")
            return
        title = f"{_text.line(name)} {_tables.outcome(result)}"
        output.annotate("error", _text.line(result.describe(_remedies.words)) or title, title)


def _append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _size_of(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def _summary(report: RefreshReport, results: list[tuple[str, ViewResult]], room: int) -> Iterator[str]:
    """The totals, the time spent, and as many rows as there is room for, those first that need attention."""
    yield ""
    for told in _tables.totals(report).splitlines():
        yield f"{told.translate(_MARKDOWN)}\n"
    yield "| View | Outcome | Took | Credits | Execution | |"
    yield "| --- | --- | ---: | ---: | --- | --- |"
    for place, (name, result) in enumerate(results):
        reason = _text.line(result.describe(_remedies.words))
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"
        cells = (name, *_tables.figures(result), result.execution_id or "", reason)
        row = f"| {' | '.join(_text.line(cell).translate(_MARKDOWN) for cell in cells)} |"
        room -= len(row.encode()) + 1
        if room < 0:
            yield f"\n{len(results) - place} more views are left out here, because GitHub limits a summary to 1 MiB.\n"
            return
        yield row
    yield ""
