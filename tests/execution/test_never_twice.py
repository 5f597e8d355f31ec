"""Never twice: several clients, shared journals, a schedule of Dune's own, other programs, and every fault at once."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dune_matviews import AmbiguousRefreshError, ExecutionState, JournalError, Outcome, RefreshReport
from dune_matviews._core import Parts
from dune_matviews._execution.intents import bare
from dune_matviews._flow.effects import Flow
from tests.profiles import tries
from tests.world import (
    BEGINNING,
    SLOW,
    VIEWS,
    WHOLE,
    Execution,
    Get,
    Job,
    Key,
    MemoryStore,
    Post,
    Process,
    Put,
    World,
    canonical,
    refresh,
    refresh_all,
)

A, B, C = VIEWS
READS: dict[str, list[str]] = {A: [], B: [A], C: []}
SPELLINGS = (A, B, B.replace("my_team", '"my_team"'), bare(C))


class Refresh(NamedTuple):
    """A client refreshes one view, or all of them (None), and waits for the end."""

    who: int
    view: str | None
    journal: Literal["object", "file r1", "file r2"] | None
    if_running: Literal["start", "adopt", "refuse"] = "start"
    if_lost: Literal["raise", "resend"] = "raise"
    retry_failed: bool = False
    max_age: float | None = None
    max_credits: float | None = None


class Upsert(NamedTuple):
    """A client replaces a view."""

    who: int
    view: str


class Trouble(NamedTuple):
    """Something happens to a process: after so many steps, or for so many seconds, or both."""

    who: int
    kind: Literal["killed", "interrupted", "suspended", "set back", "forked"]
    steps: int = 0
    is_carried_out: bool = False
    seconds: float = 0.0


class Foreign(NamedTuple):
    """Another program refreshes a view."""

    view: str
    post: Post = Post()


Action = Refresh | Upsert | Trouble | Foreign


class Scenario(NamedTuple):
    """All that is decided by chance."""

    actions: Sequence[tuple[float, Action]]
    posts: Sequence[Post] = ()
    gets: Sequence[Get] = ()
    puts: Sequence[Put] = ()
    skews: tuple[float, ...] = (0.0,)
    counts_sleep: bool = False
    ulids: bool = True
    ahead: float = 0.0
    old: int = 0
    schedule: float | None = None


ENDS = (ExecutionState.COMPLETED,) * 4 + (ExecutionState.FAILED, ExecutionState.CANCELED)
FATES: Any = ("responded",) * 3 + ("accepted",) * 3 + ("lost",) * 2 + ("refused", "limited", "unconnected")
GETS: Any = ("whole",) * 8 + ("slow", "failed", "cached", "reversed", "forgetful", "unstated")
PUTS: Any = ("kept",) * 8 + ("slow", "failed", "failed though kept")

posts = st.builds(
    Post,
    fate=st.sampled_from(FATES),
    queue=st.sampled_from([0.0, 0.0, 0.0, 8.0, 40.0]),
    travel=st.sampled_from([0.1, 0.1, 4.0, 30.0, 70.0]),
    listed=st.sampled_from([0.0, 0.0, 3.0, 30.0, 70.0]),
    known=st.sampled_from([0.0, 0.0, 5.0, 50.0]),
    length=st.sampled_from([0.0, 5.0, 20.0, 90.0, 400.0]),
    end=st.sampled_from(ENDS),
)
refreshes = st.builds(
    Refresh,
    who=st.integers(0, 3),
    view=st.sampled_from([*SPELLINGS, None, None]),
    journal=st.sampled_from(["object", "object", "file r1", "file r2", None]),
    if_running=st.sampled_from(["start", "start", "adopt", "refuse"]),
    if_lost=st.sampled_from(["raise", "resend"]),
    retry_failed=st.booleans(),
    max_age=st.sampled_from([None, None, 60.0, 3600.0]),
    max_credits=st.sampled_from([None, None, 30.0]),
)
troubles = st.builds(
    Trouble,
    who=st.integers(0, 3),
    kind=st.sampled_from(["killed", "killed", "interrupted", "suspended", "set back", "forked"]),
    steps=st.integers(0, 30),
    is_carried_out=st.booleans(),
    seconds=st.sampled_from([20.0, 100.0, 1000.0]),
)
actions: st.SearchStrategy[Action] = st.one_of(
    refreshes,
    refreshes,
    troubles,
    st.builds(Upsert, st.integers(0, 3), st.just(bare(C))),
    st.builds(Foreign, st.sampled_from(VIEWS), st.one_of(st.just(Post()), posts)),
)
alone = st.tuples(st.sampled_from([0.0, 0.5, 5.0, 40.0, 200.0]), actions).map(lambda action: [action])
rivals = st.tuples(refreshes, st.sampled_from([0.0, 0.0, 0.1, 30.0])).map(
    lambda pair: [(0.0, pair[0]), (pair[1], pair[0]._replace(who=pair[0].who + 1))]
)
scenarios = st.builds(
    Scenario,
    actions=st.lists(st.one_of(alone, alone, alone, rivals), min_size=1, max_size=7).map(
        lambda groups: [action for group in groups for action in group]
    ),
    posts=st.lists(posts, max_size=10),
    gets=st.lists(st.sampled_from(GETS), max_size=40),
    puts=st.lists(st.sampled_from(PUTS), max_size=12),
    skews=st.tuples(*[st.sampled_from([0.0, -30.0, 30.0, -3600.0, 86_400.0])] * 4),
    counts_sleep=st.booleans(),
    ulids=st.booleans(),
    ahead=st.sampled_from([0.0, 3.0, -3.0]),
    old=st.integers(0, 12),
    schedule=st.sampled_from([None, None, 15.0, 100.0]),
)


class Play:
    """One scenario, played to its end, and its result."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.world = World(scenario.posts, list(scenario.gets) * 3, ulids=scenario.ulids, ahead=scenario.ahead)
        self.file = folder / "journal.jsonl"
        for file in (self.file, folder / "journal.jsonl.history"):
            file.unlink(missing_ok=True)
        self.store = MemoryStore(self.world, scenario.puts)
        self.processes = [self.world.process(skew, scenario.counts_sleep) for skew in scenario.skews]
        self.jobs: list[Job] = []
        self.again: list[Refresh] = []
        self.is_calm = False
        for number in range(scenario.old):
            view = VIEWS[number % 3 if scenario.old < 6 else 0]
            self.world.accept(view, None, Post(), BEGINNING - 9000 + 700 * number)
        self._act()
        self.world.run()
        self.is_calm = True
        self.world.calm()
        self.store.puts = iter(())
        self.settled = self._settle()

    def _act(self) -> None:
        moment = BEGINNING
        if self.scenario.schedule is not None:
            self.world.schedule(A, BEGINNING + 3, self.scenario.schedule, 4)
        for gap, action in self.scenario.actions:
            moment += gap
            self.world.at(moment, partial(self._do, action))

    def _do(self, action: Action) -> None:
        if isinstance(action, Foreign):
            self.world.accept(action.view, None, action.post)
            return
        who = action.who % len(self.processes)
        if not self.processes[who].is_alive:  # what supervises it starts it again
            self.processes[who] = self.world.process(self.scenario.skews[0], self.scenario.counts_sleep)
        process = self.processes[who]
        if isinstance(action, Refresh):
            self.call(process, action)
        elif isinstance(action, Upsert):
            flow = lambda job: process.core.upsert(action.view, None, Parts(7, False, None, None))  # noqa: E731
            self.jobs.append(self.world.begin(process, f"call {len(self.jobs)}", flow))
        elif action.kind == "suspended":
            process.suspend(action.seconds)
        elif action.kind == "set back":
            process.skew -= action.seconds * 7
        elif action.kind == "forked":
            self.processes.append(process.fork())
        else:
            process.fate = (process.steps + action.steps, action.kind, action.is_carried_out)

    def call(self, process: Process, action: Refresh) -> Job:
        """Have a process refresh."""
        if action.journal is not None and not self.is_calm and action not in self.again:
            self.again.append(action)
        key = action.journal or f"call {len(self.jobs)}"
        options = {name: value for name, value in action._asdict().items() if name != "who"}
        name, run = action.journal, None
        if name is not None and name.startswith("file"):
            run = name.removeprefix("file ")
        options |= {"journal": self.file if run else self.store if name else None, "run": run}
        flow = _all if action.view is None else _one
        job = self.world.begin(process, key, lambda job: flow(job, options), **action._asdict())
        self.jobs.append(job)
        return job

    def lines(self) -> list[dict[str, Any]]:
        """The lines of both journals."""
        texts = self.file.read_text().splitlines() if self.file.exists() else []
        return [json.loads(text) for text in [*texts, *self.store.lines]]

    def _settle(self) -> dict[Refresh, Job]:
        """The same calls again, now that nothing goes wrong any more, until they find nothing left to do."""
        settled: dict[Refresh, Job] = {}
        process = self.world.process()
        for action in self.again:
            for _ in range(4):
                settled[action] = self.call(process, action._replace(max_credits=None))
                self.world.run()
                assert settled[action].is_over, "a call never ended"
        return settled


