"""Refreshing views and following executions to their end: the common part of `refresh`, `run` and `wait`.

This module must not know the command line, nor where names and limits came from.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dune_matviews.remedies import Attach, Note

from . import _data, _github, _tables, _text
from ._exits import Exit, of_report
from ._output import Output, Result, shows_colour
from ._progress import following

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient, Refresh, RefreshReport


def refresh(
    dune: MatviewsClient, output: Output, views: Iterable[str] | Mapping[str, Iterable[str]], **limits: Any
) -> Result:
    """Refresh the views in order, show the progress, and return the report."""
    from dune_matviews import StopReason

    page: Path | None = limits.pop("report", None)
    try:
        with following(output, set(views)) as progress:
            report = dune.refresh_all(views, on_update=progress.update, **limits)
    except KeyboardInterrupt as interruption:
        so_far = getattr(interruption, "report", None)
        if so_far is None:
            raise
        report = so_far
    hints = list(_tables.what_to_do(report.results))
    if page is not None:
        try:
            page.write_text(report.to_html(), "utf-8")
        except OSError as problem:
            output.warning(f"The report cannot be written to {_text.line(str(page))}: {problem.strerror}")
    if report.ok and report.stopped_by is StopReason.CREDITS:
        hints.append(_above(limits["max_credits"], report.cost_credits))
    if report.stopped_by is not None and not report.ok and limits.get("journal"):
        hints.append(f"The journal {limits['journal']} remembers: the same command goes on from here.")
    return _result(report, output, hints)


def _result(report: RefreshReport, output: Output, hints: list[str]) -> Result:
    """The result of a run; in GitHub Actions it also goes to the files of the step."""
    code = of_report(report)
    leave(output, lambda: _github.leave_report(report, output))
    if code is Exit.OK and output.quiet:
        return Result(code, report.to_dict())
    return Result(code, report.to_dict(), _tables.table(report, look()), tuple(hints))


def leave(output: Output, for_github: Callable[[], None]) -> None:
    """Write the files of GitHub Actions; a failure is only a warning."""
    try:
        for_github()
    except (OSError, ValueError) as problem:
        output.warning(f"The files of GitHub Actions cannot be written: {_text.line(str(problem))}")


def wait(refresh: Refresh, name: str, output: Output, **limits: Any) -> Result:
    """Follow one execution to its end, show the progress, and return its last status."""
    from dune_matviews import ViewResult

    try:
        with following(output, [name]) as progress:
            status = refresh.wait(
                on_update=lambda status: progress.update(name, ViewResult.from_status(status)), **limits
            )
    except KeyboardInterrupt as interruption:
        if not getattr(interruption, "__notes__", None):  # it came before the wait began, or after its end
            interruption.add_note(Note("The refresh goes on.", Attach((refresh.execution_id,))))
        raise
    document = {"ok": True, "execution": _data.plain(status)}
    cap, cost = limits.get("max_credits"), status.cost_credits
    if cap is not None and cost is not None and cost > cap:
        return Result(Exit.CREDITS, document, _data.execution(status), (_above(cap, cost),))
    return Result(Exit.OK, document, "" if output.quiet else _data.execution(status))


def _above(cap: float, cost: float) -> str:
    """The cap was passed, and all is fresh nevertheless: the execution had ended before it could be cancelled."""
    return f"The cap of {_text.credits(cap)} was passed: the cost is {_text.credits(cost)}."


def look() -> _tables.Look:
    """The style of a table on standard output."""
    return _tables.Look(
        width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None,
        coloured=shows_colour(sys.stdout),
        ascii=not _text.can_show("░█▶…", sys.stdout.encoding),
    )
