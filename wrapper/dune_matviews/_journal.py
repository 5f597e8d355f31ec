"""What survives a crash: a file that holds of each view what was intended, what was started, and how it ended.

This module knows names, times, execution ids and ends, and must not know how views are scheduled, HTTP, or flows.

The file is JSON Lines in UTF-8 (of which only ASCII is written), and is only ever appended to. Its first line names the
format, its version, and the run's views with those that each reads; every other line is an event:

    {"journal": "dune-matviews", "version": 1, "views": {"a": [], "b": ["a"]}, "at": "2025-01-31T06:00:00+00:00"}
    {"event": "intended", "view": "a", "at": "2025-01-31T06:00:01+00:00"}
    {"event": "started", "view": "a", "execution_id": "01JJX", "at": "2025-01-31T06:00:02+00:00"}
    {"event": "ended", "view": "a", "end": {"outcome": "succeeded"}, "at": "2025-01-31T06:00:09+00:00"}
    {"event": "forgotten", "view": "a", "at": "2025-01-31T06:00:10+00:00"}
    {"event": "finished", "at": "2025-01-31T06:00:11+00:00"}

`intended` supersedes whatever was said of the view, `started` its end, and `forgotten` everything. Nothing follows
`finished`: the next run empties the file. A line counts once its newline is there; what a crash cut never happened.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Self

import attrs

from .errors import JournalError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

VERSION = 1

Clock = Callable[[], datetime]
utc_now: Clock = partial(datetime.now, UTC)

_OPENING = b'{"journal": "dune-matviews", '
"""How the first line begins, byte for byte: where a crash cut that line, so much of it is left, or less, or more."""


@attrs.frozen
class Record:
    """What is known of one view from an earlier run; each part is None where it was not written.

    Attributes:
        intended_at: when its refresh was about to be sent; an aware datetime.
        execution_id: the execution that was started, or found under way.
        end: how it ended, as it was passed to `ended`.
        ended_at: when that was written; an aware datetime.
    """

    intended_at: datetime | None = None
    execution_id: str | None = None
    end: Mapping[str, Any] | None = None
    ended_at: datetime | None = None


@attrs.define(eq=False)
class Journal:
    """The journal of one run, locked against any other until it is closed. Not thread-safe.

    Each method that writes raises `JournalError` where it cannot. After that, nothing more is taken: half a line may
    stand at the end, which is cut off when the journal is opened again.

    Attributes:
        path: the file.
        records: what the run that this one continues knew of its views; empty where there is none to continue.
    """

    path: Path
    records: Mapping[str, Record]
    _views: Mapping[str, list[str]]
    _file: FileIO
    _now: Clock
    _refusal: str | None = attrs.field(default=None, init=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str], views: Mapping[str, Iterable[str]], *, now: Clock = utc_now) -> Journal:
        """Continue the file's run if it is not finished, and begin one otherwise.

        *views* maps names to those that each reads. Raises `JournalError` where the file is not a journal that is
        whole, free, and of these views; it is then left as it was.
        """
        path = Path(path)
        reads = {name: sorted(set(upstreams)) for name, upstreams in views.items()}
        reads = {name: [] for upstreams in reads.values() for name in upstreams} | reads
        with ExitStack() as undo, _explained(path):
            file = undo.enter_context(open(path, "a+b", buffering=0))
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no regular file")
            _lock(file)
            file.seek(0)
            content = file.readall()
            run = _read(content)
            if run is not None and run.views != reads:
                raise ValueError(
                    "it holds an unfinished run over other views, or over views that read others "
                    f"({_difference(run.views, reads)}). Repeat that run as it was, or use another file"
                )
            journal = cls(path, run.records if run else {}, reads, file, now)
            if run is None:
                # In place: a file put in its place would not be the one that is locked. Whatever a crash leaves of
                # this, an empty file or half a line, holds no run and is begun again.
                file.truncate(0)
                journal._append(journal="dune-matviews", version=VERSION, views=reads)
                _flush_entry(path)
            elif not content.endswith(b"\n"):
                file.truncate(content.rindex(b"\n") + 1)
            undo.pop_all()
            return journal

    def intended(self, name: str) -> None:
        """A refresh is about to be sent: on disk when this returns."""
        self._note("intended", name)

    def started(self, name: str, execution_id: str) -> None:
        """The view's execution is known: on disk when this returns."""
        self._note("started", name, execution_id=execution_id)

    def ended(self, name: str, end: Mapping[str, Any]) -> None:
        """The view is done with, as *end* says in plain data: on disk when this returns."""
        self._note("ended", name, end=dict(end))

    def forget(self, name: str) -> None:
        """What was recorded of the view no longer counts: on disk before whatever is written next."""
        self._note("forgotten", name, flush=False)

    def finished(self) -> None:
        """The run is over, and the next one begins afresh. This closes the journal, for nothing may follow."""
        self._append(event="finished")
        self.close()

    def close(self) -> None:
        """Release the lock; a run that is not finished can be continued. Closing twice is fine."""
        if not self._file.closed:
            self._refusal = "it is closed"
            if sys.platform != "win32":
                fcntl.flock(self._file, fcntl.LOCK_UN)  # a forked child that has the file too must not keep it locked
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, event: str, name: str, *, flush: bool = True, **details: object) -> None:
        if name not in self._views:  # reading would refuse it
            raise ValueError(f"{name!r} is none of the views of the journal {self.path}")
        self._append(flush=flush, event=event, view=name, **details)

    def _append(self, *, flush: bool = True, **line: object) -> None:
        rest = json.dumps({**line, "at": self._now().astimezone(UTC).isoformat()}).encode() + b"\n"
        with _explained(self.path):
            if self._refusal is not None:
                raise ValueError(self._refusal)
            self._refusal = "an earlier write failed"  # until this one is whole, whatever interrupts it
            while rest:
                rest = rest[self._file.write(rest) :]
            if flush:
                os.fsync(self._file.fileno())
            self._refusal = None


