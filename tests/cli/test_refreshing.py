"""`refresh`, `run`, `status`, `wait` and `cancel`: their output, bills and exit codes."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest

from dune_matviews import MatviewsClient
from dune_matviews.cli import _running
from dune_matviews.cli._failures import failure
from dune_matviews.cli._output import Output
from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario

from .conftest import Shell

BASE, DAILY, WEEKLY = (f"dune.my_team.result_{name}" for name in ("base", "daily", "weekly"))
FAST = ("--plan", "enterprise")
ENDLESS = Scenario(running=math.inf, credits=100)


def billed(dune: DuneSandbox) -> list[str]:
    """The billed views, in order."""
    return [charge.name for charge in dune.ledger]


def events(printed: str) -> list[list[str]]:
    """The words of the lines that tell an event, without the moment."""
    return [line.split()[1:] for line in printed.splitlines() if line[:2] == "20" and "T" in line.split()[0]]


def test_a_refresh_is_told_line_by_line(shell: Shell, dune: DuneSandbox) -> None:
    """Where the output is no terminal: a line for each event, then a table, without colours; billed once."""
    done = shell("refresh", DAILY, *FAST)
    (charge,) = dune.ledger
    told = events(done.out)
    assert told[0] == [DAILY, "started", "execution", charge.execution_id]
    assert told[-1] == [DAILY, "succeeded", "0.0s", "1.00", "credits"]
    header, row, totals, time = done.out.splitlines()[-4:]
    assert header.split()[:4] == ["VIEW", "OUTCOME", "TOOK", "CREDITS"]
    assert row.split()[:4] == [DAILY, "succeeded", "0.0s", "1.00"]
    assert totals.startswith("1 succeeded; ")
    assert time.startswith("Time spent: waiting ")
    assert "\x1b" not in done.out
    assert done.err == ""


def test_json_is_one_document_and_all_else_is_beside_it(shell: Shell, dune: DuneSandbox) -> None:
    """Standard output has the report alone; events go to standard error."""
    dune.rehearse(DAILY, Scenario(end="failed", credits=4.0, billed=True, error=Failure(message="no \x1b[2J [red]")))
    done = shell("refresh", DAILY, BASE, "--output", "json", *FAST, code=1)
    assert (done.document["ok"], done.document["exit_code"]) == (False, 1)
    assert {name: view["outcome"] for name, view in done.document["views"].items()} == {
        DAILY: "failed",
        BASE: "succeeded",
    }
    assert {view["execution_id"] for view in done.document["views"].values()} == {
        charge.execution_id for charge in dune.ledger
    }
    assert done.document["cost_credits"] == 5.0
    assert [DAILY, "failed"] in [each[:2] for each in events(done.err)]
    assert "\x1b" not in done.out + done.err


def test_quiet_says_nothing_while_all_is_well(shell: Shell, dune: DuneSandbox) -> None:
    """A job of cron sends no mail for a success, and the whole table for a failure."""
    assert shell("refresh", DAILY, "-q", *FAST) == (0, "", "")
    dune.rehearse(DAILY, Scenario(end="failed"))
    failed = shell("refresh", DAILY, "--quiet", *FAST, code=1)
    assert [line.split()[:2] for line in failed.out.splitlines()[:2]] == [["VIEW", "OUTCOME"], [DAILY, "failed"]]
    assert failed.err == ""
    assert billed(dune) == [DAILY, DAILY]


def test_no_wait_prints_the_ids_and_returns(shell: Shell, dune: DuneSandbox) -> None:
    """An id a line, ready for `wait`, while the executions run on."""
    dune.rehearse(DAILY, ENDLESS)
    done = shell("refresh", DAILY, BASE, "--no-wait", "--performance", "large")
    assert done.out.split() == [charge.execution_id for charge in dune.ledger]
    assert [charge.performance for charge in dune.ledger] == ["large", "large"]
    assert not [each for each in dune.requests if each.operation == "status"]
    assert f"{DAILY} is being refreshed" in done.err
    assert shell("refresh", DAILY, "--no-wait", "-q", "--output=json").document["views"] == {
        DAILY: {"execution_id": dune.ledger[-1].execution_id}
    }


def test_no_wait_goes_on_after_a_refusal(shell: Shell, dune: DuneSandbox) -> None:
    """A view that is refused does not keep the others from being started; a key that is refused does."""
    dune.add_view(DAILY, owned=False)
    done = shell("refresh", DAILY, BASE, "--no-wait", "--output", "json", code=1)
    assert done.document["views"][DAILY]["error"]["status_code"] == 403
    assert done.document["views"][BASE]["execution_id"] == dune.ledger[0].execution_id
    assert f"Error: {DAILY}: Dune responded with 403" in done.err
    shell("refresh", DAILY, BASE, "--no-wait", code=1, environment={"DUNE_API_KEY": "wrong"})
    assert len(dune.requests) == 6
    assert billed(dune) == [BASE]


def test_no_wait_cannot_keep_to_limits(shell: Shell, dune: DuneSandbox) -> None:
    """Options of a waiting command are rejected without waiting, and nothing is sent."""
    for option in (
        ["--timeout", "9s"],
        ["--max-credits", "9"],
        ["--max-age", "9s"],
        ["--journal", "j"],
        ["--upstream"],
    ):
        assert f"cannot keep to {option[0]}" in shell("refresh", DAILY, "--no-wait", *option, code=2).err
    assert dune.requests == ()


def test_upstream_takes_the_lineage_along(shell: Shell, dune: DuneSandbox) -> None:
    """A view and everything under it, in order, each once, though two of them are named."""
    dune.reads(WEEKLY, DAILY)
    dune.reads(DAILY, BASE)
    shell("refresh", "--upstream", WEEKLY, DAILY, *FAST)
    assert billed(dune) == [BASE, DAILY, WEEKLY]


def test_what_is_fresh_is_left_as_it_is(shell: Shell, dune: DuneSandbox) -> None:
    """`--max-age` takes a duration, and a second run within it pays nothing."""
    shell("refresh", DAILY, *FAST)
    done = shell("refresh", DAILY, "--max-age", "1h", *FAST)
    assert events(done.out)[-1][:3] == [DAILY, "fresh", "refreshed"]
    assert billed(dune) == [DAILY]


def test_a_passed_cap_is_4(shell: Shell, dune: DuneSandbox) -> None:
    """The running execution is cancelled, and the rest is not started."""
    dune.rehearse(DAILY, Scenario(pending=0, running=36_000, credits=1e9))
    done = shell("refresh", DAILY, BASE, "--max-credits", "1", "--max-parallel", "1", *FAST, code=4)
    (charge,) = dune.ledger
    assert charge.state == "QUERY_STATE_CANCELED"
    assert "credits are over the cap of 1" in done.out
    assert done.out.count("  canceled  ") == 2  # one event, one line of the table


def test_time_that_is_over_is_3(shell: Shell, dune: DuneSandbox) -> None:
    """The execution goes on, and the command prints the ways to follow and to end it."""
    dune.rehearse(DAILY, ENDLESS)
    done = shell("refresh", DAILY, "--timeout", "1s", "--journal", "j.jsonl", code=3)
    (charge,) = dune.ledger
    assert done.err.splitlines() == [
        f"{DAILY} goes on. Follow it, or end it:",
        f"  dune-matviews wait {charge.execution_id}",
        f"  dune-matviews cancel {charge.execution_id}",
        "The journal j.jsonl remembers: the same command goes on from here.",
    ]
    dune.finish(charge.execution_id)
    shell("refresh", DAILY, "--timeout", "1m", "--journal", "j.jsonl")
    assert billed(dune) == [DAILY]


def test_an_ambiguous_refresh_is_5(shell: Shell, dune: DuneSandbox) -> None:
    """A response that was lost, of a view whose history could not be read before: nothing is sent twice."""
    dune.fail("refresh", Fault(status=502, accepted=True))
    dune.fail("get", Fault(status=500))
    done = shell("refresh", DAILY, code=5, environment={"DUNE_API_REQUEST_TIMEOUT": "0.2"})
    assert f"dune-matviews refresh {DAILY} --if-running adopt" in done.err
    assert billed(dune) == [DAILY]


def test_one_that_runs_may_be_adopted_or_refused(shell: Shell, dune: DuneSandbox) -> None:
    """`--if-running` decides; neither way is anything billed twice."""
    dune.rehearse(DAILY, ENDLESS)
    execution_id = shell("refresh", DAILY, "--no-wait").out.strip()
    assert "under way already" in shell("refresh", DAILY, "--if-running", "refuse", code=1).out
    dune.finish(execution_id)
    dune.rehearse(BASE, ENDLESS)
    execution_id = shell("refresh", BASE, "--no-wait").out.strip()
    assert execution_id == shell("refresh", BASE, "--if-running", "adopt", "--no-wait").out.strip()
    assert billed(dune) == [DAILY, BASE]


def test_the_tier_small_is_warned_of_on_one_line(shell: Shell, dune: DuneSandbox) -> None:
    """A warning in the words of the command, silenced or turned into a refusal by `--small-tier`."""
    (warning,) = shell("refresh", DAILY, "--performance", "small", *FAST).err.splitlines()
    assert warning.startswith("Warning: Dune's published OpenAPI spec accepts")
    assert "--small-tier allow silences this" in warning
    assert shell("refresh", DAILY, "--performance", "small", "--small-tier", "allow", "-q", *FAST).err == ""
    refused = shell("refresh", DAILY, "--performance", "small", "--small-tier", "forbid", code=2)
    assert refused.err.startswith("Error: The tier 'small' is refused, as was asked for")
    assert [charge.performance for charge in dune.ledger] == ["small", "small"]


# Plan files

PLAN = f"""\
max_age = "6h"
journal = "state.jsonl"

