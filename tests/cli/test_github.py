"""GitHub Actions: the output and files of a step, and no foreign text is a command to the runner."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import Outcome, RefreshReport, ViewResult
from dune_matviews.cli import _github, _workflow
from dune_matviews.cli._output import Output
from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario

from .conftest import Finished, Shell
from .test_tables import NOON, REPORT, ran

VIEW = "dune.my_team.result_daily"
STEP = {"GITHUB_ACTIONS": "true"}
EVIL = ("##[add-mask]x", "::set-output name=a::b", " \u2003::error::x", "a##[error]b", "::stop-commands::t")


def commands(text: str) -> list[str]:
    """The lines that a runner takes for commands, as its source has it: ActionCommand.cs of actions/runner."""
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.lstrip().startswith("::") or "##[" in line]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The files of a step for its summary and for its outputs."""
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    for file in (summary, outputs):
        file.write_text("before\n")
    return summary, outputs


def many(count: int, reason: str) -> RefreshReport:
    """A report of so many views, of which the last has failed."""
    results = {f"dune.my_team.result_{n}": ViewResult(outcome=Outcome.FRESH, reason=reason) for n in range(count - 1)}
    return RefreshReport({**results, VIEW: ViewResult(outcome=Outcome.FAILED, reason=reason)}, NOON, NOON)


# Commands to the runner


def texts(*parts: str) -> st.SearchStrategy[str]:
    """Texts of these parts."""
    return st.lists(st.sampled_from(parts)).map("".join)


@given(texts(*":#[]\r\n \u2003\x85\x1cab", "##[", "::"))
def test_no_text_is_a_command(text: str) -> None:
    """For any foreign text, a runner finds none of its commands in it; text without colons is unchanged."""
    assert commands(_workflow.harmless(text)) == []
    assert ":" in text or "##[" in text or _workflow.harmless(text) == text


@given(texts(*":#[]\r\n \\", "##["))
def test_no_json_is_a_command(text: str) -> None:
    """The document says the same, and a runner finds nothing in it."""
    written = _workflow.harmless_json(json.dumps({text: [text]}, indent=2))
    assert commands(written) == []
    assert json.loads(written) == {text: [text]}


@given(texts(*":#[]%,=\r\n a", "##["), texts(*":#[]%,=\r\n a", "##["))
def test_an_annotation_is_one_command(text: str, title: str) -> None:
    """Neither the message nor the title ends it, or begins another."""
    written = _workflow.annotation("error", text, title)
    assert commands(written) == [written]
    assert written.startswith(("::error::", "::error title="))
    assert "##[" not in written


def told(done: Finished) -> list[str]:
    """The commands to the runner in all that was printed."""
    return commands(done.out + "\n" + done.err)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("form", ["text", "json"])
def test_text_of_dunes_reaches_no_runner(evil: str, form: str, shell: Shell, dune: DuneSandbox) -> None:
    """Names, reasons and refusals are printed, and only our own annotations are commands."""
    how = ("--output", form, "--plan", "enterprise", "--debug")
    dune.rehearse(VIEW, Scenario(end="failed", error=Failure(message=evil)))
    failed = shell("refresh", VIEW, *how, code=1, environment=STEP)
    assert [line[:46] for line in told(failed)] == [f"::error title={VIEW} failed"]
    dune.fail("status", Fault(status=404, body=json.dumps({"error": evil}).encode()))
    refused = shell("status", "E1", *how, code=1, environment=STEP)
    assert [line[:9] for line in told(refused)] == ["::error::"]
    dune.fail("list", Fault(body=json.dumps({"materialized_views": [{"sql_id": evil}]}).encode()))
    assert told(shell("list", *how, environment=STEP)) == []
    dune.fail("status", Fault(body=json.dumps({"state": evil, "error": evil}).encode()))
    assert told(shell("status", "E1", *how, environment=STEP)) == []
    dune.fail(
        "get", Fault(body=json.dumps({"sql_id": evil, "query_id": 7, "schedule": {"cron_expression": evil}}).encode())
    )
    assert told(shell("get", VIEW, *how, environment=STEP)) == []


