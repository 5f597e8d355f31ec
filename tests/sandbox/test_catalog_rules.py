"""Knows the invariants of views under any operations in any order.
Must not know how the world keeps them: here a plain record of each name stands beside it."""

from collections.abc import Callable

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dune_matviews.sandbox import UnknownObjectError
from dune_matviews.sandbox._catalog import Definition, ForeignObjectError
from dune_matviews.sandbox._world import World

NAMES = st.sampled_from([f"dune.my_team.result_{letter}" for letter in "abc"])
QUERIES = st.integers(1001, 1004)


@attrs.define
class Record:
    """The expected record of one view; its query only where a definition named it."""

    owned: bool
    query_id: int | None = None
    executions: list[str] = attrs.field(factory=list[str])


class Catalogs(RuleBasedStateMachine):
    """Applies any operations in any order to the views of one world, and to the expected records."""

    @initialize(names=st.none() | st.lists(NAMES, unique=True))
    def begin(self, names: list[str] | None) -> None:
        """Any views, or a few."""
        self.world = World(names, clock=lambda: 0)
        self.any_exists = names is None
        self.records = {name: Record(owned=True) for name in names or ()}
        self.deleted = set[str]()
        self.billed = list[str]()

    @rule(name=NAMES, owned=st.booleans())
    def add(self, name: str, owned: bool) -> None:
        """Let a view exist, or change its owner."""
        self.world.catalog.add(name, owned=owned)
        self.records.setdefault(name, Record(owned)).owned = owned
        self.deleted.discard(name)

    @rule(name=NAMES, query_id=QUERIES)
    def define(self, name: str, query_id: int) -> None:
        """Create or replace a view, which nobody may do to a foreign one."""
        self.expect(name, lambda: self.run(self.world.define(name, Definition(query_id=query_id)).id), creates=True)
        if self.records[name].owned:
            self.records[name].query_id = query_id

    @rule(name=NAMES)
    def refresh(self, name: str) -> None:
        """Refresh a view."""
        self.expect(name, lambda: self.run(self.world.refresh(name).id))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """Delete a view."""
        if self.expect(name, lambda: self.world.catalog.delete(name)):
            del self.records[name]
            self.deleted.add(name)

    def run(self, execution_id: str) -> None:
        """Note an execution, which the record of its view takes up later."""
        self.billed.append(execution_id)

    def expect(self, name: str, call: Callable[[], None], *, creates: bool = False) -> bool:
        """Apply an operation that succeeds for a view of the account only; return whether it succeeded."""
        if name not in self.records and (creates or (self.any_exists and name not in self.deleted)):
            self.records[name] = Record(owned=True)
            self.deleted.discard(name)
        record, billed = self.records.get(name), len(self.billed)
        if record is None or not record.owned:
            with pytest.raises(ForeignObjectError if record else UnknownObjectError):
                call()
            assert len(self.billed) == billed
            return False
        call()
        record.executions += self.billed[billed:]
        return True

    @invariant()
    def the_list_is_what_the_account_owns(self) -> None:
        """Listed are the account's views, in the order of their creation, each with its query and its executions."""
        views = self.world.catalog.owned()
        owned = {name: record for name, record in self.records.items() if record.owned}
        assert [view.name for view in views] == list(owned)
        for view in views:
            record = owned[view.name]
            assert record.query_id in (None, view.query_id)
            assert record.executions == [each.id for each in view.executions]

    @invariant()
    def nothing_that_was_billed_is_forgotten(self) -> None:
        """The ledger has each execution once, in order, also those of views that are gone."""
        assert [charge.execution_id for charge in self.world.ledger()] == self.billed

    @invariant()
    def views_share_a_query_only_by_definition(self) -> None:
        """Views that nobody defined have different queries."""
        undefined = [each for each in self.world.catalog.owned() if self.records[each.name].query_id is None]
        assert len({each.query_id for each in undefined}) == len(undefined)


TestCatalogs = Catalogs.TestCase
TestCatalogs.settings = settings(stateful_step_count=25)
