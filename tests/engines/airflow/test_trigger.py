"""What the trigger does in a triggerer's event loop: one client for all, and cancelling for people only."""

from __future__ import annotations

import asyncio
import math

import pytest

from dune_matviews import MatviewsClient
from dune_matviews.airflow.trigger import ExecutionTrigger
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.engines.airflow.conftest import connection_to


def trigger(execution_id: str, *, cancel_on_kill: bool = True) -> ExecutionTrigger:
    """A trigger for an execution, made from what Airflow stores of one."""
    made = ExecutionTrigger(execution_id, "dune.t.a", "dune_default", None, None, cancel_on_kill)
    path, arguments = made.serialize()
    assert path == "dune_matviews.airflow.trigger.ExecutionTrigger"
    return ExecutionTrigger(**arguments)


@pytest.mark.kill  # takes more than the minute that Dune's budgets are for
def test_many_triggers_share_one_budget_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """25 triggers in one loop spend the budget of a minute, wait for the next, and are never told to slow down."""
    with DuneSandbox(plan="plus", default=Scenario(running=140)) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DUNE_DEFAULT", connection_to(sandbox, plan="plus"))
        with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan="plus") as dune:
            ids = [dune.refresh("dune.t.a").execution_id for _ in range(25)]
        sandbox.advance(
            61
        )  # what this client has asked for counts no more: the triggers have the budget for themselves

        async def event(execution_id: str) -> str | None:
            (found,) = [each async for each in trigger(execution_id).run()]
            assert found.payload["execution_id"] == execution_id
            error: str | None = found.payload["error"]
            return error

        async def events() -> list[str | None]:
            return await asyncio.gather(*map(event, ids))

        assert asyncio.run(events()) == [None] * 25
        assert sum(each.operation == "status" for each in sandbox.requests) > 200
        assert [each for each in sandbox.requests if each.status == 429] == []


@pytest.mark.parametrize(("cancel_on_kill", "state"), [(True, "CANCELED"), (False, "EXECUTING")])
def test_a_person_who_kills_the_task_cancels_its_execution(
    cancel_on_kill: bool, state: str, sandbox: DuneSandbox
) -> None:
    """Airflow calls on_kill for what a person does; without cancel_on_kill the execution goes on."""
    sandbox.rehearse("dune.t.a", Scenario(pending=0, running=math.inf))
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
        execution_id = dune.refresh("dune.t.a").execution_id
    asyncio.run(trigger(execution_id, cancel_on_kill=cancel_on_kill).on_kill())
    assert [charge.state for charge in sandbox.ledger] == [f"QUERY_STATE_{state}"]


def test_a_triggerer_that_stops_cancels_nothing(sandbox: DuneSandbox) -> None:
    """The trigger's task is cancelled when its triggerer stops or hands it on; the execution goes on."""
    sandbox.rehearse("dune.t.a", Scenario(pending=0, running=math.inf))
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
        execution_id = dune.refresh("dune.t.a").execution_id

    async def stopped() -> None:
        made = trigger(execution_id)
        waiting = asyncio.ensure_future(anext(made.run()))
        while not any(each.operation == "status" for each in sandbox.requests):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await made.cleanup()

    asyncio.run(stopped())
    assert [charge.state for charge in sandbox.ledger] == ["QUERY_STATE_EXECUTING"]
