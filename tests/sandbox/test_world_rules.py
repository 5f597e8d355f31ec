"""Knows the invariants of the world under any operations in any order.
Must not know how the world computes anything: where it matters, a simpler and slower way stands beside it."""

import math
from itertools import chain, repeat
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dune_matviews.sandbox import Charge, Scenario
from dune_matviews.sandbox._execution import Execution
from dune_matviews.sandbox._world import World

SECOND = 1_000_000_000
START = 1_735_689_600 * SECOND
NAMES = ("dune.my_team.result_x", "dune.my_team.result_y")
ENDS = ("completed", "completed_partial", "failed", "canceled", "expired", "QUERY_STATE_OF_TOMORROW")

durations = st.one_of(st.floats(0, 100), st.integers(0, 5), st.just(math.inf))
scenarios = st.builds(
    Scenario, pending=durations, running=durations, credits=st.floats(0, 1000), end=st.sampled_from(ENDS)
)
limits = st.one_of(st.none(), st.integers(1, 3))
# Whole seconds make it likely that several things happen in the same instant.
pauses = st.one_of(st.integers(0, 5), st.floats(0, 200))


class Sight(NamedTuple):
    """The visible state of an execution at one time."""

    stage: int
    credits: float
    past: tuple[float, ...]


def sight(execution: Execution, now: int) -> Sight:
    """The visible state of *execution* now."""
    stages = {"QUERY_STATE_PENDING": 0, "QUERY_STATE_EXECUTING": 1}
    past = tuple(instant for instant in (execution.starts, execution.ends) if instant <= now)
    return Sight(stages.get(execution.state(now), 2), execution.credits(now), past)


class Worlds(RuleBasedStateMachine):
    """Applies any operations in any order to one world, and compares the visible states before and after."""

    executions: Bundle[Execution] = Bundle("executions")

    @initialize(limit=limits, speed=st.sampled_from([0.5, 1, 1000]))
    def begin(self, limit: int | None, speed: float) -> None:
        """Any limit and any speed."""
        self.world = World(speed=speed, max_parallel=limit, clock=lambda: START)
        self.accepted: list[Execution] = []
        self.seen: dict[str, Sight] = {}

    @rule(target=executions, name=st.sampled_from(NAMES), scenario=scenarios)
    def refresh(self, name: str, scenario: Scenario) -> Execution:
        """Start an execution of which anything may be planned."""
        self.world.rehearse(name, scenario)
        execution = self.world.refresh(name)
        self.accepted.append(execution)
        return execution

    @rule(seconds=pauses)
    def advance(self, seconds: float) -> None:
        """Let time pass, or not."""
        self.world.advance(seconds)

    @rule(execution=executions)
    def cancel(self, execution: Execution) -> None:
        """Cancel an execution, at no further cost."""
        before = execution.credits(self.world.now())
        if self.world.cancel(execution.id):
            assert before == execution.credits(self.world.now())

    @rule(execution=executions, end=st.sampled_from([None, *ENDS]))
    def finish(self, execution: Execution, end: str | None) -> None:
        """Finish an execution that has not ended."""
        if sight(execution, self.world.now()).stage < 2:
            self.world.finish(execution.id, end)
        else:
            with pytest.raises(ValueError, match="ended already"):
                self.world.finish(execution.id, end)

    @invariant()
    def states_only_move_forward_and_the_past_stays(self) -> None:
        """No state, cost or time that has been seen is ever taken back."""
        now = self.world.now()
        for execution in self.accepted:
            sees = sight(execution, now)
            saw = self.seen.get(execution.id, sees)
            assert saw.stage <= sees.stage
            assert saw.credits <= sees.credits
            assert saw.stage < 2 or saw == sees
            assert saw.past == sees.past[: len(saw.past)]
            self.seen[execution.id] = sees

    @invariant()
    def each_accepted_refresh_is_charged_once(self) -> None:
        """The ledger is the accepted refreshes, in their order."""
        now = self.world.now()
        assert [(each.id, each.credits(now), each.state(now)) for each in self.accepted] == [
            (charge.execution_id, charge.credits, charge.state) for charge in self.world.ledger()
        ]

    @invariant()
    def the_queue_holds_whoever_waits(self) -> None:
        """Queue and running executions agree with the states, and no slot stays free while an execution is ready."""
        now = self.world.now()
        stages = {each.id: sight(each, now).stage for each in self.accepted}
        queue, running = self.world.queue(now), self.world.running(now)
        assert sorted(each.id for each in queue) == sorted(key for key, stage in stages.items() if stage == 0)
        assert sorted(each.id for each in running) == sorted(key for key, stage in stages.items() if stage == 1)
        limit = self.world.max_parallel
        if limit is not None:
            assert len(running) <= limit
            # Nobody waits who could run.
            assert len(running) == limit or all(each.ready > now for each in queue)


