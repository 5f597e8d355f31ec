"""Lost responses as flows in virtual time: executions found, proven absent, or left in doubt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from dune_matviews import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    APIError,
    DuneError,
    ExecutionState,
    ExecutionStatus,
    NotFoundError,
    RequestBudget,
    RequestFailedError,
    ServerError,
)
from dune_matviews._api.operations import Operations
from dune_matviews._api.values import ViewHistory
from dune_matviews._flow.drivers import run
from dune_matviews._flow.effects import Call, Flow, Sleep
from dune_matviews._http.failures import refusal
from dune_matviews._http.messages import Response
from dune_matviews._http.redaction import ApiKey
from tests.execution.refreshing import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    LOST,
    UNREADABLE,
    VIEW,
    billed,
    follow,
    refresh,
    sent,
    started,
)
from tests.simulation import Dune, Fault

BARE = VIEW.rpartition(".")[2]
DAY = 24 * 3600.0
PROOF = 180.0
NOT_FOUND = NotFoundError("Object not found", status_code=404)


def retell(dune: Dune, change: Callable[[ViewHistory], ViewHistory]) -> None:
    """Change the history that Dune reports of each view, from now on."""
    tell = dune._view
    dune._view = lambda name: change(tell(name))  # type: ignore[method-assign]


def nights(dune: Dune, count: int) -> None:
    """So many nights in which somebody refreshed the view."""
    for _ in range(count):
        started(dune)
        dune.now += DAY
    dune.seen.clear()


def ambiguous(dune: Dune, flow: Flow[str]) -> AmbiguousRefreshError:
    """The error of a refresh that stays in doubt."""
    with pytest.raises(AmbiguousRefreshError) as caught:
        dune.run(flow)
    return caught.value


# What is found.


@pytest.mark.parametrize("failure", [LOST, BAD_GATEWAY, UNREADABLE])
def test_a_lost_response_is_found_again(failure: DuneError) -> None:
    """A refresh that was accepted, and whose response was lost, is never sent twice: its execution is found."""
    dune = Dune(listed_after=7.0)
    dune.fail("refresh", Fault(failure, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session())) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


@pytest.mark.parametrize("plan", [None, RequestBudget(low=15, high=40)])
@pytest.mark.parametrize("what", ["listed", "accepted"])
@pytest.mark.parametrize("late", [2.0, 5.0, 20.0, 40.0])
def test_an_execution_that_comes_late_is_found_in_time(late: float, what: str, plan: RequestBudget | None) -> None:
    """After a 504, an execution is found within a second, or a tenth of the time that it takes to be listed."""
    dune = Dune(listed_after=late if what == "listed" else 0.0)
    nights(dune, 3)
    began = dune.now
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True, late=late if what == "accepted" else 0.0))
    assert dune.run(refresh(dune.session(plan))) == "E4"
    assert dune.now - began <= late + max(1.0, 0.1 * late)
    assert (sent(dune), billed(dune)) == (1, 4)


def test_an_execution_that_ends_at_once_is_found() -> None:
    """An execution counts once it began, even if it no longer runs."""
    dune = Dune(length=0.1, listed_after=30.0)
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session())) == "E1"


@pytest.mark.parametrize("offset", [-3.0, 3.0])
def test_the_date_may_be_off_by_seconds(offset: float) -> None:
    """`Date` and `submitted_at` come from two machines: a few seconds between them hide no execution."""
    dune = Dune()
    nights(dune, 1)
    retell(dune, lambda told: told._replace(date=told.date and told.date + timedelta(seconds=offset)))
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session())) == "E2"


@pytest.mark.parametrize("offset", [-7200.0, -30.0, 30.0, 7200.0])
def test_our_own_clock_is_not_asked(offset: float) -> None:
    """However wrong the clock of this computer is, and though it is put right meanwhile, the execution is found."""
    dune = Dune(client_offset=offset)
    nights(dune, 2)

    def put_right(told: ViewHistory) -> ViewHistory:
        if sent(dune):
            dune.client_offset = 0.0
        return told

    retell(dune, put_right)
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session())) == "E3"
    assert billed(dune) == 3


def unknown(execution: ExecutionStatus) -> ExecutionStatus:
    """An execution with an unreadable status."""
    raise NOT_FOUND


def undated(execution: ExecutionStatus) -> ExecutionStatus:
    """An execution without a known start."""
    return attrs.evolve(execution, submitted_at=None, started_at=None)


@pytest.mark.parametrize("told", [unknown, undated])
def test_a_listed_execution_that_tells_nothing_is_found(told: Callable[[ExecutionStatus], ExecutionStatus]) -> None:
    """An id that is new is a candidate, although its status is a 404, or does not say when it began."""
    dune = Dune()
    nights(dune, 1)
    tell = dune._status
    dune._status = lambda execution_id: told(tell(execution_id))  # type: ignore[method-assign]
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session(), if_lost="resend")) == "E2"
    assert (sent(dune), billed(dune)) == (1, 2)


@pytest.mark.parametrize("ulids", [True, False])
def test_a_history_need_not_be_newest_first(ulids: bool) -> None:
    """A new execution is found anywhere in the list, because the earlier list lacked it."""
    dune = Dune(ulids=ulids)
    nights(dune, 12)
    retell(dune, lambda told: told._replace(ids=tuple(sorted(told.ids[:10]))))
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    assert dune.run(refresh(dune.session(), if_lost="resend")) == dune.ledger[-1].execution_id
    assert (sent(dune), billed(dune)) == (1, 13)


def test_a_history_is_asked_for_anew_and_told_apart_from_a_cached_one() -> None:
    """A read asks caches for no old response, and recognizes one by its `Age`."""
    call = Operations().history(VIEW)
    assert call.request.parts["headers"]["Cache-Control"] == "no-cache"
    body = {"query_id": 1, "last_execution_ids": ["E1"]}
    fresh, old = (call.parse(Response(200, headers, body)) for headers in ({}, {"age": "9"}))
    assert (fresh.is_cached, old.is_cached, old.ids) == (False, True, ("E1",))
    assert not call.parse(Response(200, {}, {"query_id": 1})).is_stated


def test_a_view_that_was_never_refreshed_has_an_empty_history() -> None:
    """A 404 before the first refresh is an empty history: any execution listed later is new."""
    dune = Dune()
    dune.fail("view", Fault(NOT_FOUND))
    dune.fail("refresh", Fault(LOST, accepted=True))
    assert dune.run(refresh(dune.session())) == "E1"


def test_an_execution_that_was_found_is_ours_no_more_than_likely() -> None:
    """An execution found in the history is followed, but not cancelled when it passes a cap."""
    from dune_matviews._execution.starting import start
    from dune_matviews._execution.wish import Wish

    dune = Dune()
    dune.fail("refresh", Fault(LOST, accepted=True))
    begun = dune.run(start(dune.session(), Wish(view=VIEW)))
    assert (begun.execution_id, begun.how) == ("E1", "inferred")


# What stays in doubt.


@pytest.mark.parametrize("failure", [LOST, BAD_GATEWAY, UNREADABLE])
def test_what_is_not_found_again_is_ambiguous(failure: DuneError) -> None:
    """Where nothing is found within a minute, the error says so, with the failure as its cause and the history."""
    dune = Dune()
    nights(dune, 2)
    dune.fail("refresh", Fault(failure))
    began = dune.now
    error = ambiguous(dune, refresh(dune.session()))
    assert "may have been accepted" in str(error)
    assert error.__cause__ is failure
    assert (error.name, error.baseline, error.candidates) == (VIEW, ("E2", "E1"), ())
    assert (sent(dune), billed(dune)) == (1, 2)
    assert dune.now - began == pytest.approx(60.0, abs=0.1)


def test_a_search_keeps_the_deadline_of_the_call() -> None:
    """A call that may take twenty seconds takes them, to the end of the search, and no more."""
    dune = Dune(listed_after=1e6)
    dune.fail("refresh", Fault(LOST, accepted=True, takes=4.0))
    began = dune.now
    ambiguous(dune, refresh(dune.session(), deadline=dune.now + 20.0))
    assert dune.now - began == pytest.approx(20.0, abs=1.0)


def test_there_is_a_last_poll_at_the_end_of_a_search() -> None:
    """An execution that is listed just before the end of the time is found."""
    dune = Dune(listed_after=59.8)
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True))
    assert dune.run(refresh(dune.session())) == "E1"


def test_without_a_history_a_lost_response_is_ambiguous_at_once() -> None:
    """Where the view could not be read before the request, nothing that is listed later proves anything."""
    dune = Dune()
    dune.fail("view", Fault(BAD_GATEWAY))
    dune.fail("refresh", Fault(LOST, accepted=True))
    began = dune.now
    error = ambiguous(dune, refresh(dune.session(), if_lost="resend"))
    assert error.baseline is None
    assert (sent(dune), billed(dune), dune.now) == (1, 1, began)


def test_a_cached_history_is_none() -> None:
    """A response with an `Age` may be older than the executions that it lacks."""
    dune = Dune()
    nights(dune, 1)
    old = dune._view(VIEW)._replace(ids=(), is_cached=True)
    retell(dune, lambda told: old)
    dune.fail("refresh", Fault(LOST))
    error = ambiguous(dune, refresh(dune.session(), if_lost="resend"))
    assert error.baseline is None
    assert (sent(dune), billed(dune)) == (1, 1)


def gone(told: ViewHistory) -> ViewHistory:
    """A list that has lost its old ids."""
    return told._replace(ids=tuple(each for each in told.ids if each not in ("E1", "E2")))


def silent(told: ViewHistory) -> ViewHistory:
    """A response without the list."""
    return told._replace(ids=(), is_stated=False)


def cached(told: ViewHistory) -> ViewHistory:
    """A response from a cache."""
    return told._replace(is_cached=True)


@pytest.mark.parametrize("change", [gone, silent, cached])
def test_a_list_that_may_not_be_whole_proves_nothing(change: Callable[[ViewHistory], ViewHistory]) -> None:
    """Without the newest earlier id, without the list, or from a cache, a missing execution proves nothing."""
    dune = Dune()
    nights(dune, 2)
    retell(dune, lambda told: change(told) if sent(dune) else told)
    dune.fail("refresh", Fault(LOST))
    ambiguous(dune, refresh(dune.session(), if_lost="resend"))
    assert (sent(dune), billed(dune)) == (1, 2)


def test_a_list_of_ten_after_an_empty_history_proves_nothing() -> None:
    """Ten executions that are not ours may hide the one that is."""
    dune = Dune()
    session = dune.session()
    retell(dune, lambda told: told._replace(ids=told.ids[:10]))
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))

    def later() -> Flow[str]:
        yield Sleep(1.0)
        return (yield from refresh(session))

    lost, *others = dune.run_together(refresh(session, if_lost="resend"), *(later() for _ in range(10)))
    assert len({each.result() for each in others}) == 10
    assert isinstance(lost.exception(), AmbiguousRefreshError)
    assert (sent(dune), billed(dune)) == (11, 11)


@pytest.mark.parametrize("offset", [-7200.0, 0.0, 7200.0])
def test_an_older_execution_is_not_taken_for_the_lost_one(offset: float) -> None:
    """Executions from before the request are never found, for any difference between the two clocks."""
    dune = Dune(clock_offset=offset)
    started(dune)
    dune.now += 5
    dune.fail("refresh", Fault(LOST, takes=10.0))
    ambiguous(dune, refresh(dune.session()))


def test_an_execution_that_began_before_is_neither_followed_nor_absence() -> None:
    """A listed execution of long before, which the history lacked, is not ours, and shows that lists lag."""
    dune = Dune(listed_after=30.0)
    started(dune)
    dune.now += 20.0
    dune.seen.clear()
    dune.fail("refresh", Fault(LOST))
    error = ambiguous(dune, refresh(dune.session(), if_lost="resend"))
    assert error.candidates == ()
    assert (sent(dune), billed(dune)) == (1, 1)


@pytest.mark.parametrize(("fresh", "expected"), [(1.0, ()), (3.0, ("E1",))])
def test_an_execution_of_before_what_the_view_reads_was_fresh_is_not_taken(
    fresh: float, expected: tuple[str, ...]
) -> None:
    """Within the seconds that clocks may differ, a foreign execution is no candidate if it began before that end."""
    dune = Dune(listed_after=30.0)
    started(dune)
    dune.now += 2.0
    dune.seen.clear()
    dune.fail("refresh", Fault(LOST))
    (outcome,) = dune.run_together(refresh(dune.session(), not_before=dune._wall(dune.now - fresh)))
    failure = outcome.exception()
    assert (failure.candidates if isinstance(failure, AmbiguousRefreshError) else (outcome.result(),)) == expected
    assert sent(dune) == 1


def test_an_execution_of_this_client_is_not_taken_for_the_lost_one() -> None:
    """Of two refreshes of one view, the lost one is not confused with the one that this client follows."""
    dune = Dune()
    session = dune.session()
    dune.run(refresh(session))
    dune.fail("refresh", Fault(LOST))
    ambiguous(dune, refresh(session))


@pytest.mark.parametrize("other", [VIEW, BARE])
def test_a_response_that_is_outstanding_is_not_mistaken_for_a_lost_one(other: str) -> None:
    """While another refresh of the view awaits its response, its execution is not given to the one that is lost."""
    dune = Dune(round_trip=4.0)
    session = dune.session()
    dune.fail("refresh", None, Fault(LOST, takes=1.0))
    ours, lost = dune.run_together(refresh(session), refresh(session, other))
    assert ours.result() == "E1"
    assert isinstance(lost.exception(), AmbiguousRefreshError)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_of_several_candidates_none_is_preferred(first: str) -> None:
    """Where another program has started one as well, the error names both; none is followed, and none cancelled."""
    dune = Dune(length=1000)
    nights(dune, 1)

    def both() -> None:
        if sent(dune, "view") and billed(dune) == 1 and first == "theirs":
            dune._start(VIEW, None)

    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0))
    tell = dune._view

    def view(name: str) -> ViewHistory:
        if sent(dune) and billed(dune) == 2 and first == "ours":
            dune._start(VIEW, None)
        return tell(name)

    dune._view = view  # type: ignore[method-assign]
    error = ambiguous(dune, refresh(dune.session(), check=both, if_lost="resend"))
    assert set(error.candidates) >= {"E2", "E3"}
    assert "E2" in str(error)
    assert sent(dune, "cancel") == 0
    assert {each.end for each in dune.ledger} == {ExecutionState.COMPLETED}
    assert sent(dune) == 1


def test_two_that_are_lost_are_given_to_nobody() -> None:
    """Of two refreshes of one view that both lose their responses, nobody knows whose execution is whose."""
    dune = Dune(length=100, round_trip=0.1)
    session = dune.session()
    lost = Fault(LOST, accepted=True, takes=10.0)
    dune.fail("refresh", lost, lost)
    both = dune.run_together(refresh(session), refresh(session))
    for each in both:
        assert isinstance(failure := each.exception(), AmbiguousRefreshError)
        assert set(failure.candidates) == {"E1", "E2"}
    assert (sent(dune), billed(dune)) == (2, 2)


def test_one_execution_is_not_given_to_one_of_two_that_are_lost() -> None:
    """Where two responses were lost, and one execution is listed, it may be either's."""
    dune = Dune(length=100, round_trip=0.1)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True, takes=10.0), Fault(LOST, takes=10.0))
    both = dune.run_together(refresh(session), refresh(session))
    for each in both:
        assert isinstance(failure := each.exception(), AmbiguousRefreshError)
        assert failure.candidates == ("E1",)
    assert (sent(dune), billed(dune)) == (2, 1)