[views."{BASE}"]
performance = "large"

[views."{DAILY}"]
reads = ["{BASE}"]

[views."{WEEKLY}"]
"""


def test_a_plan_is_run_in_order(shell: Shell, dune: DuneSandbox) -> None:
    """The order, the tiers and the limits are the file's, and its journal lies beside it."""
    (shell.folder / "plans").mkdir()
    (shell.folder / "plans" / "nightly.toml").write_text(PLAN)
    shell("run", "plans/nightly.toml", *FAST)
    assert sorted(billed(dune)) == [BASE, DAILY, WEEKLY]
    assert billed(dune).index(BASE) < billed(dune).index(DAILY)
    assert {charge.name: charge.performance for charge in dune.ledger} == {BASE: "large", DAILY: None, WEEKLY: None}
    assert (shell.folder / "plans" / "state.jsonl").is_file()
    assert "3 fresh" in shell("run", "plans/nightly.toml", *FAST).out
    assert len(dune.ledger) == 3


def test_the_plan_files_plan_is_the_accounts(shell: Shell, dune: DuneSandbox) -> None:
    """`dune_plan` names the account's plan where `--plan` does not; without either, DUNE_PLAN does."""
    (shell.folder / "plan.toml").write_text(f'dune_plan = "enterprise"\n[views."{DAILY}"]')
    wrong = {"DUNE_PLAN": "nonsense"}
    shell("run", "plan.toml", environment=wrong)
    shell("refresh", DAILY, "--plan", "analyst", environment=wrong)
    assert billed(dune) == [DAILY, DAILY]
    assert "DUNE_PLAN must be one of" in shell("refresh", DAILY, environment=wrong, code=2).err
    assert billed(dune) == [DAILY, DAILY]


