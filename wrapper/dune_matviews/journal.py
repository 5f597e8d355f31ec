"""Journals for people: read the records, and settle by hand a refresh that no run can settle.

This module must not know Dune, nor how journals are written. docs/journal.md describes them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from os import PathLike

import attrs

from . import _validate
from ._execution.intents import How, Stage
from ._execution.journal import Journal, Store
from ._execution.records import Record
from .report import ViewResult

__all__ = ["JournalEntry", "JournalRun", "JournalState", "read_journal", "resolve"]


class JournalState(StrEnum):
    """The state of a view's refresh in the journal."""

    IN_DOUBT = "in doubt"  # it may have been sent; its execution is not known
    STARTED = "started"  # its execution is known, but no end is recorded
    ENDED = "ended"  # the result is recorded
    NOT_STARTED = "not started"  # nothing was started, or a person has settled it so; the next call sends it


@attrs.frozen(kw_only=True)
class JournalEntry:
    """A journal's records of one view.

    Attributes:
        state: the state of its refresh.
        execution_id: its execution; None if unknown.
        how: the source of that id: "response" (Dune's response to the request), "inferred" (the view's history), or
            "adopted" (it was already under way); None if the execution is unknown.
        performance: the requested tier; None for Dune's default.
        result: its recorded result, if any.
        is_earlier: True if it is left from an earlier run in the same file.
    """

    state: JournalState
    execution_id: str | None
    how: How | None
    performance: str | None
    result: ViewResult | None
    is_earlier: bool


@attrs.frozen(kw_only=True)
class JournalRun:
    """The latest run of a journal.

    Attributes:
        run: its label, if any.
        is_finished: True if every view of the run has ended.
        views: the records of each view, by name.
    """

    run: str | None
    is_finished: bool
    views: Mapping[str, JournalEntry]


def read_journal(journal: str | PathLike[str] | Store) -> JournalRun:
    """Read a journal without locking it. Nothing is written, and no file is created.

    >>> refresh = dune.refresh("dune.my_team.result_daily", journal="daily.jsonl")
    >>> read_journal("daily.jsonl").views["dune.my_team.result_daily"].state
    <JournalState.STARTED: 'started'>

    Args:
        journal: a path, or an object with `read()` and `append(line)`.

    Raises:
        JournalError: it is damaged, foreign or unreadable.
    """
    found = _opened(journal).records
    views = {name: _entry(record) for name, record in found.views.items()}
    return JournalRun(run=found.run, is_finished=found.is_finished, views=views)


def resolve(journal: str | PathLike[str] | Store, name: str, execution_id: str | None = None) -> None:
    """Settle by hand a refresh that is in doubt or started, if you know its execution or know that there is none.

    >>> refresh = dune.refresh("dune.my_team.result_daily", journal="daily.jsonl")
    >>> resolve("daily.jsonl", "dune.my_team.result_daily", refresh.execution_id)

    Args:
        journal: a path, or an object with `read()` and `append(line)`.
        name: the view, in any spelling.
        execution_id: its execution, which the next call follows; None if there is none to wait for. The next call then
            starts one, which may be billed.

    Raises:
        InvalidArgumentError: the name or the id is invalid.
        JournalError: the journal is unusable, or has no open refresh of the view. Nothing was written.
    """
    name = _validate.view_name(name)
    execution_id = None if execution_id is None else _validate.execution_id(execution_id)
    _opened(journal).resolve(name, execution_id)


def _opened(journal: str | PathLike[str] | Store) -> Journal:
    found = Journal(_validate.store(journal), wall=time.time)
    found.read()
    return found


_STATES = {
    Stage.UNSENT: JournalState.NOT_STARTED,
    Stage.LOST: JournalState.IN_DOUBT,
    Stage.KNOWN: JournalState.STARTED,
    Stage.ENDED: JournalState.ENDED,
}


def _entry(record: Record) -> JournalEntry:
    return JournalEntry(
        state=_STATES[record.stage],
        execution_id=record.execution_id,
        how=None if record.execution_id is None else record.how,
        performance=record.tier,
        result=record.result,
        is_earlier=record.is_earlier,
    )
