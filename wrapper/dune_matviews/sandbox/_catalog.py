"""Knows which views there are, what each one is, and whether it belongs to the account.
Must not know time or money, nor what reads what."""

from collections import deque
from collections.abc import Iterable
from itertools import count

import attrs

from ._execution import Execution
from ._scenarios import SUCCEEDED, Scenario
from ._schedule import Schedule


class UnknownObjectError(LookupError):
    """There is no such view, query or execution."""


class ForeignObjectError(Exception):
    """There is such a view, and it belongs to another account."""


@attrs.frozen(kw_only=True)
class Definition:
    """What a view is made of. *performance* is the tier of the execution that fills it, None where it was left out."""

    query_id: int
    is_private: bool = False
    performance: str | None = None
    schedule: Schedule | None = None


@attrs.define(eq=False)
class View:
    """One materialized view; its executions are kept oldest first, all of them."""

    name: str
    definition: Definition
    owned: bool = True
    executions: list[Execution] = attrs.field(factory=list[Execution])
    scenarios: deque[Scenario] = attrs.field(factory=deque[Scenario])

    @property
    def query_id(self) -> int:
        return self.definition.query_id

    def size_bytes(self, now: int) -> int:
        """The size of the table as the latest refresh that succeeded left it; 0 before the first."""
        succeeded = (each for each in reversed(self.executions) if each.state(now) in SUCCEEDED)
        latest = next(succeeded, None)
        return latest.scenario.bytes if latest else 0


class Catalog:
    """The views that exist: *names*, or with None any that is named, until it is deleted."""

    def __init__(self, names: Iterable[str] | None) -> None:
        self._views: dict[str, View] = {}
        self._deleted: set[str] = set()
        # Every query that was ever named or given a number: queries stay where views are deleted.
        self._queries: set[int] = set()
        self._any_exists = names is None
        for name in names or ():
            self.add(name)

    def add(self, name: str, *, owned: bool = True) -> View:
        """Lets a view exist, of a query of its own. One that exists already stays, but for its owner."""
        if name not in self._views:
            query_id = next(number for number in count(1001) if number not in self._queries)
            self._store(View(name, Definition(query_id=query_id)))
        view = self._views[name]
        view.owned = owned
        return view

    def find(self, name: str) -> View:
        """The view, whoever owns it."""
        if self._any_exists and name not in self._deleted and name not in self._views:
            return self.add(name)
        try:
            return self._views[name]
        except KeyError:
            raise UnknownObjectError(f"the sandbox has no view {name!r}") from None

    def find_owned(self, name: str) -> View:
        """The view, if it belongs to the account."""
        view = self.find(name)
        if not view.owned:
            raise ForeignObjectError(f"the view {name!r} belongs to another account")
        return view

    def define(self, name: str, definition: Definition) -> View:
        """Creates a view, or makes another of the account's view of that name, which keeps its executions."""
        if name not in self._views:
            return self._store(View(name, definition))
        view = self.find_owned(name)
        view.definition = definition
        return self._store(view)

    def delete(self, name: str) -> None:
        del self._views[self.find_owned(name).name]
        self._deleted.add(name)

    def query_of(self, name: str) -> int | None:
        """The query of a view; None where there is no such view."""
        view = self._views.get(name)
        return view.query_id if view else None

    def owned(self) -> list[View]:
        """The views of the account, in the order in which they came to be."""
        return [view for view in self._views.values() if view.owned]

    def add_query(self, query_id: int) -> None:
        """Lets a query exist; there is nothing more to it."""
        self._queries.add(query_id)

    def check_query(self, query_id: int) -> None:
        if query_id not in self._queries:
            raise UnknownObjectError(f"the sandbox has no query {query_id}")

    def _store(self, view: View) -> View:
        self._queries.add(view.query_id)
        self._views[view.name] = view
        return view
