"""The command as people start it: a process of its own, its environment, a sandbox for its Dune."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from dune_matviews.sandbox import DuneSandbox

COMMAND = str(Path(sys.executable).parent / "dune-matviews")


class Finished(NamedTuple):
    """What a command has left: its exit code, and what it printed where."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell:
    """Starts the command in a folder and an environment of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUTF8": "1", **environment}

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run the command to its end, which must be this exit code, and never a traceback."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr or "--debug" in arguments
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def start(self, *arguments: str, stdout: int | IO[str] = subprocess.PIPE) -> Generator[subprocess.Popen[str]]:
        """Start the command, and leave it running; whatever happens, it is gone when the block ends."""
        with subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as started:
            try:
                yield started
            finally:
                started.kill()


@pytest.fixture
def dune() -> Iterator[DuneSandbox]:
    """The Dune of the command, in which executions take milliseconds."""
    with DuneSandbox(speed=10_000) as sandbox:
        yield sandbox


@pytest.fixture
def shell(dune: DuneSandbox, tmp_path: Path) -> Iterator[Shell]:
    """A shell whose Dune is the sandbox."""
    # Who ignores Ctrl-C, as what runs in the background does, starts commands that ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Shell(tmp_path, {"DUNE_API_KEY": dune.api_key, "DUNE_API_BASE_URL": dune.url})
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def nowhere(tmp_path: Path) -> Shell:
    """A shell that knows neither a key nor a Dune; the discard port refuses whatever would be sent."""
    return Shell(tmp_path, {"DUNE_API_BASE_URL": "http://127.0.0.1:9"})
