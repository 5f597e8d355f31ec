"""Polling an execution to its end, keeping to its cap, and cancelling it, as flows in virtual time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import attrs
import pytest

from dune_matviews import (
    AuthenticationError,
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
    ServerError,
    WaitTimeoutError,
)
from dune_matviews._api.parsing import number
from dune_matviews._execution.requests import status
from dune_matviews._execution.watching import cancel
from tests.execution.refreshing import (
    BAD_GATEWAY,
    LOST,
    REFUSED_CONNECTION,
    UNREADABLE,
    VIEW,
    follow,
    limited,
    refresh,
    sent,
    started,
)
from tests.simulation import Dune, Fault


def retell(dune: Dune, change: Callable[[ExecutionStatus], ExecutionStatus]) -> None:
    """Change each status that Dune reports."""
    tell = dune._status
    dune._status = lambda execution_id: change(tell(execution_id))  # type: ignore[method-assign]


@pytest.mark.parametrize("length", [0.1, 1.0, 3.3, 10.0, 59.0, 600.0, 3600.0])
@pytest.mark.parametrize("round_trip", [0.0, 0.3])
def test_the_end_is_noticed_in_time(length: float, round_trip: float) -> None:
    """An end is noticed within 1 s or 10 % of the length, plus a round trip, and ten minutes take at most 60 polls."""
    dune = Dune(length=length, round_trip=round_trip)
    execution_id, began = started(dune), dune.now
    ended = dune.ledger[0].ends
    status = dune.run(follow(dune.session(), execution_id))
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
        dune.run(follow(dune.session(), started(dune)))
    assert type(caught.value) is error
    assert caught.value.execution_id == "E1"
    assert caught.value.status is not None
    assert caught.value.status.state is end


def test_a_long_reason_is_cut_and_printable() -> None:
    """However long an execution's error is, the message stays readable; the whole text is in the status."""
    text = "no such column \x1b[31m" * 10_000
    dune = Dune(end=ExecutionState.FAILED)
    retell(dune, lambda told: attrs.evolve(told, error=ErrorDetail(message=text)))
    with pytest.raises(RefreshFailedError) as caught:
        dune.run(follow(dune.session(), started(dune)))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert caught.value.status is not None
    assert caught.value.status.error is not None
    assert caught.value.status.error.message == text


@pytest.mark.parametrize("end", [ExecutionState.COMPLETED, ExecutionState.COMPLETED_PARTIAL])
def test_both_successes_are_returned(end: ExecutionState) -> None:
    """A result that was stored in part does not make the table any less whole."""
    dune = Dune(end=end)
    assert dune.run(follow(dune.session(), started(dune))).succeeded


def test_updates_are_every_status_seen() -> None:
    """`on_update` gets each status, the final one included."""
    dune = Dune(length=3.0)
    seen: list[ExecutionStatus] = []
    final = dune.run(follow(dune.session(), started(dune), on_update=seen.append))
    assert seen[-1] is final
    assert len(seen) == sent(dune, "status")
    assert {status.state for status in seen} == {ExecutionState.EXECUTING, ExecutionState.COMPLETED}


@pytest.mark.parametrize("timeout", [0.05, 1.0, 12.5, 3600.0])
def test_waiting_ends_when_its_time_is_over(timeout: float) -> None:
    """The time to wait is kept, to the moment; the execution goes on, and the error has its last status."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    with pytest.raises(TimeoutError, match="The refresh goes on") as caught:
        dune.run(follow(dune.session(), execution_id, timeout=timeout))
    assert dune.now - began == pytest.approx(timeout, abs=0.002)
    assert isinstance(caught.value, WaitTimeoutError)
    assert caught.value.status is not None
    assert caught.value.status.state is ExecutionState.EXECUTING
    assert dune.ledger[0].end is ExecutionState.COMPLETED


@pytest.mark.parametrize("length", [3300.0, 3598.5])
def test_there_is_a_last_poll_before_the_time_is_over(length: float) -> None:
    """An execution that ends within the time, even near its end, is not reported as late."""
    dune = Dune(length=length)
    assert dune.run(follow(dune.session(), started(dune), timeout=3600.0)).succeeded


@pytest.mark.parametrize("failure", [LOST, REFUSED_CONNECTION, BAD_GATEWAY, UNREADABLE, limited(None), limited(30.0)])
def test_waiting_outlasts_failures_that_pass(failure: DuneError) -> None:
    """Ten failed polls in a row do not end the wait."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    dune.faults = iter([None, *[Fault(failure, takes=2.0)] * 10])
    assert dune.run(follow(dune.session(), execution_id)).succeeded


