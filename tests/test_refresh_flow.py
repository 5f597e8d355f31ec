"""Starting, finding and watching an execution, as flows in virtual time."""

from __future__ import annotations

import logging

import pytest

from dune_matviews import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConflictError,
    CreditLimitError,
    DuneError,
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RefreshCanceledError,
    RefreshError,
    RefreshExpiredError,
    RefreshFailedError,
    RequestBudget,
    RequestFailedError,
    ServerError,
    UnexpectedResponseError,
    UnsupportedTierError,
    WaitTimeoutError,
)
from dune_matviews._flow.drivers import run
from dune_matviews._flow.effects import Flow, Sleep
from dune_matviews._lookup import look
from dune_matviews._refresh import _concluded, cancel, start, watch
from tests.simulation import Dune, Fault

VIEW = "dune.my_team.result_x"
REFUSED_CONNECTION = RequestFailedError("connection refused", sent=False)
LOST = RequestFailedError("no answer within 10 s", sent=True)
BAD_GATEWAY = ServerError("Bad Gateway", status_code=502)
UNREADABLE = UnexpectedResponseError("the body is no JSON", status_code=200)


def limited(seconds: float | None) -> RateLimitError:
    """A 429 that asks for so long a pause."""
    return RateLimitError("Too Many Requests", status_code=429, retry_after=seconds)


def billed(dune: Dune) -> int:
    """How many refreshes were accepted."""
    return len(dune.ledger)


def sent(dune: Dune, what: str = "refresh") -> int:
    """How many such requests arrived."""
    return sum(request.what.startswith(what) for request in dune.seen)


# Starting


def test_a_refresh_is_one_request() -> None:
    """Where nothing goes wrong, starting a refresh costs one request and one execution."""
    dune = Dune()
    assert dune.run(start(dune.session(), dune, VIEW, "large", "start")) == "E1"
    assert [request.what for request in dune.seen] == [f"refresh {VIEW}"]
    assert [(each.name, each.performance) for each in dune.ledger] == [(VIEW, "large")]


@pytest.mark.parametrize("failure", [REFUSED_CONNECTION, limited(None), limited(3.0)])
def test_what_was_certainly_not_accepted_is_sent_again(failure: DuneError) -> None:
    """No connection, or a 429, cannot have started anything: the refresh is tried again, and billed once."""
    dune = Dune()
    dune.faults = iter([Fault(failure), Fault(failure)])
    assert dune.run(start(dune.session(), dune, VIEW, None, "start")) == "E1"
    assert (sent(dune), billed(dune)) == (3, 1)


@pytest.mark.parametrize("failure", [LOST, BAD_GATEWAY, UNREADABLE])
def test_a_lost_answer_is_found_again(failure: DuneError) -> None:
    """A refresh that was accepted, and whose answer was lost, is never sent twice: its execution is found."""
    dune = Dune(listed_after=7.0)
    dune.faults = iter([Fault(failure, accepted=True, takes=10.0)])
    assert dune.run(start(dune.session(), dune, VIEW, None, "start")) == "E1"
    assert (sent(dune), billed(dune)) == (1, 1)


@pytest.mark.parametrize("failure", [LOST, BAD_GATEWAY, UNREADABLE])
def test_what_is_not_found_again_is_ambiguous(failure: DuneError) -> None:
    """Where nothing is found within five request timeouts, the error says so, with the failure as its cause."""
    dune = Dune()
    dune.faults = iter([Fault(failure)])
    began = dune.now
    with pytest.raises(AmbiguousRefreshError, match="may have been accepted") as caught:
        dune.run(start(dune.session(), dune, VIEW, None, "start"))
    assert caught.value.__cause__ is failure
    assert caught.value.name == VIEW
    assert (sent(dune), billed(dune)) == (1, 0)
    assert dune.now - began <= 5 * 10.0


