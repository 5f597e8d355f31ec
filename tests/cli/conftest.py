"""The command as people start it: its arguments, its environment, a sandbox for its Dune.

Most commands run in the process of the tests, where starting them costs nothing and their pauses are skipped.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import chdir, contextmanager
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest.mock import patch

import pytest

from dune_matviews.cli import main
from dune_matviews.sandbox import DuneSandbox
from tests.skipping import SkippedTime

COMMAND = str(Path(sys.executable).parent / "dune-matviews")


class Finished(NamedTuple):
    """The result of a command: its exit code, and its output on each stream."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell:
    """Runs the command, here or in a process of its own, in a folder and an environment of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUTF8": "1", **environment}
        self.environment.setdefault("XDG_CACHE_HOME", str(folder.with_name(f"{folder.name}.cache")))

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run the command to its end, which must be this exit code, and never a traceback."""
        out, err = (TextIOWrapper(BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with (
            as_a_process(self.folder, {**self.environment, **(environment or {})}),
            patch.multiple(sys, argv=[COMMAND, *arguments], stdin=StringIO(stdin), stdout=out, stderr=err),
        ):
            returned = main()
        printed = [stream.detach().getvalue().decode() for stream in (out, err)]
        done = Finished(returned, *printed)
        assert done.code == code, done
        assert "Traceback" not in done.err or "--debug" in arguments
        return done

    def process(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """The output of a successful command, in a process of its own."""
        environment = {**self.environment, **(environment or {})}
        command = [COMMAND, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
        ).stdout

    @contextmanager
    def start(self, *arguments: str, stdout: int | IO[str] = subprocess.PIPE) -> Generator[subprocess.Popen[str]]:
        """Start the command and leave it running; it is ended with the block."""
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


@contextmanager
def as_a_process(folder: Path, environment: Mapping[str, str]) -> Generator[None]:
    """Restore the settings of the process that the command changes."""
    log, handler = logging.getLogger("dune_matviews"), signal.getsignal(signal.SIGTERM)
    level, handlers = log.level, list(log.handlers)
    with patch.dict(os.environ, environment, clear=True), chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
            log.setLevel(level)
            log.handlers[:] = handlers


@pytest.fixture
def dune() -> Iterator[DuneSandbox]:
    """The Dune of the command, in which executions take milliseconds."""
    with DuneSandbox(speed=10_000) as sandbox:
        yield sandbox


@pytest.fixture
def shell(dune: DuneSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell whose Dune is the sandbox."""
    SkippedTime(dune.advance).install(monkeypatch)
    # Who ignores Ctrl-C, as what runs in the background does, starts commands that ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Shell(tmp_path, {"DUNE_API_KEY": dune.api_key, "DUNE_API_BASE_URL": dune.url})
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def nowhere(tmp_path: Path) -> Shell:
    """A shell without a key or an address of Dune; the discard port refuses any request."""
    return Shell(tmp_path, {"DUNE_API_BASE_URL": "http://127.0.0.1:9"})