@pytest.mark.parametrize("refusal", [AuthenticationError, PermissionDeniedError, NotFoundError])
def test_waiting_ends_at_once_on_a_refusal(refusal: type[AuthenticationError]) -> None:
    """A refused poll raises with the execution's id."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    dune.faults = iter([None, Fault(refusal("no", status_code=400))])
    with pytest.raises(refusal) as caught:
        dune.run(follow(dune.session(), execution_id))
    assert caught.value.execution_id == execution_id
    assert sent(dune, "status") == 2


def test_waiting_without_a_timeout_ends_after_fifteen_silent_minutes() -> None:
    """If Dune stops responding, the wait ends; the last failure is the cause."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    dune.faults = iter(lambda: Fault(LOST, takes=10.0), None)
    with pytest.raises(WaitTimeoutError) as caught:
        dune.run(follow(dune.session(), execution_id))
    assert caught.value.__cause__ is LOST
    assert 14 * 60 <= dune.now - began <= 15 * 60 + 10


def test_a_longer_retry_after_ends_a_wait_without_a_timeout() -> None:
    """A server that asks for a day of silence ends the wait at once."""
    dune = Dune(length=1e6)
    execution_id, began = started(dune), dune.now
    dune.faults = iter([Fault(limited(86_400.0))])
    with pytest.raises(WaitTimeoutError) as caught:
        dune.run(follow(dune.session(), execution_id))
    assert isinstance(caught.value.__cause__, RateLimitError)
    assert dune.now == began


def test_a_cost_over_the_cap_cancels() -> None:
    """A running cost over `max_credits` cancels the execution, and the error has its final cost."""
    dune = Dune(length=1000.0, credits=100.0)
    execution_id = started(dune)
    with pytest.raises(CreditLimitError, match=r"over the cap of 20 ") as caught:
        dune.run(follow(dune.session(), execution_id, allowance=lambda: 20))
    assert caught.value.status is not None
    assert caught.value.status.cost_credits == pytest.approx(dune.ledger[0].credits)
    assert 20 < dune.ledger[0].credits < 25
    assert sent(dune, "cancel") == 1


def test_a_cancel_that_comes_too_late_lets_the_real_end_decide() -> None:
    """An execution that completes before the cancel arrives is a success."""
    dune = Dune(length=10.0, credits=100.0, round_trip=9.0)
    execution_id, began = started(dune), dune.now
    dune.now = began
    status = dune.run(follow(dune.session(), execution_id, allowance=lambda: 1))
    assert status.succeeded


def test_a_cancel_that_did_nothing_is_tried_again() -> None:
    """Where Dune says that there was nothing to cancel, and the execution runs on, the cap still holds."""
    dune = Dune(length=1000.0, credits=100.0)
    execution_id = started(dune)
    refused = iter([False])
    real = dune._cancel
    dune._cancel = lambda execution_id: next(refused, None) is not False and real(execution_id)  # type: ignore[method-assign]
    with pytest.raises(CreditLimitError):
        dune.run(follow(dune.session(), execution_id, allowance=lambda: 20))
    assert sent(dune, "cancel") == 2
    assert dune.ledger[0].credits < 30


@pytest.mark.parametrize("over", [True, False])
def test_a_refused_cancel_is_an_error_only_if_the_execution_runs_on(over: bool) -> None:
    """If Dune refuses to cancel because the execution has just ended, the end counts, or else the refusal."""
    dune = Dune(length=100.0, credits=100.0)
    execution_id = started(dune)

    def refuse(execution_id: str) -> bool:
        if over:
            dune.now = dune.ledger[0].ends
        raise ConflictError("already over", status_code=409)

    dune._cancel = refuse  # type: ignore[method-assign]
    flow = follow(dune.session(), execution_id, allowance=lambda: 20)
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
    assert dune.run(follow(dune.session(), execution_id, timeout=60)).succeeded


