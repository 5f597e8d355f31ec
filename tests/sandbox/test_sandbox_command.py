"""Knows `python -m dune_matviews.sandbox` and `dune-matviews sandbox` as a person at a terminal sees them.
Must not import the command: it runs as a process of its own."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

COMMANDS = [
    [sys.executable, "-m", "dune_matviews.sandbox"],
    [str(Path(sys.executable).parent / "dune-matviews"), "sandbox"],
]

either = pytest.mark.parametrize("command", COMMANDS, ids=["module", "command"])


@either
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_told_to_end_and_shows_the_bill(command: list[str], ending: signal.Signals) -> None:
    """Two lines to paste into a shell, then nothing until Ctrl-C, then the ledger and its sum."""
    with subprocess.Popen(
        [*command, "--speed", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        export = dict(process.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(2))
        url = f"{export['DUNE_API_BASE_URL']}/api/v1/materialized-views/dune.my_team.result_x/refresh"
        headers = {"X-Dune-Api-Key": export["DUNE_API_KEY"]}
        answer = httpx.post(url, json={}, headers=headers, trust_env=False)
        process.send_signal(ending)
        output, errors = process.communicate(timeout=600)
    assert (process.returncode, errors) == (0, "")
    assert [
        [answer.json()["execution_id"], "QUERY_STATE_COMPLETED", "1.000", "dune.my_team.result_x"],
        ["1", "refreshes", "accepted,", "1.000", "credits"],
    ] == [line.split() for line in output.strip().splitlines()]


@either
def test_a_port_that_is_taken_is_told_in_one_line(command: list[str]) -> None:
    """What cannot be done is an error of usage, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = subprocess.run(
            [*command, "--port", str(taken.getsockname()[1])], capture_output=True, text=True, check=False
        )
    assert process.returncode == 2
    assert "in use" in process.stderr.splitlines()[-1]


@either
@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--speed", "0"], ["--port", "x"]])
def test_numbers_out_of_range_are_told(command: list[str], arguments: list[str]) -> None:
    """A port or a speed that cannot be is an error of usage."""
    process = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