def test_of_several_candidates_all_are_named() -> None:
    """Where two are listed that may be it, a third may be on its way: the search takes its time, and names all."""
    dune = Dune(length=1000)
    dune.fail("refresh", Fault(LOST, accepted=True, late=30.0))

    def others(told: ViewHistory) -> ViewHistory:
        while sent(dune) and billed(dune) < 3:
            dune._start(VIEW, None)
        return told

    retell(dune, others)
    assert set(ambiguous(dune, refresh(dune.session())).candidates) == {"E1", "E2", "E3"}


def test_candidates_that_have_all_ended_are_in_nobodys_way() -> None:
    """Once all that it may have been is over, a lost refresh is over as well: the next one is sent."""
    dune = Dune(length=100, round_trip=0.1)
    session = dune.session()
    lost = Fault(LOST, accepted=True, takes=10.0)
    dune.fail("refresh", lost, lost)
    dune.run_together(refresh(session), refresh(session))
    ambiguous(dune, refresh(session))
    assert billed(dune) == 2
    dune.now += 100
    assert dune.run(refresh(session)) == "E3"
    assert (sent(dune), billed(dune)) == (3, 3)


# What is absent.


def test_a_refresh_that_was_never_accepted_is_sent_again_after_the_proof() -> None:
    """`if_lost="resend"` ends a 502 without acceptance with one execution, and no sooner than the proof allows."""
    dune = Dune()
    nights(dune, 3)
    began = dune.now
    dune.fail("refresh", Fault(BAD_GATEWAY))
    assert dune.run(refresh(dune.session(), if_lost="resend")) == "E4"
    assert (sent(dune), billed(dune)) == (2, 4)
    assert PROOF <= dune.now - began <= PROOF * 1.1


