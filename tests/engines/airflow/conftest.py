"""What the tests in one process share: an Airflow home with a migrated database, and a sandbox behind the connection.

Airflow reads its settings when it is imported: so they are made here, before any test module.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dune_matviews.sandbox import DuneSandbox

HERE = Path(__file__).parent
HOME = Path(tempfile.mkdtemp(prefix="airflow-"))
DAGS = HOME / "dags"
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
shutil.copytree(HERE / "dags", DAGS)
for example in ("airflow_dag.py", "plan.toml"):
    (DAGS / "examples").mkdir(exist_ok=True)
    shutil.copy(HERE.parents[2] / "examples" / example, DAGS / "examples")
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[DuneSandbox]:
    """A Dune whose executions take milliseconds, which is what the connection `dune_default` leads to."""
    with DuneSandbox(speed=100) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DUNE_DEFAULT", connection_to(running))
        yield running


def connection_to(sandbox: DuneSandbox, plan: str = "enterprise") -> str:
    """A connection of type `dune` that leads to a sandbox, as the environment has it."""
    return json.dumps({"conn_type": "dune", "password": sandbox.api_key, "host": sandbox.url, "extra": {"plan": plan}})