def test_a_wait_without_room_for_a_poll_lasts_its_time() -> None:
    """Where the budget has no room for a poll, the wait is over when its time is, not before: no loop spins."""
    dune = Dune(length=1000.0)
    execution_id, began = started(dune), dune.now
    session = dune.session(RequestBudget(low=1, high=1))
    dune.run(status(session, execution_id, VIEW))
    with pytest.raises(WaitTimeoutError, match="budget"):
        dune.run(follow(session, execution_id, timeout=30))
    assert dune.now - began == pytest.approx(30)


@pytest.mark.parametrize("cap", [1.0, 500.0, 3000.0])
def test_a_long_execution_passes_its_cap_by_a_moment_only(cap: float) -> None:
    """The next poll is planned by the rate of cost, however seldom an execution of its age is polled else."""
    dune = Dune(length=3600.0, credits=3600.0)
    with pytest.raises(CreditLimitError):
        dune.run(follow(dune.session(), started(dune), allowance=lambda: cap))
    assert cap < dune.ledger[0].credits <= cap + 2.0


def test_a_cap_that_is_far_away_costs_no_polls() -> None:
    """An execution that will stay under its cap is polled no more often than one without."""
    polls = []
    for cap in (math.inf, 1e6):
        dune = Dune(length=3600.0, credits=1.0)
        dune.run(follow(dune.session(), started(dune), allowance=lambda cap=cap: cap))
        polls.append(sent(dune, "status"))
    assert polls[0] == polls[1]


@pytest.mark.parametrize("how", ["inferred", "adopted"])
def test_what_may_not_be_ours_is_not_cancelled_by_a_cap(how: str) -> None:
    """Over the cap, an execution that was found or adopted goes on, and the error names it with its cost."""
    dune = Dune(length=1000.0, credits=100.0)
    with pytest.raises(CreditLimitError, match="may not be ours to cancel") as caught:
        dune.run(follow(dune.session(), started(dune), how=how, allowance=lambda: 20))
    assert (caught.value.execution_id, sent(dune, "cancel")) == ("E1", 0)
    assert caught.value.status is not None
    assert caught.value.status.cost_credits == pytest.approx(20, abs=1)
    assert dune.ledger[0].end is ExecutionState.COMPLETED


def test_an_execution_that_was_attached_to_is_cancelled_by_a_cap() -> None:
    """A cap on an attached execution cancels it: the caller named it."""
    dune = Dune(length=1000.0, credits=100.0)
    with pytest.raises(CreditLimitError):
        dune.run(follow(dune.session(), started(dune), how=None, allowance=lambda: 20))
    assert dune.ledger[0].end is ExecutionState.CANCELED


def test_a_cost_that_is_missing_at_the_end_stays_what_it_was() -> None:
    """A final status without a cost does not make the execution one that was free."""
    dune = Dune(length=100.0, credits=100.0)
    retell(dune, lambda told: attrs.evolve(told, cost_credits=None) if told.is_finished else told)
    final = dune.run(follow(dune.session(), started(dune), allowance=lambda: 1000))
    assert final.cost_credits == pytest.approx(90, abs=10)


@pytest.mark.parametrize(("cap", "warnings"), [(20.0, 1), (math.inf, 0)])
def test_a_cost_that_no_cap_can_count_is_said_once(cap: float, warnings: int, caplog: pytest.LogCaptureFixture) -> None:
    """If Dune never reports a cost, no cap can be kept, and a warning says so during the execution."""
    dune = Dune(length=100.0, credits=100.0)
    retell(dune, lambda told: attrs.evolve(told, cost_credits=None))
    assert dune.run(follow(dune.session(), started(dune), allowance=lambda: cap)).succeeded
    said = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.getMessage() for each in said] == ["Dune does not tell the cost of execution E1: no cap can count it"][
        :warnings
    ]


@pytest.mark.parametrize(("told", "understood"), [("12.5", 12.5), (" 7 ", 7.0), (0, 0.0), ("NaN", None), (1e400, None)])
def test_a_cost_is_a_number_however_it_is_written(told: object, understood: float | None) -> None:
    """A numeric string is a number, and anything but a finite number counts as missing."""
    assert number(told) == understood