TestWorlds = Worlds.TestCase
TestWorlds.settings = settings(stateful_step_count=30)


class Step(NamedTuple):
    """One second of a scenario: the executions that start, and the earlier one that is canceled."""

    started: tuple[tuple[int, int], ...]
    canceled: int | None


steps = st.lists(
    st.builds(
        Step,
        started=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=3).map(tuple),
        canceled=st.one_of(st.none(), st.integers(0, 10)),
    ),
    min_size=1,
    max_size=12,
)


@given(steps=steps, limit=st.integers(1, 3))
def test_the_limit_agrees_with_a_clockwork(steps: list[Step], limit: int) -> None:
    """Under a limit, each execution starts and ends in the very second in which a ticking simulation lets it."""
    world = World(max_parallel=limit, clock=lambda: START)
    clockwork = Clockwork(limit)
    executions: list[Execution] = []
    for step in chain(steps, repeat(Step((), None))):
        clockwork.tick()
        if clockwork.now >= len(steps) and clockwork.is_idle():
            break
        for pending, running in step.started:
            world.rehearse(NAMES[0], Scenario(pending=pending, running=running))
            executions.append(world.refresh(NAMES[0]))
            clockwork.start(pending, running)
        if step.canceled is not None and step.canceled < len(executions):
            world.cancel(executions[step.canceled].id)
            clockwork.cancel(step.canceled)
        world.advance(1)
    assert clockwork.spans() == [
        (None if math.isinf(each.starts) else (each.starts - START) / SECOND, (each.ends - START) / SECOND)
        for each in executions
    ]


class Job:
    """An execution, to the clockwork: whole seconds only."""

    def __init__(self, ready: int, running: int) -> None:
        self.ready, self.running = ready, running
        self.started: int | None = None
        self.ended: int | None = None


class Clockwork:
    """The limit the slow way: second by second, end executions that are over, then start those that may."""

    def __init__(self, limit: int) -> None:
        self.limit, self.now, self.jobs = limit, -1, list[Job]()

    def tick(self) -> None:
        """The next second begins."""
        self.now += 1
        for job in self.jobs:
            if job.ended is None and job.started is not None and job.started + job.running == self.now:
                job.ended = self.now
        self._fill()

    def start(self, pending: int, running: int) -> None:
        """An execution is accepted."""
        self.jobs.append(Job(self.now + pending, running))
        self._fill()

    def cancel(self, number: int) -> None:
        """An execution is canceled, unless it has ended."""
        if self.jobs[number].ended is None:
            self.jobs[number].ended = self.now
            self._fill()

    def is_idle(self) -> bool:
        """Whether everything has ended."""
        return all(job.ended is not None for job in self.jobs)

    def spans(self) -> list[tuple[int | None, int | None]]:
        """The seconds in which each execution started, if it did, and ended."""
        return [(job.started, job.ended) for job in self.jobs]

    def _fill(self) -> None:
        for job in sorted(self.jobs, key=lambda job: job.ready):
            running = sum(each.started is not None and each.ended is None for each in self.jobs)
            waits = job.started is None and job.ended is None and job.ready <= self.now
            if waits and running < self.limit:
                job.started = self.now


@given(steps=steps, limit=limits)
def test_looking_changes_nothing(steps: list[Step], limit: int | None) -> None:
    """A world that is read all the time and one that nobody reads end up with the same bill."""

    def bill(*, watched: bool) -> list[Charge]:
        world = World(max_parallel=limit, clock=lambda: START)
        for step in steps:
            for pending, running in step.started:
                world.rehearse(NAMES[0], Scenario(pending=pending, running=running))
                world.refresh(NAMES[0])
            world.advance(1)
            if watched:
                world.queue(world.now())
                world.running(world.now())
        return [Charge("", each.name, None, each.credits, each.state, each.submitted_at) for each in world.ledger()]

    assert bill(watched=False) == bill(watched=True)