@pytest.mark.parametrize("offset", [-7200.0, 0.0, 7200.0])
def test_an_older_execution_is_not_taken_for_the_lost_one(offset: float) -> None:
    """Executions from before the request are never adopted, whatever the clocks of the two sides say."""
    dune = Dune(clock_offset=offset)
    dune.run(start(dune.session(), dune, VIEW, None, "start"))  # another client's
    dune.now += 5
    dune.faults = iter([Fault(LOST, takes=10.0)])
    with pytest.raises(AmbiguousRefreshError):
        dune.run(start(dune.session(), dune, VIEW, None, "start"))


def test_an_execution_of_this_client_is_not_taken_for_the_lost_one() -> None:
    """Of two refreshes of one view, the lost one is not confused with the one that this client follows."""
    dune = Dune()
    session = dune.session()
    dune.run(start(session, dune, VIEW, None, "start"))
    dune.faults = iter([Fault(LOST)])
    with pytest.raises(AmbiguousRefreshError):
        dune.run(start(session, dune, VIEW, None, "start"))


def test_two_lost_answers_find_two_executions() -> None:
    """Two refreshes of one view that both lose their answers are never given the same execution."""
    dune = Dune()
    session = dune.session()
    lost = Fault(LOST, accepted=True, takes=10.0)
    dune.faults = iter([lost, lost])
    both = [start(session, dune, VIEW, None, "start") for _ in range(2)]
    assert {future.result() for future in dune.run_together(*both)} == {"E1", "E2"}
    assert (sent(dune), billed(dune)) == (2, 2)


def test_an_answer_that_is_outstanding_is_not_mistaken_for_a_lost_one() -> None:
    """While another refresh of the view awaits its answer, its execution is not given to the one that lost its own."""
    dune = Dune(round_trip=4.0)
    session = dune.session()
    dune.faults = iter([None, Fault(LOST, takes=1.0)])
    ours, lost = dune.run_together(*(start(session, dune, VIEW, None, "start") for _ in range(2)))
    assert ours.result() == "E1"
    assert isinstance(lost.exception(), AmbiguousRefreshError)


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
    """What will not pass is raised as it is, after one request."""
    dune = Dune()
    dune.faults = iter([Fault(refusal)])
    with pytest.raises(type(refusal)) as caught:
        dune.run(start(dune.session(), dune, VIEW, None, "start"))
    assert caught.value is refusal
    assert len(dune.seen) == 1


def test_a_400_to_the_small_tier_names_the_disagreement() -> None:
    """Where `small` was asked for, a 400 is an `UnsupportedTierError` that says why."""
    dune = Dune()
    refusal = BadRequestError("invalid performance", status_code=400, body="{}", request_id="r1")
    dune.faults = iter([Fault(refusal)])
    with pytest.raises(UnsupportedTierError, match=r"'small'.*'medium' and 'large'") as caught:
        dune.run(start(dune.session(), dune, VIEW, "small", "start"))
    assert (caught.value.message, caught.value.request_id) == ("invalid performance", "r1")


@pytest.mark.parametrize(("name", "hinted"), [("my_matview", True), (VIEW, False)])
def test_a_404_to_a_bare_name_shows_what_a_full_name_looks_like(name: str, hinted: bool) -> None:
    """A bare name is sent as it is; should Dune not know it, the error says what is probably missing."""
    dune = Dune()
    dune.faults = iter([Fault(NotFoundError("Object not found", status_code=404))])
    with pytest.raises(NotFoundError) as caught:
        dune.run(start(dune.session(), dune, name, None, "start"))
    assert ("dune.my_team.my_matview" in str(caught.value)) is hinted


def test_trying_ends_after_ten_request_timeouts() -> None:
    """A refresh that never gets through is given up in time, and the last failure is raised."""
    dune = Dune()
    dune.faults = iter(lambda: Fault(REFUSED_CONNECTION, takes=1.0), None)
    began = dune.now
    with pytest.raises(RequestFailedError):
        dune.run(start(dune.session(), dune, VIEW, None, "start"))
    assert 50.0 < dune.now - began <= 100.0


