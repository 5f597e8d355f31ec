"""Upserts as flows in virtual time: requests, and recovery of a lost response."""

from __future__ import annotations

from typing import Any

import pytest

from dune_matviews import AmbiguousRefreshError, InvalidArgumentError
from dune_matviews._api.values import Definition, ViewHistory
from dune_matviews._execution import views
from dune_matviews._execution.session import Session
from dune_matviews._execution.wish import Begun, Wish
from dune_matviews._flow.drivers import run
from dune_matviews._flow.effects import Flow
from tests.execution.refreshing import BAD_GATEWAY, billed, refresh, sent
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


def upsert(session: Session, definition: Definition = BEFORE) -> Flow[Begun]:
    """An upsert, as the client builds it."""
    return views.upsert(session, Wish(view=definition.name, tier=definition.performance, definition=definition))


def update(session: Session, **changes: Any) -> Flow[Begun]:
    """An update of the view, with no objection to its tier."""
    return views.update(session, VIEW, changes, lambda tier: None)


def asked(dune: Dune) -> list[str]:
    """The kinds of requests that arrived."""
    return [each.what.partition(" ")[0] for each in dune.seen]


@pytest.mark.parametrize(("exists", "requests"), [(False, ["page", "upsert"]), (True, ["page", "view", "upsert"])])
def test_an_upsert_reads_the_history_of_what_it_replaces(exists: bool, requests: list[str]) -> None:
    """A bare name is looked up in the list: an existing view has a history, and a new one has none."""
    dune = Dune()
    if exists:
        dune.run(upsert(dune.session()))
        dune.seen.clear()
    begun = dune.run(upsert(dune.session()))
    assert (begun.name, asked(dune)) == (VIEW, requests)
    assert billed(dune) == 1 + exists


def test_an_update_is_three_requests() -> None:
    """The read that an update needs anyway also serves as the baseline."""
    dune = Dune()
    dune.run(upsert(dune.session()))
    dune.seen.clear()
    dune.run(update(dune.session(), query_id=2))
    assert asked(dune) == ["stored", "page", "upsert"]
    assert dune.definitions[VIEW] == BEFORE._replace(query_id=2)


def test_an_update_that_would_change_nothing_sends_nothing() -> None:
    """It would be billed."""
    dune = Dune()
    dune.run(upsert(dune.session()))
    with pytest.raises(InvalidArgumentError, match="already is as asked for"):
        dune.run(update(dune.session(), query_id=1, is_private=True))
    assert billed(dune) == 1


def refreshed_meanwhile(dune: Dune, upserts: int) -> None:
    """Let the view's schedule refresh it once so many upserts were sent."""
    tell = dune._view

    def view(name: str) -> ViewHistory:
        if sent(dune, "upsert") == upserts and billed(dune) < upserts:
            dune._start(VIEW, None)
        return tell(name)

    dune._view = view  # type: ignore[method-assign]


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
    """An upsert that never arrived does not succeed because a schedule refreshed the old view."""
    dune = Dune()
    session = dune.session()
    dune.run(upsert(session))
    refreshed_meanwhile(dune, 2)
    dune.fail("upsert", Fault(BAD_GATEWAY))
    with pytest.raises(AmbiguousRefreshError, match="not as it was to be"):
        dune.run(upsert(session, BEFORE._replace(**changes)))
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
    """Another spelling of the sent definition is no other view."""
    dune = Dune()
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    flow = upsert(dune.session())
    read = dune._stored
    dune._stored = lambda name: read(name)._replace(parts={**read(name).parts, **told})  # type: ignore[method-assign]
    started = dune.run(flow)
    assert (started.execution_id, started.name) == (dune.ledger[0].execution_id, VIEW)


@pytest.mark.parametrize("listed_after", [0.0, 7.0, 40.0])
def test_a_new_view_is_found_once_it_is_listed(listed_after: float) -> None:
    """A view that is not in the account's list yet is waited for."""
    dune = Dune(listed_after=listed_after)
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    begun = dune.run(upsert(dune.session()))
    assert (begun.execution_id, begun.name, begun.how) == ("E1", VIEW, "inferred")
    assert (sent(dune, "upsert"), billed(dune)) == (1, 1)


