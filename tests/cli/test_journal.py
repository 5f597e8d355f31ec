"""The journal at the command line: recorded, shown and settled by hand, and the bills."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

from .conftest import Shell

BASE, DAILY = (f"dune.my_team.result_{name}" for name in ("base", "daily"))
FAST = ("--plan", "enterprise")
ENDLESS = Scenario(running=math.inf)


def billed(dune: DuneSandbox) -> list[str]:
    """The billed views, in order."""
    return [charge.name for charge in dune.ledger]


@pytest.fixture
def doubtful(shell: Shell, dune: DuneSandbox) -> Path:
    """A journal as a process leaves it that is killed before the response to an accepted request has arrived."""
    dune.rehearse(DAILY, ENDLESS)
    shell("refresh", DAILY, "--journal", "j.jsonl", "--timeout", "1s", *FAST, code=3)
    path = shell.folder / "j.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"started"' not in line))
    return path


def test_the_same_label_pays_once(shell: Shell, dune: DuneSandbox) -> None:
    """`--run` names a run in the journal: a repeat with the same label sends nothing, another label refreshes again."""
    for label in ("monday", "monday", "tuesday", "monday"):
        shell("refresh", DAILY, "--journal", "j.jsonl", "--run", label, *FAST)
    assert billed(dune) == [DAILY, DAILY]


def test_a_recorded_failure_is_retried_on_demand(shell: Shell, dune: DuneSandbox) -> None:
    """A repeat returns the failure and pays nothing; `--retry-failed` starts one more."""
    dune.rehearse(DAILY, Scenario(end="failed"))
    command = ("refresh", DAILY, "--journal", "j.jsonl", "--run", "monday", *FAST)
    shell(*command, code=1)
    shell(*command, code=1)
    assert billed(dune) == [DAILY]
    shell(*command, "--retry-failed")
    shell(*command, "--retry-failed")
    assert billed(dune) == [DAILY, DAILY]


def test_a_label_needs_a_journal(shell: Shell, dune: DuneSandbox) -> None:
    """The error says which option is missing, and nothing is sent."""
    assert "Pass --journal with it" in shell("refresh", DAILY, "--run", "monday", code=2).err
    assert dune.requests == ()


def test_a_lost_refresh_is_sent_again_where_that_is_asked_for(shell: Shell, dune: DuneSandbox) -> None:
    """`--if-lost resend` waits for the proof that nothing was accepted, and pays once; the default is to say so."""
    dune.fail("refresh", Fault(lost=True))
    shell("refresh", DAILY, *FAST, code=5)
    assert billed(dune) == []
    dune.fail("refresh", Fault(lost=True))
    shell("refresh", DAILY, "--if-lost", "resend", *FAST)
    assert billed(dune) == [DAILY]


PLAN = f"""\
journal = "state.jsonl"
retry_failed = true
if_lost = "resend"

[views."{BASE}"]

[views."{DAILY}"]
reads = ["{BASE}"]
"""


def test_a_plan_says_the_same_and_options_more(shell: Shell, dune: DuneSandbox) -> None:
    """A plan's keys count for its run; `--journal` and `--run` take their place for one command."""
    (shell.folder / "plan.toml").write_text(PLAN)
    dune.rehearse(DAILY, Scenario(end="failed"))
    shell("run", "plan.toml", "--run", "monday", *FAST, code=1)
    shell("run", "plan.toml", "--run", "monday", *FAST)
    assert billed(dune) == [BASE, DAILY, DAILY]
    dune.fail("refresh", Fault(lost=True))
    shell("run", "plan.toml", "--run", "monday", "--journal", "other.jsonl", *FAST)
    assert billed(dune) == [BASE, DAILY, DAILY, BASE, DAILY]
    assert {each.name for each in shell.folder.glob("*.jsonl")} == {"state.jsonl", "other.jsonl"}


def test_a_journal_is_shown(shell: Shell, dune: DuneSandbox) -> None:
    """Each view has a line with its state, cost and execution; as JSON, the result as a report has it."""
    dune.rehearse(DAILY, Scenario(end="failed", credits=4.0, billed=True))
    shell("refresh", BASE, DAILY, "--journal", "j.jsonl", "--run", "monday", "--max-parallel", "1", *FAST, code=1)
    shown = shell("journal", "show", "j.jsonl")
    ids = {charge.name: charge.execution_id for charge in dune.ledger}
    assert [line.split()[:4] for line in shown.out.splitlines()] == [
        ["Run", "monday,", "finished:"],
        ["VIEW", "STATE", "CREDITS", "EXECUTION"],
        [BASE, "succeeded", "1.00", ids[BASE]],
        [DAILY, "failed", "4.00", ids[DAILY]],
    ]
    assert shown.err == ""
    document = shell("journal", "show", "j.jsonl", "--output", "json").document
    assert (document["run"], document["is_finished"], document["ok"]) == ("monday", True, True)
    entry = document["views"][DAILY]
    assert (entry["state"], entry["how"], entry["is_earlier"]) == ("ended", "response", False)
    assert (entry["result"]["outcome"], entry["result"]["cost_credits"]) == ("failed", 4.0)