@attrs.frozen
class _Run:
    """An unfinished run, as a file has it."""

    views: Mapping[str, object]
    records: dict[str, Record] = attrs.field(factory=dict)


def _read(content: bytes) -> _Run | None:
    """The run to be continued, if there is one; ValueError says in which line the content makes no sense, and why."""
    *lines, cut = content.split(b"\n")
    if not lines and _OPENING.startswith(cut[: len(_OPENING)]):
        return None
    run: _Run | None = None
    for number, line in enumerate(lines or [cut], 1):
        try:
            run = _begun(_parsed(line)) if number == 1 else _continued(run, _parsed(line))
        except ValueError as reason:
            raise ValueError(
                f"it is damaged or foreign (line {number}: {reason}). It was left as it is: use another file, or move "
                "this one away; if_running='adopt' then follows what still runs"
            ) from reason
    return run


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as failure:
        raise ValueError("no JSON") from failure


def _begun(header: object) -> _Run:
    """The run that a file's first line begins."""
    match header:
        case {"journal": "dune-matviews", "version": 1, "views": dict(views)}:
            return _Run(views)
        case {"journal": "dune-matviews", "version": version} if version != VERSION:
            raise ValueError(f"version {version!r} of the format, where only {VERSION} is known")
    raise ValueError("not how a journal of dune-matviews begins")


def _continued(run: _Run | None, event: object) -> _Run | None:
    """The run after one more event; None when it is finished."""
    match event:
        case {"event": "finished"} if run:
            return None
        case {"event": str(kind), "view": str(name), "at": str(at)} if run and name in run.views:
            moment = _moment(at)
            known = run.records.pop(name, Record())
        case _:
            raise ValueError("no event of the run and its views")
    match kind, event:
        case "intended", _:
            run.records[name] = Record(moment)
        case "started", {"execution_id": str(execution_id)}:
            run.records[name] = Record(known.intended_at, execution_id)
        case "ended", {"end": dict(end)}:
            run.records[name] = Record(known.intended_at, known.execution_id, end, moment)
        case "forgotten", _:
            pass  # it is out already
        case _:
            raise ValueError("no event that is known")
    return run


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return moment


def _difference(theirs: Mapping[str, object], ours: Mapping[str, object]) -> str:
    names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """What the system, or this module, has against the file becomes `JournalError`."""
    try:
        yield
    except (OSError, ValueError) as failure:
        raise JournalError(f"The journal {path} cannot be used: {failure}.", path=path) from failure


def _lock(file: FileIO) -> None:
    try:
        if sys.platform == "win32":
            file.seek(2**30)  # what is locked cannot be read by others, so it is a byte that is not there
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as busy:
        raise ValueError("another run is using it. Wait for its end, or use another file") from busy


def _flush_entry(path: Path) -> None:
    """Have the folder keep a new file, where the system lets folders be flushed."""
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