def test_a_retry_after_beyond_the_time_gives_up_at_once() -> None:
    """Nobody hangs for a day, and nobody asks earlier than the server said."""
    dune = Dune()
    dune.faults = iter([Fault(limited(86_400.0))])
    session = dune.session()
    began = dune.now
    for _ in range(2):
        with pytest.raises(RateLimitError):
            dune.run(start(session, dune, VIEW, None, "start"))
    assert (len(dune.seen), dune.now) == (1, began)


def test_one_429_holds_up_everybody() -> None:
    """After a 429, no refresh of the client leaves before the server listens again."""
    dune = Dune()
    session = dune.session()
    dune.faults = iter([Fault(limited(20.0))])
    flows = [start(session, dune, f"{VIEW}_{number}", None, "start") for number in range(3)]
    began = dune.now
    for future in dune.run_together(*flows):
        assert future.exception() is None
    refused, *others = [request.at - began for request in dune.seen]
    assert refused == 0.0
    assert others[:2] == [0.0, 0.0] or min(others) >= 20.0
    assert billed(dune) == 3


def test_the_budget_holds_back_what_is_too_much() -> None:
    """On the Free plan the sixteenth refresh waits for the minute to pass, however long that is."""
    dune = Dune()
    session = dune.session(RequestBudget(low=15, high=40), timeout=1.0)
    began = dune.now
    for future in dune.run_together(*(start(session, dune, f"v.{n}", None, "start") for n in range(46))):
        future.result()
    arrivals = [request.at - began for request in dune.seen]
    assert arrivals[:15] == [0.0] * 15
    assert all(later - earlier > 60.0 for earlier, later in zip(arrivals, arrivals[15:], strict=False))


