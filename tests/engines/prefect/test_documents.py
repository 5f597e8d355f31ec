"""The page on Prefect and the example: what they show runs as it stands."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from dune_matviews.sandbox import DuneSandbox

from .conftest import bills

ROOT = Path(__file__).parents[3]
PROGRAMS = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs/prefect.md").read_text("utf-8"))


@pytest.mark.parametrize("program", [each for each in PROGRAMS if "@flow" in each], ids=["flow", "plan"])
def test_the_flows_of_the_page_run(
    program: str, sandbox: DuneSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refreshes its views once."""
    (tmp_path / "nightly.py").write_text(program)
    (tmp_path / "plan.toml").write_text((ROOT / "examples/plan.toml").read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("nightly.py")
    assert len(bills(sandbox)) == len(set(bills(sandbox))) == (6 if "read_plan" in program else 3)


def test_the_example_refreshes_its_plan(sandbox: DuneSandbox) -> None:
    """It runs as a program, and refreshes each of six views once."""
    runpy.run_path(str(ROOT / "examples/prefect_flow.py"), run_name="__main__")
    assert len(bills(sandbox)) == len(set(bills(sandbox))) == 6


def test_the_block_of_the_page_is_saved() -> None:
    """The key goes into a block of that name."""
    [program] = [each for each in PROGRAMS if ".save(" in each]
    exec(program, {})
    with get_client(sync_client=True) as api:
        block = api.read_block_document_by_name("my-account", "dune-credentials")
    assert block.data == {"api_key": "…", "base_url": None, "plan": "plus"}
