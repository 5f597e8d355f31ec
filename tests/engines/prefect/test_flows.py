"""Flows in this process, on a real server: what is billed when tasks and flows are repeated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prefect import flow, get_run_logger, task
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import SecretStr

from dune_matviews import ClientClosedError, ConfigurationError, Outcome, RefreshesFailedError
from dune_matviews.prefect import DuneCredentials, refresh_matview, refresh_matviews
from dune_matviews.prefect.credentials import shared_client
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

from .conftest import bills

A, B = "dune.my_team.result_a", "dune.my_team.result_b"
QUICK = Scenario(pending=0, running=0)
FAILURE = Scenario(pending=0, running=0, end="failed", billed=True)


@pytest.fixture
def sandbox(sandbox: DuneSandbox) -> DuneSandbox:
    """A Dune whose executions are over at once."""
    sandbox.rehearse(A, *[QUICK] * 9)
    sandbox.rehearse(B, *[QUICK] * 9)
    return sandbox


def test_a_flow_run_pays_once(sandbox: DuneSandbox) -> None:
    """Two calls in one flow run are one refresh with one result, two flow runs are two."""

    @flow
    def nightly() -> list[str | None]:
        return [refresh_matview(A).execution_id, refresh_matview(A).execution_id]

    first, second = nightly(), nightly()
    assert first == [sandbox.ledger[0].execution_id] * 2
    assert second == [sandbox.ledger[1].execution_id] * 2
    assert bills(sandbox) == [A, A]


def test_a_label_is_another_refresh(sandbox: DuneSandbox) -> None:
    """Labels tell refreshes of a view in one flow run apart."""

    @flow
    def twice() -> None:
        for day in ("monday", "tuesday", "monday"):
            refresh_matview(A, run=day)

    twice()
    assert bills(sandbox) == [A, A]


def test_views_are_refreshed_in_order(sandbox: DuneSandbox) -> None:
    """A view starts after what it reads; a second call in the flow run adds only what is new."""

    @flow
    def nightly() -> list[bool]:
        return [refresh_matviews(views).ok for views in ([B], {A: [B], B: []})]

    assert nightly() == [True, True]
    assert bills(sandbox) == [B, A]


def test_retries_of_a_task_return_what_has_failed(sandbox: DuneSandbox) -> None:
    """A view that Dune fails is paid for once, however often the task is retried."""
    sandbox.rehearse(view := "dune.my_team.result_failing", FAILURE)

    @flow
    def nightly() -> None:
        refresh_matview.with_options(retries=3)(view)

    with pytest.raises(RefreshesFailedError, match="result_failing failed") as failure:
        nightly()
    assert failure.value.report.results[view].outcome is Outcome.FAILED
    assert bills(sandbox) == [view]


def test_retrying_failures_is_asked_for(sandbox: DuneSandbox) -> None:
    """With `retry_failed`, each retry of the task is one more refresh, until one succeeds."""
    sandbox.rehearse(view := "dune.my_team.result_failing", FAILURE, FAILURE, QUICK)

    @flow
    def nightly() -> None:
        refresh_matview.with_options(retries=5)(view, retry_failed=True)

    nightly()
    assert bills(sandbox) == [view] * 3


def test_retries_of_a_flow_pay_nothing(sandbox: DuneSandbox) -> None:
    """What a flow refreshed before it failed is not refreshed by its retry."""
    attempts = []

    @flow(retries=2)
    def nightly() -> None:
        refresh_matview(A)
        refresh_matviews([A, B])
        attempts.append(1)
        assert len(attempts) == 3

    nightly()
    assert bills(sandbox) == [A, A, B]


def test_retries_of_a_parent_pay_nothing(sandbox: DuneSandbox) -> None:
    """A subflow that a retry of its parent runs as a new flow run goes on with what the first has started."""
    attempts = []

    @flow
    def inner() -> None:
        refresh_matview(A)
        attempts.append(1)
        assert len(attempts) == 2

    @flow(retries=1)
    def outer() -> None:
        inner()

    outer()
    assert bills(sandbox) == [A]


def test_a_lost_response_is_one_bill(sandbox: DuneSandbox) -> None:
    """A refresh whose response was lost is found, not sent again."""
    sandbox.fail("refresh", Fault(lost=True, accepted=True))

    @flow
    def nightly() -> None:
        refresh_matview(A)

    nightly()
    assert bills(sandbox) == [A]


def test_tasks_side_by_side_pay_once_each(sandbox: DuneSandbox) -> None:
    """Twelve refreshes in threads are one bill each, within the request limits of the account."""
    views = [f"dune.my_team.result_{number:02}" for number in range(12)]

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=12))  # type: ignore[arg-type]
    def nightly() -> None:
        refresh_matview.map(views).result()

    with DuneSandbox(plan="free", speed=100) as limited, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUNE_API_BASE_URL", limited.url)
        nightly()
        assert sorted(bills(limited)) == views
        assert [each for each in limited.requests if each.status == 429] == []


def test_users_of_an_account_share_a_client(sandbox: DuneSandbox) -> None:
    """One client paces all that runs side by side, and is closed after the last of them."""
    with shared_client(None) as first, shared_client(None) as second:
        assert first is second
    with pytest.raises(ClientClosedError):
        first.get(A)


def test_an_asynchronous_flow_refreshes(sandbox: DuneSandbox) -> None:
    """Flows of either colour submit the same tasks."""

    @flow
    async def nightly() -> None:
        first, second = refresh_matview.submit(A), refresh_matviews.submit([B])
        await asyncio.to_thread(first.result)
        await asyncio.to_thread(second.result)
        refresh_matview(A)

    asyncio.run(nightly())
    assert sorted(bills(sandbox)) == [A, B]


def test_a_cap_on_credits_counts_what_was_paid(sandbox: DuneSandbox) -> None:
    """A flow's retry starts nothing more once its first attempt has used up the credits."""
    attempts = []

    @flow(retries=1)
    def nightly() -> None:
        attempts.append(1)
        refresh_matviews({A: [B], B: []}, max_credits=0.5)

    with pytest.raises(RefreshesFailedError):
        nightly()
    assert len(attempts) == 2
    assert bills(sandbox) == [B]


def test_a_refresh_has_a_flow_run(sandbox: DuneSandbox) -> None:
    """A task outside of a flow has no journal, and starts nothing."""
    with pytest.raises(ConfigurationError, match="within a flow"):
        refresh_matview(A)
    assert bills(sandbox) == []


def test_the_key_is_in_nothing_that_prefect_keeps(sandbox: DuneSandbox, home: Path) -> None:
    """With credentials in a block, no parameter, cache key, result, log or block document has the key in clear."""
    key = "key-that-is-nowhere"

    @task(persist_result=True)
    def told(view: str) -> str:
        return f"{view} is fresh"

    @flow(persist_result=True)
    def nightly(credentials: str) -> str:
        result = refresh_matview.with_options(persist_result=True)(A, credentials=credentials)
        get_run_logger().info("%s by %s", result, DuneCredentials.load(credentials))
        return told(A)

    with DuneSandbox(api_key=key) as dune:
        dune.rehearse(A, QUICK)
        DuneCredentials(api_key=SecretStr(key), base_url=dune.url).save("one-account", overwrite=True)
        nightly("one-account")
        assert bills(dune) == [A]
    kept = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert [path for path, content in kept.items() if key.encode() in content] == []
    assert any(A.encode() in content for content in kept.values())
