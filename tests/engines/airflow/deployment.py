"""A whole Airflow on this machine, each of its parts a process that can be killed: scheduler with the workers of its
LocalExecutor, triggerer, DAG processor and API server, on SQLite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

import httpx
import psutil

PARTS = ("api-server", "dag-processor", "scheduler", "triggerer")
TIMEOUT = 240.0  # seconds after which a test gives up; nothing depends on how long anything takes
T = TypeVar("T")


def until(what: str, found: Callable[[], T | None]) -> T:
    """What *found* returns once that is something."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)  # the processes that are waited for tell nobody
    raise AssertionError(f"waited in vain for: {what}")


class Airflow:
    """A deployment in a folder of its own; DAGs come from *dags*, the connection from *environment*."""

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        settings = {
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "3",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",  # seconds to wait for a lock
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "API__PORT": str(port),
            "API__HOST": "127.0.0.1",
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": "a secret of the tests, which has to be long enough for the signature: " + "x" * 64,
            # What died is noticed within seconds.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        self.environment = (
            {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
            | {"AIRFLOW_HOME": str(home), "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1"}
            | {f"AIRFLOW__{name}": value for name, value in settings.items()}
            | environment
        )
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @contextmanager
    def running(self) -> Iterator[Airflow]:
        """The deployment with all its parts; none of its processes is left afterwards."""
        subprocess.run(self._command("db", "migrate"), env=self.environment, check=True, capture_output=True)
        try:
            for part in PARTS:
                self.start(part)
            until("the API server", self._log_in)
            until("the DAGs", lambda: self.http.get("/api/v2/dags").json()["total_entries"])
            yield self
        finally:
            for part in list(self.parts):
                self.kill(part)
            self.http.close()

    def start(self, part: str) -> None:
        """Start one of the parts."""
        with (self.home / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                self._command(part), env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, part: str) -> None:
        """Kill a part with SIGKILL, and all that it has started: what the loss of its machine does."""
        process = self.parts.pop(part)
        kill(psutil.Process(process.pid))
        process.wait()

    def task_process(self) -> psutil.Process:
        """The process in which the task does its work, once it is the only one; its parent is the worker."""

        def only() -> psutil.Process | None:
            workers = psutil.Process(self.parts["scheduler"].pid).children()
            found = [each for worker in workers for each in worker.children()]  # that of an earlier test may be ending
            return found[0] if len(found) == 1 else None

        return until("the one process of a task", only)

    def trigger(self, dag: str, **conf: Any) -> str:
        """Start a run of a DAG, and return its id."""
        response = self.http.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
        return str(_checked(response)["dag_run_id"])

    def task(self, dag: str, run: str) -> dict[str, Any]:
        """The task instance `refresh` of a run."""
        return _checked(self.http.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/refresh"))

    def wait(self, dag: str, run: str, *states: str, tries: int = 0) -> dict[str, Any]:
        """The task instance `refresh`, once it is in one of *states*, in a try later than *tries*.

        If it has ended, so has the run: Airflow would lose a clearing that comes while it ends a run, on SQLite.
        """

        def found() -> dict[str, Any] | None:
            task = self.task(dag, run)
            return task if task["state"] in states and task["try_number"] > tries else None

        task = until(f"{dag} in {states}, after {tries} tries; it is {self.task(dag, run)['state']}", found)
        if task["state"] in ("success", "failed"):
            path = f"/api/v2/dags/{dag}/dagRuns/{run}"
            until("the end of the run", lambda: _checked(self.http.get(path))["state"] == task["state"])
        return task

    def clear(self, dag: str, run: str) -> None:
        """Clear the task `refresh`, as a person does in the browser."""
        body = {"dag_run_id": run, "task_ids": ["refresh"], "dry_run": False, "only_failed": False}
        _checked(self.http.post(f"/api/v2/dags/{dag}/clearTaskInstances", json=body))

    def stored(self, dag: str, run: str) -> int:
        """How many keys the state store of the task `refresh` has."""
        response = self.http.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/refresh/state-store")
        return int(_checked(response)["total_entries"])

    def mark(self, dag: str, run: str, state: str) -> None:
        """Mark the task `refresh`, as a person does in the browser."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/refresh"
        _checked(self.http.patch(path, json={"new_state": state}))

    def _command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("airflow")), *arguments]

    def _log_in(self) -> bool:
        try:
            response = self.http.get("/auth/token")
        except httpx.TransportError:
            return False
        if response.is_success:
            self.http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
        return response.is_success


def kill(process: psutil.Process) -> None:
    """Kill a process with SIGKILL, and all below it; none of them can do anything about it."""
    family = [process, *process.children(recursive=True)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=TIMEOUT)


def _checked(response: httpx.Response) -> dict[str, Any]:
    assert response.is_success, f"{response.request.url}: {response.status_code} {response.text}"
    found: dict[str, Any] = response.json()
    return found
