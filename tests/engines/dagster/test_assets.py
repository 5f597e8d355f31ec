"""Views as assets: keys and dependencies, what is materialized when, and what a failure leaves."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dune_matviews import DuneError, InvalidArgumentError
from dune_matviews.dagster import DuneResource, RefreshOptions, dune_assets
from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario

from .definitions import BASE, DAILY, OTHER
from .engine import until

VIEWS = {DAILY: [BASE], BASE: [], OTHER: []}


def key(view: str) -> dg.AssetKey:
    """The key of a view's asset."""
    return dg.AssetKey(view.split("."))


def assets(views: Any = VIEWS, options: RefreshOptions | None = None, **step: Any) -> dg.AssetsDefinition:
    """The assets of some views."""

    @dune_assets(views=views, **step)
    def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
        yield from dune.refresh_all(context, **(options or {}))

    return dune_views


def materialize(
    instance: dg.DagsterInstance, definition: dg.AssetsDefinition, *selection: str
) -> dg.ExecuteInProcessResult:
    """Materialize all assets, or some."""
    return dg.materialize(
        [definition],
        instance=instance,
        resources={"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))},
        selection=[key(each) for each in selection] or None,
        raise_on_error=False,
    )


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    """The views that a run has materialized, in order."""
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    return [".".join(each.path) for each in keys if each is not None]


def billed(sandbox: DuneSandbox) -> list[str]:
    """The views that were billed, in order."""
    return [charge.name for charge in sandbox.ledger]


def test_each_view_is_an_asset_that_depends_on_what_it_reads() -> None:
    """A mapping becomes assets with dependencies; views that are only read become assets, too."""
    definition = assets({DAILY: [BASE, OTHER]}, group_name="dune")
    assert {spec.key: {dep.asset_key for dep in spec.deps} for spec in definition.specs} == {
        key(DAILY): {key(BASE), key(OTHER)},
        key(BASE): set(),
        key(OTHER): set(),
    }
    assert {(spec.group_name, *spec.kinds) for spec in definition.specs} == {("dune", "dune")}


def test_a_plan_file_says_views_tiers_and_limits(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """The tier of a plan file reaches Dune, its age limit leaves fresh views alone, and its journal is not made."""
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'max_age = "6h"\njournal = "refresh.jsonl"\n[views."{BASE}"]\n[views."{DAILY}"]\nperformance = "large"\n'
    )
    dune_sandbox.add_view(BASE, age=60)
    result = materialize(instance, assets(plan))
    assert result.success
    assert [(charge.name, charge.performance) for charge in dune_sandbox.ledger] == [(DAILY, "large")]
    assert sorted(materialized(result)) == sorted([BASE, DAILY])
    assert not (tmp_path / "refresh.jsonl").exists()


def test_what_is_passed_takes_the_place_of_the_plan_file(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """An option of `refresh_all` counts more than the plan file's."""
    plan = tmp_path / "plan.toml"
    plan.write_text(f'max_age = "1m"\n[views."{BASE}"]\n')
    dune_sandbox.add_view(BASE, age=3600)
    assert materialize(instance, assets(plan, {"max_age": timedelta(hours=2)})).success
    assert billed(dune_sandbox) == []


def test_mistakes_in_a_plan_file_are_told_when_the_code_is_loaded(tmp_path: Path) -> None:
    """Dagster shows the file and the line in place of the assets."""
    (tmp_path / "plan.toml").write_text("views = 3\n")
    with pytest.raises(InvalidArgumentError, match=r"plan\.toml:1: "):
        assets(tmp_path / "plan.toml")


def test_a_view_is_materialized_with_what_dune_says_of_it(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """The event has id, cost, rows, bytes and a link to the query; the execution is the version of the data."""
    dune_sandbox.rehearse(BASE, Scenario(credits=2.5, rows=7, bytes=900))
    result = materialize(instance, assets(), BASE)
    [event] = result.get_asset_materialization_events()
    found: dict[str, Any] = {name: value.value for name, value in event.materialization.metadata.items()}
    [charge] = dune_sandbox.ledger
    assert found.pop("dune/query").startswith("https://dune.com/queries/")
    assert found.pop("dune/ended_at") > found.pop("dune/started_at")
    assert found == {
        "dune/execution_id": charge.execution_id,
        "dune/outcome": "succeeded",
        "dune/cost_credits": 2.5,
        "dagster/row_count": 7,
        "dune/size_bytes": 900,
    }
    assert (event.materialization.tags or {})["dagster/data_version"] == charge.execution_id


def test_only_what_is_selected_is_refreshed(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> None:
    """What a selected view reads is left as it is, if it is not selected."""
    assert materialized(materialize(instance, assets(), DAILY, OTHER)) == billed(dune_sandbox)
    assert sorted(billed(dune_sandbox)) == sorted([DAILY, OTHER])


def test_a_view_is_materialized_the_moment_it_is_fresh(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> None:
    """Dagster has stored the event of a view while the view that reads it still runs at Dune."""
    dune_sandbox.rehearse(DAILY, Scenario(running=float("inf")))
    stored: list[dg.EventLogEntry | None] = []

    @dune_assets(views=VIEWS)
    def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
        for result in dune.refresh_all(context):
            yield result
            if result.asset_key == key(BASE):
                [daily] = until(lambda: [each for each in dune_sandbox.ledger if each.name == DAILY], "daily runs")
                stored.append(instance.get_latest_materialization_event(key(BASE)))
                dune_sandbox.finish(daily.execution_id)

    assert materialize(instance, dune_views).success
    assert len(stored) == 1
    assert stored[0] is not None


def test_what_succeeded_is_materialized_and_the_step_fails_with_dunes_words(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """A view that Dune fails leaves the others materialized, and those that read it not started."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed", error=Failure(message="Column volume cannot be resolved")))
    result = materialize(instance, assets())
    assert materialized(result) == [OTHER]
    assert sorted(billed(dune_sandbox)) == sorted([BASE, OTHER])
    [failure] = result.get_step_failure_events()
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert "Column volume cannot be resolved" in (said.description or "")
    assert f"{DAILY} skipped: it reads {BASE}" in (said.description or "")


def test_what_goes_on_at_dune_is_followed_by_a_retry_of_the_step(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """Where Dune refuses to be asked, its execution goes on: each attempt follows it, and says what to do."""
    dune_sandbox.fail("status", *[Fault(status=403)] * 2)
    result = materialize(instance, assets(retry_policy=dg.RetryPolicy(max_retries=1)), BASE)
    [failure] = result.get_step_failure_events()
    assert len([each for each in result.all_events if each.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]) == 1
    assert "Re-execute the run" in str(failure.step_failure_data.user_failure_data)
    assert billed(dune_sandbox) == [BASE]


def test_dagster_starts_nothing_that_depends_on_a_step_that_failed(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """An asset that depends on a view is not materialized if another view of the step fails."""
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))

    @dg.asset(deps=[key(OTHER)])
    def reader() -> None:
        """Read a view that is fresh."""

    result = dg.materialize(
        [assets(), reader],
        instance=instance,
        resources={"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))},
        raise_on_error=False,
    )
    assert materialized(result) == [OTHER]


@pytest.mark.parametrize(("retry_failed", "bills"), [(False, 1), (True, 3)])
def test_a_retry_of_the_step_does_not_pay_for_a_failure_again(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, retry_failed: bool, bills: int
) -> None:
    """A retry policy does not repeat what Dune has failed, unless `retry_failed` says so."""
    dune_sandbox.rehearse(BASE, *[Scenario(end="failed")] * 3)
    definition = assets(options={"retry_failed": retry_failed}, retry_policy=dg.RetryPolicy(max_retries=2))
    assert not materialize(instance, definition, BASE).success
    assert billed(dune_sandbox) == [BASE] * bills


def test_a_retry_of_the_step_sends_what_was_refused_and_repeats_nothing(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox
) -> None:
    """What Dune refused is sent by the next attempt, which takes over what has succeeded before."""
    dune_sandbox.fail("refresh", Fault(status=403))
    result = materialize(instance, assets(retry_policy=dg.RetryPolicy(max_retries=1)), BASE, OTHER)
    assert result.success
    assert sorted(billed(dune_sandbox)) == sorted([BASE, OTHER])


def test_an_argument_that_cannot_be_used_ends_the_step(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> None:
    """An error of the SDK reaches Dagster as it is, and nothing is sent."""
    result = materialize(instance, assets(options={"max_parallel": 0}))
    [failure] = result.get_step_failure_events()
    assert "max_parallel must be a whole number" in str(failure.step_failure_data.error)
    assert dune_sandbox.requests == ()


def test_the_key_is_shown_nowhere(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> None:
    """Neither the resource nor any stored event of a run, failures included, has the key in it."""
    assert "sandbox-key" not in repr(DuneResource(api_key="sandbox-key"))
    assert "sandbox-key" not in str(DuneResource(api_key="sandbox-key"))
    dune_sandbox.rehearse(BASE, Scenario(end="failed"))
    result = materialize(instance, assets())
    assert not result.success
    assert not [entry for entry in instance.all_logs(result.run_id) if "sandbox-key" in str(entry)]


def test_the_resource_has_a_client_for_anything_else(dune_sandbox: DuneSandbox) -> None:
    """Lineage, for example, is taken with `client()`."""
    dune_sandbox.reads(DAILY, BASE)
    with DuneResource(api_key=dune_sandbox.api_key, base_url=dune_sandbox.url).client() as dune:
        assert dict(dune.lineage(DAILY)) == {BASE: (), DAILY: (BASE,)}


def test_a_wrong_key_is_dunes_refusal(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> None:
    """The step fails with what Dune says, and pays nothing."""
    result = dg.materialize(
        [assets()], instance=instance, resources={"dune": DuneResource(api_key="wrong")}, raise_on_error=False
    )
    [failure] = result.get_step_failure_events()
    assert "401" in str(failure.step_failure_data.user_failure_data)
    assert dune_sandbox.ledger == ()
    assert issubclass(InvalidArgumentError, DuneError)