def test_pauses_are_logged_with_their_length(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever shows what goes on can tell a wait for the budget, and one before another try, from a hang."""
    caplog.set_level(logging.DEBUG, "dune_matviews")
    dune = Dune()
    dune.faults = iter([Fault(REFUSED_CONNECTION)])
    session = dune.session(RequestBudget(low=2, high=40))
    began = dune.now
    dune.run(start(session, dune, VIEW, None, "start"))
    dune.run(start(session, dune, VIEW, None, "start"))
    pauses = {each.getMessage(): vars(each)["seconds"] for each in caplog.records if "seconds" in vars(each)}
    assert list(pauses) == [
        f"Trying again in 0.8 s, giving up in 100 s: {REFUSED_CONNECTION}",
        "Waiting 60.2 s for the request budget",
    ]
    assert sum(pauses.values()) == pytest.approx(dune.now - began)


@pytest.mark.parametrize(("if_running", "expected"), [("adopt", "E1"), ("start", "E2")])
def test_an_execution_under_way_is_adopted_where_asked(if_running: str, expected: str) -> None:
    """`adopt` follows what runs, at no cost; `start` starts another without looking."""
    dune = Dune(length=100)
    dune.run(start(dune.session(), dune, VIEW, None, "start"))
    assert dune.run(start(dune.session(), dune, VIEW, None, if_running)) == expected  # type: ignore[arg-type]
    assert sent(dune, "view") == (if_running == "adopt")


def test_an_execution_under_way_is_refused_where_asked() -> None:
    """`refuse` raises with the id of what runs, and starts nothing."""
    dune = Dune(length=100)
    dune.run(start(dune.session(), dune, VIEW, None, "start"))
    with pytest.raises(AlreadyRunningError, match="E1") as caught:
        dune.run(start(dune.session(), dune, VIEW, None, "refuse"))
    assert (caught.value.execution_id, caught.value.name, billed(dune)) == ("E1", VIEW, 1)


@pytest.mark.parametrize("end", [ExecutionState.COMPLETED, ExecutionState.FAILED])
def test_where_nothing_is_under_way_a_refresh_is_started(end: ExecutionState) -> None:
    """Executions that are over are not in the way of a new one."""
    dune = Dune(end=end)
    for _ in range(3):
        dune.run(start(dune.session(), dune, VIEW, None, "refuse"))
        dune.now += 100
    assert billed(dune) == 3


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_sends_nothing_more_and_leaves_a_note(interruption: type[BaseException]) -> None:
    """Ctrl-C passes on unchanged, with a note of what may have started and how to find it."""
    dune = Dune()
    dune.faults = iter([Fault(interruption(), accepted=True)])
    with pytest.raises(interruption) as caught:
        run(start(dune.session(), dune, VIEW, None, "start"), dune.send, sleep=dune.rest)
    assert len(dune.seen) == 1
    assert caught.value.__notes__ == [
        f"A refresh of {VIEW} may have started; "
        f"refresh({VIEW!r}, if_running='adopt') follows an execution that is under way."
    ]


def test_an_interruption_before_anything_was_sent_leaves_no_note() -> None:
    """Who interrupts the wait for the budget has started nothing, and is not told otherwise."""
    dune = Dune()
    session = dune.session(RequestBudget(low=1, high=1))
    dune.run(start(session, dune, VIEW, None, "start"))
    flow = start(session, dune, VIEW, None, "start")
    next(flow)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(KeyboardInterrupt())
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("status", [303, 408])
def test_statuses_that_leave_it_open_are_looked_for(status: int) -> None:
    """303 says that the work is done, and a gateway's 408 does not say that it is not: neither is sent again."""
    for accepted in (True, False):
        dune = Dune()
        dune.faults = iter([Fault(APIError("", status_code=status), accepted=accepted)])
        (outcome,) = dune.run_together(start(dune.session(), dune, VIEW, None, "start"))
        assert (sent(dune), billed(dune)) == (1, accepted)
        assert isinstance(outcome.exception(), AmbiguousRefreshError) is not accepted


def test_of_several_executions_one_that_runs_is_found() -> None:
    """Executions of one view may overlap: a newer one that is over does not hide an older one that runs."""
    dune = Dune(length=1000)
    dune.run(start(dune.session(), dune, VIEW, None, "start"))
    dune.length = 5
    dune.run(start(dune.session(), dune, VIEW, None, "start"))
    dune.now += 10
    assert dune.run(start(dune.session(), dune, VIEW, None, "adopt")) == "E1"


def test_an_execution_that_dune_keeps_no_longer_is_over() -> None:
    """A listed execution that is not found any more does not keep anyone from adopting, refusing or finding again."""
    dune = Dune(end=ExecutionState.FAILED)
    for _ in range(2):
        dune.run(start(dune.session(), dune, VIEW, None, "start"))
        dune.now += 100
    gone = NotFoundError("Object not found", status_code=404)
    dune.faults = iter([None, Fault(gone)])
    assert dune.run(start(dune.session(), dune, VIEW, None, "refuse")) == "E3"
    dune.faults = iter([Fault(LOST, accepted=True), None, Fault(gone)])
    assert dune.run(start(dune.session(), dune, VIEW, None, "start")) == "E4"


def test_a_bare_name_is_the_same_view() -> None:
    """While one spelling of a view awaits its answer, its execution is not given to a lost refresh of the other."""
    dune = Dune(round_trip=4.0)
    session = dune.session()
    dune.faults = iter([None, Fault(LOST, takes=1.0)])
    bare = VIEW.rpartition(".")[2]
    ours, lost = dune.run_together(*(start(session, dune, name, None, "start") for name in (VIEW, bare)))
    assert ours.result() == "E1"
    assert isinstance(lost.exception(), AmbiguousRefreshError)


def test_adopting_takes_nothing_from_a_lost_refresh() -> None:
    """While a lost refresh is looked for, another call may adopt its execution: both then follow it."""
    dune = Dune(length=100.0, listed_after=3.0)
    session = dune.session()
    dune.faults = iter([Fault(LOST, accepted=True)])

    def adopt_later() -> Flow[str]:
        yield Sleep(3.1)
        return (yield from start(session, dune, VIEW, None, "adopt"))

    lost, adopted = dune.run_together(start(session, dune, VIEW, None, "start"), adopt_later())
    assert (lost.result(), adopted.result(), billed(dune)) == ("E1", "E1", 1)


def test_the_look_for_what_runs_has_the_hint_for_bare_names_too() -> None:
    """A 404 says what a full name looks like, also where it comes from the look before the refresh."""
    dune = Dune()
    dune.faults = iter([Fault(NotFoundError("Object not found", status_code=404))])
    with pytest.raises(NotFoundError, match=r"dune\.my_team\.my_matview"):
        dune.run(start(dune.session(), dune, "my_matview", None, "adopt"))


def test_an_interrupted_refresh_leaves_its_execution_to_nobody() -> None:
    """What an interrupted call may have started is not taken for another call's lost refresh."""
    dune = Dune()
    session = dune.session()
    interrupted = start(session, dune, VIEW, None, "start")
    call = next(interrupted)
    dune.send(call)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        interrupted.throw(KeyboardInterrupt())
    dune.faults = iter([Fault(LOST)])
    with pytest.raises(AmbiguousRefreshError):
        dune.run(start(session, dune, VIEW, None, "start"))


def test_a_slow_answer_to_the_look_up_adopts_nothing_older() -> None:
    """However late the look-up's answer comes, an execution from before the request is not taken for it."""
    dune = Dune(round_trip=5.0)
    dune.run(start(dune.session(), dune, VIEW, None, "start"))  # another client's
    dune.now = dune.ledger[0].submitted + 4
    dune.faults = iter([Fault(LOST)])
    with pytest.raises(AmbiguousRefreshError):
        dune.run(start(dune.session(), dune, VIEW, None, "start"))


class Interrupting(logging.Handler):
    """Ctrl-C at the moment at which something is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        raise KeyboardInterrupt


def test_an_interruption_after_the_answer_leaves_a_note(caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C between the answer and the return of the handle is noted as well."""
    caplog.set_level(logging.INFO)
    dune = Dune()
    logger, handler = logging.getLogger("dune_matviews"), Interrupting()
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(start(dune.session(), dune, VIEW, None, "start"), dune.send, sleep=dune.rest)
    finally:
        logger.removeHandler(handler)
    assert "may have started" in caught.value.__notes__[0]
    assert billed(dune) == 1


def test_whoever_is_first_in_line_stays_first_after_a_429() -> None:
    """A 429 holds everybody up by as long as it asks, and by no more."""
    dune = Dune()
    session = dune.session(RequestBudget(low=15, high=40))
    began = dune.now
    dune.faults = iter([*[None] * 15, Fault(limited(20.0))])
    for future in dune.run_together(*(start(session, dune, f"v.n{n}", None, "start") for n in range(46))):
        future.result()
    order = [int(request.what.rpartition("n")[2]) for request in dune.seen]
    assert order[:15] == list(range(15))
    assert sorted(order[16:45]) == order[16:45]
    assert dune.now - began < 61 * 3 + 20 + 5


# Watching


def started(dune: Dune) -> str:
    """An execution of another client, begun now."""
    return dune.run(start(dune.session(), dune, VIEW, None, "start"))


@pytest.mark.parametrize("length", [0.1, 1.0, 3.3, 10.0, 59.0, 600.0, 3600.0])
@pytest.mark.parametrize("round_trip", [0.0, 0.3])
def test_the_end_is_noticed_in_time(length: float, round_trip: float) -> None:
    """An end is noticed within 1 s or 10 % of the length, plus a round trip, and ten minutes take at most 60 polls."""
    dune = Dune(length=length, round_trip=round_trip)
    execution_id, began = started(dune), dune.now
    ended = dune.ledger[0].ends
    status = dune.run(watch(dune.session(), dune, execution_id, since=began))
    assert status.state is ExecutionState.COMPLETED
    assert dune.now - ended <= max(1.0, 0.1 * length) + round_trip + 1e-6
    assert sum(request.at - began <= 600 for request in dune.seen if request.what.startswith("status")) <= 60


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (ExecutionState.FAILED, RefreshFailedError),
        (ExecutionState.CANCELED, RefreshCanceledError),
        (ExecutionState.EXPIRED, RefreshExpiredError),
        (ExecutionState.UNKNOWN, RefreshError),
    ],
)
def test_every_end_but_success_is_an_error_of_its_own(end: ExecutionState, error: type[RefreshError]) -> None:
    """No end is ever taken for a success by omission, an unknown one included."""
    dune = Dune(end=end)
    with pytest.raises(error, match="E1") as caught:
        dune.run(watch(dune.session(), dune, started(dune), since=dune.now))
    assert type(caught.value) is error
    assert caught.value.execution_id == "E1"
    assert caught.value.status is not None
    assert caught.value.status.state is end


