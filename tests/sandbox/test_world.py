"""Knows the rules of the world by examples, in a time that passes only when a test says so.
Must not use a socket, a thread or the machine's clock."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from dune_matviews.sandbox import Scenario, UnknownObjectError
from dune_matviews.sandbox._execution import Execution, moment
from dune_matviews.sandbox._world import World

START = 1_735_689_600_123_456_789  # 2025-01-01T00:00:00.123456789Z
NAME = "dune.my_team.result_x"


def world_with(
    *scenarios: Scenario, views: Iterable[str] | None = None, speed: float = 1, limit: int | None = None
) -> World:
    """A world that stands still until it is advanced, with scenarios for the view NAME."""
    world = World(views, speed=speed, max_parallel=limit, clock=lambda: START)
    world.rehearse(NAME, *scenarios)
    return world


def state(world: World, execution: Execution) -> str:
    """The current state, without the prefix of all states."""
    return execution.state(world.now()).removeprefix("QUERY_STATE_")


def test_an_execution_waits_then_runs_then_ends() -> None:
    """The state follows from the scenario and the time alone, and changes exactly when the scenario says."""
    world = world_with(Scenario(pending=2, running=3, end="failed"))
    execution = world.refresh(NAME)
    seen = [state(world, execution)]
    for _ in range(6):
        world.advance(1)
        seen.append(state(world, execution))
    assert seen == ["PENDING", "PENDING", "EXECUTING", "EXECUTING", "EXECUTING", "FAILED", "FAILED"]


def test_the_cost_grows_evenly_while_the_execution_runs() -> None:
    """Waiting is free, running costs evenly, and the end costs as much as the scenario says, also for a failure."""
    world = world_with(Scenario(pending=1, running=4, credits=8, end="failed"))
    execution = world.refresh(NAME)
    costs = []
    for _ in range(7):
        costs.append(execution.credits(world.now()))
        world.advance(1)
    assert costs == [0, 0, 2, 4, 6, 8, 8]


@pytest.mark.parametrize(
    ("scenario", "credits"),
    [
        (Scenario(end="completed"), 1.0),
        (Scenario(end="failed"), 0.0),
        (Scenario(end="failed", billed=True), 1.0),
        (Scenario(end="expired"), 1.0),
        (Scenario(end="expired", billed=False), 0.0),
    ],
)
def test_the_kind_of_end_says_what_is_billed(scenario: Scenario, credits: float) -> None:
    """An end that is free costs nothing once it is there, unless its scenario says otherwise."""
    world = World(free_ends=["failed"], clock=lambda: START)
    execution = world.refresh(NAME)
    execution.scenario = scenario
    world.advance(3)
    assert world.ledger()[0].credits == 0.5
    world.advance(3)
    assert world.ledger()[0].credits == credits


def test_a_free_end_must_be_an_end() -> None:
    """A misspelled kind of end is refused."""
    with pytest.raises(ValueError, match="not as 'cancelled'"):
        World(free_ends=["cancelled"])


def test_speed_divides_durations() -> None:
    """At speed 100 a scenario of five seconds takes 50 milliseconds of the clock."""
    world = world_with(speed=100)
    execution = world.refresh(NAME)
    assert execution.ends == START + 50_000_000


def test_scenarios_are_used_up_in_order() -> None:
    """Each scenario is for one execution of its view; afterwards the default holds again."""
    world = world_with(Scenario(end="failed"), Scenario(end="expired"))
    executions = [world.refresh(name) for name in ("dune.my_team.result_y", NAME, NAME, NAME)]
    world.advance(5)
    assert [state(world, each) for each in executions] == ["COMPLETED", "FAILED", "EXPIRED", "COMPLETED"]


def test_an_endless_execution_goes_on_until_it_is_finished() -> None:
    """An execution that runs for ever costs nothing until something else ends it, then the whole planned cost."""
    world = world_with(Scenario(running=math.inf, credits=4))
    execution = world.refresh(NAME)
    world.advance(1e6)
    assert (state(world, execution), execution.credits(world.now())) == ("EXECUTING", 0)
    world.finish(execution.id, "failed")
    assert (state(world, execution), execution.credits(world.now())) == ("FAILED", 4)


def test_finish_ends_as_planned_unless_told_otherwise() -> None:
    """Without an end of its own, finish brings the planned one forward, also for an execution that waits."""
    world = world_with(Scenario(pending=math.inf, end="expired"))
    execution = world.refresh(NAME)
    world.finish(execution.id)
    assert (state(world, execution), execution.starts) == ("EXPIRED", START)


def test_what_has_ended_cannot_be_finished() -> None:
    """To finish an execution twice is a mistake of the test, and is told."""
    world = world_with()
    execution = world.refresh(NAME)
    world.advance(5)
    with pytest.raises(ValueError, match="has ended already, as QUERY_STATE_COMPLETED"):
        world.finish(execution.id)


def test_cancel_stops_the_cost_where_it_is() -> None:
    """A canceled execution is charged for its cost so far, and for nothing later."""
    world = world_with(Scenario(pending=0, running=4, credits=8, end="failed"))
    execution = world.refresh(NAME)
    world.advance(1)
    assert world.cancel(execution.id)
    world.advance(100)
    assert (state(world, execution), execution.credits(world.now()), execution.scenario.error) == ("CANCELED", 2, None)


def test_cancel_in_the_queue_is_free() -> None:
    """An execution that is canceled before it starts never starts, and costs nothing."""
    world = world_with()
    execution = world.refresh(NAME)
    assert world.cancel(execution.id)
    world.advance(100)
    assert ("CANCELED", 0, math.inf) == (state(world, execution), execution.credits(world.now()), execution.starts)


def test_cancel_after_the_end_changes_nothing() -> None:
    """A cancel that comes too late says so, and the real end stands."""
    world = world_with()
    execution = world.refresh(NAME)
    world.advance(5)
    assert not world.cancel(execution.id)
    assert state(world, execution) == "COMPLETED"


def test_the_limit_keeps_executions_waiting() -> None:
    """Above the limit an execution waits, also past its own time in the queue, until another ends."""
    world = world_with(limit=1)
    first, second = world.refresh(NAME), world.refresh(NAME)
    world.advance(4)
    assert [state(world, each) for each in (first, second)] == ["EXECUTING", "PENDING"]
    world.advance(1)
    assert [state(world, each) for each in (first, second)] == ["COMPLETED", "EXECUTING"]


@pytest.mark.parametrize("stop", ["cancel", "finish"])
def test_a_slot_that_becomes_free_is_taken_at_once(stop: str) -> None:
    """A waiting execution starts at the moment another one is stopped, not when that would have ended."""
    world = world_with(Scenario(pending=0, running=math.inf), Scenario(pending=0, running=4), limit=1)
    first, second = world.refresh(NAME), world.refresh(NAME)
    world.advance(10)
    getattr(world, stop)(first.id)
    assert state(world, second) == "EXECUTING"
    world.advance(4)
    assert state(world, second) == "COMPLETED"


def test_whoever_is_ready_first_starts_first() -> None:
    """An execution that is not ready to start does not hold up a later one that is."""
    world = world_with(Scenario(pending=math.inf), Scenario(pending=0), limit=1)
    slow, quick = world.refresh(NAME), world.refresh(NAME)
    assert [state(world, each) for each in (slow, quick)] == ["PENDING", "EXECUTING"]
    assert [slow] == world.queue(world.now())


def test_the_ledger_has_what_was_asked_for() -> None:
    """A charge tells the tier as it was asked for, and when; not asked for is None."""
    world = world_with()
    world.refresh(NAME, "large")
    world.refresh(NAME)
    submitted_at = datetime(2025, 1, 1, microsecond=123_456, tzinfo=UTC)
    assert [(NAME, "large", submitted_at), (NAME, None, submitted_at)] == [
        (charge.name, charge.performance, charge.submitted_at) for charge in world.ledger()
    ]


def test_without_names_any_view_exists() -> None:
    """A world without a list of views has each one that is named."""
    assert world_with().catalog.find(NAME).name == NAME


def test_with_names_only_these_views_exist() -> None:
    """A world with a list of views knows no other one, until it is added."""
    world = world_with(views=[NAME])
    for call in (world.catalog.find, world.refresh, world.rehearse):
        with pytest.raises(UnknownObjectError, match="result_y"):
            call("dune.my_team.result_y")
    world.catalog.add("dune.my_team.result_y")
    assert world.refresh("dune.my_team.result_y")
    assert len(world.ledger()) == 1


def test_a_view_keeps_its_query_and_its_history() -> None:
    """Each view has one source query, and knows its executions however often it is added again."""
    world = world_with()
    first = world.refresh(NAME)
    other = world.refresh("dune.my_team.result_y")
    world.catalog.add(NAME)
    assert [first] == world.catalog.find(NAME).executions
    assert first.query_id == world.catalog.find(NAME).query_id != other.query_id


def test_the_table_is_as_large_as_the_last_success_left_it() -> None:
    """A view has no size before its first success, and keeps it through a failure."""
    world = world_with(Scenario(bytes=100), Scenario(bytes=300, end="failed"))
    sizes = [world.catalog.find(NAME).size_bytes(world.now())]
    for _ in range(2):
        world.refresh(NAME)
        world.advance(5)
        sizes.append(world.catalog.find(NAME).size_bytes(world.now()))
    assert sizes == [0, 100, 100]


def test_an_unknown_execution_is_told() -> None:
    """Finishing or canceling an execution that does not exist is a LookupError."""
    for call in (world_with().finish, world_with().cancel):
        with pytest.raises(LookupError, match="no execution '01'"):
            call("01")


def test_identifiers_are_ulids_of_their_time() -> None:
    """Executions are numbered by ULIDs, which begin with the time and ascend also within one millisecond."""
    world = world_with()
    identifiers = [world.refresh(NAME).id for _ in range(1000)]
    assert sorted(set(identifiers)) == identifiers
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert all(len(each) == 26 and set(each) <= set(alphabet) for each in identifiers)
    milliseconds = 0
    for digit in identifiers[0][:10]:
        milliseconds = 32 * milliseconds + alphabet.index(digit)
    assert milliseconds == START // 1_000_000


def test_time_never_goes_back() -> None:
    """A clock that is set back lets the world's time stand still, so that no execution un-ends."""
    readings = iter([START, START, START - 10**9, START + 1])
    world = World(clock=lambda: next(readings))
    assert [world.now() for _ in range(3)] == [START, START, START + 1]


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_time_goes_on_by_a_number_of_seconds(seconds: float) -> None:
    """Time does not go back, nor to the end of days."""
    with pytest.raises(ValueError, match="seconds"):
        world_with().advance(seconds)


@pytest.mark.parametrize("settings", [{"speed": 0}, {"speed": math.inf}, {"speed": math.nan}, {"max_parallel": 0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    """A world without speed or without a slot would never finish anything."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        World(**settings)


def test_one_name_is_not_taken_for_many() -> None:
    """A single text in place of several names is a slip that Python would spell out letter by letter."""
    with pytest.raises(TypeError, match="several names"):
        World(NAME)


def test_moments_are_cut_to_microseconds() -> None:
    """A moment is an aware datetime, never later than the instant itself."""
    assert datetime(2025, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC) == moment(START)
