"""The page on dbt: its commands run as they stand, with a program in place of dbt."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from dune_matviews.sandbox import DuneSandbox
from tests.hurried import write_command

DOCUMENT = (Path(__file__).parents[2] / "docs/dbt.md").read_text("utf-8")
AFTER, BEFORE = (
    re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?s)```console\n(.*?)```", DOCUMENT)
)
VIEW = "dune.my_team.result_daily"
# Each call is another invocation: the file says the number of the process.
DBT = """#!/bin/sh
mkdir -p target
echo "{\\"metadata\\": {\\"invocation_id\\": \\"$$\\"}}" > target/run_results.json
"""


def run(folder: Path, script: str) -> int:
    """Run commands in a folder that has a plan and a dbt."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "dbt").write_text(DBT)
    (tools / "dbt").chmod(0o755)
    write_command(tools / "dune-matviews")
    (folder / "plan.toml").write_text(f'[views."{VIEW}"]')
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    return subprocess.run(["sh", "-ec", script], cwd=folder, env={**os.environ, "PATH": path}, check=False).returncode


def test_a_repeat_after_dbt_pays_nothing(dune_sandbox: DuneSandbox, tmp_path: Path) -> None:
    """The same invocation of dbt is the same run; another one is another refresh."""
    assert run(tmp_path, AFTER) == 0
    assert run(tmp_path, AFTER.replace("dbt build\n", "")) == 0
    assert len(dune_sandbox.ledger) == 1
    assert run(tmp_path, AFTER) == 0
    assert [charge.name for charge in dune_sandbox.ledger] == [VIEW, VIEW]


def test_a_source_is_refreshed_before_dbt(dune_sandbox: DuneSandbox, tmp_path: Path) -> None:
    """dbt runs once the view is fresh, and a view that is young enough is left alone."""
    assert run(tmp_path, BEFORE) == 0
    assert (tmp_path / "target/run_results.json").exists()
    assert run(tmp_path, BEFORE) == 0
    assert [charge.name for charge in dune_sandbox.ledger] == [VIEW]