@pytest.mark.parametrize("late", [61.0, 120.0, 170.0])
def test_what_is_accepted_within_the_proof_is_not_sent_again(late: float) -> None:
    """Acceptance that comes minutes late is waited for."""
    dune = Dune()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True, late=late))
    assert dune.run(refresh(dune.session(), if_lost="resend")) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_what_is_accepted_after_the_proof_is_billed_twice() -> None:
    """A remaining risk, in docs/reliability.md: an acceptance after the proof of absence is not noticed."""
    dune = Dune()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True, late=400.0))
    dune.run(refresh(dune.session(), if_lost="resend"))
    assert (sent(dune), billed(dune)) == (2, 2)


def test_a_foreign_start_between_history_and_request_is_taken_for_ours() -> None:
    """A remaining risk: an execution started by another program at that moment is followed, but never cancelled."""
    dune = Dune(length=100)
    dune.fail("refresh", Fault(BAD_GATEWAY))
    foreign: list[str] = []

    def meanwhile() -> None:
        if sent(dune, "view") and not foreign:
            foreign.append(dune._start(VIEW, None))

    assert dune.run(refresh(dune.session(), check=meanwhile)) == foreign[0]


def test_dunes_clock_shortens_the_proof_but_not_to_nothing() -> None:
    """A `Date` far past the end of the permit is proof, once half a minute was watched."""
    dune = Dune()

    def later(told: ViewHistory) -> ViewHistory:
        return told._replace(date=told.date and told.date + timedelta(hours=1 if sent(dune) else 0))

    retell(dune, later)
    began = dune.now
    dune.fail("refresh", Fault(BAD_GATEWAY))
    dune.run(refresh(dune.session(), if_lost="resend"))
    assert 30.0 <= dune.now - began <= 35.0