def test_a_dry_run_starts_nothing(shell: Shell, dune: DuneSandbox) -> None:
    """It shows the layers and the fresh views to skip; readers of a refreshed view are refreshed, too."""
    plan = shell.folder / "plan.toml"
    plan.write_text(PLAN)
    shell("refresh", DAILY, WEEKLY, "-q", *FAST)
    before = billed(dune)
    done = shell("run", "plan.toml", "--dry-run")
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[:3] for line in lines[1:3]] == [["1", BASE, "refresh"], [WEEKLY, "skip,", "fresh"]]
    assert lines[3][:3] == ["2", DAILY, "refresh"]
    assert "2 of 3 views would be refreshed; nothing was started." in done.out.splitlines()
    document = shell("run", "plan.toml", "--dry-run", "--output", "json").document
    assert document["layers"] == [[BASE, WEEKLY], [DAILY]]
    views = document["forecast"]["views"]
    assert {name: view["refreshes"] for name, view in views.items()} == {BASE: True, WEEKLY: False, DAILY: True}
    assert billed(dune) == before
    assert {each.method for each in dune.requests[-8:]} == {"GET"}
    assert not (shell.folder / "state.jsonl").exists()


def test_a_dry_run_tells_what_dune_would_refuse(shell: Shell, dune: DuneSandbox) -> None:
    """A view that is another account's is found before anything is paid."""
    dune.add_view(BASE, owned=False)
    (shell.folder / "plan.toml").write_text(PLAN)
    done = shell("run", "plan.toml", "--dry-run", code=1)
    assert "impossible  Dune responded with 403" in done.out.splitlines()[1]
    assert dune.ledger == ()


def test_mistakes_of_a_plan_are_2_and_have_a_line_each(shell: Shell, dune: DuneSandbox) -> None:
    """File, line and mistake, as a compiler tells them, and nothing is sent."""
    (shell.folder / "plan.toml").write_text('max_age = "6"\n[views.a]\nreads = ["b"]\n')
    assert [line.split(": ")[:2] for line in shell("run", "plan.toml", code=2).err.splitlines()] == [
        ["Error", "plan.toml:1"],
        ["Error", "plan.toml:3"],
    ]
    assert shell("run", "plan.toml", "--output", "json", code=2).document["error"]["type"] == "PlanError"
    assert dune.requests == ()


