"""Predictions from past executions: numbers, and nothing else."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._execution.forecast import Expected, LogNormal, Outlook, Past
from dune_matviews._execution.pacing import eager_polls, poll_pause
from dune_matviews._http.rate_limits import PERIOD

expectations = st.builds(
    Expected,
    seconds=st.builds(LogNormal, st.floats(0, 9), st.floats(0.05, 1.5), st.floats(1, 50)),
    credits=st.none(),
    queued=st.just(0.0),
    surprise=st.floats(0.01, 0.5),
    known=st.just(5),
)
ages = st.floats(0, 1e5)


def expected(*lengths: float, failures: int = 0) -> Expected:
    """The prediction from a view's past, latest length first."""
    past = [Past(each, credits=each / 10) for each in lengths] + [Past(1.0, succeeded=False)] * failures
    outlook = Outlook.of([past])
    assert outlook is not None
    return outlook.expected(past)


@pytest.mark.parametrize("spread", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("count", [3, 8])
def test_a_range_of_80_percent_holds_75_to_85(spread: float, count: int) -> None:
    """Of the next durations of many views, as many lie within the range as it says, from a handful of past ones on."""
    random = Random(1)
    held, tries = 0, 3_000
    usual = [random.uniform(1, 7) for _ in range(tries)]
    pasts = [[Past(math.exp(random.gauss(mu, spread))) for _ in range(count)] for mu in usual]
    outlook = Outlook.of(pasts)
    assert outlook is not None
    for mu, past in zip(usual, pasts, strict=True):
        seconds = outlook.expected(past).seconds
        held += seconds.quantile(0.1) <= math.exp(random.gauss(mu, spread)) <= seconds.quantile(0.9)
    assert 0.75 <= held / tries <= 0.85


def test_one_odd_execution_changes_little() -> None:
    """An execution that took a hundred times as long moves the expectation by less than half."""
    usual, odd = expected(*[60.0] * 7), expected(60.0, 60.0, 6_000.0, *[60.0] * 5)
    assert math.exp(odd.seconds.mu) == pytest.approx(math.exp(usual.seconds.mu), rel=0.5)


def test_older_executions_count_less() -> None:
    """A view that has become slower is expected to stay so rather than to be as it was."""
    assert expected(*[90.0] * 5, *[60.0] * 5).seconds.mu > expected(*[60.0] * 5, *[90.0] * 5).seconds.mu


def test_failures_are_kept_apart() -> None:
    """How soon failures end says nothing of how long a success takes, but that the end may come at any time."""
    well, badly = expected(60.0, 60.0, 60.0), expected(60.0, 60.0, 60.0, failures=5)
    assert badly.seconds == well.seconds
    assert badly.credits == well.credits
    assert badly.surprise > well.surprise
    assert badly.hazard(5.0) > well.hazard(5.0)


def test_a_view_without_a_past_is_as_others_are() -> None:
    """An unknown view is predicted by the known ones, with a range that covers them all."""
    outlook = Outlook.of([[Past(each)] * 3 for each in (10.0, 40.0, 160.0)])
    assert outlook is not None
    unknown = outlook.expected([])
    assert unknown.known == 0
    assert math.exp(unknown.seconds.mu) == pytest.approx(40.0)
    assert unknown.seconds.quantile(0.1) < 10.0 < 160.0 < unknown.seconds.quantile(0.9)
    assert Outlook.of([[Past(1.0, succeeded=False)]]) is None


@given(expectations, ages)
def test_the_promise_holds_for_what_ends_early_too(known: Expected, age: float) -> None:
    """However sure the past is of a late end, the next poll is within 1 s or a tenth of the age."""
    assert 0 < poll_pause(age, known) <= max(1.0, age * 0.1)


@given(expectations, ages)
def test_the_expected_end_is_not_over(known: Expected, age: float) -> None:
    """An execution that goes on is expected to end later than now, however long it should have been over."""
    assert known.end(age) >= age


@given(st.lists(st.tuples(ages, st.none() | expectations), min_size=1, max_size=30), st.floats(0.1, 100))
def test_eager_polls_use_the_budget_and_no_more(each: list[tuple[float, Expected | None]], rate: float) -> None:
    """What executions get together is the rate, however their expectations differ; at most half keeps promises."""
    steepness, part = eager_polls(each, rate)
    weights = [1 / max(age, 1.0) if known is None else max(known.hazard(max(age, 1.0)), 1e-9) for age, known in each]
    promised = [0.0 if known is None else part / max(1.0, age / 10) for age, known in each]
    given_out = [max(math.sqrt(w) * steepness, p) for w, p in zip(weights, promised, strict=True)]
    assert math.fsum(given_out) == pytest.approx(rate)
    assert math.fsum(promised) <= rate / 2 + 1e-6


def test_the_share_of_the_budget_counts_what_foresight_adds() -> None:
    """Executions that are about to end want more polls in the next minute than their ages alone would make them."""
    known = expected(*[300.0] * 5)
    assert known.ahead(290.0, PERIOD) > known.ahead(20.0, PERIOD)
