"""Knows `python -m dune_matviews.sandbox` and `dune-matviews sandbox` as a person at a terminal sees them.
Must not import the command: it runs as a process of its own."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import httpx
import pytest

COMMANDS = [
    [sys.executable, "-m", "dune_matviews.sandbox"],
    [str(Path(sys.executable).parent / "dune-matviews"), "sandbox"],
]


def exported(output: IO[str]) -> dict[str, str]:
    """The variables of the two lines to paste; the empty line that follows them is read, too."""
    lines = [output.readline() for _ in range(3)]
    assert lines.pop() == "\n"
    return dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)


either = pytest.mark.parametrize("command", COMMANDS, ids=["module", "command"])


@either
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_told_to_end_and_shows_the_bill(command: list[str], ending: signal.Signals) -> None:
    """Two lines to paste and notes on them, then nothing until Ctrl-C, then the ledger and its total."""
    with subprocess.Popen(
        [*command, "--speed", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        export = exported(process.stdout)
        url = f"{export['DUNE_API_BASE_URL']}/api/v1/materialized-views/dune.my_team.result_x/refresh"
        headers = {"X-Dune-Api-Key": export["DUNE_API_KEY"]}
        assert "The key is for this sandbox only" in process.stdout.readline()
        assert "Nothing here is billed" in process.stdout.readline()
        response = httpx.post(url, json={}, headers=headers, trust_env=False, timeout=600)
        process.send_signal(ending)
        output, errors = process.communicate(timeout=600)
    assert (process.returncode, errors) == (0, "")
    assert [
        [response.json()["execution_id"], "completed", "1.000", "dune.my_team.result_x"],
        ["1", "refresh", "accepted,", "1.000", "credits"],
    ] == [line.split() for line in output.strip().splitlines()]


@either
def test_it_can_begin_with_an_example(command: list[str]) -> None:
    """With --example there are six views, and commands to try on them."""
    with subprocess.Popen([*command, "--example"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        export = exported(process.stdout)
        headers = {"X-Dune-Api-Key": export["DUNE_API_KEY"]}
        address = f"{export['DUNE_API_BASE_URL']}/api/v1/materialized-views"
        views = httpx.get(address, headers=headers, trust_env=False, timeout=600).json()["materialized_views"]
        assert len(views) == 6
        to_try = "  dune-matviews refresh --upstream dune.my_team.result_daily --max-age 6h\n"
        assert to_try in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == "\n0 refreshes accepted, 0.000 credits\n"


@either
def test_a_port_that_is_taken_is_told_in_one_line(command: list[str]) -> None:
    """A port in use is an error of usage, not a traceback."""
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
