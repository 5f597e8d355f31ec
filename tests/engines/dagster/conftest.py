"""What the tests share: an instance on SQLite, and runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from dune_matviews.sandbox import DuneSandbox

from .definitions import refresh


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's memory, in files, as by default."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as found:
        yield found


Run = Callable[..., dg.DagsterRun]


@pytest.fixture
def run(instance: dg.DagsterInstance, dune_sandbox: DuneSandbox) -> Run:
    """Run the job of `definitions`, or re-execute a run of it: `run(parent=…, tags=…)`."""

    def execute(parent: dg.DagsterRun | None = None, tags: dict[str, str] | None = None) -> dg.DagsterRun:
        with dg.execute_job(
            dg.reconstructable(refresh),
            instance,
            run_config={"execution": {"config": {"in_process": {}}}},
            tags=tags,
            reexecution_options=None if parent is None else dg.ReexecutionOptions(parent.run_id),
        ) as result:
            found = instance.get_run_by_id(result.run_id)
        assert found is not None
        return found

    return execute
