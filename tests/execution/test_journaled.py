"""Refreshes with a journal, in virtual time: repeats, crashes between any two steps, several processes on one store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    BadRequestError,
    ExecutionState,
    InvalidArgumentError,
    JournalError,
    Outcome,
    RateLimitError,
    RefreshFailedError,
    RefreshReport,
    RequestFailedError,
)
from dune_matviews._core import Core, Execution
from dune_matviews._execution.records import Records
from dune_matviews._flow.effects import Call, Effect, Flow, Overlap, Result, Sleep, Work
from dune_matviews._tiers import Tiers
from dune_matviews.journal import resolve
from tests.simulation import Dune, Fault
from tests.world import refresh, refresh_all

BASE, DAILY, WEEKLY = (f"dune.my_team.result_{name}" for name in ("base", "daily", "weekly"))
LOST = RequestFailedError("no response within 10 s", sent=True)
HOUR = 3600.0


class Client:
    """A client in a process of its own."""

    def __init__(self, dune: Dune) -> None:
        nothing = cast(Any, None)  # flows are carried out by the simulation
        self.core = Core(nothing, dune.session(), nothing, Tiers(None, "allow"))
        self._dune = dune

    def flow(self, name: str = BASE, **options: object) -> Flow[Execution]:
        """A refresh."""
        return refresh(self.core, name, **options)

    def refresh(self, name: str = BASE, **options: object) -> str:
        """The id of a refresh."""
        return self._dune.run(self.flow(name, **options)).execution_id

    def fresh(self, name: str = BASE, **options: object) -> str:
        """The id of a refresh that was waited for."""
        execution = self._dune.run(self.flow(name, **options))
        self._dune.run(self.core.watch(execution, None, None, None))
        return execution.execution_id

    def refresh_all(self, views: object, **options: object) -> RefreshReport:
        """The report of a run."""
        return self._dune.run(refresh_all(self.core, views, **options))


class Lines(list[str]):
    """The simplest store of a caller's own."""

    def read(self) -> Iterable[str]:
        """All lines."""
        return list(self)

    @property
    def records(self) -> Records:
        """The events of the lines."""
        found = Records()
        for line in self:
            found.take(line)
        return found


class Reached:
    """A store as one process reaches it, for as long as that lives."""

    def __init__(self, store: Lines) -> None:
        self._store = store
        self.is_alive = True

    def read(self) -> Iterable[str]:
        """All lines."""
        assert self.is_alive, "the process is dead"
        return self._store.read()

    def append(self, line: str) -> None:
        """Add a line."""
        assert self.is_alive, "the process is dead"
        self._store.append(line)


def billed(dune: Dune, name: str = BASE) -> int:
    """How many refreshes of a view were accepted."""
    return sum(each.name == name for each in dune.ledger)


def outcomes(report: RefreshReport) -> dict[str, Outcome]:
    """The outcome of each view."""
    return {name: each.outcome for name, each in report.results.items()}