def test_an_end_over_the_cap_is_returned() -> None:
    """An execution that finished before a poll saw it pass the cap is a fresh view, at any cost."""
    dune = Dune(length=0.1, credits=100.0)
    execution_id = started(dune)
    dune.now += 1
    status = dune.run(follow(dune.session(), execution_id, allowance=lambda: 1))
    assert (status.succeeded, status.cost_credits, sent(dune, "cancel")) == (True, 100.0, 0)


def test_an_interrupted_wait_leaves_the_execution_running() -> None:
    """Ctrl-C sends nothing more, and the note says how to go on."""
    dune = Dune(length=100.0)
    execution_id = started(dune)
    flow = follow(dune.session(), execution_id)
    next(flow)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.throw(KeyboardInterrupt())
    assert caught.value.__notes__ == ["The refresh goes on. Follow it with attach('E1')."]


@pytest.mark.parametrize("how", ["response", "adopted", None])
def test_what_was_just_started_may_be_unknown_for_a_minute(how: str | None) -> None:
    """A 404 for an execution with an id minutes old means "not yet", whoever started it."""
    dune = Dune(ulids=True, known_after=50.0, length=100.0)
    execution_id = started(dune)
    assert dune.run(follow(dune.session(), execution_id, how=how)).succeeded


def test_what_stays_unknown_for_a_minute_is_unknown() -> None:
    """After a minute a 404 is one, with the execution's id; the execution may go on, and nothing was cancelled."""
    dune = Dune(known_after=1e6)
    execution_id, began = started(dune), dune.now
    with pytest.raises(NotFoundError) as caught:
        dune.run(follow(dune.session(), execution_id))
    assert caught.value.execution_id == execution_id
    assert 60.0 <= dune.now - began <= 65.0
    assert sent(dune, "cancel") == 0


@pytest.mark.parametrize("client_offset", [0.0, 3600.0])
def test_our_own_execution_is_new_whatever_the_clock_says(client_offset: float) -> None:
    """An execution that this client has started, and adopts then, is "not yet" known even if its id polls old."""
    dune = Dune(ulids=True, known_after=5.0, length=100.0, client_offset=client_offset)
    session = dune.session()
    dune.run(refresh(session))
    execution_id = dune.run(refresh(session, if_running="adopt"))
    assert dune.run(follow(session, execution_id, how="adopted")).succeeded
    assert len(dune.ledger) == 1


def test_what_is_unknown_and_old_is_over_long_ago() -> None:
    """A 404 for an execution that was not just started ends the wait at once."""
    dune = Dune(ulids=True, known_after=1e6)
    execution_id = started(dune)
    dune.now += 3600
    with pytest.raises(NotFoundError):
        dune.run(follow(dune.session(), execution_id, how=None))
    assert sent(dune, "status") == 1


@pytest.mark.parametrize("waits", [1, 20])
def test_waiting_never_exceeds_the_budget(waits: int) -> None:
    """On the Free plan, one wait or twenty at once never make more than 40 polls a minute, and share them evenly."""
    dune = Dune(length=900.0)
    executions = [started(dune) for _ in range(waits)]
    session = dune.session(RequestBudget(low=15, high=40))
    dune.seen.clear()
    for future in dune.run_together(*(follow(session, each) for each in executions)):
        assert future.result().succeeded
    polls = [request.at for request in dune.seen]
    assert all(later - earlier > 60.0 for earlier, later in zip(polls, polls[40:], strict=False))
    each_ones = [sent(dune, f"status {execution_id}") for execution_id in executions]
    assert all(sum(request.what == f"status {each}" for request in dune.seen) >= 20 for each in executions), each_ones


def test_a_single_poll_survives_what_passes_and_ends_in_time() -> None:
    """`status` and `cancel` are tried again for ten request timeouts, and name the execution when they fail."""
    dune = Dune()
    execution_id, began = started(dune), dune.now
    dune.faults = iter([Fault(BAD_GATEWAY), Fault(LOST)])
    assert dune.run(cancel(dune.session(), execution_id, VIEW)) is True
    dune.faults = iter(lambda: Fault(BAD_GATEWAY), None)
    with pytest.raises(ServerError) as caught:
        dune.run(status(dune.session(), execution_id, VIEW))
    assert caught.value.execution_id == execution_id
    assert dune.now - began <= 110.0
