"""Odd but harmless values from Dune: no command takes one for a failure of a billed refresh."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dune_matviews import Outcome, ViewResult
from dune_matviews.sandbox import DuneSandbox, Fault

from .conftest import Shell
from .test_pure import NOON, report

VIEW = "dune.my_team.result_daily"
ENDED = "2025-01-31T06:00:00Z"

NUMBERS = [10**400, -(10**400), 2**63, -1, 1e308, -1e308, 0.5, "1e308", "many", True, None, [], {}]
MOMENTS = [
    "9999-12-31T23:59:59.999999-05:00",
    "0001-01-01T00:00:00+05:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2024-02-29T24:00:00Z",
    "9" * 400,
    "\ud800",
    10**400,
    True,
    [],
    {},
]
TEXTS = ["\ud800", "\x1b[2J", "a\u202eb", "x" * 100_000, 10**400, [[[]]], {"message": []}]
STATUS: dict[str, list[Any]] = {
    "query_id": NUMBERS,
    "queue_position": NUMBERS,
    "execution_cost_credits": NUMBERS,
    "submitted_at": MOMENTS,
    "execution_started_at": MOMENTS,
    "execution_ended_at": MOMENTS,
    "expires_at": MOMENTS,
    "cancelled_at": MOMENTS,
    "error": [*TEXTS, {"type": 1, "message": 10**400, "metadata": {"line": 10**400, "column": 1e308}}],
    "result_metadata": [{"total_row_count": each, "total_result_set_bytes": each} for each in NUMBERS],
    "something_new": [*TEXTS, *NUMBERS],
}


def documents(fields: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Documents in which each odd value is once."""
    most = max(map(len, fields.values()))
    return [{field: values[place % len(values)] for field, values in fields.items()} for place in range(most)]


def response(**fields: Any) -> Fault:
    """A success with that body."""
    return Fault(body=json.dumps(fields).encode())


@pytest.mark.parametrize("odd", documents(STATUS))
def test_odd_values_of_a_status_change_no_success(odd: dict[str, Any], shell: Shell, dune: DuneSandbox) -> None:
    """Every command that reads an execution prints its readable parts, and its journal can be read again."""
    running = response(**{"state": "QUERY_STATE_EXECUTING", "execution_cost_credits": 1, **odd})
    completed = response(**{"state": "QUERY_STATE_COMPLETED", "execution_ended_at": ENDED, **odd})
    actions = {name: str(shell.folder / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for form in ("text", "json"):
        journal = ("--journal", f"{form}.jsonl", "--run", "today")
        how = ("--plan", "enterprise", "--output", form)
        dune.fail("status", running, completed)
        shell("refresh", VIEW, *journal, *how, environment=actions)
        shell("refresh", VIEW, *journal, *how)
        shell("journal", "show", f"{form}.jsonl", "--output", form)
        dune.fail("status", running, completed)
        shell("wait", "E1", *how)
        for each in (running, completed):
            dune.fail("status", each)
            shell("status", "E1", *how)
    assert dune.pending_faults == ()
    for form in ("text", "json"):
        dune.fail("status", *[completed] * 3)
        shell("get", VIEW, "--output", form)
    assert [charge.name for charge in dune.ledger] == [VIEW, VIEW]


VIEWS = {
    "query_id": NUMBERS,
    "is_private": [*NUMBERS, *TEXTS],
    "table_size_bytes": NUMBERS,
    "something_new": [*TEXTS, *NUMBERS],
    "schedule": [
        *TEXTS,
        *({"cron_expression": each, "performance": each} for each in TEXTS),
        *({"next_execution_time": each, "expires_at": each} for each in MOMENTS),
    ],
}


@pytest.mark.parametrize("odd", documents(VIEWS))
def test_odd_values_of_a_view_hide_none_of_it(odd: dict[str, Any], shell: Shell, dune: DuneSandbox) -> None:
    """`get` and `list` show the view, as text and as JSON."""
    for form in ("text", "json"):
        dune.fail("get", *[response(sql_id=VIEW, last_execution_ids=[], **odd)] * 2)
        assert VIEW in shell("get", VIEW, "--output", form).out
        dune.fail("list", response(materialized_views=[{"sql_id": VIEW, **odd}]))
        assert VIEW in shell("list", "--output", form).out
    assert dune.pending_faults == ()


@pytest.mark.parametrize("odd", [*MOMENTS, *NUMBERS])
def test_odd_values_of_an_account_are_left_out(odd: object, shell: Shell, dune: DuneSandbox) -> None:
    """`usage` and `whoami` show the rest."""
    period = {"start_date": odd, "end_date": odd, "credits_used": odd, "credits_included": odd}
    account = {"handle": odd, "customer_id": odd, "api_key_id": odd, "created_by": odd}
    for form in ("text", "json"):
        dune.fail("usage", response(billing_periods=[period]))
        shell("usage", "--output", form)
        dune.fail("whoami", response(**account))
        shell("whoami", "--output", form)
    assert dune.pending_faults == ()


@pytest.mark.parametrize(("depth", "codes"), [(1, (1, 0)), (100, (1, 0)), (100_000, (3, 1))])
def test_an_unknown_state_may_be_as_deep_as_it_likes(
    depth: int, codes: tuple[int, int], shell: Shell, dune: DuneSandbox
) -> None:
    """The readable parts are shown; unreadable ones make an unexpected response, not a crash."""
    nested = "[" * depth + "]" * depth
    dune.fail("status", *[Fault(body=f'{{"is_execution_finished": true, "state": {nested}}}'.encode())] * 40)
    for command, code in zip((["wait", "E1", "--timeout", "1s"], ["status", "E1"]), codes, strict=True):
        assert "a bug" not in shell(*command, code=code, environment={"DUNE_API_REQUEST_TIMEOUT": "0.2"}).err


@pytest.mark.parametrize("date", ["Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_date_at_the_calendars_end_is_none(date: str, shell: Shell, dune: DuneSandbox) -> None:
    """A response that is lost is found again, though the server's clock says nonsense; billed once."""
    dune.fail("get", *[Fault(headers={"Date": date})] * 3)
    dune.fail("refresh", Fault(status=502, accepted=True))
    shell("refresh", VIEW, "--journal", "j.jsonl", "--plan", "enterprise")
    assert [charge.name for charge in dune.ledger] == [VIEW]


def test_costs_beyond_every_number_are_told_as_the_largest() -> None:
    """The report of a billed run can be printed for any cost that Dune reports."""
    result = ViewResult(outcome=Outcome.SUCCEEDED, cost_credits=1e308)
    assert type(report())({"a": result, "b": result}, NOON, NOON).cost_credits > 1e308