@pytest.fixture(params=["path", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A journal of either kind."""
    return tmp_path / "refresh.jsonl" if request.param == "path" else Lines()


# Repeats


def test_a_repeat_follows_the_same_execution(store: Any) -> None:
    """The same refresh with the same journal, in the same client or another, is billed once without a request."""
    dune = Dune()
    first = Client(dune)
    assert first.refresh(journal=store) == "E1"
    asked = len(dune.seen)
    assert first.refresh(journal=store) == "E1"
    assert Client(dune).refresh(journal=store) == "E1"
    assert Client(dune).refresh('dune."my_team".result_base', journal=store) == "E1"
    assert (billed(dune), len(dune.seen)) == (1, asked)


def test_a_refresh_with_a_journal_is_two_requests() -> None:
    """A free read and the billed request, as without one."""
    dune = Dune()
    Client(dune).refresh(journal=Lines(), performance="large")
    assert [each.what for each in dune.seen] == [f"view {BASE}", f"refresh {BASE}"]


def test_an_object_is_one_refresh_of_each_view_for_good() -> None:
    """Long after its end, a repeat returns the recorded execution, and starts none; another view is another refresh."""
    dune, store = Dune(), Lines()
    assert Client(dune).fresh(journal=store) == "E1"
    dune.rest(1000 * HOUR)
    assert Client(dune).fresh(journal=store) == "E1"
    assert Client(dune).fresh(DAILY, journal=store) == "E2"
    assert Client(dune).fresh(journal=store) == "E1"
    assert (billed(dune), billed(dune, DAILY)) == (1, 1)


def test_a_file_without_a_label_begins_afresh_once_it_is_finished(tmp_path: Path) -> None:
    """A nightly job with one file refreshes each night; the same job repeated within the night does not."""
    dune, path = Dune(length=60), tmp_path / "j"
    assert Client(dune).refresh(journal=path) == "E1"
    assert Client(dune).fresh(journal=path) == "E1"
    assert Client(dune).refresh(journal=path) == "E2"
    assert Client(dune).refresh(journal=path) == "E2"


def test_a_label_is_a_run(tmp_path: Path) -> None:
    """The same label is a repeat, also after its end and after other labels; another label is a new run."""
    dune, path = Dune(), tmp_path / "j"
    for night, execution_id in (("one", "E1"), ("two", "E2"), ("one", "E1"), ("three", "E3"), ("two", "E2")):
        for _ in range(2):
            assert Client(dune).fresh(journal=path, run=night) == execution_id
            dune.rest(HOUR)
    assert billed(dune) == 3


def test_another_run_follows_what_an_earlier_one_has_left_running(tmp_path: Path) -> None:
    """An execution that goes on is not joined by a second one; whose run it was in the end, both have it."""
    dune, path = Dune(length=HOUR), tmp_path / "j"
    assert Client(dune).refresh(journal=path, run="one") == "E1"
    assert Client(dune).fresh(journal=path, run="two") == "E1"
    dune.rest(HOUR)
    assert Client(dune).fresh(journal=path, run="two") == "E1"
    assert Client(dune).fresh(journal=path, run="one") == "E1"
    assert Client(dune).fresh(journal=path, run="three") == "E2"
    assert billed(dune) == 2


def test_another_run_first_finds_out_about_what_an_earlier_one_has_lost(tmp_path: Path) -> None:
    """A lost refresh is found before another is sent; where it is over by then, it does not count for the new run."""
    for length, expected in ((HOUR, ["E1", "E1"]), (1.0, ["E2", "E1"])):
        dune, path = Dune(length=length), tmp_path / f"{length}"
        dune.faults = iter([None, Fault(LOST, accepted=True), *[Fault(LOST)] * 99])
        with pytest.raises(AmbiguousRefreshError):
            Client(dune).refresh(journal=path, run="one")
        dune.faults = iter(())
        dune.rest(2.0)
        assert Client(dune).refresh(journal=path, run="two") == expected[0]
        assert Client(dune).refresh(journal=path, run="two") == expected[0]
        assert Client(dune).refresh(journal=path, run="one") == expected[1]


def test_a_refused_refresh_is_asked_for_again(store: Any) -> None:
    """A refresh that Dune refused was certainly not started, so a repeat sends it at once."""
    dune = Dune()
    dune.faults = iter([None, Fault(BadRequestError("no such tier", status_code=400))])
    with pytest.raises(BadRequestError):
        Client(dune).refresh(journal=store)
    began = dune.now
    assert Client(dune).refresh(journal=store) == "E1"
    assert dune.now - began < 1.0


def test_what_adopts_is_recorded(store: Any) -> None:
    """An adopted execution belongs to the journal from then on, and is not read again."""
    dune = Dune(length=HOUR)
    Client(dune).refresh()
    assert Client(dune).refresh(journal=store, if_running="adopt") == "E1"
    dune.rest(2 * HOUR)
    assert Client(dune).refresh(journal=store, if_running="adopt") == "E1"
    assert billed(dune) == 1


def test_the_journal_comes_before_what_is_under_way(store: Any) -> None:
    """A recorded execution counts, whatever else runs: the choice to refuse or adopt is made once."""
    dune = Dune(length=HOUR)
    assert Client(dune).refresh(journal=store) == "E1"
    Client(dune).refresh()
    for what in ("adopt", "refuse"):
        assert Client(dune).refresh(journal=store, if_running=what) == "E1"
    with pytest.raises(AlreadyRunningError):
        Client(dune).refresh(journal=Lines(), if_running="refuse")


def test_a_label_belongs_to_a_path() -> None:
    """An object is one run for good, so that a label is refused there, as it is without a journal; nothing is sent."""
    dune = Dune()
    wrong: list[Any] = [{"run": "one"}, {"run": "one", "journal": Lines()}, {"run": "", "journal": "j"}, {"run": 5}]
    for options in wrong:
        with pytest.raises(InvalidArgumentError, match="run labels a run in a journal file"):
            Client(dune).refresh(**options)
    for store in (5, [], object()):
        with pytest.raises(InvalidArgumentError, match="journal must be a path, or have read"):
            Client(dune).refresh(journal=store)
    assert dune.seen == []


def test_two_calls_of_one_client_share_the_refresh_of_one_object() -> None:
    """The second call waits for the first, and returns the execution that the first has recorded."""
    dune, store = Dune(length=HOUR, round_trip=0.3), Lines()
    client = Client(dune)
    both = dune.run_together(*(client.flow(journal=store) for _ in range(2)))
    assert [each.result().execution_id for each in both] == ["E1", "E1"]
    assert billed(dune) == 1


def test_a_call_that_is_slow_to_begin_shares_the_refresh_too() -> None:
    """A call that has read the object before another one of the client sent returns that one's execution."""
    dune, store = Dune(length=HOUR), Lines()
    client = Client(dune)
    slow = client.flow(journal=store)
    was_read = carried_out(dune, next(slow))
    assert client.refresh(journal=store) == "E1"
    found = finished(dune, slow, slow.send(was_read.result))
    assert isinstance(found, Execution)
    assert (found.execution_id, billed(dune)) == ("E1", 1)


# Ends


def test_a_failure_is_a_result_too(store: Any) -> None:
    """A recorded failure is returned by every repeat, and is not paid again, until `retry_failed` allows one more."""
    dune = Dune(end=ExecutionState.FAILED)
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    for _ in range(3):
        with pytest.raises(RefreshFailedError) as caught:
            Client(dune).fresh(**options)
        assert caught.value.execution_id == "E1"
    dune.end = ExecutionState.COMPLETED
    for _ in range(3):
        assert Client(dune).fresh(**options, retry_failed=True) == "E2"
    assert Client(dune).fresh(**options) == "E2"
    assert billed(dune) == 2


@pytest.mark.parametrize("end", [ExecutionState.FAILED, ExecutionState.CANCELED, ExecutionState.EXPIRED])
def test_one_failure_is_retried_once(end: ExecutionState) -> None:
    """`retry_failed` needs a recorded end: an execution that goes on, or is in doubt, is not retried."""
    dune, store = Dune(end=end, length=60), Lines()
    for _ in range(2):
        assert Client(dune).refresh(journal=store, retry_failed=True) == "E1"
    dune.rest(60)
    assert Client(dune).refresh(journal=store, retry_failed=True) == "E1"
    client = Client(dune)
    dune.run(client.core.poll(dune.run(client.flow(journal=store))))
    assert Client(dune).refresh(journal=store, retry_failed=True) == "E2"
    assert Client(dune).refresh(journal=store, retry_failed=True) == "E2"


@pytest.mark.parametrize("poll", ["wait", "status", "run"])
def test_whichever_poll_sees_the_end_records_it(store: Any, poll: str) -> None:
    """`wait`, `status` and a run alike write how the execution has ended."""
    dune = Dune()
    client = Client(dune)
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    execution = dune.run(client.flow(**options))
    dune.rest(HOUR)
    if poll == "wait":
        dune.run(client.core.watch(execution, None, None, None))
    elif poll == "status":
        dune.run(client.core.poll(execution))
    else:
        Client(dune).refresh_all([BASE], **options)
    asked = len(dune.seen)
    assert outcomes(Client(dune).refresh_all([BASE], **options)) == {BASE: Outcome.SUCCEEDED}
    assert (len(dune.seen), billed(dune)) == (asked, 1)


def test_an_end_that_cannot_be_recorded_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A paid execution is returned even if it cannot be recorded, and a repeat finds it."""
    dune, store = Dune(), Lines()
    client = Client(dune)
    reached = Reached(store)
    execution = dune.run(client.flow(journal=reached))
    reached.is_alive = False
    assert dune.run(client.core.watch(execution, None, None, None)).succeeded
    assert "The end of execution E1 is not recorded" in caplog.text
    assert Client(dune).fresh(journal=store) == "E1"


# Runs of many views


def test_a_run_goes_on_where_another_has_ended(store: Any) -> None:
    """Recorded views are taken over and the rest refreshed, each once; refreshes and runs share a journal."""
    dune = Dune()
    Client(dune).fresh(journal=store, **({"run": "one"} if isinstance(store, Path) else {}))
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    views = {DAILY: [BASE], WEEKLY: [DAILY]}
    for _ in range(2):
        report = Client(dune).refresh_all(views, **options)
        assert outcomes(report) == dict.fromkeys((DAILY, BASE, WEEKLY), Outcome.SUCCEEDED)
        assert report.cost_credits == 3.0
    assert [each.name for each in dune.ledger] == [BASE, DAILY, WEEKLY]


def test_views_may_be_added_and_settled_ones_removed(store: Any) -> None:
    """A repeat refreshes added views, and may leave out settled ones."""
    dune = Dune()
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    Client(dune).refresh_all([BASE], **options)
    Client(dune).refresh_all([BASE, DAILY], **options)
    Client(dune).refresh_all([DAILY, WEEKLY], **options)
    assert [each.name for each in dune.ledger] == [BASE, DAILY, WEEKLY]


def test_a_view_that_is_not_settled_may_not_be_left_out(store: Any) -> None:
    """A run that would forget an execution under way is refused before anything is sent, by the view's name."""
    dune = Dune(length=HOUR)
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    Client(dune).refresh(**options)
    asked = len(dune.seen)
    with pytest.raises(JournalError, match=f"holds refreshes of {BASE} that are not settled"):
        Client(dune).refresh_all([DAILY], **options)
    assert len(dune.seen) == asked
    Client(dune).refresh_all([DAILY, 'dune."my_team".result_base'], **options)
    assert (billed(dune), billed(dune, DAILY)) == (1, 1)


# Stores that fail


class Failing(Lines):
    """A store that fails from some call on."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("the database has gone away")

    def read(self) -> Iterable[str]:
        """All lines, or an error."""
        self._count()
        return super().read()

    def append(self, line: str) -> None:
        """Add a line, or fail."""
        self._count()
        super().append(line)


def test_where_the_journal_fails_nothing_is_sent() -> None:
    """If any call of the store fails before the request, it does not leave; later failures lose no execution."""
    for calls in range(8):
        dune, store = Dune(), Failing(calls)
        try:
            assert Client(dune).refresh(journal=store) == "E1"
        except JournalError:
            assert billed(dune) == 0
        else:
            assert calls >= 5
        store.calls = 1000
        assert Client(dune).refresh(journal=store) == "E1"
        assert billed(dune) == 1


def test_a_damaged_file_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    """A line that makes no sense ends the call, and no request is made."""
    dune, path = Dune(), tmp_path / "j"
    Client(dune).refresh(journal=path)
    asked = len(dune.seen)
    with path.open("a") as file:
        file.write('{"event": "started", "view": "a", "token": "t", "execution_id": 5, "how": "response"}\n')
    for act in (
        lambda: Client(dune).refresh(DAILY, journal=path),
        lambda: Client(dune).refresh_all([DAILY], journal=path),
    ):
        with pytest.raises(JournalError, match="line 4: no execution_id"):
            act()
    assert len(dune.seen) == asked


# Deaths


def killed(dune: Dune, flow: Flow[Any], store: Reached, step: int, *, done: bool) -> bool:
    """Carry out a flow, and kill its process at its effect of that number, before it or when it is *done*.

    Whether it lived so long. A process that was killed does nothing more: its store cannot be reached.
    """
    try:
        effect = next(flow)
        for number in count():
            following = carried_out(dune, effect) if number < step or done else Result[Any]()
            if number == step:
                break
            effect = flow.throw(following.failure) if following.failure else flow.send(following.result)
    except StopIteration:
        return False
    store.is_alive = False
    with suppress(AssertionError):
        flow.close()
    return True


def carried_out(dune: Dune, effect: Effect) -> Result[Any]:
    """The result of an effect, in virtual time."""
    try:
        if isinstance(effect, Sleep):
            dune.rest(effect.seconds)
            return Result()
        if isinstance(effect, Overlap):
            key, task = next(iter(effect.tasks.items()))
            effect.results[key] = carried_out(dune, task)
            return Result()
        return Result(effect.function() if isinstance(effect, Work) else dune.send(effect))
    except Exception as failure:
        return Result(failure=failure)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("listed_after", [0.0, 30.0])
def test_a_crash_between_any_two_steps_costs_nothing(done: bool, listed_after: float) -> None:
    """Killed before or after any read, append, request or pause, a refresh is billed once, and its repeat has it."""
    step = 0
    for step in count():
        dune, store = Dune(listed_after=listed_after), Lines()
        for _ in range(2):
            Client(dune).fresh()
            dune.rest(HOUR)
        reached = Reached(store)
        if not killed(dune, Client(dune).flow(journal=reached), reached, step, done=done):
            break
        dune.rest(1.0)
        repeats = {Client(dune).fresh(journal=store) for _ in range(2)}
        assert repeats == {"E3"}
        assert billed(dune) == 3
        known = store.records.views[BASE]
        assert (known.execution_id, known.is_settled) == ("E3", True)
    assert step >= 5


REQUEST = 4
"""The effect that sends: after two reads of the store, one of the history, and the claim."""


@pytest.mark.parametrize("done", [False, True])
def test_a_crash_of_the_repeat_costs_nothing_either(done: bool) -> None:
    """Killed during or after its search for another process's request, a repeat leaves one refresh."""
    for accepted in (False, True):
        step = 0
        for step in count():
            dune, store = Dune(), Lines()
            first = Reached(store)
            assert killed(dune, Client(dune).flow(journal=first), first, REQUEST, done=accepted)
            assert billed(dune) == accepted
            second = Reached(store)
            if not killed(dune, Client(dune).flow(journal=second), second, step, done=done):
                break
            assert Client(dune).fresh(journal=store) == "E1"
            assert billed(dune) == 1
        assert step >= 3


@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_crashes_anywhere_pays_each_view_once(done: bool) -> None:
    """Killed at any of its steps, a run over views that read each other is completed by its repeat."""
    views = {DAILY: [BASE], WEEKLY: [BASE]}
    step = 0
    for step in count():
        dune, store = Dune(length=3), Lines()
        reached = Reached(store)
        flow = refresh_all(Client(dune).core, views, journal=reached)
        if not killed(dune, flow, reached, step, done=done):
            break
        report = Client(dune).refresh_all(views, journal=store)
        assert report.ok
        assert {name: billed(dune, name) for name in report.results} == dict.fromkeys((BASE, DAILY, WEEKLY), 1)
        assert report.cost_credits == 3.0
    assert step >= 20


# Two processes


def test_a_suspended_sender_that_wakes_sends_nothing() -> None:
    """A process that sleeps past its permit between claim and request finds that another has taken over."""
    dune, store = Dune(), Lines()
    sleeping = Client(dune).flow(journal=store)
    effect = claimed(dune, sleeping, store)
    dune.rest(HOUR)
    assert Client(dune).refresh(journal=store) == "E1"
    assert "Another process has recorded a refresh" in str(finished(dune, sleeping, effect))
    assert billed(dune) == 1


def test_a_suspended_sender_whom_nobody_has_replaced_sends() -> None:
    """A process that wakes after its permit reads the journal again, claims anew, and sends."""
    dune, store = Dune(), Lines()
    flow = Client(dune).flow(journal=store)
    effect = claimed(dune, flow, store)
    dune.rest(31.0)
    execution = finished(dune, flow, effect)
    assert isinstance(execution, Execution)
    assert execution.execution_id == "E1"
    assert sum('"intended"' in line for line in store) == 2
    assert billed(dune) == 1


@pytest.mark.parametrize("wakes_at", [31.0, 100.0, 175.0, 180.0])
def test_a_sender_that_wakes_during_a_recovery_is_not_taken_for_absent(wakes_at: float) -> None:
    """A search that finds a request absent notices that it was permitted anew meanwhile."""
    dune, store = Dune(listed_after=25.0), Lines()
    sender, searcher = Client(dune).flow(journal=store), Client(dune).flow(journal=store)
    request = claimed(dune, sender, store)
    began, waiting = dune.now, next(searcher)
    while dune.now - began < wakes_at:
        waiting = searcher.send(carried_out(dune, waiting).result)
    late = carried_out(dune, request)
    assert late.failure is not None
    request = sender.throw(late.failure)
    while not isinstance(request, Call):
        request = sender.send(carried_out(dune, request).result)
    accepted = carried_out(dune, request)  # the response is on its way for long
    assert billed(dune) == 1
    outcome = finished(dune, searcher, waiting)
    assert isinstance(outcome, JournalError) or getattr(outcome, "execution_id", None) == "E1"
    with pytest.raises(StopIteration):
        sender.send(carried_out(dune, sender.send(accepted.result)).result)
    assert Client(dune).fresh(journal=store) == "E1"
    assert billed(dune) == 1


def test_a_sender_that_was_asked_to_pause_is_not_taken_for_a_dead_one() -> None:
    """Where a 429 lets a live process send again late, who waits for its absence notices, and does not send as well."""
    for until in (0.0, 50.0, 79.0, 82.0, 120.0, 180.0):
        dune, store = Dune(), Lines()
        sender = Client(dune).flow(journal=store)
        claimed(dune, sender, store)
        effect = sender.throw(RateLimitError("Too Many Requests", status_code=429, retry_after=80.0))
        assert isinstance(effect, Sleep)
        searcher = Client(dune).flow(journal=store)
        began, waiting = dune.now, next(searcher)
        while dune.now - began < until:
            waiting = searcher.send(carried_out(dune, waiting).result)
        results = [finished(dune, flow, each) for flow, each in ((sender, effect), (searcher, waiting))]
        assert billed(dune) == 1
        assert {each.execution_id for each in results if isinstance(each, Execution)} == {"E1"}


def test_an_interruption_after_the_response_leaves_it_on_record() -> None:
    """Ctrl-C in the moment in which the execution is to be recorded loses no line, and a repeat sends no request."""
    dune, store = Dune(), Lines()
    flow = Client(dune).flow(journal=store)
    recording = flow.send(carried_out(dune, claimed(dune, flow, store)).result)
    assert isinstance(recording, Work)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    asked = len(dune.seen)
    assert Client(dune).refresh(journal=store) == "E1"
    assert [each.how for each in store.records.views.values()] == ["response"]
    assert (len(dune.seen), billed(dune)) == (asked, 1)


def test_a_response_that_arrives_while_it_is_looked_for_stays_a_response() -> None:
    """A search that hears of the execution from its sender does not record that it was only inferred."""
    dune, store = Dune(listed_after=25.0), Lines()
    sender, searcher = Client(dune).flow(journal=store), Client(dune).flow(journal=store)
    request = claimed(dune, sender, store)
    accepted, waiting = carried_out(dune, request), next(searcher)
    for _ in range(5):
        waiting = searcher.send(carried_out(dune, waiting).result)
    with pytest.raises(StopIteration):
        sender.send(carried_out(dune, sender.send(accepted.result)).result)
    found = finished(dune, searcher, waiting)
    assert isinstance(found, Execution)
    assert (found.execution_id, found.how) == ("E1", "response")
    assert [each.how for each in store.records.views.values()] == ["response"]
    assert billed(dune) == 1


def claimed(dune: Dune, flow: Flow[Execution], store: Lines) -> Effect:
    """Run a flow until its claim is in the store; returns the permitted request."""
    effect = next(flow)
    while not (isinstance(effect, Call) and store.records.views):
        effect = flow.send(carried_out(dune, effect).result)
    return effect


def finished(dune: Dune, flow: Flow[Execution], effect: Effect) -> Execution | JournalError | None:
    """The end of a flow that waits for an effect."""
    try:
        while True:
            result = carried_out(dune, effect)
            effect = flow.throw(result.failure) if result.failure else flow.send(result.result)
    except StopIteration as stop:
        return cast(Execution, stop.value)
    except JournalError as failure:
        return failure


@given(data=st.data(), processes=st.integers(2, 4), listed_after=st.sampled_from([0.0, 2.0, 25.0]))
def test_however_processes_take_turns_one_refresh_is_billed(
    data: st.DataObject, processes: int, listed_after: float
) -> None:
    """Several live processes on one object, each as slow as it likes between its steps, send one request between them.

    Time passes for all of them: while one sleeps, the others are suspended. Each has the execution in the end, or an
    error that says that another process has it in hand; a repeat has it.
    """
    dune, store = Dune(listed_after=listed_after), Lines()
    dune.faults = iter(
        data.draw(st.lists(st.sampled_from([None, None, Fault(RequestFailedError("refused"))]), max_size=6))
    )
    flows = [Client(dune).flow(journal=store) for _ in range(processes)]
    waiting: dict[int, Effect] = {place: next(flow) for place, flow in enumerate(flows)}
    ends: list[str] = []
    while waiting:
        place = data.draw(st.sampled_from(sorted(waiting)))
        dune.rest(data.draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 40.0, 200.0])))
        result = carried_out(dune, waiting.pop(place))
        flow = flows[place]
        try:
            waiting[place] = flow.throw(result.failure) if result.failure else flow.send(result.result)
        except StopIteration as stop:
            ends.append(stop.value.execution_id)
        except JournalError as failure:
            assert "Another process has recorded a refresh" in str(failure)
        except RequestFailedError as failure:
            assert not failure.sent
        except AmbiguousRefreshError as failure:
            assert "its history cannot be read" in str(failure)
    assert set(ends) <= {"E1"}
    assert billed(dune) <= 1
    assert Client(dune).fresh(journal=store) == "E1"
    assert billed(dune) == 1


