"""The recipes: each program runs as it stands, against the sandbox, with the files that the page shows."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dune_matviews import MatviewsClient
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.skipping import SkippedTime

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
FILES = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))
BASE, DAILY = "dune.my_team.result_base", "dune.my_team.result_daily"


class Webhooks:
    """The other services: what was posted to each address, and how they respond."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        self.status = 200

    def post(self, url: str, *, json: Any = None, **options: Any) -> httpx.Response:
        """`httpx.post`, as the programs call it."""
        self.posted.append((url, json))
        return httpx.Response(self.status, json={"execution_id": "E"}, request=httpx.Request("POST", url))

    @property
    def texts(self) -> list[str]:
        """What was said, in order."""
        return [content["text"] for _, content in self.posted]


@pytest.fixture
def webhooks(dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Webhooks:
    """A folder with the files of the page, and everything that the programs reach, without waiting."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.chdir(tmp_path)
    SkippedTime(dune_sandbox.advance).install(monkeypatch)
    found = Webhooks()
    monkeypatch.setattr(httpx, "post", found.post)
    for name in ("ALARM_URL", "HEARTBEAT_URL", "SLACK_WEBHOOK_URL"):
        monkeypatch.setenv(name, f"https://{name}")
    return found


def run(program: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run a program of the page; its exit code."""
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        return end.code
    return 0


def billed(sandbox: DuneSandbox) -> list[str]:
    """The views whose executions the ledger has, in order."""
    return [charge.name for charge in sandbox.ledger]


def test_the_page_has_each_program() -> None:
    """No program or file of the page is left out of these tests."""
    names = {"plan.toml", "nightly.py", "capped.py", "views.toml", "sync_views.py", "slack.py", "dashboard.py"}
    assert FILES.keys() == names
    assert PAGE.count("```python") + PAGE.count("```toml") == len(names)


def test_a_good_night_calls_the_monitor(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every view is fresh, the monitor is called and nobody is alarmed; a repeat pays for nothing."""
    assert [run("nightly.py", monkeypatch=monkeypatch) for _ in range(2)] == [0, 0]
    assert [url for url, _ in webhooks.posted] == ["https://HEARTBEAT_URL"] * 2
    assert billed(dune_sandbox) == [BASE, DAILY]


def test_a_bad_night_raises_the_alarm_and_is_repeated(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is told with its view, the exit code is 1, and the second try pays for what failed only."""
    dune_sandbox.rehearse(DAILY, Scenario(end="failed"))
    assert run("nightly.py", monkeypatch=monkeypatch) == 1
    ((url, content),) = webhooks.posted
    assert url == "https://ALARM_URL"
    assert f"{DAILY} failed" in content["text"]
    assert run("nightly.py", monkeypatch=monkeypatch) == 0
    assert billed(dune_sandbox) == [BASE, DAILY, DAILY]


def test_a_broken_plan_raises_the_alarm(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the plan file reaches somebody, too."""
    Path("plan.toml").write_text("max_credits = -1", "utf-8")
    assert run("nightly.py", monkeypatch=monkeypatch) == 1
    assert "plan.toml:1: " in webhooks.texts[0]


def test_a_refresh_that_runs_is_joined(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An execution that somebody else has started is followed, and none is paid for beside it."""
    dune_sandbox.rehearse(DAILY, Scenario(running=60_000, credits=7.0))
    with MatviewsClient() as other:
        other.refresh(DAILY)
    assert run("capped.py", monkeypatch=monkeypatch) == 0
    assert billed(dune_sandbox) == [DAILY]
    assert "for 7.0 credits" in capsys.readouterr().out


def test_the_cap_ends_an_execution(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An execution of its own that costs too much is cancelled, and the program says at which cost."""
    dune_sandbox.rehearse(DAILY, Scenario(running=3_000_000, credits=1_000.0))
    assert run("capped.py", monkeypatch=monkeypatch) == 0
    assert "was cancelled at" in capsys.readouterr().out
    (charge,) = dune_sandbox.ledger
    assert (charge.state, charge.credits < 1_000) == ("QUERY_STATE_CANCELED", True)


def test_views_as_code(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run shows the drift and sends nothing; an apply makes it so, after which there is none."""
    with MatviewsClient() as dune:
        dune.upsert("result_base", 1, is_private=True).wait()
        dune.upsert("result_old", 2).wait()
    paid = len(dune_sandbox.ledger)
    assert run("sync_views.py", monkeypatch=monkeypatch) == 2
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["~ result_base: is_private True -> False", "~ result_base: query_id 1 -> 4711"]
    assert [line.partition(":")[0] for line in shown[2:]] == [
        "+ result_daily",
        "? result_old is not in views.toml; nothing is deleted",
    ]
    assert len(dune_sandbox.ledger) == paid
    assert run("sync_views.py", "--apply", monkeypatch=monkeypatch) == 0
    assert billed(dune_sandbox)[paid:] == [BASE, DAILY]
    with MatviewsClient() as dune:
        view = dune.get(DAILY)
    assert (view.query_id, view.is_private, view.schedule and view.schedule.performance) == (4712, True, "medium")
    capsys.readouterr()
    assert run("sync_views.py", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.splitlines() == ["? result_old is not in views.toml; nothing is deleted"]


@pytest.mark.parametrize("status", [200, 500])
def test_slack_is_told_each_step_once(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Each change of a view is one message, however often it is polled; a failure of Slack's changes nothing."""
    webhooks.status = status
    dune_sandbox.rehearse(BASE, Scenario(running=60_000))
    dune_sandbox.rehearse(DAILY, Scenario(end="failed"))
    assert run("slack.py", monkeypatch=monkeypatch) == 0
    assert [text.partition(", ")[0] for text in webhooks.texts] == [
        f"`{BASE}`: running",
        f"`{BASE}`: succeeded",
        f"`{DAILY}`: running",
        f"`{DAILY}`: failed",
        "Not all views are fresh: 1.00 credits.",
    ]
    assert billed(dune_sandbox) == [BASE, DAILY]


@pytest.mark.parametrize(("end", "executed"), [("completed", [1215383, 1215384]), ("failed", [])])
def test_queries_are_executed_after_their_views(
    webhooks: Webhooks, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, end: str, executed: list[int]
) -> None:
    """The views come first, with what they read; a query whose view is not fresh is not executed."""
    for name in (BASE, DAILY):
        dune_sandbox.add_view(name)
    dune_sandbox.reads(DAILY, BASE)
    dune_sandbox.rehearse(DAILY, Scenario(end=end))
    assert run("dashboard.py", monkeypatch=monkeypatch) == 0
    assert billed(dune_sandbox) == [BASE, DAILY]
    assert [url for url, _ in webhooks.posted] == [
        f"{dune_sandbox.url}/api/v1/query/{each}/execute" for each in executed
    ]