def test_a_view_that_is_not_there_at_all_lets_the_request_decide() -> None:
    """A 404 throughout proves absence: the refresh is resent, and Dune names the problem."""
    dune = Dune()
    dune.fail("view", *[Fault(NOT_FOUND)] * 1000)
    dune.fail("refresh", Fault(BAD_GATEWAY), Fault(NOT_FOUND))
    with pytest.raises(NotFoundError):
        dune.run(refresh(dune.session(), if_lost="resend"))
    assert (sent(dune), billed(dune)) == (2, 0)


@pytest.mark.parametrize("status", [521, 523, 525, 526])
def test_what_the_edge_says_never_reached_the_origin_is_sent_again(status: int) -> None:
    """Cloudflare's own statement that it could not connect to the origin is as good as a refused connection."""
    headers = {"cf-ray": "8f0-FRA", "server": "cloudflare"}
    dune = Dune()
    dune.fail("refresh", Fault(refusal(status, headers, b"", None, ApiKey("key"))))
    assert dune.run(refresh(dune.session())) == "E1"
    assert (sent(dune), billed(dune)) == (2, 1)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (521, {}),
        (523, {"cf-ray": "8f0-FRA"}),
        (525, {"server": "cloudflare"}),
        (526, {"cf-ray": "8f0-FRA", "server": "nginx"}),
        (520, {"cf-ray": "8f0-FRA", "server": "cloudflare"}),
        (522, {"cf-ray": "8f0-FRA", "server": "cloudflare"}),
        (524, {"cf-ray": "8f0-FRA", "server": "cloudflare"}),
    ],
)
def test_without_the_edges_own_headers_a_status_of_its_leaves_it_open(status: int, headers: dict[str, str]) -> None:
    """A status that anyone may send, or that is about a later stage than connecting, proves nothing."""
    dune = Dune()
    dune.fail("refresh", Fault(refusal(status, headers, b"", None, ApiKey("key"))))
    ambiguous(dune, refresh(dune.session()))
    assert (sent(dune), billed(dune)) == (1, 0)