# What a person settles


def test_a_person_gives_up_an_execution_that_dune_has_lost(store: Any) -> None:
    """A started refresh whose execution cannot be followed any more is sent again once a person says so, not before."""
    dune = Dune(known_after=1e6)
    options = {"journal": store} | ({"run": "one"} if isinstance(store, Path) else {})
    for _ in range(2):
        assert outcomes(Client(dune).refresh_all([BASE], **options)) == {BASE: Outcome.AMBIGUOUS}
    assert billed(dune) == 1
    resolve(store, BASE)
    dune.known_after = 0.0
    assert outcomes(Client(dune).refresh_all([BASE], **options)) == {BASE: Outcome.SUCCEEDED}
    assert billed(dune) == 2


# Lost responses, in the client that has lost them


def test_a_lost_refresh_is_entered_where_the_client_finds_it(store: Any) -> None:
    """A refresh without a journal that was lost, and is found by one with a journal, is that journal's, too."""
    dune = Dune(length=HOUR)
    client = Client(dune)
    dune.faults = iter([None, Fault(LOST, accepted=True), *[Fault(LOST)] * 99])
    with pytest.raises(AmbiguousRefreshError):
        client.refresh()
    dune.faults = iter(())
    assert client.refresh(journal=store) == "E1"
    assert Client(dune).refresh(journal=store) == "E1"
    assert billed(dune) == 1