def test_what_is_in_doubt_is_shown_with_what_to_do(shell: Shell, doubtful: Path, dune: DuneSandbox) -> None:
    """The commands that settle it are printed, ready to paste, beside the table."""
    before = doubtful.read_bytes()
    shown = shell("journal", "show", str(doubtful))
    assert [DAILY, "in", "doubt"] in [line.split()[:3] for line in shown.out.splitlines()]
    assert f"  dune-matviews journal resolve {doubtful} {DAILY} --none" in shown.err.splitlines()
    assert doubtful.read_bytes() == before
    assert billed(dune) == [DAILY]


def test_a_view_is_settled_by_its_execution(shell: Shell, doubtful: Path, dune: DuneSandbox) -> None:
    """With `--id`, the next run follows that execution, and pays nothing."""
    (charge,) = dune.ledger
    dune.finish(charge.execution_id)
    settled = shell("journal", "resolve", str(doubtful), DAILY, "--id", charge.execution_id)
    assert (
        settled.out == f"{DAILY} is settled: the next run with this journal follows execution {charge.execution_id}.\n"
    )
    assert shell("journal", "show", str(doubtful), "--output", "json").document["views"][DAILY]["state"] == "started"
    done = shell("refresh", DAILY, "--journal", str(doubtful), "--output", "json", *FAST)
    assert done.document["views"][DAILY]["execution_id"] == charge.execution_id
    assert billed(dune) == [DAILY]


def test_a_view_is_settled_as_not_started(shell: Shell, doubtful: Path, dune: DuneSandbox) -> None:
    """With `--none`, the next run sends at once, and pays."""
    document = shell("journal", "resolve", str(doubtful), DAILY, "--none", "--output", "json").document
    assert (document["view"], document["execution_id"]) == (DAILY, None)
    assert "not started" in shell("journal", "show", str(doubtful)).out
    shell("refresh", DAILY, "--journal", str(doubtful), *FAST)
    assert billed(dune) == [DAILY, DAILY]


def test_only_what_is_open_can_be_settled(shell: Shell, dune: DuneSandbox) -> None:
    """For a view that has ended or is missing, the error lists the open views, and the file stays unchanged."""
    shell("refresh", BASE, "--journal", "j.jsonl", "--run", "monday", *FAST)
    before = (shell.folder / "j.jsonl").read_bytes()
    for view in (BASE, DAILY):
        told = shell("journal", "resolve", "j.jsonl", view, "--none", code=2).err
        assert told == f"Error: The journal j.jsonl has no refresh of {view} that is open; open is: nothing.\n"
    assert (shell.folder / "j.jsonl").read_bytes() == before


@pytest.mark.parametrize("options", [(), ("--none", "--id", "01J")])
def test_what_has_become_of_it_is_said_once(shell: Shell, options: tuple[str, ...]) -> None:
    """Neither, or both, is wrong usage."""
    assert "either --none or --id ID" in shell("journal", "resolve", "j.jsonl", DAILY, *options, code=2).err


@pytest.mark.parametrize("command", [("show",), ("resolve", DAILY, "--none")])
def test_what_is_no_journal_is_said(shell: Shell, command: tuple[str, ...]) -> None:
    """A file that is missing or foreign is an error of one line, and is neither made nor changed."""
    what, *rest = command
    missing = shell("journal", what, "missing.jsonl", *rest, code=2)
    assert missing.err == "Error: The journal missing.jsonl cannot be used: No such file or directory.\n"
    assert not (shell.folder / "missing.jsonl").exists()
    (shell.folder / "notes.md").write_text("Buy milk.\n")
    assert "line 1: no JSON" in shell("journal", what, "notes.md", *rest, code=2).err
    assert (shell.folder / "notes.md").read_text() == "Buy milk.\n"


def test_an_empty_journal_is_shown(shell: Shell) -> None:
    """A run that has not come to any view is one, too."""
    header = {"journal": "dune-matviews", "version": 2, "run": None, "at": "2026-01-31T06:00:00+00:00"}
    (shell.folder / "j.jsonl").write_text(json.dumps(header) + "\n")
    assert shell("journal", "show", "j.jsonl").out == "A run without a label, not finished; no view is recorded.\n"