def _one(job: Job, options: dict[str, Any]) -> Flow[Any]:
    core, terms = job.process.core, {**options}
    name, cap, _ = (terms.pop(each) for each in ("view", "max_credits", "max_age"))
    job.execution = yield from refresh(core, name, **terms)
    return (yield from core.watch(job.execution, None, cap, None))


def _all(job: Job, options: dict[str, Any]) -> Flow[Any]:
    given = {name: value for name, value in options.items() if name != "view"}
    return (yield from refresh_all(job.process.core, READS, max_parallel=2, **given))


# What has to hold.


def check(play: Play) -> None:
    """No intent is paid twice, none is left out, nothing is called fresh that is not, and nothing foreign is ended."""
    billed: defaultdict[Key, list[Execution]] = defaultdict(list)
    for each in play.world.ledger:
        if each.key is not None:
            billed[each.key].append(each)
        if each.canceled_by is not None:
            assert each.canceled_by.intent(each.view) == each.key, "an execution was cancelled that is another's"
    lines = play.lines()
    named = {line.get("execution_id") for line in lines}
    unnamed = [line for line in lines if line.get("event") == "ended" and line["result"]["execution_id"] not in named]
    recorded = named | {line["result"]["execution_id"] for line in unnamed}
    retried = {job.key for job in play.jobs if job.options.get("retry_failed")}
    for key, executions in list(billed.items()):
        # A foreign start that is taken for ours remains, and so does all that follows from it. The store may have
        # failed to keep the line that says so, but not the one about its end.
        inferred = [
            line["execution_id"]
            for line in lines
            if line.get("how") == "inferred" and canonical(line["view"]) == key[1]
        ]
        inferred += [line["result"]["execution_id"] for line in unnamed if canonical(line["view"]) == key[1]]
        for one, two in pairwise(executions):
            may_be = key[0] in retried and any(
                each.view == key[1] and each.end is not ExecutionState.COMPLETED and each.ends <= two.submitted
                for each in play.world.ledger
                if each is one or each.execution_id in recorded
            )
            mistaken = any(play.world.execution(each).key != key for each in inferred)
            overtaken = any(
                each.view in READS[key[1]] and one.submitted < each.ends <= two.submitted
                for each in play.world.ledger
                if each.key == (key[0], each.view) or each.execution_id in recorded
            )
            assert may_be or overtaken or mistaken, f"{key} was paid twice"
    for job in play.jobs:
        if isinstance(job.result, RefreshReport):
            check_order(play, job, job.result)
        elif job.result is not None and job.execution is not None:
            assert play.world.execution(job.execution.execution_id).end is ExecutionState.COMPLETED
    for action, job in play.settled.items():
        check_settled(play, action, job)


