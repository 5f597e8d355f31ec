"""The report of `refresh_all`: a table for people, plain data for programs, one error."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import ErrorDetail, ExecutionState, ExecutionStatus
from dune_matviews.errors import DuneError, RefreshesFailedError
from dune_matviews.report import Outcome, RefreshReport, StopReason, ViewResult

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
FAILURE = ErrorDetail(type="syntax_error", message="mismatched input 'FORM'", line=3, column=9)
FAILED = ExecutionStatus(
    execution_id="E2", state=ExecutionState.FAILED, is_finished=True, error=FAILURE, raw={"state": "FAILED"}
)


def result(
    outcome: Outcome, reason: str | None = None, *, took: float | None = None, cost: float | None = None
) -> ViewResult:
    """A result whose execution, if it has any, began at noon."""
    ended_at = None if took is None else NOON + timedelta(seconds=took)
    return ViewResult(
        outcome=outcome, reason=reason, started_at=ended_at and NOON, ended_at=ended_at, cost_credits=cost
    )


def report(*results: ViewResult, seconds: float = 80.0, **named: ViewResult) -> RefreshReport:
    """The report of a run that began at noon; unnamed results are those of `v0`, `v1`, …"""
    numbered = {f"v{number}": each for number, each in enumerate(results)}
    return RefreshReport({**numbered, **named}, NOON, NOON + timedelta(seconds=seconds))


SUCCESS = result(Outcome.SUCCEEDED, took=65, cost=12.5)
MIXED = report(
    base=SUCCESS,
    daily_volume=ViewResult(
        outcome=Outcome.FAILED,
        reason="mismatched input 'FORM'",
        execution_id="E2",
        status=FAILED,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=12.34),
        cost_credits=0.4,
    ),
    weekly=result(Outcome.SKIPPED, "daily_volume failed"),
    prices=result(Outcome.FRESH),
    history=result(Outcome.CANCELED, "max_credits=1000 was passed", took=7384, cost=1234.567),
)

moments = st.datetimes(timezones=st.just(UTC))
amounts = st.floats(min_value=0, max_value=1e12)
statuses = st.builds(
    ExecutionStatus,
    execution_id=st.text(),
    state=st.sampled_from(ExecutionState),
    is_finished=st.booleans(),
    error=st.none() | st.builds(ErrorDetail, type=st.none() | st.text(), line=st.none() | st.integers()),
)
view_results = st.builds(
    ViewResult,
    outcome=st.sampled_from(Outcome),
    reason=st.none() | st.text(),
    execution_id=st.none() | st.text(),
    status=st.none() | statuses,
    started_at=st.none() | moments,
    ended_at=st.none() | moments,
    cost_credits=st.none() | amounts,
)
reports = st.builds(
    RefreshReport, st.dictionaries(st.text(), view_results), moments, moments, st.none() | st.sampled_from(StopReason)
)


# The table


def test_the_table_has_a_line_for_each_view_and_one_for_the_totals() -> None:
    """Columns are aligned, unknown values are dashes, and the totals follow."""
    assert str(MIXED).splitlines() == [
        "base          succeeded  1m 05s     12.50 credits",
        "daily_volume  failed      12.3s      0.40 credits  mismatched input 'FORM'",
        "weekly        skipped         -                 -  daily_volume failed",
        "prices        fresh           -                 -",
        "history       canceled   2h 03m  1,234.57 credits  max_credits=1000 was passed",
        "1 succeeded, 1 failed, 1 canceled, 1 skipped, 1 fresh; 1m 20s, 1,247.47 credits",
    ]


def test_the_text_says_where_the_time_went() -> None:
    """Below the totals, the time along the critical path is divided into its parts."""
    requested, noticed = NOON + timedelta(seconds=2), NOON + timedelta(seconds=67)
    told = attrs.evolve(SUCCESS, requested_at=requested, noticed_at=noticed)
    assert str(report(told)).splitlines()[1:] == [
        "1 succeeded; 1m 20s, 12.50 credits",
        "Time spent: waiting 2.0s, queued 0.0s, executing 1m 05s, noticing 0.0s",
    ]


def test_an_empty_report_prints() -> None:
    """A run of no views says so, and was a success."""
    empty = report(seconds=0)
    assert str(empty) == "no views; 0.0s, 0.00 credits"
    assert empty.ok
    assert empty.to_dict()["views"] == {}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (65, "1m 05s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (7384, "2h 03m"),
        (360_000, "100h 00m"),
        (-5, "0.0s"),
    ],
)
def test_durations_read_naturally(seconds: float, shown: str) -> None:
    """A duration has the two units that matter, never shows 60 of one, and is never negative."""
    assert str(report(seconds=seconds)) == f"no views; {shown}, 0.00 credits"
    assert str(report(result(Outcome.SUCCEEDED, took=seconds))).splitlines()[0] == f"v0  succeeded  {shown}  -"


def test_a_long_reason_is_cut() -> None:
    """A reason fills a line at most, and the cut shows."""
    line = str(report(result(Outcome.FAILED, "no such column; " * 100))).splitlines()[0]
    assert line.endswith("…")
    assert len(line) < 110


@given(reports)
def test_nothing_in_a_name_or_reason_reaches_the_terminal_as_a_command(each: RefreshReport) -> None:
    """For all names and reasons, each line is printable, and there is one line per view and one of totals."""
    lines = str(each).split("\n")
    assert len(lines) == len(each.results) + 1
    assert all(line.isprintable() for line in lines)
    assert repr(each).isprintable()


def test_the_repr_is_short() -> None:
    """The repr is one line however many views there are."""
    many = report(*[SUCCESS] * 1000)
    assert repr(many) == "<RefreshReport: 1000 succeeded; 1m 20s, 12,500.00 credits>"


# The data


def test_the_data_is_what_a_program_needs() -> None:
    """`to_dict` has the totals and each view's result, with the status cut down to its state and error."""
    data = MIXED.to_dict()
    views = data.pop("views")
    assert data == {
        "ok": False,
        "stopped_by": None,
        "cost_credits": pytest.approx(1247.467),
        "started_at": "2025-03-01T12:00:00+00:00",
        "ended_at": "2025-03-01T12:01:20+00:00",
        "seconds": 80.0,
        "critical_path": [],
        "time_spent": {"waiting": 0.0, "queued": 0.0, "executing": 0.0, "noticing": 0.0},
    }
    assert list(views) == ["base", "daily_volume", "weekly", "prices", "history"]
    assert views["daily_volume"] == {
        "outcome": "failed",
        "reason": "mismatched input 'FORM'",
        "remedy": None,
        "execution_id": "E2",
        "status": {
            "state": "failed",
            "error": {"type": "syntax_error", "message": "mismatched input 'FORM'", "line": 3, "column": 9},
        },
        "started_at": "2025-03-01T12:00:00+00:00",
        "ended_at": "2025-03-01T12:00:12.340000+00:00",
        "cost_credits": 0.4,
    }


