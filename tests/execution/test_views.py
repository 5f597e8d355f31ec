"""Reads of views: their freshness, and the list of them, as flows in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dune_matviews import ExecutionState, Matview, NotFoundError
from dune_matviews._api.values import Page
from dune_matviews._execution.listing import full_name
from dune_matviews._execution.views import freshness
from tests.execution.refreshing import VIEW, sent, started
from tests.simulation import Dune, Fault


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_view_is_as_fresh_as_its_latest_success(is_reversed: bool) -> None:
    """Failures and executions under way make nothing fresh, and the order of the list nothing old."""
    dune = Dune(ulids=True, length=10)
    ids = []
    for end in (ExecutionState.COMPLETED, ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.COMPLETED):
        dune.end = end
        ids.append(started(dune))
        dune.now += 3600
    dune.now -= 3600 - 5
    if is_reversed:
        tell = dune._view
        dune._view = lambda name: tell(name)._replace(ids=tell(name).ids[::-1])  # type: ignore[method-assign]
    found = dune.run(freshness(dune.session(), VIEW))
    assert found.execution_id == ids[1]
    assert found.age == timedelta(hours=2, seconds=-5)


def test_an_execution_that_is_not_kept_makes_nothing_fresh() -> None:
    """A listed execution that is a 404 is passed over."""
    dune = Dune(length=10)
    started(dune)
    dune.now += 100
    started(dune)
    dune.now += 100
    dune.fail("status", Fault(NotFoundError("Object not found", status_code=404)))
    assert dune.run(freshness(dune.session(), VIEW)).execution_id == "E1"


def test_a_list_that_repeats_itself_ends() -> None:
    """A server that always responds with the same page, and names another one each time, is asked twice."""
    dune = Dune()
    dune._page = lambda offset: Page((Matview(name="a.b.c"),), offset + 1000)  # type: ignore[method-assign]
    assert dune.run(full_name(dune.session(), lambda name: name == VIEW)) is None
    assert sent(dune, "page") == 2


@pytest.mark.parametrize(
    "page",
    [
        Page((), 1000),  # nothing, and more of it
        Page((Matview(name="a.b.c"),), 0),  # the beginning, again
        Page((Matview(name="a.b.c"),), -5),
    ],
)
def test_a_list_that_never_ends_does(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    """A page that is empty, or names one that is no later, is the last; that is logged."""
    dune = Dune()
    dune._page = lambda offset: page  # type: ignore[method-assign]
    assert dune.run(full_name(dune.session(), lambda name: name == VIEW)) is None
    assert sent(dune, "page") == 1
    assert "names" in caplog.text