def test_a_long_reason_is_cut_and_printable() -> None:
    """Whatever an execution's error pours out, the message stays readable; the whole text is in the status."""
    text = "no such column \x1b[31m" * 10_000
    failed = ExecutionStatus(
        execution_id="E", state=ExecutionState.FAILED, is_finished=True, error=ErrorDetail(message=text)
    )
    with pytest.raises(RefreshFailedError) as caught:
        _concluded(failed, None)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert caught.value.status is not None
    assert caught.value.status.error is not None
    assert caught.value.status.error.message == text


@pytest.mark.parametrize("end", [ExecutionState.COMPLETED, ExecutionState.COMPLETED_PARTIAL])
def test_both_successes_are_returned(end: ExecutionState) -> None:
    """A result that was stored in part does not make the table any less whole."""
    dune = Dune(end=end)
    assert dune.run(watch(dune.session(), dune, started(dune), since=dune.now)).succeeded


def test_updates_are_every_status_seen() -> None:
    """`on_update` gets each status, the final one included."""
    dune = Dune(length=3.0)
    seen: list[ExecutionStatus] = []
    final = dune.run(watch(dune.session(), dune, started(dune), since=dune.now, on_update=seen.append))
    assert seen[-1] is final
    assert len(seen) == sent(dune, "status")
    assert {status.state for status in seen} == {ExecutionState.EXECUTING, ExecutionState.COMPLETED}


