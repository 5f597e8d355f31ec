"""The documents on the command line: every command runs as printed, and every table matches the code."""

from __future__ import annotations

import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dune_matviews import ExecutionState, ExecutionStatus, Outcome, RefreshReport, ViewResult
from dune_matviews.cli import _tables
from dune_matviews.cli._app import app
from dune_matviews.cli._exits import MEANING
from dune_matviews.plan import _mistakes as mistakes
from dune_matviews.plan import read_plan
from dune_matviews.sandbox import DuneSandbox

from .conftest import COMMAND, Shell

ROOT = Path(__file__).parents[2]
DOCUMENTS = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/cli.md")}
MANUAL = DOCUMENTS["docs/cli.md"]
DAILY, BASE = "dune.my_team.result_daily", "dune.my_team.result_base"


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENTS[document], flags=re.DOTALL)


SESSIONS = [
    pytest.param(commands, id=commands[0])
    for document in DOCUMENTS
    for block in blocks(document, "console")
    if (commands := re.findall(r"^\$ (dune-matviews .*)$", block, flags=re.MULTILINE))
]
SCHEDULED = [line for document in DOCUMENTS for block in blocks(document, "text") for line in block.splitlines()[:1]]


@pytest.mark.parametrize("commands", SESSIONS)
def test_the_commands_of_a_block_run_one_after_the_other(commands: list[str], shell: Shell, dune: DuneSandbox) -> None:
    """A person can paste them, and the refreshed views are fresh."""
    dune.reads(DAILY, BASE)
    script = "\n".join(["set -e", f"alias dune-matviews={shlex.quote(COMMAND)}", *commands])
    done = subprocess.run(
        ["sh", "-c", script], cwd=shell.folder, env=shell.environment, capture_output=True, text=True, timeout=6000
    )
    assert done.returncode == 0, done
    assert dune.requests
    assert {charge.state for charge in dune.ledger} <= {"QUERY_STATE_COMPLETED", "QUERY_STATE_EXECUTING"}


@pytest.mark.parametrize("line", [line for line in SCHEDULED if line.startswith("0 6")])
def test_the_line_for_cron_runs_and_is_quiet(line: str, shell: Shell, dune: DuneSandbox) -> None:
    """With the key in a file, it refreshes the plan, and sends no mail."""
    (shell.folder / "plan.toml").write_text(f'[views."{DAILY}"]')
    (shell.folder / "nightly.toml").write_text(f'[views."{DAILY}"]')
    key = shell.folder / ".dune-key"
    key.write_text(dune.api_key)
    key.chmod(0o600)
    program, *arguments = shlex.split(line.replace("/home/me/", f"{shell.folder}/"))[5:]
    assert program.endswith("/bin/dune-matviews")
    assert shell(*arguments, environment={"DUNE_API_KEY": ""}) == (0, "", "")
    assert [charge.name for charge in dune.ledger] == [DAILY]


def test_the_plan_file_of_the_manual_is_one(tmp_path: Path) -> None:
    """It has every key that there is, and the table explains each."""
    (block,) = [block for block in blocks("docs/cli.md", "toml") if "[views." in block]
    path = tmp_path / "plan.toml"
    path.write_text(block)
    found = read_plan(path)
    assert found.views == {BASE: (), DAILY: (BASE,)}
    assert found.options["performance"] == {BASE: "medium", DAILY: "large"}
    keys = {*mistakes.OF_THE_RUN, *mistakes.OF_A_VIEW}
    assert {key for key in keys if not re.search(rf"^{key} = |^\[{key}\.", block, re.MULTILINE)} == set()
    assert {key for key in keys if not re.search(rf"\| .*`.*\b{key}\b", MANUAL)} == set()


def test_the_manual_has_every_command_and_exit_code() -> None:
    """None is missing, and the codes have the meanings of `--help`."""
    assert [name for name in app.commands if not re.search(rf"^\| .*`{name}\b", MANUAL, re.MULTILINE)] == []
    assert re.findall(r"^\| (\d+) \| (.*) \|$", MANUAL, re.MULTILINE) == [
        (str(int(code)), meaning) for code, meaning in MEANING.items()
    ]


def test_the_table_of_the_manual_is_what_a_run_prints() -> None:
    """The picture is none of an earlier version."""
    began = datetime(2025, 1, 31, 6, 0, 1, tzinfo=UTC)

    def ran(outcome: Outcome, at: float, starts: float, ends: float, cost: float, why: str | None) -> ViewResult:
        submitted, started, ended = (began + timedelta(seconds=seconds) for seconds in (at, starts, ends))
        status = ExecutionStatus(
            execution_id="",
            state=ExecutionState.COMPLETED,
            is_finished=True,
            submitted_at=submitted,
            started_at=started,
            ended_at=ended,
        )
        return ViewResult(
            outcome=outcome,
            reason=why,
            status=status,
            started_at=started,
            ended_at=ended,
            cost_credits=cost,
            requested_at=submitted,
            noticed_at=ended + timedelta(seconds=1),
        )

    failure = "The refresh failed (execution 01JJX…): mismatched input 'FORM'"
    report = RefreshReport(
        {
            BASE: ran(Outcome.SUCCEEDED, 0, 20, 150, 12.5, None),
            DAILY: ran(Outcome.FAILED, 151, 166, 269, 4.2, failure),
            "dune.my_team.result_weekly": ViewResult(
                outcome=Outcome.SKIPPED, reason=f"it reads {DAILY}, which is failed"
            ),
        },
        began,
        began + timedelta(seconds=270),
    )
    assert f"```text\n{_tables.table(report, _tables.Look())}\n```" in MANUAL
