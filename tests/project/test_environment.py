"""The promises about `.envs/`: each folder is complete or absent, and omissions are named.
Must not know what belongs into a folder: here, commands of the tests' own fill it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.environment import DETAIL, progress

ROOT = Path(__file__).parents[2]
# Runs the program with one command of ours in the place of pip; it leaves its traces in the folder where it runs.
PROGRAM = """
import sys
from tools import environment
environment.GRACE = 0.1
environment.commands = lambda folder, *_: [[sys.executable, "-c", sys.argv.pop()]]
sys.exit(environment.main(sys.argv[1:]))
"""
FILL = "import pathlib; pathlib.Path('env').mkdir(); pathlib.Path('env/half-made').touch();"
ENDLESS = f"{FILL} import os, time; pathlib.Path('fifo').write_text(str(os.getpid())); time.sleep(120)"
DEAF = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {ENDLESS}"
FAILING = f"{FILL} print('it went wrong'); print('    in a detail'); raise SystemExit(3)"


@contextmanager
def setting_up(folder: Path, step: str, *options: str, ci: str = "") -> Generator[subprocess.Popen[str]]:
    """The program at work on *folder*/env."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "env", "--what", "a thing", "--takes", "a moment", *options, "pip", step],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CI": ci},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code, and the output on each stream."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_folder_that_is_whole_is_marked(tmp_path: Path) -> None:
    """The ready mark comes last, and an earlier folder is gone."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env/old").touch()
    with setting_up(tmp_path, FILL) as process:
        code, out, err = finished(process)
    assert (code, err) == (0, "")
    assert out.startswith("Setting up env: a thing.\nThis takes about a moment, ")
    assert {path.name for path in (tmp_path / "env").iterdir()} == {".ready", "half-made"}


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """If a command fails, its message is shown without details, and the folder is gone."""
    with setting_up(tmp_path, FAILING, ci="true") as process:
        code, _, err = finished(process)
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert err.splitlines() == [
        "error: a thing could not be set up: a command exited with 3, and said:",
        "it went wrong",
        "Nothing of it is left, and the next make tries again.",
    ]


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_what_can_be_done_without_is_named(tmp_path: Path, ci: str, code: int) -> None:
    """Without an optional part, the work goes on and names the omission; in CI it fails."""
    with setting_up(tmp_path, FAILING, "--optional", "Such tests are not run.", ci=ci) as process:
        ended, _, err = finished(process)
    assert (ended, list(tmp_path.iterdir())) == (code, [])
    assert ("Such tests are not run." in err) is not bool(ci)


@pytest.mark.parametrize("step", [ENDLESS, DEAF])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nothing(tmp_path: Path, ending: signal.Signals, step: str) -> None:
    """After Ctrl-C, a supervisor's signal or the terminal's end, the command is over and the folder gone."""
    os.mkfifo(tmp_path / "fifo")
    with setting_up(tmp_path, step) as process:
        started = int((tmp_path / "fifo").read_text())
        process.send_signal(ending)
        code, _, err = finished(process)
    assert (code, err) == (130, "Interrupted. Nothing is left of env, and the next make begins anew.\n")
    assert not (tmp_path / "env").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


def test_two_at_once_set_up_once(tmp_path: Path) -> None:
    """Who comes while another is at work waits, and then has nothing to do."""
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with setting_up(tmp_path, FILL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Waiting for another make, which is at work in ..\n"
        (tmp_path / "env").mkdir()
        (tmp_path / "env/.ready").touch()
        os.close(lock)
        assert finished(process) == (0, "", "")
    assert [path.name for path in (tmp_path / "env").iterdir()] == [".ready"]


def test_who_is_killed_leaves_its_command_alone_with_the_folder(tmp_path: Path) -> None:
    """After `kill -9`, the next one waits for the command that goes on, and begins anew."""
    os.mkfifo(tmp_path / "fifo")
    with setting_up(tmp_path, ENDLESS) as killed:
        started = int((tmp_path / "fifo").read_text())
        killed.kill()
        killed.wait()
    with setting_up(tmp_path, f"{FILL} pathlib.Path('env/anew').touch()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Waiting for another make, which is at work in ..\n"
        os.kill(started, signal.SIGKILL)
        assert finished(process)[0] == 0
    assert {path.name for path in (tmp_path / "env").iterdir()} == {".ready", "half-made", "anew"}


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("", ""),
        ("Looking in links: /x\nCollecting attrs\n  Using cached attrs\nCollecting httpx\n", "packages found: 2, "),
        ("Collecting attrs\nInstalling collected packages: attrs, httpx, idna\n", "packages installed: 1 of 3, "),
    ],
)
def test_it_is_told_how_far_pip_is(log: str, shown: str) -> None:
    """pip's output and the installed packages make one short progress line."""
    assert progress(log, 1) == shown


def test_details_are_left_out() -> None:
    """npm's own stack traces are not shown."""
    lines = [
        "npm error code ECONNREFUSED",
        "npm error     at emitErrorEvent",
        "    indented",
        "npm error }",
        "ERROR: x",
    ]
    assert [line for line in lines if not DETAIL.match(line)] == [lines[0], lines[3], lines[4]]
