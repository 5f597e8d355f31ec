"""What Dagster's event log keeps of a journal's contract: by experiment, with several processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dune_matviews.dagster import DuneResource, dune_assets
from dune_matviews.dagster._journal import EventLogJournal
from dune_matviews.sandbox import DuneSandbox

from . import writers
from .definitions import BASE
from .writers import VIEW

ENDLESS = 1_000_000
ROOT = Path(__file__).parents[3]


def start(parent: dg.DagsterRun, lines: int) -> "subprocess.Popen[str]":
    """A process that writes to the journal of a run."""
    command = [sys.executable, "-m", writers.__name__, parent.run_id, str(lines)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def read(instance: dg.DagsterInstance, parent: dg.DagsterRun) -> list[str]:
    """The lines of a run's journal, as another process reads them."""
    found: list[str] = []

    @dg.asset
    def reader(context: dg.AssetExecutionContext) -> None:
        journal = EventLogJournal(context, [VIEW])
        journal._origin = parent.run_id
        journal._partitions = [parent.run_id, f"{parent.run_id} {VIEW}"]
        found.extend(journal.read())

    assert dg.materialize([reader], instance=instance).success
    return found


@pytest.fixture
def failed(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run that was begun, and has failed: others re-execute it."""
    run = writers.execute(instance)
    assert run.status is dg.DagsterRunStatus.FAILURE
    return run


def test_lines_of_several_processes_have_one_order(instance: dg.DagsterInstance, failed: dg.DagsterRun) -> None:
    """What a process has read stays a beginning of what it reads later; what it appends comes behind, at once."""
    processes = [start(failed, 20) for _ in range(3)]
    said = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    found = read(instance, failed)
    assert sorted(found) == sorted(line for lines in said for line in lines)
    for lines in said:
        assert [each for each in found if each in set(lines)] == lines


def test_a_line_that_was_appended_outlives_its_process(instance: dg.DagsterInstance, failed: dg.DagsterRun) -> None:
    """After SIGKILL, all lines whose `append` has returned are there, and each line is a whole one."""
    for _ in range(3):
        process = start(failed, ENDLESS)
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(5)]
        process.kill()
        said += process.stdout.read().splitlines()
        process.wait()
        found = read(instance, failed)
        own = [line for line in found if json.loads(line)["writer"] == process.pid]
        assert own[: len(said)] == said
        assert [json.loads(line)["number"] for line in own] == list(range(len(own)))
        assert len(own) <= len(said) + 1


def inside(instance: dg.DagsterInstance, *lines: str) -> tuple[list[str], list[str]]:
    """Append lines in a run, and read them in it, through the journal that wrote them and through another one."""
    found: list[list[str]] = []

    @dg.asset
    def both(context: dg.AssetExecutionContext) -> None:
        journal = EventLogJournal(context, [VIEW])
        for line in lines:
            journal.append(line)
        found.extend(list(each.read()) for each in (journal, EventLogJournal(context, [VIEW])))

    assert dg.materialize([both], instance=instance).success
    return found[0], found[1]


def test_a_long_line_is_kept_whole(instance: dg.DagsterInstance) -> None:
    """A line of a mebibyte comes back as it was."""
    line = json.dumps({"view": VIEW, "text": "x" * 2**20})
    assert inside(instance, line) == ([line], [line])


def test_more_lines_than_dagster_returns_at_once_are_all_read(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal of more than one page is read to its end, also where the last page is a full one."""
    monkeypatch.setattr("dune_matviews.dagster._journal._PAGE", 5)
    lines = [json.dumps({"view": VIEW, "number": number}) for number in range(10)]
    assert inside(instance, *lines) == (lines, lines)


def test_a_step_reads_the_lines_of_its_own_views_alone(instance: dg.DagsterInstance) -> None:
    """Two steps of one run know nothing of each other's views: neither is told to settle what the other has open."""
    own, other = json.dumps({"view": VIEW}), json.dumps({"view": BASE})
    header = json.dumps({"journal": "dune-matviews"})
    assert inside(instance, header, other, own)[1] == [header, own]


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_a_run_that_is_over_for_dagster_starts_nothing(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, end: str
) -> None:
    """A process that lives on after its run was given up writes no intent, so that it sends no refresh."""

    @dune_assets(views={BASE: []})
    def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
        getattr(instance, end)(context.run)
        yield from dune.refresh_all(context)

    resources: dict[str, Any] = {"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))}
    result = dg.materialize([dune_views], instance=instance, resources=resources, raise_on_error=False)
    [failure] = result.get_step_failure_events()
    assert "for Dagster, the run is over" in str(failure.step_failure_data)
    assert dune_sandbox.ledger == ()


def test_an_event_log_that_cannot_be_written_starts_nothing(
    instance: dg.DagsterInstance, dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the event log is an error of the journal, and nothing is sent."""

    def store_event(event: dg.EventLogEntry) -> None:
        if event.dagster_event_type is dg.DagsterEventType.ASSET_OBSERVATION:
            raise OSError("disk full")
        stored(event)

    stored = instance.event_log_storage.store_event
    monkeypatch.setattr(instance.event_log_storage, "store_event", store_event)

    @dune_assets(views={BASE: []})
    def dune_views(context: dg.AssetExecutionContext, dune: DuneResource) -> Iterator[dg.MaterializeResult]:
        yield from dune.refresh_all(context)

    resources: dict[str, Any] = {"dune": DuneResource(api_key=dg.EnvVar("DUNE_API_KEY"))}
    result = dg.materialize([dune_views], instance=instance, resources=resources, raise_on_error=False)
    [failure] = result.get_step_failure_events()
    assert "disk full" in str(failure.step_failure_data)
    assert dune_sandbox.ledger == ()