@pytest.mark.parametrize("status", [303, 408])
def test_statuses_that_leave_it_open_begin_a_recovery(status: int) -> None:
    """303 says that the work is done, and a gateway's 408 does not say that it is not: neither is sent again."""
    for accepted in (True, False):
        dune = Dune()
        dune.fail("refresh", Fault(APIError("", status_code=status), accepted=accepted))
        (outcome,) = dune.run_together(refresh(dune.session()))
        assert (sent(dune), billed(dune)) == (1, accepted)
        assert isinstance(outcome.exception(), AmbiguousRefreshError) is not accepted


# The intent stays open in the client.


@pytest.mark.parametrize("if_running", ["start", "adopt"])
@pytest.mark.parametrize("view", [VIEW, BARE, 'dune."my_team".result_x'])
def test_the_next_refresh_joins_one_that_is_lost(if_running: str, view: str) -> None:
    """The advice of the error is good before the execution is listed, too: the next call finds it, by any spelling."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True))
    ambiguous(dune, refresh(session))
    assert dune.run(refresh(session, view, if_running=if_running)) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_a_lost_refresh_of_before_what_the_view_reads_was_fresh_is_found_and_not_joined() -> None:
    """Within a run, an execution that began too early no longer counts once it is known, and another is sent."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True))
    ambiguous(dune, refresh(session))
    assert dune.run(refresh(session, not_before=dune._wall(dune.now))) == "E2"
    assert (sent(dune), billed(dune)) == (2, 2)