@given(reports)
def test_the_data_survives_json(each: RefreshReport) -> None:
    """The data of every report survives JSON unchanged."""
    assert json.loads(json.dumps(each.to_dict(), allow_nan=False)) == each.to_dict()


def test_a_report_survives_pickling_and_copying() -> None:
    """A report comes back equal from a pickle or a copy, its order and the status's `raw` included."""
    for twin in (pickle.loads(pickle.dumps(MIXED)), copy.deepcopy(MIXED), copy.copy(MIXED)):
        assert twin == MIXED
        assert list(twin.results) == list(MIXED.results)
        status = twin.results["daily_volume"].status
        assert status is not None
        assert status.raw == {"state": "FAILED"}


def test_results_do_not_change() -> None:
    """A report is a read-only copy of its source."""
    source = {"v": SUCCESS}
    made = RefreshReport(source, NOON, NOON)
    source.clear()
    assert dict(made.results) == {"v": SUCCESS}
    with pytest.raises(TypeError, match="does not support item assignment"):
        made.results["w"] = SUCCESS  # type: ignore[index]


def test_costs_that_are_not_known_do_not_count() -> None:
    """The cost of the run is the sum of those that are known, without the errors of a sum in floating point."""
    assert report(*[result(Outcome.SUCCEEDED, cost=0.1)] * 10, result(Outcome.RUNNING)).cost_credits == 1.0


# The error


@pytest.mark.parametrize("outcome", Outcome)
def test_a_report_is_ok_when_every_view_is_fresh(outcome: Outcome) -> None:
    """Only views that succeeded or were fresh already let `ok` be true and `raise_for_failures` pass."""
    each = report(SUCCESS, result(outcome))
    assert each.ok is outcome.is_fresh is (outcome in {"succeeded", "fresh"})
    if each.ok:
        each.raise_for_failures()
    else:
        with pytest.raises(RefreshesFailedError):
            each.raise_for_failures()


def test_the_error_names_what_is_not_fresh() -> None:
    """The error lists each stale view with outcome and reason: failures first, then the views they held up."""
    each = report(
        weekly=result(Outcome.SKIPPED, "daily failed"),
        base=SUCCESS,
        daily=result(Outcome.FAILED, "syntax error\nat line 3"),
        hourly=result(Outcome.EXPIRED),
    )
    with pytest.raises(DuneError) as caught:
        each.raise_for_failures()
    assert str(caught.value).splitlines() == [
        "3 of 4 views not known to be fresh:",
        "  daily failed: syntax error at line 3",
        "  hourly expired",
        "  weekly skipped: daily failed",
    ]


def test_the_error_stays_readable_when_much_failed() -> None:
    """The first ten views have their reasons, cut to a line; all others are named by outcome."""
    failed, skipped = result(Outcome.FAILED, "no such column; " * 100), result(Outcome.SKIPPED, "v0 failed")
    with pytest.raises(RefreshesFailedError) as caught:
        report(*[failed] * 12, *[skipped] * 88).raise_for_failures()
    lines = str(caught.value).splitlines()
    assert len(lines) == 13
    assert max(map(len, lines[:11])) < 230
    assert lines[11] == "  also failed: v10, v11"
    assert lines[12].startswith("  also skipped: v12, v13, ")
    assert lines[12].endswith(", v99")


def test_the_error_survives_pickling() -> None:
    """An error that crosses a process still has its message and its report."""
    with pytest.raises(RefreshesFailedError) as caught:
        MIXED.raise_for_failures()
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (type(twin), str(twin), twin.report) == (RefreshesFailedError, str(caught.value), MIXED)