def test_an_execution_of_one_intent_is_not_taken_for_that_of_the_next() -> None:
    """A failure that Dune lists late is not found for the retry, because the journal has it by its own response."""
    dune, store = Dune(length=1.0, end=ExecutionState.FAILED, listed_after=30.0), Lines()
    with pytest.raises(RefreshFailedError):
        Client(dune).fresh(journal=store)
    dune.fail("refresh", Fault(LOST))
    with pytest.raises(AmbiguousRefreshError) as caught:
        Client(dune).refresh(journal=store, retry_failed=True)
    assert caught.value.candidates == ()
    assert (billed(dune), store.records.views[BASE].is_in_doubt) == (1, True)


def test_what_the_client_finds_takes_the_place_of_a_refusal(store: Any) -> None:
    """A refresh that was lost without a journal is entered in one that has a refused refresh of the view."""
    dune = Dune(length=HOUR)
    client = Client(dune)
    dune.fail("refresh", Fault(BadRequestError("no such tier", status_code=400)), Fault(LOST, accepted=True))
    with pytest.raises(BadRequestError):
        client.refresh(journal=store)
    dune.fail("view", None, *[Fault(LOST)] * 99)
    with pytest.raises(AmbiguousRefreshError):
        client.refresh()
    dune.fail("view")
    assert client.refresh(journal=store) == "E1"
    assert Client(dune).refresh(journal=store) == "E1"
    assert billed(dune) == 1