@pytest.mark.parametrize("timeout", [0.05, 1.0, 12.5, 3600.0])
def test_waiting_ends_when_its_time_is_over(timeout: float) -> None:
    """The time to wait is kept, to the moment; the execution goes on, and the error has its last status."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    with pytest.raises(TimeoutError, match="the refresh goes on") as caught:
        dune.run(watch(dune.session(), dune, execution_id, since=began, timeout=timeout))
    assert dune.now - began == pytest.approx(timeout, abs=0.002)
    assert isinstance(caught.value, WaitTimeoutError)
    assert caught.value.status is not None
    assert caught.value.status.state is ExecutionState.EXECUTING
    assert dune.ledger[0].end is ExecutionState.COMPLETED


@pytest.mark.parametrize("length", [3300.0, 3598.5])
def test_there_is_a_last_look_before_the_time_is_over(length: float) -> None:
    """An execution that ends within the time, even near its end, is not reported as late."""
    dune = Dune(length=length)
    assert dune.run(watch(dune.session(), dune, started(dune), since=dune.now, timeout=3600.0)).succeeded


@pytest.mark.parametrize("failure", [LOST, REFUSED_CONNECTION, BAD_GATEWAY, UNREADABLE, limited(None), limited(30.0)])
def test_waiting_outlasts_failures_that_pass(failure: DuneError) -> None:
    """Ten failed looks in a row do not end the wait."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    dune.faults = iter([None, *[Fault(failure, takes=2.0)] * 10])
    assert dune.run(watch(dune.session(), dune, execution_id, since=dune.now)).succeeded