def test_lineage_is_a_plan_ready_to_run(shell: Shell, dune: DuneSandbox) -> None:
    """`run` refreshes the output of `lineage --format toml`, in the order of the lineage."""
    dune.reads(WEEKLY, DAILY)
    dune.reads(DAILY, BASE)
    (shell.folder / "plan.toml").write_text(shell("lineage", WEEKLY, "--format", "toml").out)
    assert dune.ledger == ()
    shell("run", "plan.toml", "-q", *FAST)
    assert billed(dune) == [BASE, DAILY, WEEKLY]


# One execution


def test_an_execution_is_polled_waited_for_and_canceled(shell: Shell, dune: DuneSandbox) -> None:
    """`status`, `wait` and `cancel` take the id that `refresh --no-wait` printed."""
    dune.rehearse(DAILY, ENDLESS, ENDLESS)
    first = shell("refresh", DAILY, "--no-wait").out.strip()
    shown = shell("status", first)
    assert shown.out.splitlines()[:1] == [f"execution  {first}"]
    assert shell("status", first, "--output", "json").document["execution"]["execution_id"] == first
    dune.finish(first)
    waited = shell("wait", first)
    assert events(waited.out)[-1][:2] == [first, "succeeded"]
    assert "state      completed" in waited.out
    second = shell("refresh", DAILY, "--no-wait").out.strip()
    assert shell("cancel", second).out == f"{second} is cancelled.\n"
    assert shell("cancel", second, "--output", "json", code=1).document["canceled"] is False
    assert "was cancelled" in shell("wait", second, code=1).err
    assert [charge.state for charge in dune.ledger] == ["QUERY_STATE_COMPLETED", "QUERY_STATE_CANCELED"]


def test_waiting_has_the_codes_of_its_ends(shell: Shell, dune: DuneSandbox) -> None:
    """A failure is 1, time that is over 3, a passed cap 4; the document has the last status."""
    dune.rehearse(DAILY, Scenario(end="failed"), ENDLESS, Scenario(pending=0, running=36_000, credits=1e9))
    failed, endless, costly = (shell("refresh", DAILY, "--no-wait").out.strip() for _ in range(3))
    document = shell("wait", failed, "--output", "json", code=1).document
    assert (document["error"]["type"], document["execution"]["state"]) == ("RefreshFailedError", "failed")
    over = shell("wait", endless, "--timeout", "1s", code=3)
    assert (
        f"Follow it with `dune-matviews wait {endless}`, or end it with `dune-matviews cancel {endless}`." in over.err
    )
    assert shell("wait", costly, "--max-credits", "1", "--output", "json", code=4).document["execution_id"] == costly
    assert [charge.state for charge in dune.ledger][2] == "QUERY_STATE_CANCELED"


# Interruptions


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("output", ["text", "json"])
def test_an_interrupted_run_says_how_to_go_on(
    ending: signal.Signals, output: str, shell: Shell, dune: DuneSandbox
) -> None:
    """Ctrl-C and SIGTERM are 130; executions go on, and the output has the commands to follow or cancel them."""
    dune.rehearse(DAILY, ENDLESS)
    with shell.start("refresh", DAILY, "--output", output) as process:
        stream = process.stdout if output == "text" else process.stderr
        assert stream is not None
        assert "started" in stream.readline()
        assert "executing" in stream.readline()
        process.send_signal(ending)
        out, err = process.communicate(timeout=600)
    (charge,) = dune.ledger
    assert process.returncode == 130
    assert f"dune-matviews cancel {charge.execution_id}" in err
    assert "Traceback" not in err
    if output == "json":
        document = json.loads(out)
        assert (document["exit_code"], document["stopped_by"]) == (130, "interrupted")
        assert document["views"][DAILY]["execution_id"] == charge.execution_id
    shell("cancel", charge.execution_id)


def test_an_interrupted_wait_says_how_to_go_on(shell: Shell, dune: DuneSandbox) -> None:
    """The execution goes on."""
    dune.rehearse(DAILY, ENDLESS)
    execution_id = shell("refresh", DAILY, "--no-wait").out.strip()
    with shell.start("wait", execution_id) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert f"or end it with `dune-matviews cancel {execution_id}`" in err
    assert "Traceback" not in err


