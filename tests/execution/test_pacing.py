"""The numbers of pacing: budgets, cadence, shares, backoff."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._execution.forecast import Expected
from dune_matviews._execution.pacing import Pace, Watched, backoff, fair_share, poll_pause, polls_ahead
from dune_matviews._http.rate_limits import PERIOD, RequestBudget
from tests.simulation import starts

ages = st.floats(0, 1e6)


def polls(until: float) -> list[float]:
    """The moments at which the cadence polls an execution."""
    moments = [0.0]
    while moments[-1] + poll_pause(moments[-1]) <= until:
        moments.append(moments[-1] + poll_pause(moments[-1]))
    return moments


@given(ages)
def test_an_end_is_noticed_within_a_second_or_a_tenth(age: float) -> None:
    """The pause after a poll never exceeds the promised lateness."""
    assert 0 < poll_pause(age) <= max(1.0, 0.1 * age)


def test_the_first_ten_minutes_take_at_most_sixty_polls() -> None:
    """The cadence fits the promise, and its first minute the Free plan's 40 requests."""
    assert len(polls(600)) <= 60
    assert len(polls(60)) <= 40


@given(ages)
def test_polls_ahead_is_about_what_the_cadence_does(age: float) -> None:
    """The estimate that shares are made of is right within two polls, or a tenth."""
    made, moment = 0, age
    while (moment := moment + poll_pause(moment)) <= age + PERIOD:
        made += 1
    assert polls_ahead(age) == pytest.approx(made, abs=3.5, rel=0.1)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50), st.floats(1, 1000))
def test_shares_are_even_and_use_what_there_is(wants: list[float], capacity: float) -> None:
    """Nobody exceeds the share or is cut below it, and together they use all the capacity or all they want."""
    share = fair_share(wants, capacity)
    assert sum(min(want, share) for want in wants) == pytest.approx(min(sum(wants), capacity))


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_a_bound(failures: int, chance: float) -> None:
    """A pause is between a half and the whole of its size, which is at most 30 s."""
    size = min(30.0, 2.0 ** (min(failures, 50) - 1))
    assert size / 2 <= backoff(failures, chance) <= size


def test_one_execution_is_watched_at_its_cadence_on_the_smallest_plan() -> None:
    """Alone, an execution's share never slows its polls."""
    pace = Pace(RequestBudget(low=15, high=40))
    with pace.watching(alone := Watched(0.0)):
        assert all(pace.pause(age, alone) == poll_pause(age) for age in map(float, range(1000)))


def test_many_executions_share_the_budget_evenly() -> None:
    """Twenty executions that begin together get two of the Free plan's 40 polls each, every minute."""
    pace = Pace(RequestBudget(low=15, high=40))
    watched = [Watched(0.0) for _ in range(20)]
    with ExitStack() as stack:
        for each in watched:
            stack.enter_context(pace.watching(each))
        assert {pace.pause(0.0, each) for each in watched} == {PERIOD / 2}
    with pace.watching(alone := Watched(0.0)):
        assert pace.pause(0.0, alone) == poll_pause(0.0)


def test_without_a_plan_nothing_is_held_up() -> None:
    """No plan means no pacing."""
    pace = Pace(None)
    assert starts(pace.windows["low"].reserve(1.0) for _ in range(1000)) == [1.0] * 1000
    assert pace.pause(math.e, Watched(0.0)) == poll_pause(math.e)


@pytest.mark.parametrize("pause", [Pace.pause, Pace.eager_pause])
@pytest.mark.parametrize("count", [10, 10_000])
def test_a_pause_costs_the_same_however_many_are_watched(
    pause: Callable[[Pace, float, Watched], float], count: int
) -> None:
    """A thousand pauses go once through the executions that are watched, not once each."""
    pace = Pace(RequestBudget(low=15, high=40))
    computed: list[int] = []
    for share in (pace._cadence_share, pace._eager_share):
        share._compute = counting(computed, share._compute)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(pace.watching(Watched(0.0)))
        for _ in range(1_000):
            pause(pace, 100.0, Watched(0.0))
    assert computed == [count]


def counting(computed: list[int], compute: Callable[..., Any]) -> Callable[..., Any]:
    """A computation that notes of how many executions it is."""

    def counted(each: list[tuple[float, Expected | None]]) -> Any:
        computed.append(len(each))
        return compute(each)

    return counted