@pytest.mark.parametrize("same", [True, False])
def test_a_lost_refresh_of_the_journal_is_not_refused_as_under_way(store: Any, same: bool) -> None:
    """`refuse` was decided before the request: the client that lost it, or another, finds it and returns it."""
    dune = Dune(length=HOUR)
    client = Client(dune)
    dune.faults = iter([None, Fault(LOST, accepted=True), *[Fault(LOST)] * 99])
    with pytest.raises(AmbiguousRefreshError):
        client.refresh(journal=store, if_running="refuse")
    dune.faults = iter(())
    repeat = client if same else Client(dune)
    assert repeat.refresh(journal=store, if_running="refuse") == "E1"
    assert billed(dune) == 1


def test_what_a_journal_has_comes_before_what_the_client_has_lost(store: Any) -> None:
    """A recorded execution is returned, even if another refresh of the view is in doubt."""
    dune = Dune(length=HOUR)
    client = Client(dune)
    assert client.refresh(journal=store) == "E1"
    dune.faults = iter([None, Fault(LOST, accepted=True), *[Fault(LOST)] * 99])
    with pytest.raises(AmbiguousRefreshError):
        client.refresh()
    dune.faults = iter(())
    assert client.refresh(journal=store) == "E1"
    assert billed(dune) == 2
