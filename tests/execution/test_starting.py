"""Starting an execution: requests, resends and their times, as flows in virtual time."""

from __future__ import annotations

import logging

import pytest

from dune_matviews import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    DuneError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestBudget,
    RequestFailedError,
    UnexpectedResponseError,
    UnsupportedTierError,
)
from dune_matviews._flow.drivers import run
from tests.execution.refreshing import (
    BAD_GATEWAY,
    LOST,
    REFUSED_CONNECTION,
    UNREADABLE,
    VIEW,
    billed,
    limited,
    refresh,
    sent,
)
from tests.simulation import Dune, Fault


def test_a_refresh_is_two_requests() -> None:
    """Where nothing goes wrong, a refresh is a read of the view, which is free, and the request that is billed."""
    dune = Dune()
    assert dune.run(refresh(dune.session(), tier="large")) == "E1"
    assert [request.what for request in dune.seen] == [f"view {VIEW}", f"refresh {VIEW}"]
    assert [(each.name, each.performance) for each in dune.ledger] == [(VIEW, "large")]


@pytest.mark.parametrize("failure", [REFUSED_CONNECTION, LOST, BAD_GATEWAY, UNREADABLE, limited(3600.0)])
def test_a_history_that_cannot_be_read_holds_up_no_refresh(failure: DuneError) -> None:
    """Without a journal the view is read once, for one request timeout, and the refresh is sent all the same."""
    dune = Dune()
    began = dune.now
    dune.fail("view", Fault(failure, takes=60.0))
    assert dune.run(refresh(dune.session())) == "E1"
    assert (len(dune.seen), billed(dune)) == (2, 1)
    assert dune.now - began <= 10.0


def test_a_full_budget_for_reads_holds_up_no_refresh() -> None:
    """Where the budget has no room for the read, the refresh is sent without it."""
    dune = Dune()
    session = dune.session(RequestBudget(low=2, high=1))
    began = dune.now
    for _ in range(2):
        dune.run(refresh(session))
    assert [request.what.partition(" ")[0] for request in dune.seen] == ["view", "refresh", "refresh"]
    assert dune.now == began


@pytest.mark.parametrize("failure", [REFUSED_CONNECTION, limited(None), limited(3.0)])
def test_what_was_certainly_not_accepted_is_sent_again(failure: DuneError) -> None:
    """No connection, or a 429, cannot have started anything: the refresh is tried again, and billed once."""
    dune = Dune()
    dune.fail("refresh", Fault(failure), Fault(failure))
    assert dune.run(refresh(dune.session())) == "E1"
    assert (sent(dune), sent(dune, "view"), billed(dune)) == (3, 1, 1)


@pytest.mark.parametrize(
    "refusal",
    [
        BadRequestError("no", status_code=400),
        AuthenticationError("no", status_code=401),
        PermissionDeniedError("no", status_code=403),
        UnexpectedResponseError("a redirect", status_code=307),
        ClientClosedError("closed"),
    ],
)
def test_a_refusal_ends_the_refresh_at_once(refusal: DuneError) -> None:
    """A permanent failure is raised unchanged, after one request that would be billed."""
    dune = Dune()
    dune.fail("refresh", Fault(refusal))
    with pytest.raises(type(refusal)) as caught:
        dune.run(refresh(dune.session()))
    assert caught.value is refusal
    assert sent(dune) == 1


def test_a_400_to_the_small_tier_names_the_disagreement() -> None:
    """Where `small` was asked for, a 400 is an `UnsupportedTierError` that says why."""
    dune = Dune()
    refusal = BadRequestError("invalid performance", status_code=400, body="{}", request_id="r1")
    dune.fail("refresh", Fault(refusal))
    with pytest.raises(UnsupportedTierError, match=r"'small'.*'medium' and 'large'") as caught:
        dune.run(refresh(dune.session(), tier="small"))
    assert (caught.value.message, caught.value.request_id) == ("invalid performance", "r1")


@pytest.mark.parametrize(("name", "hinted"), [("my_matview", True), (VIEW, False)])
def test_a_404_to_a_bare_name_shows_what_a_full_name_looks_like(name: str, hinted: bool) -> None:
    """A bare name is sent unchanged; if Dune does not know it, the error names the likely missing part."""
    dune = Dune()
    dune.fail("refresh", Fault(NotFoundError("Object not found", status_code=404)))
    with pytest.raises(NotFoundError) as caught:
        dune.run(refresh(dune.session(), name))
    assert ("dune.my_team.my_matview" in str(caught.value)) is hinted


def test_trying_ends_after_ten_request_timeouts() -> None:
    """A refresh that never gets through is given up in time, and the last failure is raised."""
    dune = Dune()
    dune.faults = iter(lambda: Fault(REFUSED_CONNECTION, takes=1.0), None)
    began = dune.now
    with pytest.raises(RequestFailedError):
        dune.run(refresh(dune.session()))
    assert 50.0 < dune.now - began <= 100.0


def test_a_retry_after_beyond_the_time_gives_up_at_once() -> None:
    """No call hangs for a day, and no request leaves earlier than the server allowed."""
    dune = Dune()
    dune.fail("refresh", Fault(limited(86_400.0)))
    session = dune.session()
    began = dune.now
    for _ in range(2):
        with pytest.raises(RateLimitError):
            dune.run(refresh(session))
    assert (sent(dune), dune.now) == (1, began)


