"""Knows the views, their definitions, and whether each belongs to the account.
Must not know time, money or lineage."""

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
    """The definition of a view. *performance* is the tier of its first execution, None where it was left out."""

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
        """The size of the table after the latest successful refresh; 0 before the first."""
        succeeded = (each for each in reversed(self.executions) if each.state(now) in SUCCEEDED)
        latest = next(succeeded, None)
        return latest.scenario.bytes if latest else 0


class Catalog:
    """The views that exist: *names*, or with None every view that a request names, until it is deleted."""

    def __init__(self, names: Iterable[str] | None) -> None:
        self._views: dict[str, View] = {}
        self._deleted: set[str] = set()
        # Every query that was ever mentioned: queries outlive their views.
        self._queries: set[int] = set()
        self._any_exists = names is None
        for name in names or ():
            self.add(name)

    def add(self, name: str, *, owned: bool = True) -> View:
        """Add a view with a query of its own. Of a view that exists already, only the owner changes."""
        if name not in self._views:
            query_id = next(number for number in count(1001) if number not in self._queries)
            self._store(View(name, Definition(query_id=query_id)))
        view = self._views[name]
        view.owned = owned
        return view

    def find(self, name: str) -> View:
        """The view, of any owner."""
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
        """Create a view, or redefine the account's view of that name, which keeps its executions."""
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
        """The views of the account, in the order of their creation."""
        return [view for view in self._views.values() if view.owned]

    def add_query(self, query_id: int) -> None:
        """Add a query, which is no more than its number."""
        self._queries.add(query_id)

    def check_query(self, query_id: int) -> None:
        if query_id not in self._queries:
            raise UnknownObjectError(f"the sandbox has no query {query_id}")

    def _store(self, view: View) -> View:
        self._queries.add(view.query_id)
        self._views[view.name] = view
        return view
