"""A process that appends to the journal of a run which it re-executes, and says what it has appended, until it ends."""

import json
import os
import sys

import dagster as dg

from dune_matviews.dagster._journal import EventLogJournal

VIEW = "dune.my_team.result_daily"
LINES = "test/lines"  # how many lines a run appends; without it, the run fails


@dg.asset
def writer(context: dg.AssetExecutionContext) -> None:
    """Append lines, and look after each of them at what the journal has by then."""
    journal = EventLogJournal(context, [VIEW])
    before: list[str] = []
    for number in range(int(context.run.tags[LINES])):
        line = json.dumps({"view": VIEW, "writer": os.getpid(), "number": number})
        journal.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        now = list(EventLogJournal(context, [VIEW]).read())
        assert now[: len(before)] == before, "a line has moved, or is gone"
        assert line in now[len(before) :], "a line is not there, or stands before those that were read"
        assert list(journal.read())[: len(now)] == now, "what is read in parts has another order"
        before = now


job = dg.define_asset_job("write", [writer])


def write() -> dg.JobDefinition:
    """The job, for a process that runs it by itself."""
    return dg.Definitions(assets=[writer], jobs=[job]).resolve_job_def("write")


def execute(instance: dg.DagsterInstance, parent: str | None = None, lines: int | None = None) -> dg.DagsterRun:
    """Run the job in this process."""
    with dg.execute_job(
        dg.reconstructable(write),
        instance,
        run_config={"execution": {"config": {"in_process": {}}}},
        tags=None if lines is None else {LINES: str(lines)},
        reexecution_options=None if parent is None else dg.ReexecutionOptions(parent),
    ) as result:
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


if __name__ == "__main__":
    with dg.DagsterInstance.get() as found:
        sys.exit(not execute(found, sys.argv[1], int(sys.argv[2])).is_success)
