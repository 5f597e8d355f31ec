"""The journal: a store of lines that outlives the process, and the flows that read and write it.

This module must not know how views are refreshed, nor the consequences of a record.

A store has `read() -> Iterable[str]` and `append(line: str)`. Appending has to be atomic, ordered, and visible to the
next `read` of any process. A path is such a store, locked against others for as long as a call works with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

from .._flow.effects import Flow, Work
from ..errors import DuneError, JournalError
from ..remedies import Attach
from ..report import ViewResult
from .file_store import FileStore
from .intents import How, Intent, new_token
from .records import VERSION, Record, Records, written


class Store(Protocol):
    """Lines of text that outlive the process."""

    def read(self) -> Iterable[str]:
        """Every line that was appended, in order."""
        ...

    def append(self, line: str, /) -> object:
        """Add one line: durable, and visible to any reader, when this returns."""
        ...


class Journal:
    """One run's view of a store. A store that cannot be read or written raises `JournalError`.

    Attributes:
        path: the file; None where the store is the caller's own.
        records: the content of the store, as of the latest read and our own lines.
    """

    def __init__(self, store: Store | Path, run: str | None = None, *, wall: Callable[[], float]) -> None:
        self.path = store if isinstance(store, Path) else None
        self.records = Records()
        self._store: Store = FileStore(store) if isinstance(store, Path) else store
        self._run = run
        self._wall = wall
        self._lock = threading.Lock()
        self._started: dict[str, str] = {}  # executions of this call, by their claims, recorded or not

    def opened(self) -> Flow[None]:
        """Read the store, and begin a run if there is none to go on with."""
        return Work(self._open).done()

    def reread(self) -> Flow[None]:
        """Take in the lines that others have written meanwhile; to a file that is locked nobody writes."""
        if not isinstance(self._store, FileStore):
            yield from Work(self.read).done()

    def intended(self, intent: Intent) -> Flow[None]:
        """Record that *intent* is about to be sent; JournalError if another one is."""
        return Work(lambda: self._intend(intent)).done()

    def followed(self, intent: Intent, execution_id: str, how: How) -> Flow[None]:
        """Record that an execution under way fulfils *intent*, so that nothing is sent; JournalError as above."""
        return Work(lambda: self._claim(intent, event="followed", execution_id=execution_id, how=how)).done()

    def started(self, intent: Intent, execution_id: str, how: How) -> Flow[None]:
        """Record an intent's execution."""
        return Work(lambda: self.start(intent, execution_id, how)).done()

    def refused(self, intent: Intent, reason: str) -> Flow[None]:
        """Record that certainly nothing was started."""
        return Work(lambda: self._append(intent, event="refused", reason=reason)).done()

    def ended(self, view: str, result: ViewResult, *, finished: bool = False) -> Flow[None]:
        """Record how a view has ended, and with the last one the run, if that is to be *finished*."""
        return Work(lambda: self._end(view, result, finished)).done()

    def finished(self) -> Flow[None]:
        """Record that the run has nothing left to do. A store of the caller's own is one run for good."""
        return Work(self._finish).done()

    def close(self) -> None:
        """Let others have the file."""
        if isinstance(self._store, FileStore):
            self._store.unlock()

    def start(self, intent: Intent, execution_id: str, how: How) -> None:
        """Record an intent's execution, from where no flow can do so."""
        self._started[execution_id] = intent.token
        self._append(intent, event="started", execution_id=execution_id, how=how)

    def read(self) -> None:
        """Take in the lines of others, for callers that are no flow; nothing is locked or created for it."""
        with self._explained(), self._lock:
            self._take_in()

    def resolve(self, view: str, execution_id: str | None) -> None:
        """Settle an open refresh as a person says: its execution, or None where there is none to wait for."""
        with self._held():
            record = self.records.of(view)
            if record is None or record.is_settled:
                left = ", ".join(each.view for each in self.records.views.values() if not each.is_settled)
                where = f"The journal {self.path or repr(self._store)}"
                raise JournalError(
                    f"{where} has no refresh of {view} that is open; open is: {left or 'nothing'}.", path=self.path
                )
            if execution_id is None:
                self._append(record, event="refused", execution_id=record.execution_id, reason="a person says so")
            else:
                self.start(record, execution_id, "inferred")

    def record_of(self, intent: Intent) -> Record | None:
        """The record of the view, as long as it is this intent's."""
        record = self.records.of(intent.view)
        return record if record is not None and record.token == intent.token else None

    def owner(self, execution_id: str) -> str | None:
        """The token of the intent whose response named this execution."""
        return self.records.owners.get(execution_id)

    def _open(self) -> None:
        if isinstance(self._store, FileStore):
            with self._explained():
                self._store.lock()
        self.read()
        found = self.records
        is_file = self.path is not None
        if not found.has_run or (is_file and (found.run != self._run or (self._run is None and found.is_finished))):
            self._write(journal="dune-matviews", version=VERSION, run=self._run)
            with self._explained():
                if not found.has_run:
                    raise ValueError("what was appended to it is not in what is read from it")

    def _take_in(self) -> None:
        """Take in the lines that are new."""
        for line in islice(self._store.read(), self.records.lines, None):
            self.records.take(line)
        if (left := self.records.left_by_version_1) is not None:
            raise JournalError(
                f"The journal {self.path or repr(self._store)} holds an unfinished run in an older format, which this "
                "version does not read: use another file, once its executions have ended.",
                path=self.path,
                remedy=Attach(tuple(left)) if left else None,
            )

    def _intend(self, intent: Intent) -> None:
        baseline, ends = intent.baseline, intent.ends
        assert baseline is not None  # noqa: S101  # with a journal nothing is sent without one
        assert ends is not None  # noqa: S101  # an intent is recorded just before it is sent
        if self.record_of(intent) is not None:  # a process about to replace the previous claim has to notice this one
            intent.replaces, intent.token = intent.token, new_token()
        self._claim(
            intent,
            event="intended",
            tier=intent.tier,
            baseline=list(baseline.ids),
            baseline_date=baseline.date and baseline.date.isoformat(),
            ends=ends.isoformat(),
        )

    def _claim(self, intent: Intent, **line: object) -> None:
        self._append(intent, **line, replaces=intent.replaces)
        if self.record_of(intent) is None:
            raise JournalError(
                f"Another process has recorded a refresh of {intent.view} in the same journal, so this one has sent "
                "nothing. Run the same again later: it follows that refresh.",
                path=self.path,
            )

    def _append(self, intent: Intent, **line: object) -> None:
        self._write(**line, view=intent.view, token=intent.token)

    def _end(self, view: str, result: ViewResult, finished: bool) -> None:
        with self._held():
            record = self.records.of(view)
            if record is None or record.result is not None or not self._is_of(record, result.execution_id):
                return  # recorded already, or of an execution that is no longer the view's
            self._append(record, event="ended", result=result.to_dict())
            if finished and all(each.is_settled for each in self.records.own):
                self._finish()

    def _is_of(self, record: Record, execution_id: str | None) -> bool:
        return record.execution_id == execution_id or self._started.get(execution_id or "") == record.token

    def _finish(self) -> None:
        if self.path is not None and not self.records.is_finished:
            self._write(event="finished")

    @contextmanager
    def _held(self) -> Generator[None]:
        """Lock the file for a moment, and take in the lines of others: a handle outlives the call."""
        if not isinstance(self._store, FileStore) or self._store.is_locked:
            yield
            return
        with self._explained():
            self._store.lock()
        try:
            self.records = Records()  # by now it may even be another file
            self.read()
            yield
        finally:
            self._store.unlock()

    def _write(self, **line: object) -> None:
        text = written(**line, at=datetime.fromtimestamp(self._wall(), UTC).isoformat())
        with self._explained(), self._lock:
            self._store.append(text)
            if isinstance(self._store, FileStore):  # which nobody else writes to for now
                self.records.take(text)
            else:
                self._take_in()

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Raise any failure of a store as `JournalError`."""
        try:
            yield
        except DuneError:
            raise
        except Exception as failure:
            where = f"The journal {self.path}" if self.path else f"The journal {self._store!r}"
            why = getattr(failure, "strerror", None) or failure
            raise JournalError(f"{where} cannot be used: {why}.", path=self.path) from failure
