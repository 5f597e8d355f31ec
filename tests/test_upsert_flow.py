"""Upserts whose answers are lost, as flows in virtual time: what is found again is what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dune_matviews import AmbiguousRefreshError, ServerError
from dune_matviews._api.values import Definition
from dune_matviews._flow.drivers import run
from dune_matviews._life import update, upsert
from tests.simulation import Dune, Fault

BARE = "result_x"
VIEW = f"dune.my_team.{BARE}"
BEFORE = Definition(
    name=BARE,
    query_id=1,
    is_private=True,
    performance="medium",
    cron_expression="0 0 * * *",
    expires_at="2027-01-01T00:00:00Z",
)
BAD_GATEWAY = ServerError("Bad Gateway", status_code=502)


def lost_amid_another(dune: Dune, *, accepted: bool) -> Iterator[Fault | None]:
    """The answer to an upsert is lost, and then the view is refreshed by its schedule."""
    yield Fault(BAD_GATEWAY, accepted=accepted)
    dune._start(VIEW, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"query_id": 2},
        {"is_private": False},
        {"performance": "large"},
        {"cron_expression": "0 1 * * *"},
        {"cron_expression": None, "expires_at": None},
        {"expires_at": "2027-01-02T00:00:00Z"},
        {"expires_at": None},
    ],
)
def test_a_refresh_of_the_view_as_it_was_is_not_taken_for_an_upsert(changes: dict[str, Any]) -> None:
    """An upsert that never arrived does not succeed because the schedule has refreshed what it was to replace."""
    dune = Dune()
    session = dune.session()
    dune.run(upsert(session, dune, BEFORE))
    dune.faults = lost_amid_another(dune, accepted=False)
    with pytest.raises(AmbiguousRefreshError, match="not as it was to be"):
        dune.run(upsert(session, dune, BEFORE._replace(**changes)))
    assert dune.definitions[VIEW] == BEFORE
    assert len(dune.ledger) == 2


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"performance": None},
        {"cron_expression": " 0  0 * * * "},
        {"expires_at": "2027-01-01T01:00:00.5+01:00"},
    ],
)
def test_an_upsert_is_found_again_however_dune_writes_it(told: dict[str, Any]) -> None:
    """Another spelling of what was sent is no other view."""
    dune = Dune()
    dune.faults = iter([Fault(BAD_GATEWAY, accepted=True)])
    flow = upsert(dune.session(), dune, BEFORE)
    read = dune._stored
    dune._stored = lambda name: read(name)._replace(parts={**read(name).parts, **told})  # type: ignore[method-assign]
    started = dune.run(flow)
    assert (started.execution_id, started.name) == (dune.ledger[0].execution_id, VIEW)


def test_a_lost_update_is_looked_for_under_the_name_that_is_known() -> None:
    """No list is asked for it, which could have a view of the same bare name in another team."""
    dune = Dune()
    session = dune.session()
    dune.run(upsert(session, dune, BEFORE))
    dune.faults = iter([None, None, Fault(BAD_GATEWAY, accepted=True)])
    started = dune.run(update(session, dune, VIEW, {"query_id": 2}, lambda tier: None))
    assert (started.execution_id, started.name) == (dune.ledger[1].execution_id, VIEW)
    asked = [each.what.partition(" ")[0] for each in dune.seen]
    assert asked == ["upsert", "stored", "page", "upsert", "view", "status", "stored"]


def test_after_a_lost_upsert_nobody_is_told_to_refresh() -> None:
    """That would be billed for the view as it was; the message says how to look, by the full name where it is known."""
    dune = Dune()
    session = dune.session()
    dune.faults = iter([Fault(BAD_GATEWAY)])
    with pytest.raises(AmbiguousRefreshError, match=r"An upsert of result_x .* get\(\) of the view's full name") as new:
        dune.run(upsert(session, dune, BEFORE))
    dune.faults = iter(())
    dune.run(upsert(session, dune, BEFORE))
    dune.faults = iter([Fault(BAD_GATEWAY)])
    with pytest.raises(AmbiguousRefreshError, match=rf"An upsert of {VIEW} .* get\('{VIEW}'\) tells") as known:
        dune.run(upsert(session, dune, BEFORE))
    assert "refresh(" not in f"{new.value}{known.value}"
    assert (new.value.name, known.value.name) == (BARE, VIEW)


def test_an_interrupted_upsert_has_a_note_that_can_be_followed() -> None:
    """A bare name is none that `refresh` or `get` would find."""
    dune = Dune()
    dune.faults = iter([Fault(KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt) as caught:
        run(upsert(dune.session(), dune, BEFORE), dune.send)
    (note,) = caught.value.__notes__
    assert "get() of the view's full name" in note