def check_order(play: Play, job: Job, report: RefreshReport) -> None:
    """A view called fresh began after the views it reads became fresh."""
    known = [
        each
        for each in play.world.ledger
        if each.end is ExecutionState.COMPLETED and max(each.ends, each.listed, each.known) < job.began
    ]
    is_repeat = any(each.key == job.key and each is not job for each in play.jobs)
    for name, result in report.results.items():
        if not result.outcome.is_fresh:
            continue
        assert result.execution_id is not None
        execution = play.world.execution(result.execution_id)
        assert execution.end is ExecutionState.COMPLETED, f"{name} is called fresh, and is not"
        for upstream in READS[name]:
            its = report.results[upstream]
            if its.outcome is Outcome.FRESH and is_repeat:
                continue  # what a journal has recorded stays so, though another program has refreshed upstream since
            assert its.outcome.is_fresh
            assert its.execution_id is not None
            ends = [play.world.execution(its.execution_id).ends]
            if result.outcome is Outcome.FRESH:
                ends += [each.ends for each in known if each.view == upstream]
            # Dune tells times in microseconds, so that nobody can tell moments apart that are closer together.
            assert round(max(ends) - execution.submitted, 6) <= 0, f"{name} is older than {upstream}"


def check_settled(play: Play, action: Refresh, job: Job) -> None:
    """Every intent of a run that was repeated in peace is fulfilled, refused, or in doubt with its candidates."""
    # A list that lacked what was old, and has it again, tells nothing: it needs a person.
    is_late = any(each.listed > each.submitted for each in play.world.ledger)
    may_stay = is_late or "forgetful" in play.scenario.gets
    if action.view is None:
        assert isinstance(job.result, RefreshReport), f"left out: {job.failure!r}"
        for name, result in job.result.results.items():
            assert result.outcome not in ("not_started", "running"), f"{name} is left out: {result}"
            if result.outcome == "ambiguous" and not may_stay:
                assert "may be any of" in (result.reason or ""), f"{name} is left in doubt: {result.reason}"
    elif isinstance(job.failure, AmbiguousRefreshError):
        assert may_stay or job.failure.candidates, f"left in doubt: {job.failure}"
    else:
        assert not isinstance(job.failure, JournalError), f"left out: {job.failure!r}"


