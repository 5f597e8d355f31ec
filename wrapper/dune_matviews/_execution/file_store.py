"""A file as a journal's store: locked for the length of a call, flushed line by line, whole after any crash.

This module must not know the meaning of the lines.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from weakref import WeakSet

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FileStore:
    """A file of lines. A line that a crash has cut off never happened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._is_whole = False  # nothing is cut off at its end

    @property
    def is_locked(self) -> bool:
        """This store keeps others out of the file."""
        return self._file is not None

    def lock(self) -> None:
        """Keep every other process, and every other call, out of the file."""
        file = open(self._path, "a+b", buffering=0)  # noqa: SIM115  # until `unlock`
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is not a regular file")
            _lock(file)
        except BaseException:
            file.close()
            raise
        self._file, self._is_whole = file, False
        _locked.add(self)

    def unlock(self) -> None:
        """Let others have the file; doing so twice is fine."""
        file, self._file = self._file, None
        if file is not None:
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that has inherited the file must not keep it locked
            file.close()

    def abandon(self) -> None:
        """In a forked child, which has no part in the lock, and must not keep it when its parent is gone."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def read(self) -> Iterable[str]:
        """Every whole line."""
        *lines, torn = self._path.read_bytes().split(b"\n")
        is_ours = bool(lines) or _OPENING.startswith(torn[: len(_OPENING)])
        return [line.decode() for line in (lines if is_ours else [torn])]

    def append(self, line: str) -> None:
        """Add one line, on disk when this returns."""
        if self._file is None:
            raise ValueError("another process has it")
        if not self._is_whole:
            _cut_torn_line(self._file)
        self._is_whole = False
        rest = line.encode() + b"\n"
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._is_whole = True


_locked: WeakSet[FileStore] = WeakSet()


def _after_fork() -> None:
    for store in list(_locked):
        store.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)

_OPENING = b'{"journal": "dune-matviews", '
"""How the first line begins: where a crash cut that line, so much of it is left, or less, or more."""


def _cut_torn_line(file: FileIO) -> None:
    file.seek(0)
    content = file.readall()
    file.truncate(content.rfind(b"\n") + 1)
    if not content:
        with suppress(OSError):  # have the folder keep a new file, where the system lets folders be flushed
            folder = os.open(Path(str(file.name)).parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _lock(file: FileIO) -> None:
    try:
        if sys.platform == "win32":
            file.seek(2**30)  # a locked byte cannot be read by others, so lock one beyond the end of the file
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as busy:
        raise ValueError("another run is using it. Wait for its end, or use another file") from busy
