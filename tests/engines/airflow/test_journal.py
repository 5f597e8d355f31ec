"""What a signal does to the journal of a task: it never breaks an exchange with Airflow in two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dune_matviews.airflow.journal import TaskJournal


class Store:
    """A state store in memory; *during* is called in the middle of each exchange."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.during: Callable[[], object] = lambda: None

    def get(self, key: str) -> Any:
        self.during()
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: object) -> None:
        self.during()
        self.values[key] = value


def test_a_signal_during_an_exchange_is_raised_after_it() -> None:
    """The line is written, the exchange is whole, and then the interruption goes on; outside, it is raised at once."""
    store = Store()
    journal = TaskJournal(store, 1)
    store.during = lambda: journal.interrupt(SystemExit("told to end"))
    with pytest.raises(SystemExit, match="told to end"):
        journal.append("a line")
    store.during = lambda: None
    assert journal.read() == ["a line"]
    with pytest.raises(SystemExit):
        journal.interrupt(SystemExit())


def test_a_journal_is_what_was_appended_to_its_run() -> None:
    """Lines come back in order, to every reader of the same run, and to none of another."""
    store = Store()
    for line in ("first", "second", "third"):
        TaskJournal(store, 1).append(line)
    TaskJournal(store, 2).append("of another run")
    assert TaskJournal(store, 1).read() == ["first", "second", "third"]