def test_arguments_reach_no_runner(nowhere: Shell) -> None:
    """A hostile argument of a workflow appears only within an error message."""
    for evil in EVIL[:4]:
        for arguments in ([evil], ["refresh", "--timeout", evil], ["run", evil]):
            (line,) = told(nowhere(*arguments, code=2, environment=STEP))
            assert line.startswith("::error::")


def test_errors_and_warnings_are_annotations_in_a_step(shell: Shell, dune: DuneSandbox) -> None:
    """GitHub shows them at the top of the run; elsewhere they are lines for people."""
    done = shell("refresh", VIEW, "--performance", "small", "--plan", "enterprise", environment=STEP)
    assert [line[:25] for line in told(done)] == ["::warning::Dune's publish"]
    assert "Warning:" not in done.err


def test_what_failed_is_annotated(shell: Shell, dune: DuneSandbox) -> None:
    """The first ten, since GitHub shows no more; the last one tells how many others there are."""
    names = [f"dune.my_team.result_{number:02}" for number in range(12)]
    for name in names:
        dune.rehearse(name, Scenario(end="failed", error=Failure(message="50% of, it:\nno")))
    done = shell("refresh", *names, "--plan", "enterprise", code=1, environment=STEP)
    lines = told(done)
    assert len(lines) == 10
    assert lines[0].startswith(f"::error title={names[0]} failed::")
    assert lines[0].endswith("50%25 of, it: no")
    assert lines[-1] == "::error::3 more views are not fresh: the job's summary names them."


# Files


def test_a_step_leaves_a_summary_and_its_executions(files: tuple[Path, Path]) -> None:
    """Both are appended to the output of other steps; no name or reason can break out of its cell or value."""
    odd = ViewResult(outcome=Outcome.FAILED, reason="a | b <img> `c`\nd", execution_id="E2")
    report = RefreshReport({"b": ran(Outcome.SUCCEEDED, 0, 0, 9, 1), "x\ny=z": odd}, NOON, NOON)
    _github.leave_report(report, Output("text"))
    summary, outputs = files
    assert summary.read_text().splitlines() == [
        "before",
        "",
        "1 succeeded, 1 failed; 0.0s, 1.00 credits",
        "",
        "| View | Outcome | Took | Credits | Execution | |",
        "| --- | --- | ---: | ---: | --- | --- |",
        "| x y=z | failed | - | - | E2 | a &#124; b &#60;img&#62; &#96;c&#96; d |",
        "| b | succeeded | 9.0s | 1.00 | E1 |  |",
        "",
    ]
    before, start, value, end = outputs.read_text().splitlines()
    assert before == "before"
    assert start == f"execution-ids<<{end}"
    assert json.loads(value) == {"x\ny=z": "E2", "b": "E1"}


def test_the_summary_says_where_the_time_went(files: tuple[Path, Path]) -> None:
    """Below the totals, in a paragraph of its own."""
    view = attrs.evolve(ran(Outcome.SUCCEEDED, 0, 0, 9, 1), requested_at=NOON, noticed_at=NOON + timedelta(seconds=10))
    _github.leave_report(RefreshReport({"b": view}, NOON, NOON), Output("text"))
    assert files[0].read_text().splitlines()[2:6] == [
        "1 succeeded; 0.0s, 1.00 credits",
        "",
        "Time spent: waiting 0.0s, queued 0.0s, executing 9.0s, noticing 1.0s",
        "",
    ]


@pytest.mark.parametrize(("count", "reason"), [(30_000, ""), (3_000, "<" * 1000), (2, "x" * 3_000_000)])
def test_the_summary_stays_below_what_github_takes(count: int, reason: str, files: tuple[Path, Path]) -> None:
    """For any number of views, and in a shared file, failures come first."""
    summary, outputs = files
    for _ in range(3):
        _github.leave_report(many(count, reason), Output("text"))
    assert summary.stat().st_size <= 1_048_576
    assert summary.read_text().splitlines()[6].startswith("| dune.my&#95;team.result&#95;daily | failed |")
    assert all(len(value) <= 1_048_576 for value in outputs.read_text().splitlines())


def test_outside_of_github_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is written unless GitHub's variables name it."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    monkeypatch.chdir(tmp_path)
    _github.leave_report(REPORT, Output("text"))
    assert list(tmp_path.iterdir()) == []
