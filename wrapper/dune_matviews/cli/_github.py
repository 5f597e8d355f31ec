"""What a step of GitHub Actions leaves behind: a table in the job's summary, and the execution ids as an output.

This module must not know how views are refreshed. Both files are shared with other steps, so they are only added to.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from . import _tables, _text

if TYPE_CHECKING:
    from dune_matviews import RefreshReport

_MARKDOWN = str.maketrans({character: f"&#{ord(character)};" for character in "&<>|`*_[]\\~@#$"})


def leave_report(report: RefreshReport) -> None:
    """Write the summary and the output, where the step has files for them.

    Raises:
        OSError: a file cannot be written.
    """
    _append("GITHUB_STEP_SUMMARY", "\n".join(_summary(report)))
    leave_executions({name: result.execution_id for name, result in report.results.items()})


def leave_executions(executions: Mapping[str, str | None]) -> None:
    """Write the output `execution-ids`: a JSON object of each view's execution, null where it has none.

    Raises:
        OSError: the file cannot be written.
    """
    end = f"end-{secrets.token_hex(16)}"  # nothing that a view is called can end the value early
    _append("GITHUB_OUTPUT", f"execution-ids<<{end}\n{json.dumps(executions)}\n{end}")


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _summary(report: RefreshReport) -> Iterator[str]:
    yield "| View | Outcome | Took | Credits | Execution | |"
    yield "| --- | --- | ---: | ---: | --- | --- |"
    for name, result in report.results.items():
        cells = (name, *_tables.figures(result), result.execution_id or "", _text.message(result.reason or ""))
        yield f"| {' | '.join(_text.line(cell).translate(_MARKDOWN) for cell in cells)} |"
    yield ""
    yield _tables.totals(report).translate(_MARKDOWN)
    yield ""