def test_whoever_refuses_is_told_of_a_lost_execution_that_is_found() -> None:
    """`refuse` joins a lost refresh as well, and is refused with its execution."""
    dune = Dune(length=1000, listed_after=100.0)
    session = dune.session()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True))
    ambiguous(dune, refresh(session))
    with pytest.raises(AlreadyRunningError, match="E1"):
        dune.run(refresh(session, if_running="refuse"))
    assert (sent(dune), billed(dune)) == (1, 1)


def test_a_lost_refresh_that_stays_in_doubt_blocks_the_next() -> None:
    """As long as nothing is proven, nothing is sent, however often somebody asks."""
    dune = Dune(listed_after=150.0)
    session = dune.session()
    dune.fail("refresh", Fault(GATEWAY_TIMEOUT, accepted=True))
    ambiguous(dune, refresh(session))
    ambiguous(dune, refresh(session))
    assert dune.run(refresh(session)) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_once_a_lost_refresh_is_proven_absent_the_next_is_sent() -> None:
    """A later call needs no `if_lost`: it is a wish of its own, and the lost one is out of its way."""
    dune = Dune()
    session = dune.session()
    dune.fail("refresh", Fault(BAD_GATEWAY))
    ambiguous(dune, refresh(session))
    dune.now += 3600
    assert dune.run(refresh(session)) == "E1"
    assert (sent(dune), billed(dune)) == (2, 1)


def test_another_client_starts_its_own() -> None:
    """A refresh lost by one client does not concern another, which sends its own."""
    dune = Dune(length=100)
    dune.fail("refresh", Fault(BAD_GATEWAY))
    ambiguous(dune, refresh(dune.session()))
    assert dune.run(refresh(dune.session())) == "E1"


