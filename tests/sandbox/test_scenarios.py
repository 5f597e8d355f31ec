"""Knows the values of a scenario, and the end of an execution that follows from them.
Must not need a world or a clock."""

import math

import pytest

from dune_matviews.sandbox import Failure, Scenario


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("completed", "QUERY_STATE_COMPLETED"),
        ("completed_partial", "QUERY_STATE_COMPLETED_PARTIAL"),
        ("failed", "QUERY_STATE_FAILED"),
        ("canceled", "QUERY_STATE_CANCELED"),
        ("expired", "QUERY_STATE_EXPIRED"),
        ("QUERY_STATE_OF_TOMORROW", "QUERY_STATE_OF_TOMORROW"),
    ],
)
def test_each_end_has_its_state(end: str, state: str) -> None:
    """An end is a word of ours or a state text of one's own, and both name one state."""
    assert state == Scenario(end=end).end_state


@pytest.mark.parametrize("end", ["complete", "", "QUERY_STATE_PENDING", "QUERY_STATE_EXECUTING"])
def test_an_end_must_be_an_end(end: str) -> None:
    """A misspelled word and a state in which an execution goes on are refused, with the words there are."""
    with pytest.raises(ValueError, match="completed, completed_partial, failed, canceled, expired"):
        Scenario(end=end)


@pytest.mark.parametrize("number", [-1, math.nan])
@pytest.mark.parametrize("name", ["pending", "running", "credits", "rows", "bytes"])
def test_quantities_are_not_negative(name: str, number: float) -> None:
    """No duration, cost or size may be negative or no number."""
    with pytest.raises(ValueError, match=name):
        Scenario(**{name: number})  # type: ignore[arg-type]  # wrong on purpose


def test_only_durations_may_be_endless() -> None:
    """An execution may wait or run for ever, but not cost endlessly much."""
    assert math.inf == Scenario(pending=math.inf, running=math.inf).running
    with pytest.raises(ValueError, match="credits"):
        Scenario(credits=math.inf)


def test_a_failed_execution_always_reports_an_error() -> None:
    """Where no error is planned, a failed execution has a general one."""
    assert Failure() == Scenario(end="failed").reported_error


def test_other_ends_report_the_planned_error_if_any() -> None:
    """An end that is neither success nor failure reports only a planned error."""
    failure = Failure("syntax_error", "mismatched input", line=3, column=9)
    assert failure == Scenario(end="expired", error=failure).reported_error
    assert Scenario(end="expired").reported_error is None


def test_a_success_reports_no_error() -> None:
    """An error in a scenario is not shown if the execution succeeds."""
    assert Scenario(error=Failure()).reported_error is None
