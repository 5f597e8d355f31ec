"""Forecasts: in a dry run, of runs that they refuse, and the past that they draw on."""

from __future__ import annotations

from pathlib import Path

from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.cli.conftest import Shell

DAILY, BASE = "dune.my_team.result_daily", "dune.my_team.result_base"
PLAN = f'[views."{DAILY}"]\nreads = ["{BASE}"]\n[views."{BASE}"]\n'


def refreshed(shell: Shell, dune: DuneSandbox) -> None:
    """Let the command have refreshed a plan of two views before."""
    (shell.folder / "plan.toml").write_text(PLAN, "utf-8")
    for name in (DAILY, BASE):
        dune.rehearse(name, Scenario(pending=1, running=60, credits=4.0))
    shell("run", "plan.toml")


def test_a_forecast_tells_time_cost_and_the_critical_path(shell: Shell, dune: DuneSandbox) -> None:
    """From one earlier run the next is forecast, with a time line, and nothing is started."""
    refreshed(shell, dune)
    before = len(dune.ledger)
    done = shell("run", "plan.toml", "--dry-run")
    assert "refresh" in done.out
    assert "█" in done.out
    assert f"Critical path: {BASE} > {DAILY}" in done.out
    document = shell("run", "plan.toml", "--dry-run", "--output", "json").document
    assert document["forecast"]["critical_path"] == [BASE, DAILY]
    assert document["forecast"]["cost_credits"]["low"] < 8.0 < document["forecast"]["cost_credits"]["high"]
    assert len(dune.ledger) == before


def test_without_a_past_the_forecast_says_so(shell: Shell, dune: DuneSandbox) -> None:
    """Unknown time and cost are called unknown."""
    (shell.folder / "plan.toml").write_text(PLAN, "utf-8")
    assert "unknown" in shell("run", "plan.toml", "--dry-run").out
    assert dune.ledger == ()


def test_a_run_over_its_forecast_starts_nothing(shell: Shell, dune: DuneSandbox) -> None:
    """`--max-forecast` ends with the exit code of a cap, and nothing is billed."""
    refreshed(shell, dune)
    before = len(dune.ledger)
    assert "max_forecast=5" in shell("run", "plan.toml", "--max-forecast", "5", code=4).err.replace("--", "")
    assert len(dune.ledger) == before


def test_a_run_leaves_a_page(shell: Shell, dune: DuneSandbox) -> None:
    """`--report` writes the report as HTML; where it cannot, the run counts all the same."""
    assert shell("refresh", DAILY, "--report", "report.html", "--output", "json").document["ok"]
    assert DAILY in (shell.folder / "report.html").read_text("utf-8")
    assert "cannot be written" in shell("refresh", DAILY, "--report", "nowhere/report.html").err
    assert len(dune.ledger) == 2


def test_the_past_is_kept_in_the_cache_folder(shell: Shell, dune: DuneSandbox) -> None:
    """A later command knows what an earlier one has seen; the file lies in the user's cache, one for each host."""
    refreshed(shell, dune)
    cache = Path(shell.environment["XDG_CACHE_HOME"])
    (file,) = cache.rglob("*.jsonl")
    assert len(file.read_text("utf-8").splitlines()) == 2
    done = shell("history", DAILY)
    assert "completed" in done.out
    assert "4.00 credits" in done.out
    assert len(shell("history", DAILY, "--output", "json").document["executions"]) == 1