def test_one_429_holds_up_everybody() -> None:
    """After a 429, no refresh of the client leaves before the server listens again."""
    dune = Dune()
    session = dune.session()
    dune.fail("refresh", Fault(limited(20.0)))
    flows = [refresh(session, f"{VIEW}_{number}") for number in range(3)]
    began = dune.now
    for future in dune.run_together(*flows):
        assert future.exception() is None
    refused, *others = [each.at - began for each in dune.seen if each.what.startswith("refresh")]
    assert refused == 0.0
    assert others[:2] == [0.0, 0.0] or min(others) >= 20.0
    assert billed(dune) == 3


def test_the_budget_holds_back_what_is_too_much() -> None:
    """On the Free plan the sixteenth refresh waits for the minute to pass, however long that is."""
    dune = Dune()
    session = dune.session(RequestBudget(low=15, high=40), timeout=1.0)
    began = dune.now
    for future in dune.run_together(*(refresh(session, f"v.{n}") for n in range(46))):
        future.result()
    arrivals = [each.at - began for each in dune.seen if each.what.startswith("refresh")]
    assert arrivals[:15] == [0.0] * 15
    assert all(later - earlier > 60.0 for earlier, later in zip(arrivals, arrivals[15:], strict=False))


def test_pauses_are_logged_with_their_length(caplog: pytest.LogCaptureFixture) -> None:
    """A progress display can distinguish a wait for the budget or a backoff from a hang."""
    caplog.set_level(logging.DEBUG, "dune_matviews")
    dune = Dune()
    dune.fail("refresh", Fault(REFUSED_CONNECTION))
    session = dune.session(RequestBudget(low=2, high=40))
    began = dune.now
    dune.run(refresh(session))
    dune.run(refresh(session))
    pauses = {each.getMessage(): vars(each)["seconds"] for each in caplog.records if vars(each)["seconds"]}
    assert list(pauses) == [
        f"Trying again in 0.8 s, giving up in 100 s: {REFUSED_CONNECTION}",
        "Waiting 60.2 s for the request budget",
    ]
    assert sum(pauses.values()) == pytest.approx(dune.now - began)


def test_whoever_is_first_in_line_stays_first_after_a_429() -> None:
    """A 429 holds everybody up by as long as it asks, and by no more."""
    dune = Dune()
    session = dune.session(RequestBudget(low=15, high=40))
    began = dune.now
    dune.fail("refresh", *[None] * 15, Fault(limited(20.0)))
    for future in dune.run_together(*(refresh(session, f"v.n{n}") for n in range(46))):
        future.result()
    order = [int(request.what.rpartition("n")[2]) for request in dune.seen if request.what.startswith("refresh")]
    assert order[:15] == list(range(15))
    assert sorted(order[16:45]) == order[16:45]
    assert dune.now - began < 61 * 3 + 20 + 5


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_sends_nothing_more_and_leaves_a_note(interruption: type[BaseException]) -> None:
    """Ctrl-C passes on unchanged, with a note about a possible execution and the way to find it."""
    dune = Dune()
    dune.fail("refresh", Fault(interruption(), accepted=True))
    with pytest.raises(interruption) as caught:
        run(refresh(dune.session()), dune.send_async, sleep=dune.rest)
    assert len(dune.seen) == 2
    (note,) = caught.value.__notes__
    assert note.startswith(
        f"A refresh of {VIEW} may have started. Follow the execution that is under way with refresh({VIEW!r}"
    )


def test_an_interruption_before_anything_was_sent_leaves_no_note() -> None:
    """An interruption of the wait for the budget has started nothing, and the note does not say otherwise."""
    dune = Dune()
    session = dune.session(RequestBudget(low=1, high=1))
    dune.run(refresh(session))
    flow = refresh(session)
    next(flow)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(KeyboardInterrupt())
    assert not hasattr(caught.value, "__notes__")


class Interrupting(logging.Handler):
    """Ctrl-C at the moment at which something is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        raise KeyboardInterrupt


def test_an_interruption_after_the_response_names_the_execution(caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C between the response and the return of the handle leaves a note with the id that is known by then."""
    caplog.set_level(logging.INFO)
    dune = Dune()
    logger, handler = logging.getLogger("dune_matviews"), Interrupting()
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(refresh(dune.session()), dune.send_async, sleep=dune.rest)
    finally:
        logger.removeHandler(handler)
    assert caught.value.__notes__ == ["The refresh goes on. Follow it with attach('E1')."]
    assert billed(dune) == 1


def test_an_error_that_nobody_foresaw_leaves_a_lost_refresh() -> None:
    """If sending ends with a foreign error, the execution is searched for before the next is sent."""
    dune = Dune()
    session = dune.session()
    dune.fail("refresh", Fault(ModuleNotFoundError("gone"), accepted=True))
    with pytest.raises(ModuleNotFoundError) as caught:
        dune.run(refresh(session))
    assert "may have started" in caught.value.__notes__[0]
    assert dune.run(refresh(session, if_running="adopt")) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


@pytest.mark.parametrize("asleep", ["both clocks", "wall clock only"])
def test_a_request_does_not_leave_after_its_permit(asleep: str) -> None:
    """A process suspended before the bytes leave claims anew, by either clock, and is billed once."""
    dune = Dune()
    turns: list[float] = []

    def doze() -> None:
        turns.append(dune.now)
        if len(turns) == 2:  # the first check is before the permit, the second after it
            if asleep == "both clocks":
                dune.now += 3600
            else:
                dune.client_offset += 3600

    assert dune.run(refresh(dune.session(), check=doze)) == "E1"
    assert (len(turns), sent(dune), billed(dune)) == (4, 1, 1)