def test_a_lost_update_is_recovered_under_the_name_that_is_known() -> None:
    """No list is asked for it, which could have a view of the same bare name in another team."""
    dune = Dune()
    session = dune.session()
    dune.run(upsert(session))
    dune.seen.clear()
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    begun = dune.run(update(session, query_id=2))
    assert (begun.execution_id, begun.name) == (dune.ledger[1].execution_id, VIEW)
    assert asked(dune) == ["stored", "page", "upsert", "view", "status", "stored"]


def test_after_a_lost_upsert_nobody_is_told_to_refresh() -> None:
    """A `refresh` would bill the old definition, so the message says to `get` the view, by its full name if known."""
    dune = Dune()
    dune.fail("upsert", Fault(BAD_GATEWAY))
    with pytest.raises(AmbiguousRefreshError, match=r"An upsert of result_x .* get\(\) of its full name") as new:
        dune.run(upsert(dune.session()))
    dune.run(upsert(dune.session()))
    dune.fail("upsert", Fault(BAD_GATEWAY))
    with pytest.raises(AmbiguousRefreshError, match=rf"An upsert of {VIEW} .* get\('{VIEW}'\)") as known:
        dune.run(upsert(dune.session()))
    assert "refresh(" not in f"{new.value}{known.value}"
    assert (new.value.name, known.value.name) == (BARE, VIEW)


def test_an_interrupted_upsert_has_a_note_that_can_be_followed() -> None:
    """A bare name is none that `refresh` or `get` would find."""
    dune = Dune()
    dune.fail("upsert", Fault(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(upsert(dune.session()), dune.send_async)
    (note,) = caught.value.__notes__
    assert "get() of its full name" in note


def test_an_upsert_is_never_sent_again() -> None:
    """However long nothing is found, a lost upsert stays in doubt for its call, and is sent once."""
    dune = Dune()
    dune.fail("upsert", Fault(BAD_GATEWAY))
    flow = views.upsert(dune.session(), Wish(view=BARE, definition=BEFORE, if_lost="resend"))
    with pytest.raises(AmbiguousRefreshError):
        dune.run(flow)
    assert (sent(dune, "upsert"), billed(dune)) == (1, 0)


def test_once_a_lost_upsert_is_proven_absent_the_next_is_sent() -> None:
    """A view that is not listed for so long was not created: another call may create it."""
    dune = Dune()
    session = dune.session()
    dune.fail("upsert", Fault(BAD_GATEWAY))
    for _ in range(2):
        with pytest.raises(AmbiguousRefreshError):
            dune.run(upsert(session))
    dune.now += 60
    assert dune.run(upsert(session)).execution_id == "E1"
    assert (sent(dune, "upsert"), billed(dune)) == (2, 1)


def test_the_same_upsert_joins_one_that_is_lost() -> None:
    """A repeat of a lost upsert finds its execution, and sends nothing."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    with pytest.raises(AmbiguousRefreshError):
        dune.run(upsert(session))
    begun = dune.run(upsert(session))
    assert (begun.execution_id, begun.name) == ("E1", VIEW)
    assert (sent(dune, "upsert"), billed(dune)) == (1, 1)


def test_another_upsert_is_not_taken_for_one_that_is_lost() -> None:
    """An upsert of another definition finds the lost one first, which is out of its way then, and is sent itself."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    with pytest.raises(AmbiguousRefreshError):
        dune.run(upsert(session))
    changed = BEFORE._replace(query_id=2)
    assert dune.run(upsert(session, changed)).execution_id == "E2"
    assert dune.definitions[VIEW] == changed
    assert (sent(dune, "upsert"), billed(dune)) == (2, 2)


def test_a_refresh_after_a_lost_upsert_is_a_refresh_of_its_own() -> None:
    """The execution of a lost upsert is found first; it is no refresh, which is sent then."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("upsert", Fault(BAD_GATEWAY, accepted=True))
    with pytest.raises(AmbiguousRefreshError):
        dune.run(upsert(session))
    assert dune.run(refresh(session)) == "E2"
    assert billed(dune) == 2
