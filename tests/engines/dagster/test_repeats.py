"""Runs that are re-executed, by Dagster or by a person: what they follow, and what they pay for."""

from __future__ import annotations

import dagster as dg

from dune_matviews.sandbox import DuneSandbox, Scenario

from .conftest import Run
from .definitions import BASE, DAILY, OTHER

AUTOMATIC = {"dagster/retry_number": "1"}  # what Dagster's daemon marks its retries with


def bills(sandbox: DuneSandbox) -> dict[str, int]:
    """How often each view was billed."""
    names = [charge.name for charge in sandbox.ledger]
    return {name.rpartition("_")[2]: names.count(name) for name in (BASE, DAILY, OTHER)}


def test_another_run_refreshes_everything(run: Run, dune_sandbox: DuneSandbox) -> None:
    """A run of its own has a journal of its own."""
    for _ in range(2):
        assert run().is_success
    assert bills(dune_sandbox) == {"base": 2, "daily": 2, "other": 2}


def test_a_retry_of_dagsters_pays_for_no_failure_again(run: Run, dune_sandbox: DuneSandbox) -> None:
    """Dune has failed a view: an automatic retry of the run says so once more, and starts nothing."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))
    failed = run()
    again = run(parent=failed, tags=AUTOMATIC)
    assert not again.is_success
    assert bills(dune_sandbox) == {"base": 1, "daily": 0, "other": 1}


def test_a_person_who_reexecutes_a_run_pays_for_what_failed_alone(run: Run, dune_sandbox: DuneSandbox) -> None:
    """What failed is refreshed again, then what reads it; what succeeded is materialized from the journal."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))
    failed = run()
    assert run(parent=failed).is_success
    assert bills(dune_sandbox) == {"base": 2, "daily": 1, "other": 1}


def test_a_repeat_tells_of_a_view_what_no_journal_has(
    run: Run, instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """Rows and the link to the query are there also for a view that was refreshed by the run before."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))
    dune_sandbox.rehearse(OTHER, Scenario(rows=7))
    again = run(parent=run(), tags=AUTOMATIC)
    [entry] = instance.all_logs(again.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert entry.asset_materialization is not None
    assert entry.asset_materialization.metadata["dagster/row_count"].value == 7
    assert "dune/query" in entry.asset_materialization.metadata


def test_a_retry_of_what_a_person_has_reexecuted_pays_for_nothing_again(run: Run, dune_sandbox: DuneSandbox) -> None:
    """The wish to try again is the person's for one run, and not for those that Dagster launches in its place."""
    dune_sandbox.rehearse(BASE, *[Scenario(end="failed")] * 3)
    retried = run(parent=run())
    assert not run(parent=retried, tags=AUTOMATIC).is_success
    assert bills(dune_sandbox)["base"] == 2


def test_all_reexecutions_of_a_run_share_its_journal(run: Run, dune_sandbox: DuneSandbox) -> None:
    """Who re-executes a failed run twice does not pay for what the first repeat has refreshed."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))
    failed = run()
    for _ in range(2):
        assert run(parent=failed).is_success
    assert bills(dune_sandbox) == {"base": 2, "daily": 1, "other": 1}


def test_who_reexecutes_a_run_that_succeeded_asks_for_another_refresh(run: Run, dune_sandbox: DuneSandbox) -> None:
    """Nothing was left to do, so that everything is done again."""
    again = run(parent=run())
    assert again.is_success
    assert bills(dune_sandbox) == {"base": 2, "daily": 2, "other": 2}


def test_a_repeat_after_a_success_has_a_journal_of_its_own(run: Run, dune_sandbox: DuneSandbox) -> None:
    """A re-execution of a success that fails is repeated by what it has done itself."""
    first = run()
    dune_sandbox.rehearse(DAILY, Scenario(end="failed"))
    failed = run(parent=first)
    assert run(parent=failed).is_success
    assert bills(dune_sandbox) == {"base": 2, "daily": 3, "other": 2}


def test_no_journal_is_guessed_where_a_run_was_deleted(
    run: Run, instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """A repeat of what repeats a deleted run is refused before anything is sent."""
    dune_sandbox.rehearse(BASE, *[Scenario(end="failed")] * 2)
    root = run()
    failed = run(parent=root)
    instance.delete_run(root.run_id)
    sent = len(dune_sandbox.requests)
    refused = run(parent=failed)
    assert not refused.is_success
    assert any("has been deleted" in str(entry) for entry in instance.all_logs(refused.run_id))
    assert len(dune_sandbox.requests) == sent
