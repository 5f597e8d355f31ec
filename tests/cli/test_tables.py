"""The results of a run for people: the golden outputs of the table, its time line, and GitHub's summary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from dune_matviews import ErrorDetail, ExecutionState, ExecutionStatus, Outcome, RefreshReport, StopReason, ViewResult
from dune_matviews.cli import _data, _progress, _tables
from dune_matviews.cli._live import Live
from dune_matviews.cli._output import Output
from dune_matviews.cli._tables import Look

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def ran(
    outcome: Outcome, at: float, starts: float | None, ends: float | None, cost: float, reason: str | None = None
) -> ViewResult:
    """The result of an execution, in seconds after noon: submitted, started, ended; None is not yet."""
    started = None if starts is None else NOON + timedelta(seconds=starts)
    ended = None if ends is None else NOON + timedelta(seconds=ends)
    status = ExecutionStatus(
        execution_id="E1",
        state=ExecutionState.EXECUTING if ends is None else ExecutionState.COMPLETED,
        is_finished=ends is not None,
        submitted_at=NOON + timedelta(seconds=at),
        started_at=started,
        ended_at=ended,
    )
    return ViewResult(
        outcome=outcome,
        reason=reason,
        execution_id="E1",
        status=status,
        started_at=started,
        ended_at=ended,
        cost_credits=cost,
    )


REPORT = RefreshReport(
    {
        "dune.my_team.result_base": ran(Outcome.SUCCEEDED, 0, 10, 60, 12.5),
        "dune.my_team.result_prices": ran(
            Outcome.FAILED, 0, 0, 12, 0.4, "The refresh failed: mismatched [red]'FORM'[/]\x1b[2J\nand more"
        ),
        "dune.my_team.result_daily": ran(Outcome.RUNNING, 60, 70, None, 1.25, "the time of 90 s is over; it goes on"),
        "dune.my_team.result_queued": ran(Outcome.RUNNING, 80, None, None, 0.0),
        "dune.my_team.result_weekly": ViewResult(outcome=Outcome.FRESH, reason="refreshed at 2025-03-01 07:00 UTC"),
        "dune.my_team.result_yearly": ViewResult(outcome=Outcome.NOT_STARTED, reason="the time of 90 s is over"),
    },
    NOON,
    NOON + timedelta(seconds=90),
    StopReason.TIMEOUT,
)


def test_the_table_of_a_run() -> None:
    """A line a view: outcome, length, cost and when it waited and ran; a reason beside or below; the totals."""
    assert _tables.table(REPORT, Look()).splitlines() == [
        "VIEW                        OUTCOME       TOOK  CREDITS  12:00:00-12:01:20 UTC",
        "dune.my_team.result_base    succeeded    50.0s    12.50  ░░░░░█████████████████████████",
        "dune.my_team.result_prices  failed       12.0s     0.40  ███████",
        "  The refresh failed: mismatched [red]'FORM'[/] [2J and more",
        "dune.my_team.result_daily   running          -     1.25                               ░░░░░█████▶",
        "  the time of 90 s is over; it goes on",
        "dune.my_team.result_queued  running          -     0.00                                         ▶",
        "dune.my_team.result_weekly  fresh            -        -  refreshed at 2025-03-01 07:00 UTC",
        "dune.my_team.result_yearly  not started      -        -  the time of 90 s is over",
        "1 succeeded, 1 failed, 2 running, 1 fresh, 1 not started; 1m 30s, 14.15 credits",
    ]


def test_the_table_fits_its_terminal() -> None:
    """Bars get narrower, then names lose their beginning, then there are no bars; all of it in ASCII, if need be."""
    eighty = _tables.table(REPORT, Look(width=80, ascii=True)).splitlines()
    assert eighty[:3] == [
        "VIEW                        OUTCOME       TOOK  CREDITS  12:00:00-12:01:20 UTC",
        "dune.my_team.result_base    succeeded    50.0s    12.50  ...##############",
        "dune.my_team.result_prices  failed       12.0s     0.40  ####",
    ]
    assert eighty[4] == "dune.my_team.result_daily   running          -     1.25                  ...###>"
    assert _tables.table(REPORT, Look(width=73)).splitlines()[1].startswith("….my_team.result_base  succeeded")
    sixty = _tables.table(REPORT, Look(width=60)).splitlines()
    assert sixty[:2] == [
        "VIEW                        OUTCOME       TOOK  CREDITS",
        "dune.my_team.result_base    succeeded    50.0s    12.50",
    ]
    assert _tables.table(REPORT, Look(width=20)).splitlines()[1].startswith("…my_team.result_base  succeeded")


def test_outcomes_are_coloured_and_nothing_else_changes() -> None:
    """Only outcomes are coloured, by their meaning."""
    coloured = _tables.table(REPORT, Look(coloured=True))
    for colour, outcome in (("32", "succeeded"), ("31", "failed"), ("33", "running"), ("32", "fresh")):
        assert f"\x1b[{colour}m{outcome}\x1b[0m" in coloured
        coloured = coloured.replace(f"\x1b[{colour}m{outcome}\x1b[0m", outcome)
    assert coloured.replace("\x1b[33mnot started\x1b[0m", "not started") == _tables.table(REPORT, Look())


def test_a_run_over_days_has_days_above_its_bars() -> None:
    """Hours alone would not tell which day they are of."""
    long = ran(Outcome.SUCCEEDED, 0, 0, 86400, 1.0)
    table = _tables.table(RefreshReport({"v": long}, NOON, NOON + timedelta(days=1)), Look())
    assert table.splitlines()[0].endswith("  01 Mar 12:00-02 Mar 12:00 UTC")


def test_what_ran_in_an_earlier_run_has_no_bar() -> None:
    """The time line covers this run only: earlier times from the journal would stretch it."""
    earlier = ViewResult(outcome=Outcome.SUCCEEDED, started_at=NOON - timedelta(hours=9), ended_at=NOON)
    assert _tables.table(RefreshReport({"v": earlier}, NOON, NOON), Look()).splitlines() == [
        "VIEW  OUTCOME      TOOK  CREDITS",
        "v     succeeded  9h 00m        -",
        "1 succeeded; 0.0s, 0.00 credits",
    ]


def test_the_last_line_says_where_the_time_went() -> None:
    """The time along the critical path is divided into waiting, the queue, executing, and noticing ends."""
    base = ran(Outcome.SUCCEEDED, 5, 10, 60, 12.5)
    requested, noticed = NOON + timedelta(seconds=5), NOON + timedelta(seconds=61.5)
    view = attrs.evolve(base, requested_at=requested, noticed_at=noticed)
    report = RefreshReport({"v": view}, NOON, NOON + timedelta(seconds=62))
    assert _tables.table(report, Look()).splitlines()[-2:] == [
        "1 succeeded; 1m 02s, 12.50 credits",
        "Time spent: waiting 5.0s, queued 5.0s, executing 50.0s, noticing 1.5s",
    ]


def test_no_views_are_a_table_all_the_same() -> None:
    """An empty run says so."""
    assert _tables.table(RefreshReport({}, NOON, NOON), Look()).splitlines()[-1] == "no views; 0.0s, 0.00 credits"


def test_what_goes_on_comes_with_commands_to_paste() -> None:
    """Running executions can be followed and cancelled, and ambiguous ones searched for before paying again."""
    ambiguous = ViewResult(outcome=Outcome.AMBIGUOUS)
    results = {"a": REPORT.results["dune.my_team.result_daily"], 'dune."21co".b': ambiguous}
    assert list(_tables.what_to_do(results)) == [
        "a goes on. Follow it, or end it:",
        "  dune-matviews wait E1",
        "  dune-matviews cancel E1",
        'dune."21co".b may be running. Its latest executions, for `status` and `wait`:',
        "  dune-matviews get 'dune.\"21co\".b'",
        "Follow the one under way; where there is none, this starts another, which may be billed:",
        "  dune-matviews refresh 'dune.\"21co\".b' --if-running adopt",
    ]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (ViewResult(outcome=Outcome.RUNNING, execution_id="E1"), "started  execution E1"),
        (ran(Outcome.RUNNING, 0, 1, None, 0.5), "executing"),
        (ran(Outcome.SUCCEEDED, 0, 0, 12, 2.0), "succeeded  12.0s  2.00 credits"),
        (ViewResult(outcome=Outcome.NOT_STARTED, reason="why\x1b[2J"), "not started  why [2J"),
    ],
)
def test_events_are_told_on_one_line(result: ViewResult, said: str) -> None:
    """The outcome, and the known details."""
    assert _progress.event(result) == said


def test_a_display_that_fails_ends_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A paid execution is followed to its end even if it can no longer be shown, with one message."""
    steps: list[str] = []

    class Failing:
        def update(self, name: str, result: ViewResult) -> None:
            steps.append(name)
            raise ZeroDivisionError(name)

    careful = _progress.Careful(Failing(), Output("text"))
    for _ in range(3):
        careful.update("v", ViewResult(outcome=Outcome.RUNNING))
    assert steps == ["v"]
    assert capsys.readouterr().err == (
        "Warning: The progress cannot be shown any longer (ZeroDivisionError: v); the run goes on.\n"
    )


