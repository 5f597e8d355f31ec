"""Interruptions that come while Dagster runs its own code: what a person has terminated is cancelled all the same."""

import math
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dune_matviews.sandbox import DuneSandbox, Scenario

from . import interrupted
from .definitions import BASE, DAILY
from .engine import LONG, until

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("is_terminated", [True, False])
@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_an_interruption_while_dagster_stores_an_event_cancels_what_a_person_has_terminated(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, executor: str, is_terminated: bool
) -> None:
    """The process ends in either case; the execution is cancelled if a person has ended the run, and only then."""
    dune_sandbox.rehearse(DAILY, Scenario(running=math.inf))
    command = [sys.executable, "-m", interrupted.__name__, executor]
    with subprocess.Popen(command, cwd=ROOT) as process:
        until(lambda: process.poll() is not None or len(dune_sandbox.ledger) == 2, "the second view runs")
        [run] = instance.get_runs()
        until(lambda: instance.get_latest_materialization_event(dg.AssetKey(BASE.split("."))), "the event is stored")
        if is_terminated:
            instance.report_run_canceling(run)
        process.send_signal(signal.SIGTERM)
        process.wait(LONG)
    [_, charge] = dune_sandbox.ledger
    assert charge.name == DAILY
    assert charge.state == ("QUERY_STATE_CANCELED" if is_terminated else "QUERY_STATE_EXECUTING")