@pytest.mark.parametrize("refusal", [AuthenticationError, PermissionDeniedError, NotFoundError])
def test_waiting_ends_at_once_on_a_refusal(refusal: type[AuthenticationError]) -> None:
    """Who is not allowed to look is told so, with the execution's id."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    dune.faults = iter([None, Fault(refusal("no", status_code=400))])
    with pytest.raises(refusal) as caught:
        dune.run(watch(dune.session(), dune, execution_id, since=dune.now))
    assert caught.value.execution_id == execution_id
    assert sent(dune, "status") == 2


def test_waiting_without_a_timeout_ends_after_fifteen_silent_minutes() -> None:
    """Where Dune stops answering, nobody waits for ever; the last failure is the cause."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    dune.faults = iter(lambda: Fault(LOST, takes=10.0), None)
    with pytest.raises(WaitTimeoutError) as caught:
        dune.run(watch(dune.session(), dune, execution_id, since=began))
    assert caught.value.__cause__ is LOST
    assert 14 * 60 <= dune.now - began <= 15 * 60 + 10


def test_a_longer_retry_after_ends_a_wait_without_a_timeout() -> None:
    """A server that asks for a day of silence ends the wait at once."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    dune.faults = iter([Fault(limited(86_400.0))])
    with pytest.raises(WaitTimeoutError) as caught:
        dune.run(watch(dune.session(), dune, execution_id, since=began))
    assert isinstance(caught.value.__cause__, RateLimitError)
    assert dune.now == began


def test_a_cost_over_the_cap_cancels() -> None:
    """A running cost over `max_credits` has the execution cancelled, and the error has what it came to."""
    dune = Dune(length=1000.0, credits=100.0)
    execution_id = started(dune)
    with pytest.raises(CreditLimitError, match=r"over max_credits=20 ") as caught:
        dune.run(watch(dune.session(), dune, execution_id, since=dune.now, allowance=lambda: 20))
    assert caught.value.status is not None
    assert caught.value.status.cost_credits == pytest.approx(dune.ledger[0].credits)
    assert 20 < dune.ledger[0].credits < 25
    assert sent(dune, "cancel") == 1


def test_a_cancel_that_comes_too_late_lets_the_real_end_decide() -> None:
    """An execution that completes before the cancel arrives is a success."""
    dune = Dune(length=10.0, credits=100.0, round_trip=9.0)
    execution_id, began = started(dune), dune.now
    dune.now = began
    status = dune.run(watch(dune.session(), dune, execution_id, since=began, allowance=lambda: 1))
    assert status.succeeded


def test_a_cancel_that_did_nothing_is_tried_again() -> None:
    """Where Dune says that there was nothing to cancel, and the execution runs on, the cap still holds."""
    dune = Dune(length=1000.0, credits=100.0)
    execution_id = started(dune)
    refused = iter([False])
    real = dune._cancel
    dune._cancel = lambda execution_id: next(refused, None) is not False and real(execution_id)  # type: ignore[method-assign]
    with pytest.raises(CreditLimitError):
        dune.run(watch(dune.session(), dune, execution_id, since=dune.now, allowance=lambda: 20))
    assert sent(dune, "cancel") == 2
    assert dune.ledger[0].credits < 30


@pytest.mark.parametrize("over", [True, False])
def test_a_refused_cancel_is_an_error_only_if_the_execution_runs_on(over: bool) -> None:
    """Dune may refuse to cancel what has just ended: then the end counts, and else the refusal."""
    dune = Dune(length=100.0, credits=100.0)
    execution_id = started(dune)

    def refuse(execution_id: str) -> bool:
        if over:
            dune.now = dune.ledger[0].ends
        raise ConflictError("already over", status_code=409)

    dune._cancel = refuse  # type: ignore[method-assign]
    flow = watch(dune.session(), dune, execution_id, since=dune.now, allowance=lambda: 20)
    if over:
        assert dune.run(flow).succeeded
    else:
        with pytest.raises(ConflictError) as caught:
            dune.run(flow)
        assert caught.value.execution_id == execution_id


def test_a_wait_tries_until_shortly_before_its_end() -> None:
    """An execution that ended in time is not missed, because the last pause would have crossed the deadline."""
    dune = Dune(length=50.0)
    execution_id, began = started(dune), dune.now
    failing = iter(lambda: Fault(BAD_GATEWAY) if dune.now < began + 47 else None, 0)
    dune.faults = failing
    assert dune.run(watch(dune.session(), dune, execution_id, since=began, timeout=60)).succeeded


def test_a_wait_without_room_for_a_look_lasts_its_time() -> None:
    """Where the budget leaves no look, the wait is over when its time is, not before: no loop around it spins."""
    dune = Dune(length=1000.0)
    execution_id, began = started(dune), dune.now
    session = dune.session(RequestBudget(low=1, high=1))
    dune.run(look(session, dune, execution_id))
    with pytest.raises(WaitTimeoutError, match="budget"):
        dune.run(watch(session, dune, execution_id, since=began, timeout=30))
    assert dune.now - began == pytest.approx(30)


def test_an_end_over_the_cap_is_returned() -> None:
    """What finished before anyone saw it pass the cap is a fresh view, whatever it cost."""
    dune = Dune(length=0.1, credits=100.0)
    execution_id = started(dune)
    dune.now += 1
    status = dune.run(watch(dune.session(), dune, execution_id, since=dune.now, allowance=lambda: 1))
    assert (status.succeeded, status.cost_credits, sent(dune, "cancel")) == (True, 100.0, 0)


def test_an_interrupted_wait_leaves_the_execution_running() -> None:
    """Ctrl-C sends nothing more, and the note says how to go on."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    flow = watch(dune.session(), dune, execution_id, since=dune.now)
    next(flow)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(KeyboardInterrupt())
    assert caught.value.__notes__ == ["The refresh goes on; attach('E1') follows it."]