def reached(play: Play) -> Counter[str]:
    """How often the branches that matter were reached."""
    found = Counter(play.world.seen)
    lines = play.lines()
    found["recovery found"] += sum(line.get("how") == "inferred" for line in lines)
    found["adopted"] += sum(line.get("how") == "adopted" for line in lines)
    found["taken over"] += sum(line.get("reason") == "it was never accepted" for line in lines)
    for job in play.jobs:
        failure = job.failure
        found["several candidates"] += isinstance(failure, AmbiguousRefreshError) and len(failure.candidates) > 1
        found["claim lost"] += isinstance(failure, JournalError) and "Another process has recorded" in str(failure)
        found["absence proven"] += any(
            view == again and fate in ("lost", "accepted")
            for place, (view, fate) in enumerate(job.fates)
            for again, _ in job.fates[place + 1 :]
        )
    return found


BRANCHES = (
    "recovery found",
    "absence proven",
    "taken over",
    "several candidates",
    "claim lost",
    "permit over",
    "adopted",
    "order violation avoided",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for journals, which nothing is flushed to: no machine crashes here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield tmp_path_factory.mktemp("journals")


def played(scenario: Scenario, folder: Path) -> Play:
    """A scenario, played, in which everything holds that has to."""
    play = Play(scenario, folder)
    check(play)
    return play


@given(scenario=scenarios)
@settings(max_examples=settings().max_examples * tries(1))  # the next test checks the same in 300 fixed ones
def test_no_intent_is_paid_twice_or_left_out_and_nothing_is_called_fresh_that_is_not(
    folder: Path, scenario: Scenario
) -> None:
    """For all faults of clients, journals and Dune, each intent is billed at most once, and settled in the end."""
    for branch in +reached(played(scenario, folder)):
        event(branch)


def test_every_branch_that_matters_is_reached(folder: Path) -> None:
    """Random scenarios come to everything that a lost response, a journal and a rival lead to, and all of it holds."""
    seen: Counter[str] = Counter()

    @given(scenarios)
    @settings(max_examples=300, derandomize=True)
    def play(scenario: Scenario) -> None:
        seen.update(reached(played(scenario, folder)))

    play()
    assert not [branch for branch in BRANCHES if not seen[branch]], seen


# What remains, as docs/reliability.md says.


def test_a_foreign_start_between_baseline_and_request_is_taken_for_ours(folder: Path) -> None:
    """Another program's execution is followed if it began while a request was on its way that Dune never had."""
    waiting = Scenario([(0.0, Refresh(0, A, None)), (3.0, Foreign(A))], [Post("lost", queue=8.0)])
    play = played(waiting, folder)
    [foreign] = play.world.ledger
    assert foreign.key is None
    assert play.jobs[0].execution.execution_id == foreign.execution_id


def test_a_foreign_start_may_be_taken_for_ours_though_no_line_of_the_journal_says_so(folder: Path) -> None:
    """A foreign execution is recorded by its end alone if the store has failed to keep its start."""
    calls: list[tuple[float, Action]] = [
        (0.0, Refresh(0, B, "object")),
        (0.5, Foreign(B, Post(length=0.0))),
        (5.0, Refresh(1, None, "object")),
    ]
    play = played(Scenario(calls, [Post("accepted", travel=30.0)], puts=["kept", "kept", "failed"]), folder)
    [foreign] = [each.execution_id for each in play.world.ledger if each.key is None]
    assert play.jobs[0].execution.execution_id == foreign
    assert not any(line.get("execution_id") == foreign for line in play.lines())
    assert bills(play, B) == 2


def test_an_acceptance_after_the_proof_is_paid_twice(folder: Path) -> None:
    """A request that Dune takes minutes after it was sent is sent once more if that was asked for."""
    late = Scenario([(0.0, Refresh(0, A, None, if_lost="resend"))], [Post("accepted", travel=400.0)])
    play = Play(late, folder)
    assert [each.key for each in play.world.ledger] == [play.jobs[0].intent(A)] * 2


# What chance has found.


def bills(play: Play, view: str) -> int:
    """How often the view was billed to somebody's request."""
    return sum(each.view == view and each.key is not None for each in play.world.ledger)


def test_an_end_that_is_recorded_twice_makes_nothing_older(folder: Path) -> None:
    """If two runs on one store see the same end, refreshes between their two records are not repeated."""
    play = played(Scenario([(0.0, Refresh(0, None, "object")), (0.0, Refresh(0, None, "object"))]), folder)
    assert [bills(play, view) for view in VIEWS] == [1, 1, 1]


def test_an_end_that_is_recorded_late_makes_nothing_older(folder: Path) -> None:
    """A view that began after its upstream had ended is not due again because that end was found out later."""
    again = [(0.0, Refresh(0, B, "file r2")), (200.0, Refresh(0, None, "file r2"))]
    play = played(Scenario(again, [Post("refused"), Post("accepted", listed=70.0)]), folder)
    assert [bills(play, view) for view in VIEWS] == [1, 1, 1]


def test_a_history_without_its_list_is_no_baseline(folder: Path) -> None:
    """Without executions in a response, old ones cannot be distinguished from a new one."""
    scenario = Scenario([(0.0, Foreign(A)), (40.0, Refresh(0, A, "object"))], [Post("lost")], ["unstated"])
    play = played(scenario, folder)
    assert play.jobs[0].fates == []
    assert bills(play, A) == 1


def test_what_is_listed_while_an_old_history_travels_is_not_absent(folder: Path) -> None:
    """Absence is proven by a list that Dune was asked for after the time of proof, not by one that arrived then."""
    for polls in range(15, 25):
        lost = Post("accepted", listed=179.0)
        gets: list[Get] = [*repeat(WHOLE, polls), *repeat(SLOW, 20)]
        resent = Scenario([(0.0, Refresh(0, A, None, if_lost="resend"))], [lost], gets)
        played(resent, folder)


def test_a_lost_execution_is_found_though_what_it_reads_is_fresh_anew(folder: Path) -> None:
    """A run that is taken up again knows its own execution, also if another program has refreshed upstream since."""
    lost = Post("accepted", travel=70.0, listed=70.0)
    play = played(
        Scenario([(0.0, Refresh(0, None, "file r1", max_age=3600.0))], [Post(), lost], old=11, schedule=100.0), folder
    )
    [job] = play.settled.values()
    assert job.result.results[B].outcome is Outcome.SUCCEEDED
    assert bills(play, B) == 1


def test_a_process_that_slept_before_its_claim_says_truly_until_when_it_may_send(folder: Path) -> None:
    """A machine that slept between baseline and claim, with a clock that is slow, is not taken for one long gone."""
    asleep: list[tuple[float, Action]] = [
        (0.0, Refresh(0, A, "object")),
        (5.0, Trouble(0, "suspended", seconds=1000.0)),
        (1001.0, Refresh(1, A, "object")),
    ]
    lost = Post("accepted", travel=70.0, listed=70.0)
    play = played(Scenario(asleep, [lost], ["slow"], skews=(-3600.0, 0.0)), folder)
    assert bills(play, A) == 1


def test_what_was_in_doubt_when_its_upstream_ended_is_not_refreshed_once_more(folder: Path) -> None:
    """A run that waited for a lost refresh of another call judges its execution by when that began."""
    late = Post(travel=30.0, known=5.0)
    scenario = Scenario([(0.0, Refresh(0, None, "object")), (0.0, Refresh(0, B, "object"))], [Post(), Post(), late])
    assert bills(played(scenario._replace(ulids=False), folder), B) == 1


def test_an_execution_that_turns_out_to_be_older_than_what_it_reads_is_not_called_fresh(folder: Path) -> None:
    """A run that takes over an open execution refreshes the view again if its sources ended after that began."""
    calls = [Refresh(0, B, "object"), Refresh(2, B, "object"), Refresh(0, None, "object"), Refresh(3, None, "object")]
    posts = [Post(length=90.0), Post(), Post(queue=40.0), Post(travel=70.0)]
    timed: list[tuple[float, Action]] = [(0.0, call) for call in calls[:3]]
    played(Scenario([*timed, (30.0, calls[3])], posts, ["whole", "whole", "failed"], schedule=15.0), folder)


def test_nothing_is_fresh_beside_an_upstream_whose_latest_success_was_not_read(folder: Path) -> None:
    """A run that takes over an older execution of a source does not call the view fresh because of it."""
    killed = [(0.0, Refresh(3, None, "file r1", max_age=3600.0)), (0.0, Refresh(0, None, "object", max_age=3600.0))]
    posts = [Post(length=400.0), Post(), Post("accepted", length=90.0)]
    skews = (-3600.0, 86_400.0, 86_400.0, -3600.0)
    played(Scenario([*killed, (5.0, Trouble(0, "killed"))], posts, skews=skews, old=2), folder)


def test_a_cap_cancels_nothing_that_another_run_of_the_file_has_started(folder: Path) -> None:
    """A run that takes over an open execution of another label does not cancel it at its own cap."""
    before = [(0.0, Refresh(0, A, "file r1")), (40.0, Refresh(0, C, "file r2"))]
    capped = (0.5, Refresh(0, None, "file r1", max_credits=30.0))
    play = played(Scenario([*before, capped], [Post(), Post(length=90.0)]), folder)
    assert [each.end for each in play.world.ledger if each.view == C] == [ExecutionState.COMPLETED]
