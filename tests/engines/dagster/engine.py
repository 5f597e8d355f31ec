"""The real engine, as people run it: web server, daemon, code server, and a process for each run and each step.

What a person does in its pages, the tests do by the same GraphQL requests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg

LONG = 120.0  # seconds that end a hang, and are never waited for otherwise

_CONFIG = """
telemetry: {enabled: false}
run_retries: {enabled: true, max_retries: 0}
run_monitoring: {enabled: true, poll_interval_seconds: 1, cancel_timeout_seconds: 60}
"""

_LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_REEXECUTE = """mutation ($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_TERMINATE = """mutation ($run: String!) { terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) {
    __typename ... on PythonError { message } } }"""


def until(condition: Callable[[], Any], what: str) -> Any:
    """What *condition* returns, once that is true."""
    end = time.monotonic() + LONG
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"it has not come to this: {what}")
        time.sleep(0.05)
    return found


class Engine:
    """A running Dagster."""

    def __init__(self, home: Path, port: int) -> None:
        self.instance = dg.DagsterInstance.from_config(str(home))
        self._url = f"http://127.0.0.1:{port}/graphql"

    def launch(self, *views: str, tags: Mapping[str, str] | None = None) -> str:
        """A person materializes views. Returns the run."""
        selector = {
            "repositoryLocationName": "definitions.py",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": view.split(".")} for view in views],
        }
        metadata = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": metadata}
        return self._run_of(self._ask(_LAUNCH, params=params))

    def reexecute(self, run: str, strategy: str = "FROM_FAILURE") -> str:
        """A person re-executes a run. Returns the new one."""
        return self._run_of(self._ask(_REEXECUTE, params={"parentRunId": run, "strategy": strategy}))

    def terminate(self, run: str) -> None:
        """A person terminates a run."""
        self._ask(_TERMINATE, run=run)

    def retry(self, run: str) -> str:
        """The run that Dagster itself launches in place of one that has failed."""
        return str(until(lambda: self._child(run), "Dagster retries the run"))

    def ended(self, run: str) -> str:
        """How a run has ended, once it has."""
        found = until(lambda: (r := self.instance.get_run_by_id(run)) and r.is_finished and r, "the run ends")
        return str(found.status.value)

    def processes(self, run: str) -> tuple[int, int]:
        """The process of a run, and that of its step, once it has both."""

        def found() -> list[int]:
            details = (
                getattr(entry.dagster_event, "event_specific_data", None) for entry in self.instance.all_logs(run)
            )
            told = [getattr(each, "metadata", {}) for each in details]
            return list(dict.fromkeys(int(each["pid"].value) for each in told if "pid" in each))

        parent, step = until(lambda: pids if len(pids := found()) > 1 else None, "the run has its processes")
        return parent, step

    def materialized(self, run: str) -> list[str]:
        """The views that a run has materialized, in order."""
        entries = self.instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        keys = [entry.asset_materialization.asset_key for entry in entries if entry.asset_materialization]
        return [".".join(key.path) for key in keys]

    def _child(self, run: str) -> str | None:
        children = self.instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run}))
        return children[0].run_id if children else None

    def _run_of(self, response: Mapping[str, Any]) -> str:
        return str(response["run"]["runId"])

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(self._url, body, {"Content-Type": "application/json"}), timeout=LONG) as response:
            said = json.load(response)
        (response,) = (said.get("data") or {}).values() or (said,)
        assert "Success" in response.get("__typename", ""), said
        return dict(response)

    def is_up(self) -> bool:
        """It responds, and has loaded the code."""
        query = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name } } } }"
        try:
            body = json.dumps({"query": query}).encode()
            with urlopen(Request(self._url, body, {"Content-Type": "application/json"}), timeout=LONG) as response:
                return bool(json.load(response)["data"]["repositoriesOrError"]["nodes"])
        except OSError:
            return False


@contextmanager
def engine(home: Path, environment: Mapping[str, str]) -> Iterator[Engine]:
    """Dagster, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    (home / "dagster.yaml").write_text(_CONFIG)
    found = Engine(home, port)
    found.instance.get_run_records(limit=1)  # makes the databases, which several processes at once do not manage
    found.instance.get_latest_materialization_event(dg.AssetKey("any"))
    here = Path(__file__).parent
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "-f", "definitions.py", "-h", "127.0.0.1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    log = (home / "log.txt").open("w")
    process = subprocess.Popen(
        [*command, "-p", str(port)],
        cwd=here,
        env={**os.environ, **environment, "DAGSTER_HOME": str(home), "PATH": path},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        until(lambda: process.poll() is not None or found.is_up(), "Dagster is up")
        yield found
    except BaseException:
        sys.stderr.write((home / "log.txt").read_text()[-4_000:])
        raise
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(LONG)
        log.close()