def test_an_execution_is_described_as_far_as_it_is_known() -> None:
    """A line for each value that Dune reports, and none for missing ones."""
    status = ExecutionStatus(
        execution_id="E1",
        state=ExecutionState.FAILED,
        is_finished=True,
        query_id=7,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=61),
        cost_credits=1234.5,
        error=ErrorDetail(type="syntax_error", message="no\n'FORM'", line=3, column=9),
    )
    assert _data.execution(status).splitlines() == [
        "execution  E1",
        "state      failed",
        "query      7",
        "started    2025-03-01 12:00:00 UTC",
        "ended      2025-03-01 12:01:01 UTC",
        "took       1m 01s",
        "cost       1,234.50 credits",
        "error      syntax_error no 'FORM' (line 3, column 9)",
    ]


def test_the_time_of_a_view_is_the_same_live_and_in_the_end() -> None:
    """While it runs, its execution is counted alone, as in the table; once it has ended, Dune's own times count."""
    now = 0.0
    live = Live(Output("text"), 1, clock=lambda: now)
    for now, result, shown in (
        (0.0, ViewResult(outcome=Outcome.RUNNING, execution_id="E1"), "0.0s"),
        (30.0, ran(Outcome.RUNNING, 0, None, None, 0.0), "30.0s"),
        (40.0, ran(Outcome.RUNNING, 0, 39, None, 0.1), "0.0s"),
        (95.0, ran(Outcome.RUNNING, 0, 39, None, 0.2), "55.0s"),
        (100.0, ran(Outcome.SUCCEEDED, 0, 39, 98, 0.3), "59.0s"),
    ):
        live.update("v", result)
        assert live._rows["v"].cells(now)[1] == shown
    assert _tables.figures(result)[1] == "59.0s"
