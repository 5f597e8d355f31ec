"""What tests on Prefect share: a server of their own, a sandbox that both flows and processes reach, and waiting.

Nothing here may import Prefect before its home is set: that is where it looks for its settings.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.request import urlopen

import pytest

from dune_matviews.sandbox import DuneSandbox

FOLDER = Path(__file__).parent
DEADLINE = 300.0  # seconds that end a hang; nothing takes as long

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str) -> T:
    """The first result of *look* that is true."""
    ends = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < ends, f"it never came to this: {what}"
        time.sleep(0.1)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Program:
    """A Python program beside this one, which can be killed with all that it has started, and started again."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own."""
        command = [sys.executable, *map(os.path.expandvars, self._command)]
        self._process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once; it has no say in that."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


SERVER = Program("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", "$PREFECT_PORT")


def pytest_configure() -> None:
    """Keep everything that Prefect writes in a folder of this run, and set up its server.

    What ends both is registered before Prefect is imported, so that Prefect's own last words still find a server.
    """
    last = ExitStack()
    atexit.register(last.close)
    home = last.enter_context(TemporaryDirectory(prefix="prefect-"))
    port = str(free_port())
    os.environ |= {
        "PREFECT_PORT": port,
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": home,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "no_proxy": "127.0.0.1",
    }
    last.callback(SERVER.kill)
    SERVER.start()


def server_responds() -> bool:
    """Prefect's server is up."""
    with suppress(OSError), urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=5) as response:
        return bool(response.status == 200)
    return False


@pytest.fixture(scope="session", autouse=True)
def home() -> Path:
    """The folder of Prefect's server, which responds from now on."""
    eventually(server_responds, "Prefect's server responds")
    return Path(os.environ["PREFECT_HOME"])


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[DuneSandbox]:
    """A local Dune, which the environment points to."""
    with DuneSandbox(speed=100) as dune:
        monkeypatch.setenv("DUNE_API_KEY", dune.api_key)
        monkeypatch.setenv("DUNE_API_BASE_URL", dune.url)
        yield dune


def bills(sandbox: DuneSandbox) -> list[str]:
    """The views that Dune would have billed, one entry a refresh."""
    return [charge.name for charge in sandbox.ledger]
