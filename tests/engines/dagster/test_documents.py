"""What the documents show runs as it stands."""

import re
import runpy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dune_matviews.sandbox import DuneSandbox
from dune_matviews.sandbox.example import READS, example

ROOT = Path(__file__).parents[3]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "dagster.md").read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_of_the_page_refreshes_its_views(
    program: str, instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """Its definitions load, and materializing all of their assets refreshes each view once."""
    (tmp_path / "definitions.py").write_text(program)
    defs: Any = runpy.run_path(str(tmp_path / "definitions.py"))["defs"]
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    assert [charge.name.rpartition("_")[2] for charge in dune_sandbox.ledger] == ["base", "daily"]


def test_the_example_refreshes_the_views_of_its_plan_by_night(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job of its schedule leaves what is fresh, refreshes the rest once, and fails with the one that fails."""
    with example(speed=100) as sandbox:
        monkeypatch.setenv("DUNE_API_KEY", sandbox.api_key)
        monkeypatch.setenv("DUNE_API_BASE_URL", sandbox.url)
        monkeypatch.setenv("DUNE_PLAN", "enterprise")
        defs: Any = runpy.run_path(str(ROOT / "examples" / "dagster_definitions.py"))["defs"]
        job = defs.resolve_job_def("nightly")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        billed = sorted(charge.name.rpartition("result_")[2] for charge in sandbox.ledger)
        assert billed == ["base", "daily_users", "daily_volume", "weekly"]
    keys = {spec.key for spec in defs.resolve_all_asset_specs()}
    assert keys == {dg.AssetKey(view.split(".")) for view in READS}
