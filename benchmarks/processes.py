"""The processes of a run: the server, the workers, and fresh interpreters. They take commands and return figures.

This module must not know the meaning of the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ROOT / ".envs" / "bench" / "bin" / "python"
DUNE_CLIENTS = ROOT / ".envs" / "dune-client" / "bin" / "python"
"""Two environments of the same Python, with what `pip install` brings along and nothing else."""


def python_of(contender: str) -> Path:
    """The interpreter whose environment has what the contender needs."""
    return DUNE_CLIENTS if contender.startswith(("dune_client", "aiohttp")) else OURS


@contextmanager
def serving(length: float = 1.0) -> Iterator[str]:
    """A server whose executions last *length* seconds; its URL."""
    command = [sys.executable, "-m", "benchmarks.server", "--length", str(length)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # PIPE makes it one
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


class Worker:
    """A process that holds one contender."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str, times: int) -> dict[str, float]:
        """Run *what* a number of times, and return the measurements."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, times]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has failed")
        found: dict[str, float] = json.loads(line)
        return found


@contextmanager
def workers(contenders: list[str], url: str) -> Iterator[Mapping[str, Worker]]:
    """One worker for each of *contenders*, side by side."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_worker(name, url)) for name in contenders}


@contextmanager
def _worker(contender: str, url: str) -> Iterator[Worker]:
    command = [str(python_of(contender)), "-m", "benchmarks.worker", contender, url]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        yield Worker(process)


def fresh(code: str, python: Path = OURS) -> dict[str, float]:
    """Wall-clock and CPU seconds of a new interpreter for *code*, from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([python, "-c", code], cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code!r} has failed")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall}


def told(code: str, python: Path = OURS) -> dict[str, float]:
    """The JSON that a new interpreter prints when it runs *code*."""
    shown = subprocess.run([python, "-c", code], cwd=ROOT, env=_environment(), check=True, capture_output=True)
    found: dict[str, float] = json.loads(shown.stdout)
    return found


def _environment() -> dict[str, str]:
    """An almost empty environment, so that every contender uses its defaults."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