def test_an_interrupted_refresh_is_joined_by_the_next() -> None:
    """An execution that an interrupted call may have started is found by the next one, and not resent."""
    dune = Dune(length=100)
    session = dune.session()
    dune.fail("refresh", Fault(KeyboardInterrupt(), accepted=True))
    with pytest.raises(KeyboardInterrupt):
        run(refresh(session), dune.send_async, sleep=dune.rest)
    assert dune.run(refresh(session)) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_an_interrupted_search_is_taken_up_by_the_next() -> None:
    """Ctrl-C during the search leaves the refresh lost, with a note, and the next call goes on searching."""
    dune = Dune(length=100, listed_after=30.0)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True))
    flow = refresh(session)
    effect = next(flow)
    while not isinstance(effect, Sleep):
        try:
            effect = flow.send(dune.send(effect))  # type: ignore[arg-type]
        except DuneError as failure:
            effect = flow.throw(failure)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(KeyboardInterrupt())
    assert "may have started" in caught.value.__notes__[0]
    assert dune.run(refresh(session)) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


def test_a_forked_child_takes_what_was_in_flight_as_lost() -> None:
    """A forked child first searches for the parent's request in flight before it refreshes the same view."""
    dune = Dune(length=100)
    session = dune.session()
    flow = refresh(session)
    call = flow.send(dune.send(next(flow)))  # type: ignore[arg-type]
    assert isinstance(call, Call)
    assert call.before is not None
    call.before()
    call.request(10.0)  # it has arrived, and its response is outstanding
    session.start_over()
    assert dune.run(refresh(session)) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)
    flow.close()


@pytest.mark.parametrize("ulids", [True, False])
def test_an_execution_that_is_found_is_followed_to_its_end(ulids: bool) -> None:
    """An execution missing from the earlier list is new: a 404 for its status at first does not end the wait."""
    dune = Dune(length=100, known_after=20.0, ulids=ulids)
    session = dune.session()
    dune.fail("refresh", Fault(LOST, accepted=True))
    execution_id = dune.run(refresh(session))
    assert dune.run(follow(session, execution_id, how="inferred")).succeeded


@pytest.mark.parametrize("failure", [BAD_GATEWAY, LOST])
def test_what_is_lost_again_and_again_is_given_up(failure: DuneError) -> None:
    """After three proofs in a row the failure is raised as it is: certainly nothing was accepted."""
    dune = Dune()
    began = dune.now
    dune.fail("refresh", *[Fault(failure)] * 100)
    with pytest.raises(type(failure)) as caught:
        dune.run(refresh(dune.session(), if_lost="resend"))
    assert caught.value is failure
    assert (sent(dune), billed(dune)) == (3, 0)
    assert dune.now - began <= 3 * PROOF * 1.1


def test_a_history_that_hangs_keeps_the_deadline_of_the_call() -> None:
    """No read of the view, before the request or in a search, takes more time than the call has."""
    dune = Dune()
    began = dune.now
    dune.fail("view", *[Fault(LOST, takes=10.0)] * 100)
    with pytest.raises(RequestFailedError):
        dune.run(refresh(dune.session(), deadline=began + 4.0))
    assert (dune.now - began, billed(dune)) == (4.0, 0)
    dune = Dune()
    dune.fail("view", None, *[Fault(LOST, takes=10.0)] * 100)
    dune.fail("refresh", Fault(LOST, accepted=True, takes=3.0))
    ambiguous(dune, refresh(dune.session(), deadline=began + 14.0))
    assert dune.now - began <= 14.0


def test_ten_more_timeouts_after_a_proof() -> None:
    """After a proven absence the refresh starts over: a failure that excludes acceptance is resent."""
    dune = Dune()
    dune.fail("refresh", Fault(BAD_GATEWAY), Fault(ServerError("", status_code=521, reached_dune=False)))
    assert dune.run(refresh(dune.session(), if_lost="resend")) == "E1"
    assert (sent(dune), billed(dune)) == (3, 1)
