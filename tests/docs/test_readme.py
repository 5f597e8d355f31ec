"""The documents: every snippet runs as it stands, against the sandbox."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dune_matviews import otel
from dune_matviews.sandbox import DuneSandbox
from tests.skipping import SkippedTime

ROOT = Path(__file__).parents[2]
README, CLIENT = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/client.md"))
PROGRAMS = re.findall(r"```python\n(.*?)```", README + CLIENT, flags=re.DOTALL)
VIEW = "dune.my_team.result_daily_volume"


def run(snippet: str) -> None:
    """Run a snippet as the program that it is."""
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})


def test_the_first_snippet_shows_a_refresh(dune_sandbox: DuneSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """The quick start starts one refresh, and prints its id, its end and its cost."""
    run(PROGRAMS[0])
    (charge,) = dune_sandbox.ledger
    printed = capsys.readouterr().out
    assert (charge.name, charge.performance) == (VIEW, "large")
    assert re.match(rf"{charge.execution_id}\ncompleted 1\.0 \d{{4}}-\d\d-\d\d ", printed)


@pytest.mark.parametrize("place", range(1, len(PROGRAMS)))
def test_every_other_program_runs(
    place: int, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No program of these documents fails, and each reaches the sandbox."""
    monkeypatch.chdir(tmp_path)  # where a program may leave its files
    SkippedTime(dune_sandbox.advance).install(monkeypatch)
    if "EXECUTION_ID" in PROGRAMS[place]:
        from dune_matviews import MatviewsClient

        with MatviewsClient() as dune:
            monkeypatch.setenv("EXECUTION_ID", dune.refresh(VIEW).execution_id)
    try:
        run(PROGRAMS[place])
    finally:
        otel.uninstrument()
    assert dune_sandbox.ledger


def test_every_error_is_documented() -> None:
    """The table of errors leaves none out."""
    import dune_matviews

    errors = [name for name in dune_matviews.__all__ if name.endswith("Error")]
    assert [name for name in errors if f"`{name}`" not in CLIENT and name not in ("RefreshError",)] == []