def test_an_interruption_before_the_wait_says_how_to_go_on(
    dune: DuneSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A started execution is not forgotten during the import of the display."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_running, "following", interrupted)
    with MatviewsClient(dune.api_key, base_url=dune.url) as client, pytest.raises(KeyboardInterrupt) as caught:
        _running.wait(client.attach("01J"), DAILY, Output("text"))
    assert failure(caught.value).hints == (
        "The refresh goes on. Follow it with `dune-matviews wait 01J`, or end it with `dune-matviews cancel 01J`.",
    )


# GitHub Actions


def test_a_step_of_github_actions_leaves_a_summary_and_ids(shell: Shell, dune: DuneSandbox) -> None:
    """The summary has the table, the output the execution ids by name, as a JSON object."""
    files = {"GITHUB_STEP_SUMMARY": str(shell.folder / "summary"), "GITHUB_OUTPUT": str(shell.folder / "output")}
    shell("refresh", DAILY, "-q", *FAST, environment=files)
    assert f"| {DAILY.replace('_', '&#95;')} | succeeded |" in (shell.folder / "summary").read_text()
    shell("refresh", BASE, "--no-wait", environment=files)
    values = [json.loads(line) for line in (shell.folder / "output").read_text().splitlines() if line.startswith("{")]
    assert values == [{charge.name: charge.execution_id} for charge in dune.ledger]


def test_files_that_cannot_be_written_change_nothing(shell: Shell, dune: DuneSandbox, tmp_path: Path) -> None:
    """The run has been paid: its exit code stays its own."""
    done = shell("refresh", DAILY, *FAST, environment={"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert done.err.startswith("Warning: The files of GitHub Actions cannot be written:")
    assert billed(dune) == [DAILY]


# Caps


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_view_that_became_fresh_above_the_cap_is_4(quiet: tuple[str, ...], shell: Shell, dune: DuneSandbox) -> None:
    """`ok` tells that it is fresh, `stopped_by` and the exit code that it cost more, and --quiet speaks."""
    dune.rehearse(DAILY, *[Scenario(pending=0, running=0, credits=12.5)] * 3)
    done = shell("refresh", DAILY, "--max-credits", "1", *FAST, *quiet, code=4)
    assert "The cap of 1.00 credits was passed: the cost is 12.50 credits." in done.err
    assert "succeeded" in done.out
    document = shell("refresh", DAILY, "--max-credits", "1", "--output", "json", *FAST, *quiet, code=4).document
    assert (document["ok"], document["stopped_by"], document["exit_code"]) == (True, "credits", 4)
    execution_id = shell("refresh", DAILY, "--no-wait").out.strip()
    done = shell("wait", execution_id, "--max-credits", "1", "--output", "json", *quiet, code=4)
    assert (done.document["ok"], done.document["exit_code"]) == (True, 4)
    assert "The cap of 1.00 credits was passed" in done.err
    assert [charge.state for charge in dune.ledger] == ["QUERY_STATE_COMPLETED"] * 3


# Next steps


def test_an_error_of_wait_names_the_view(shell: Shell, dune: DuneSandbox) -> None:
    """Though people gave an id alone, and Dune's status has none; nothing more is said where the view is not listed."""
    dune.add_view(DAILY)
    dune.rehearse(DAILY, Scenario(end="failed"))
    execution_id = shell("refresh", DAILY, "--no-wait").out.strip()
    failed = shell("wait", execution_id, code=1)
    assert f"(view {DAILY})." in failed.err
    assert shell("wait", execution_id, "--output", "json", code=1).document["view"] == DAILY
    dune.fail("list", Fault(status=403))
    assert "(view" not in shell("wait", execution_id, code=1).err


def test_no_connection_comes_with_the_next_step(nowhere: Shell) -> None:
    """The system's words alone would leave people to guess, and an option of the SDK's is none of a shell's."""
    key = {"DUNE_API_KEY": "key", "DUNE_API_REQUEST_TIMEOUT": "0.1"}
    line = nowhere("list", code=1, environment=key).err.splitlines()[-1]
    assert line.endswith(
        "Check DUNE_API_BASE_URL, and that this machine reaches that host: a proxy is named by HTTPS_PROXY."
    )


def test_a_refusal_to_start_beside_another_comes_with_the_next_step(shell: Shell, dune: DuneSandbox) -> None:
    """An execution under way can be followed or ended."""
    dune.rehearse(DAILY, ENDLESS)
    execution_id = shell("refresh", DAILY, "--no-wait").out.strip()
    refused = shell("refresh", DAILY, "--if-running", "refuse", "--no-wait", code=1)
    assert f"Follow it with `dune-matviews wait {execution_id}`" in refused.err
