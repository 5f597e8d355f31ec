"""What a run over many views knows beyond its own results: what an earlier run left, and what this one has sent.

This module must not know order, requests or costs; what is to be done about what it knows, `_resume` says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ._journal import Journal, Record
from ._resume import is_open, what_counts
from .errors import JournalError
from .report import Outcome, ViewResult

_log = logging.getLogger("dune_matviews")


class Memory:
    """A run's view of its journal, or of nothing where there is none. What cannot be written raises `JournalError`."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._records = journal.records if journal else {}
        # Views whose refresh may have been sent, without anybody knowing its execution.
        self._open = {name for name, record in self._records.items() if is_open(record)}
        self._sent: set[str] = set()
        self._followed: set[str] = set()
        self._goes_on = False

    def record(self, name: str, reads: Iterable[str]) -> Record:
        """What the earlier run knew of the view, as far as it still counts."""
        return what_counts(self._records, name, reads, self._followed)

    def is_open(self, name: str) -> bool:
        """A refresh of the view may have been sent, and its execution is not known."""
        return name in self._open

    def is_under_way(self, name: str) -> bool:
        """An earlier run started the view, or may have done so, and did not see its end."""
        return self.is_open(name) or self.earlier_execution_id(name) is not None

    def earlier_execution_id(self, name: str) -> str | None:
        """The execution of an earlier run that did not see its end."""
        record = self._records.get(name, Record())
        return record.execution_id if record.end is None else None

    def intend(self, name: str) -> None:
        """A refresh is about to be sent."""
        if self._journal is not None:
            self._journal.intended(name)
        self._open.add(name)
        self._sent.add(name)

    def was_not_sent(self, name: str) -> None:
        """What an earlier run intended came to nothing."""
        self._open.discard(name)

    def follow(self, name: str, execution_id: str, record: Record) -> None:
        """The view's execution is known; *record* is what counted before."""
        self._open.discard(name)
        self._followed.add(name)
        if self._journal is not None and execution_id != record.execution_id:
            self._journal.started(name, execution_id)

    def end(self, name: str, result: ViewResult) -> None:
        """The view is done with. A refresh that was refused may be asked for again."""
        if self._journal is None or name not in self._sent | self._followed or result.outcome is Outcome.RUNNING:
            return
        if result.outcome is Outcome.AMBIGUOUS or result.execution_id is not None:
            self._journal.ended(name, result.to_dict())
        else:
            self._journal.forget(name)
        self._open.discard(name)

    def keep_for_another_run(self) -> None:
        """The run goes on with the next one that has the same journal, however its views have ended."""
        self._goes_on = True

    def conclude(self, results: Mapping[str, ViewResult]) -> None:
        """Let the next run start afresh, unless something is left for it to do."""
        if self._journal is None or self._goes_on or any(self._is_left(*each) for each in results.items()):
            return
        try:
            self._journal.finished()
        except JournalError as failure:
            _log.warning("The next run will take over the ends of this one: %s", failure)

    def close(self) -> None:
        """Release the journal."""
        if self._journal is not None:
            self._journal.close()

    def _is_left(self, name: str, result: ViewResult) -> bool:
        """Another run has something to do for the view."""
        unfinished = result.outcome in (Outcome.NOT_STARTED, Outcome.RUNNING)
        return unfinished or (result.outcome is Outcome.AMBIGUOUS and self.is_open(name))
