"""Announcements in the headers of Dune's responses, over real sockets: limits and deprecations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from dune_matviews import MatviewsClient, UnsupportedTierError
from dune_matviews._execution.pacing import Pace
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.skipping import SkippedTime

VIEW = "dune.my_team.result_daily_volume"
Connect = Callable[..., MatviewsClient]


def statuses(sandbox: DuneSandbox) -> set[int | None]:
    """The statuses of everything that the sandbox has sent."""
    return {request.status for request in sandbox.requests}


def test_a_client_on_free_uses_what_dune_announces(connect: Connect, skipped: SkippedTime) -> None:
    """After the first responses, a client that believes to be on Free sends as fast as the account's plan allows."""
    with DuneSandbox(plan=(350, 1000)) as sandbox:
        skipped.advance = sandbox.advance
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        for number in range(60):
            dune.refresh(f"{VIEW}_{number}")
        assert len(sandbox.ledger) == 60
        assert skipped.total == 0
        assert statuses(sandbox) == {200}


@pytest.mark.parametrize("plan", ["enterprise", None])
def test_a_spent_quota_is_obeyed_before_a_429(connect: Connect, skipped: SkippedTime, plan: Any) -> None:
    """A client with too large a plan, or without pacing, is never refused, because limits are announced."""
    with DuneSandbox(plan=(2, 1000)) as sandbox:
        skipped.advance = sandbox.advance
        dune = connect(sandbox.api_key, base_url=sandbox.url, plan=plan)
        for number in range(7):
            dune.refresh(f"{VIEW}_{number}")
        assert len(sandbox.ledger) == 7
        assert statuses(sandbox) == {200}
        assert skipped.total > 150


def test_an_operation_that_will_go_is_told_once(
    connect: Connect, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Each operation once for each client, with the date and without the key; logged, so that it is no exception."""
    retired = {
        "Deprecation": "@1777593600",
        "Sunset": "Sun, 01 Nov 2026 00:00:00 GMT",
        "Link": f'<https://docs.dune.com/changes?key={sandbox.api_key}>; rel="deprecation"',
    }
    sandbox.fail("refresh", *[Fault(headers=retired)] * 4)
    sandbox.fail("get", Fault(headers={"Deprecation": "true"}))
    for _ in range(2):
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        dune.refresh(f"{VIEW}_1")
        dune.refresh(f"{VIEW}_2")
    assert len(sandbox.ledger) == 4
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told[0].startswith("Dune says that the operation 'get' is deprecated. ")
    assert (
        told[1:]
        == [
            "Dune says that the operation 'refresh' is deprecated since 2026-05-01, and goes on 2026-11-01; see "
            "https://docs.dune.com/changes?key=***. Look for a newer version of dune-matviews."
        ]
        * 2
    )


def test_what_goes_wrong_over_a_notice_takes_no_response(
    connect: Connect, sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the headers of a paid response not be understood, the response counts all the same."""

    def broken(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(Pace, "learn", broken)
    refresh = connect(sandbox.api_key, base_url=sandbox.url).refresh(VIEW)
    assert [charge.execution_id for charge in sandbox.ledger] == [refresh.execution_id]


def test_whose_the_key_is(connect: Connect, sandbox: DuneSandbox) -> None:
    """The account has its name and kind, as far as Dune reports them."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    account = dune.whoami()
    assert (account.handle, account.customer_id, account.is_team) == ("my_team", "team_1", True)
    assert account.raw["api_key_id"] == account.api_key_id
    sandbox.fail("whoami", Fault(body=b'{"customer_id": "user_7", "handle": 7}'), Fault(body=b"{}"))
    person, unknown = dune.whoami(), dune.whoami()
    assert (person.handle, person.customer_id, person.is_team) == (None, "user_7", False)
    assert (unknown.customer_id, unknown.is_team) == (None, None)


def test_a_free_account_is_told_that_tiers_depend_on_the_plan(connect: Connect) -> None:
    """`medium` is refused on Free, for a refresh and for a view: the error says why, and does not advise `medium`."""
    with DuneSandbox(plan="free") as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        for refused in (partial(dune.refresh, VIEW), partial(dune.upsert, "result_x", 7)):
            with pytest.raises(UnsupportedTierError, match="depends on its plan") as caught:
                refused(performance="medium")
            assert caught.value.message == "Invalid performance tier"
            assert "medium" not in str(caught.value).replace("The tier 'medium' is refused", "")
        assert sandbox.ledger == ()
        dune.refresh(VIEW)
        assert len(sandbox.ledger) == 1


def test_an_update_keeps_the_tier_free(connect: Connect, sandbox: DuneSandbox) -> None:
    """A view whose schedule is on the tier `free`, which the SDK never asks for by itself, keeps it."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    view = {"name": "result_x", "query_id": 7, "cron_expression": "0 6 * * *", "performance": "free"}
    headers = {"X-Dune-Api-Key": sandbox.api_key}
    httpx.post(f"{sandbox.url}/api/v1/materialized-views", json=view, headers=headers, trust_env=False)
    dune.update("dune.my_team.result_x", cron_expression="0 7 * * *")
    schedule = dune.get("dune.my_team.result_x").schedule
    assert schedule is not None
    assert (schedule.cron_expression, schedule.performance) == ("0 7 * * *", "free")
    assert sandbox.ledger[-1].performance == "free"
