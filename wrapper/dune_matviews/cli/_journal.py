"""The commands about a journal: `journal show` and `journal resolve`.

This module must not know how a journal is written, nor talk to Dune.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _data, _text
from ._exits import Exit
from ._options import Command, Group, options_of_every_command
from ._output import Result
from ._settings import Settings
from ._types import FilePath, Name

if TYPE_CHECKING:
    from dune_matviews.journal import JournalEntry, JournalRun

_HOW = {
    "response": "named by Dune's response",
    "inferred": "found in the view's history",
    "adopted": "under way already",
}


@click.group(cls=Group, name="journal", no_args_is_help=True)
@options_of_every_command
def journal() -> None:
    """Show the records of a journal, or settle a view by hand."""


@journal.command(cls=Command)
@click.argument("file", metavar="FILE", type=FilePath())
@options_of_every_command
def show(file: Path) -> Result:
    """Show the latest run of a journal, view by view. Nothing is sent or written."""
    from dune_matviews.journal import read_journal

    run = read_journal(file)
    document = {
        "run": run.run,
        "is_finished": run.is_finished,
        "views": {name: _document(entry) for name, entry in run.views.items()},
    }
    return Result(Exit.OK, document, _table(run), tuple(_what_to_do(file, run)))


@journal.command(cls=Command)
@click.argument("file", metavar="FILE", type=FilePath())
@click.argument("view", metavar="VIEW", type=Name())
@click.option("--none", "is_none", is_flag=True, help="No execution is to be waited for: the next run starts one.")
@click.option("--id", "execution_id", metavar="ID", type=Name(), help="This is its execution: the next run follows it.")
@options_of_every_command
@click.pass_obj
def resolve(settings: Settings, file: Path, view: str, is_none: bool, execution_id: str | None) -> Result:
    """Settle a view by hand: say how its refresh has ended. Nothing is sent.

    With --none, the next run starts another execution, which may be billed: look at 'dune-matviews get VIEW' first.
    """
    if is_none == (execution_id is not None):
        raise click.UsageError("Say how it has ended: pass either --none or --id ID.")
    from dune_matviews.journal import resolve as settle

    settle(file, view, execution_id)
    follows = "starts another" if execution_id is None else f"follows execution {_text.line(execution_id)}"
    text = "" if settings.output.quiet else f"{_text.line(view)} is settled: the next run with this journal {follows}."
    return Result(Exit.OK, {"view": view, "execution_id": execution_id}, text)


def _document(entry: JournalEntry) -> dict[str, Any]:
    return {**_data.plain(entry), "result": entry.result and entry.result.to_dict()}


def _table(run: JournalRun) -> str:
    label = f"Run {_text.line(run.run)}" if run.run is not None else "A run without a label"
    head = f"{label}, {'finished' if run.is_finished else 'not finished'}"
    if not run.views:
        return f"{head}; no view is recorded."
    rows = [_row(name, entry) for name, entry in run.views.items()]
    return "\n".join([f"{head}:", *_text.columns([("VIEW", "STATE", "CREDITS", "EXECUTION", ""), *rows], "<<><<")])


def _row(name: str, entry: JournalEntry) -> tuple[str, ...]:
    result = entry.result
    state = result.outcome.value.replace("_", " ") if result is not None else entry.state.value
    cost = "-" if result is None or result.cost_credits is None else f"{result.cost_credits:,.2f}"
    notes = [_HOW[entry.how]] if entry.how is not None else []
    notes += ["left from an earlier run"] if entry.is_earlier else []
    return _text.line(name), state, cost, _text.line(entry.execution_id or "-"), ", ".join(notes)


def _what_to_do(file: Path, run: JournalRun) -> Iterator[str]:
    """How to settle the views in doubt: commands to paste."""
    doubtful = [name for name, entry in run.views.items() if entry.state.value == "in doubt"]
    for name in doubtful:
        yield f"{_text.line(name)} may have been started. The next run looks for it. If you know how it ended:"
        yield f"  {_text.command('journal', 'resolve', str(file), name, '--id', 'ID')}"
        yield f"  {_text.command('journal', 'resolve', str(file), name, '--none')}"


COMMANDS = (journal,)