@pytest.mark.parametrize("waits", [1, 20])
def test_waiting_never_exceeds_the_budget(waits: int) -> None:
    """On the Free plan, one wait or twenty at once never make more than 40 looks a minute, and share them evenly."""
    dune = Dune(length=900.0)
    executions = [started(dune) for _ in range(waits)]
    session = dune.session(RequestBudget(low=15, high=40))
    dune.seen.clear()
    for future in dune.run_together(*(watch(session, dune, each, since=dune.now) for each in executions)):
        assert future.result().succeeded
    looks = [request.at for request in dune.seen]
    assert all(later - earlier > 60.0 for earlier, later in zip(looks, looks[40:], strict=False))
    each_ones = [sent(dune, f"status {execution_id}") for execution_id in executions]
    assert all(sum(request.what == f"status {each}" for request in dune.seen) >= 20 for each in executions), each_ones


# Single looks


def test_a_single_look_survives_what_passes_and_ends_in_time() -> None:
    """`status` and `cancel` are tried again for ten request timeouts, and name the execution when they fail."""
    dune = Dune()
    execution_id, began = started(dune), dune.now
    dune.faults = iter([Fault(BAD_GATEWAY), Fault(LOST)])
    assert dune.run(cancel(dune.session(), dune, execution_id)) is True
    dune.faults = iter(lambda: Fault(BAD_GATEWAY), None)
    with pytest.raises(ServerError) as caught:
        dune.run(look(dune.session(), dune, execution_id))
    assert caught.value.execution_id == execution_id
    assert dune.now - began <= 110.0
