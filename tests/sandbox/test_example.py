"""Knows the example through the SDK's own client and command, and the demo that runs it.
Must not know how the example is made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dune_matviews import MatviewsClient, Outcome
from dune_matviews.cli import _dry_run
from dune_matviews.plan import read_plan
from dune_matviews.sandbox import DuneSandbox
from dune_matviews.sandbox.example import READS, example

ROOT = Path(__file__).parents[2]
PLAN = read_plan(ROOT / "examples" / "plan.toml")


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """The example, in which executions take milliseconds."""
    with example(speed=1_000) as running:
        yield running


@pytest.fixture
def dune(sandbox: DuneSandbox) -> Iterator[MatviewsClient]:
    """A client of the example that waits for no budget."""
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as client:
        yield client


def run(dune: MatviewsClient) -> dict[str, str]:
    """The outcome of each view of the plan file, by the ends of their names."""
    report = dune.refresh_all(PLAN.views, **PLAN.options)
    return {name.removeprefix("dune.my_team.result_"): each.outcome.value for name, each in report.results.items()}


def test_the_plan_is_of_six_views_in_three_layers(dune: MatviewsClient) -> None:
    """The plan file, the example and the lineage that it tells say the same."""
    assert PLAN.views == READS
    assert [len(layer) for layer in _dry_run.layers_of(PLAN.views)] == [2, 2, 2]
    lineages = {**dune.lineage("dune.my_team.result_weekly"), **dune.lineage("dune.my_team.result_daily")}
    assert {name: set(reads) for name, reads in lineages.items()} == {name: set(READS[name]) for name in READS}


def test_a_run_shows_each_kind_of_end(sandbox: DuneSandbox, dune: MatviewsClient) -> None:
    """One view is fresh, one fails, its reader is skipped, the others succeed; all executions are billed."""
    assert run(dune) == {
        "prices": "fresh",
        "base": "succeeded",
        "daily_volume": "succeeded",
        "daily_users": "failed",
        "weekly": "succeeded",
        "daily": "skipped",
    }
    assert sorted((each.name.removeprefix("dune.my_team.result_"), each.credits) for each in sandbox.ledger) == [
        ("base", 4.5),
        ("daily_users", 0.0),
        ("daily_volume", 2.25),
        ("weekly", 0.5),
    ]


def test_a_second_run_pays_for_what_is_missing(sandbox: DuneSandbox, dune: MatviewsClient) -> None:
    """The failed view succeeds the next time, and the repeat leaves the fresh ones alone."""
    run(dune)
    paid = len(sandbox.ledger)
    assert set(run(dune).values()) == {Outcome.FRESH, Outcome.SUCCEEDED}
    assert [each.name for each in sandbox.ledger[paid:]] == [
        "dune.my_team.result_daily_users",
        "dune.my_team.result_daily",
    ]


def test_the_demo_shows_all_of_it() -> None:
    """In a pipe the demo prints the layers, each event, the table with its time line and the ledger, and succeeds."""
    environment = os.environ | {"DUNE_API_KEY": "my-own-key", "DUNE_API_BASE_URL": "http://127.0.0.1:9"}
    demo = subprocess.run(
        [sys.executable, "examples/demo.py", "100"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "my-own-key" not in demo.stdout
    for shown in (
        r"\n\$ dune-matviews run examples/plan\.toml --dry-run\nLAYER  VIEW",
        r"5 of 6 views would be refreshed; nothing was started\.",
        r"Z  dune\.my_team\.result_base +succeeded",
        r"VIEW +OUTCOME +TOOK +CREDITS +\d\d:\d\d:\d\d-\d\d:\d\d:\d\d UTC\n",
        r"result_daily_volume +succeeded .*█\n",
        r"1 fresh, 3 succeeded, 1 failed, 1 skipped; .* 7\.25 credits\n",
        r"  failed +0\.000  dune\.my_team\.result_daily_users\n",
        r"4 refreshes accepted, 7\.250 credits\n",
    ):
        assert re.search(shown, demo.stdout), shown
