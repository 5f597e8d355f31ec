"""The journal of a task: lines in Airflow's state store, and which run of the task they belong to.

This module must not know what the lines say.

The state store is a mapping: `set` replaces a key's value in one transaction of Airflow's database, and `get` reads
what was committed last. So each line has a key of its own, with its number, and none is ever set again. Lines keep
their order, because a task has one writer at a time: Airflow gives each try an id of its own before that try may begin,
and refuses all that an earlier try still writes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._engine import NEVER_EXPIRE, Context

_RUN = "dune_run"


class TaskJournal:
    """A journal for `refresh` and `refresh_all`, in the state store of a task.

    Args:
        store: the task's state store.
        run: how many times people have asked for the refresh, by running the task and clearing it.
    """

    def __init__(self, store: Any, run: int) -> None:
        self.run = run
        self._store = store
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._interruption: BaseException | None = None

    def __repr__(self) -> str:
        return f"<TaskJournal run {self.run}>"

    def read(self) -> list[str]:
        """Every line, in order. Lines never change, so only those that are new are asked for."""
        with self._exchange():
            self._take_in()
        return list(self._lines)

    def append(self, line: str) -> None:
        """Add a line, which is committed when this returns."""
        with self._exchange():
            self._take_in()
            self._store.set(self._key(), line, retention=NEVER_EXPIRE)

    def interrupt(self, interruption: BaseException) -> None:
        """Raise it, from a signal's handler; not in the middle of an exchange with Airflow, but after it."""
        if not self._lock.locked():
            raise interruption
        self._interruption = interruption

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        with self._lock:
            yield
        if self._interruption is not None:
            interruption, self._interruption = self._interruption, None
            raise interruption

    def _take_in(self) -> None:
        while (line := self._store.get(self._key())) is not None:
            self._lines.append(line)

    def _key(self) -> str:
        return f"dune_journal.{self.run}.{len(self._lines):04}"


def current(context: Context) -> tuple[TaskJournal, bool]:
    """The journal that the task wrote last, or its first one, and whether a person has cleared the task since.

    Airflow raises a task's `max_tries` when a person clears it, and never when it retries.
    """
    store, max_tries = context["task_state_store"], context["ti"].max_tries
    known: Any = store.get(_RUN) or _remember(store, 1, max_tries)
    return TaskJournal(store, known["run"]), known["max_tries"] != max_tries


def renewed(context: Context, journal: TaskJournal, *, keep: bool) -> TaskJournal:
    """The journal after a person has cleared the task: the same one, or a new one."""
    store = context["task_state_store"]
    known = _remember(store, journal.run if keep else journal.run + 1, context["ti"].max_tries)
    return journal if keep else TaskJournal(store, known["run"])


def _remember(store: Any, run: int, max_tries: int) -> dict[str, int]:
    known = {"run": run, "max_tries": max_tries}
    store.set(_RUN, known, retention=NEVER_EXPIRE)
    return known
