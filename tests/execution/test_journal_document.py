"""The document on journals: its programs run, its lines are a journal, and its table has every event."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dune_matviews import Outcome
from dune_matviews._execution.records import Records
from dune_matviews.sandbox import DuneSandbox
from tests.skipping import SkippedTime

DOCUMENT = (Path(__file__).parents[2] / "docs/journal.md").read_text("utf-8")
DAILY, BASE = "dune.my_team.result_daily", "dune.my_team.result_base"
BILLED = [[DAILY, BASE, DAILY], [DAILY, BASE], [DAILY], [DAILY]]
"""What each program pays."""


def blocks(language: str) -> list[str]:
    """The code blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


PROGRAMS = list(zip(blocks("python"), BILLED, strict=True))


@pytest.mark.parametrize(("program", "billed"), PROGRAMS, ids=["repeat", "list", "sqlite", "by-hand"])
def test_every_program_runs_and_pays_once(
    program: str, billed: list[str], dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each program runs at the stated price; a run pays nothing when repeated."""
    monkeypatch.chdir(tmp_path)
    SkippedTime(dune_sandbox.advance).install(monkeypatch)
    scope = {"__name__": "__main__"}
    exec(compile(program, "docs/journal.md", "exec"), scope)
    assert [charge.name for charge in dune_sandbox.ledger] == billed
    if "SQLiteStore" in scope:
        exec(compile(program, "docs/journal.md", "exec"), scope)
        assert [charge.name for charge in dune_sandbox.ledger] == billed


def test_the_lines_are_a_journal() -> None:
    """The example is read line by line, and matches the table."""
    (block,) = blocks("json")
    found = Records()
    for line in block.splitlines():
        found.take(line)
    assert (found.run, found.is_finished) == ("2026-01-31", True)
    a, b, c = (found.views[name] for name in "abc")
    assert a.result is not None
    assert (a.result.outcome, a.result.cost_credits, a.how) == (Outcome.SUCCEEDED, 1.5, "response")
    assert (b.execution_id, b.how, b.is_settled) == ("01JJ0", "adopted", False)
    assert c.is_refused


def test_every_line_is_explained() -> None:
    """The table has the header and every event of the example, and no others."""
    (block,) = blocks("json")
    events = dict.fromkeys(re.findall(r'"event": "(\w+)"', block))
    table = DOCUMENT[DOCUMENT.index("| line | meaning |") :]
    explained = re.findall(r"^\| `?(\w+)`? \|", table, flags=re.MULTILINE)
    assert set(explained) == {"line", "header", *events}
