"""Served flows whose processes are killed, on a real server and runner: what is billed in the end.

Each test starts a flow run, lets something die, and has the run retried as a person does in Prefect's pages: the flow
run is scheduled again, and the runner starts another process for it. The ledger tells what was paid.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Crashed, Scheduled

from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

from .conftest import FOLDER, SERVER, Program, eventually, server_responds

pytestmark = pytest.mark.kill


@pytest.fixture(scope="module")
def dune() -> Iterator[DuneSandbox]:
    """A Dune whose executions run until somebody ends them."""
    with DuneSandbox(default=Scenario(pending=0, running=math.inf)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", autouse=True)
def runner(home: Path, dune: DuneSandbox) -> Iterator[Program]:
    """A runner that serves the flows."""

    def is_there() -> bool:
        with get_client(sync_client=True) as api:
            try:
                return api.read_deployment_by_name("without-hook/served") is not None
            except ObjectNotFound:
                return False

    program = Program("flows.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUNE_API_KEY", dune.api_key)
        patch.setenv("DUNE_API_BASE_URL", dune.url)
        patch.chdir(FOLDER)
        program.start()
        try:
            eventually(is_there, "the flows are served")
            yield program
        finally:
            program.kill()


class Run:
    """A flow run, and the view that it refreshes."""

    def __init__(self, dune: DuneSandbox, view: str, flow_run: FlowRun) -> None:
        self.view = view
        self.id = flow_run.id
        self._dune = dune

    @property
    def bills(self) -> list[str]:
        """The state of each refresh of the view that Dune would bill."""
        return states(self._dune, [self.view])

    def state(self) -> str:
        """The type of the run's state."""
        with get_client(sync_client=True) as api:
            state = api.read_flow_run(self.id).state
        return "" if state is None else state.type.value

    def becomes(self, *states: str) -> None:
        """Wait until the run is in one of the states."""
        eventually(lambda: self.state() in states, f"{self.view}: {states}")

    def requests(self, operation: str) -> int:
        """How often that was asked for the view, or for its executions."""
        ids = {each.execution_id for each in self._dune.ledger if each.name == self.view}
        asked = [each.path for each in self._dune.requests if each.operation == operation]
        return sum(any(word in path for word in (self.view, *ids)) for path in asked)

    def is_polling(self) -> None:
        """Wait until the execution is asked for its status twice more."""
        enough = self.requests("status") + 2
        eventually(lambda: self.requests("status") >= enough, f"{self.view} is polled")

    def was_sent(self) -> None:
        """Wait until the refresh has arrived."""
        eventually(lambda: self.requests("refresh"), f"{self.view} is sent")

    def processes(self) -> list[int]:
        """The processes of the run."""
        mark = f"PREFECT__FLOW_RUN_ID={self.id}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return sorted(found)

    def process(self) -> int:
        """The one process of the run."""
        return eventually(self.processes, "the run has a process")[-1]

    def log(self) -> str:
        """What the run and its tasks have logged, once that has arrived at the server."""
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id]))
        with get_client(sync_client=True) as api:
            return "\n".join(each.message for each in api.read_logs(wanted))

    def dies(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process, and have the runner notice."""
        os.kill(self.process(), how)
        self.becomes("CRASHED", "FAILED")

    def is_canceled(self) -> None:
        """Cancel the run as a person does."""
        with get_client(sync_client=True) as api:
            api.set_flow_run_state(self.id, Cancelling())
        self.becomes("CANCELLED")

    def again(self) -> None:
        """Retry the run as Prefect's pages do."""
        with get_client(sync_client=True) as api:
            api.set_flow_run_state(self.id, Scheduled(message="Retried by a person"), force=True)

    def finish(self, end: str | None = None) -> None:
        """Let the running execution end."""
        for each in self._dune.ledger:
            if each.name == self.view and each.state == "QUERY_STATE_EXECUTING":
                self._dune.finish(each.execution_id, end)


def started(dune: DuneSandbox, view: str, flow: str = "nightly", parameters: dict[str, Any] | None = None) -> Run:
    """A run of a served flow."""
    flow_run = run_deployment(f"{flow}/served", parameters=parameters or {"view": view}, timeout=0)
    assert isinstance(flow_run, FlowRun)
    return Run(dune, view, flow_run)


def test_killed_while_polling(dune: DuneSandbox) -> None:
    """A run that is killed while it polls follows the same execution when it is retried."""
    run = started(dune, "dune.my_team.result_polling")
    run.is_polling()
    run.dies()
    assert run.bills == ["EXECUTING"]
    run.again()
    run.is_polling()
    run.finish()
    run.becomes("COMPLETED")
    assert run.bills == ["COMPLETED"]


def test_killed_while_the_request_is_unanswered(dune: DuneSandbox) -> None:
    """A run that is killed before it has the response to its request finds what Dune has booked."""
    dune.fail("refresh", Fault(delay=math.inf))
    run = started(dune, "dune.my_team.result_unanswered")
    run.was_sent()
    run.dies()
    run.again()
    run.is_polling()
    run.finish()
    run.becomes("COMPLETED")
    assert (run.bills, run.requests("refresh")) == (["COMPLETED"], 1)


def test_killed_before_the_request_was_accepted(dune: DuneSandbox) -> None:
    """A run that is killed over a request that Dune never took sends it again, once that is proven."""
    dune.fail("refresh", Fault(lost=True, delay=math.inf))
    run = started(dune, "dune.my_team.result_unsent")
    run.was_sent()
    run.dies()
    assert run.bills == []
    run.again()
    eventually(lambda: run.bills, "the refresh is sent again")
    run.is_polling()
    run.finish()
    run.becomes("COMPLETED")
    assert (run.bills, run.requests("refresh")) == (["COMPLETED"], 2)


def test_killed_after_the_end(dune: DuneSandbox) -> None:
    """A run that is killed before it learns of the end takes it in when it is retried."""
    run = started(dune, "dune.my_team.result_ended")
    run.is_polling()
    os.kill(run.process(), signal.SIGSTOP)
    run.finish()
    run.dies()
    run.again()
    run.becomes("COMPLETED")
    assert run.bills == ["COMPLETED"]


def test_killed_after_the_task(dune: DuneSandbox, tmp_path: Path) -> None:
    """A run that is killed in a later step does not refresh again when it is retried."""
    gate = tmp_path / "gate"
    run = started(dune, view := "dune.my_team.result_later", parameters={"view": view, "gate": str(gate)})
    run.is_polling()
    run.finish()
    eventually(lambda: "succeeded" in run.log(), "the task is over")
    run.dies()
    gate.touch()
    run.again()
    run.becomes("COMPLETED")
    assert (run.bills, run.requests("refresh")) == (["COMPLETED"], 1)


def test_terminated(dune: DuneSandbox) -> None:
    """A process that is told to end, as by a machine that shuts down, leaves the execution running."""
    run = started(dune, "dune.my_team.result_terminated")
    run.is_polling()
    run.dies(signal.SIGTERM)
    assert run.bills == ["EXECUTING"]
    run.again()
    run.is_polling()
    run.finish()
    run.becomes("COMPLETED")
    assert run.bills == ["COMPLETED"]


def test_a_person_cancels(dune: DuneSandbox) -> None:
    """A cancelled run cancels at Dune; a retry of that run knows so, and only another run is another bill."""
    run = started(dune, view := "dune.my_team.result_cancelled")
    run.is_polling()
    run.is_canceled()
    eventually(lambda: run.bills == ["CANCELED"], "Dune has cancelled")
    run.again()
    run.becomes("FAILED")
    assert run.bills == ["CANCELED"]
    another = started(dune, view)
    eventually(lambda: len(another.bills) == 2, "it is refreshed anew")
    another.finish()
    another.becomes("COMPLETED")
    assert another.bills == ["CANCELED", "COMPLETED"]


def test_a_person_cancels_threads(dune: DuneSandbox) -> None:
    """The hook cancels what tasks in threads have started."""
    views = [f"dune.my_team.result_thread_{number}" for number in range(3)]
    run = started(dune, views[0], "in-threads", {"views": views})
    eventually(lambda: {each.name for each in dune.ledger} >= set(views), "all are sent")
    run.is_polling()
    run.is_canceled()
    eventually(lambda: states(dune, views) == ["CANCELED"] * 3, "Dune has cancelled")


def test_a_person_cancels_without_a_hook(dune: DuneSandbox) -> None:
    """A task in the flow's own thread cancels by itself, and starts nothing more."""
    views = {"dune.my_team.result_hookless": [], "dune.my_team.result_after": ["dune.my_team.result_hookless"]}
    run = started(dune, "dune.my_team.result_hookless", "without-hook", {"views": views})
    run.is_polling()
    run.is_canceled()
    assert states(dune, views) == ["CANCELED"]


def test_dune_fails_the_view(dune: DuneSandbox) -> None:
    """A failure is paid for once: a retry of the run returns it, and starts nothing."""
    dune.rehearse(view := "dune.my_team.result_failing", Scenario(running=math.inf, end="failed", billed=True))
    run = started(dune, view)
    run.is_polling()
    run.finish()
    run.becomes("FAILED")
    run.again()
    run.becomes("RUNNING")
    run.becomes("FAILED")
    assert run.bills == ["FAILED"]


def test_two_processes_at_once(dune: DuneSandbox) -> None:
    """A run that is started again while its process lives is followed by both."""
    run = started(dune, "dune.my_team.result_twice")
    run.is_polling()
    run.again()
    second = Program("-m", "prefect", "flow-run", "execute", str(run.id))
    second.start()
    try:
        run.is_polling()
        eventually(lambda: len(run.processes()) > 1, "there are two processes")
        run.finish()
        run.becomes("COMPLETED")
    finally:
        second.kill()
    assert run.bills == ["COMPLETED"]


def test_the_machine_is_lost(dune: DuneSandbox, runner: Program) -> None:
    """The runner and the run are killed together; a person has the run started again on another machine."""
    run = started(dune, "dune.my_team.result_machine")
    run.is_polling()
    pid = run.process()
    runner.kill()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert run.state() == "RUNNING"
    runner.start()
    run.again()
    run.is_polling()
    run.finish()
    run.becomes("COMPLETED")
    assert run.bills == ["COMPLETED"]


def test_a_script_is_killed(dune: DuneSandbox) -> None:
    """A flow run without a deployment, which Prefect takes for running still, is retried on the command line."""
    view = "dune.my_team.result_script"
    script = Program("-c", f"from flows import nightly; nightly({view!r})")
    script.start()
    with get_client(sync_client=True) as api:
        [found] = eventually(
            lambda: [each for each in api.read_flow_runs() if each.parameters.get("view") == view], "it has a flow run"
        )
    run = Run(dune, view, found)
    run.is_polling()
    script.kill()
    with get_client(sync_client=True) as api:
        api.set_flow_run_state(run.id, Crashed(), force=True)
    again = Program("-m", "prefect", "flow-run", "retry", str(run.id), "--entrypoint", "flows.py:nightly")
    again.start()
    try:
        run.is_polling()
        run.finish()
        run.becomes("COMPLETED")
    finally:
        again.kill()
    assert run.bills == ["COMPLETED"]


def test_the_server_is_lost(dune: DuneSandbox) -> None:
    """Prefect's server is killed while a run polls; however the run ends, its retry pays nothing."""
    run = started(dune, "dune.my_team.result_server")
    run.is_polling()
    SERVER.kill()
    run.finish()
    SERVER.start()
    eventually(server_responds, "the server is back")
    run.becomes("COMPLETED", "CRASHED", "FAILED")
    run.again()
    run.becomes("RUNNING")
    run.becomes("COMPLETED")
    assert run.bills == ["COMPLETED"]


def states(dune: DuneSandbox, views: Collection[str]) -> list[str]:
    """The states of all that Dune would bill for some views."""
    return [each.state.removeprefix("QUERY_STATE_") for each in dune.ledger if each.name in views]
