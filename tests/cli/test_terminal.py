"""The terminal: the live display, the final table, questions, colours, Ctrl-C."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dune_matviews.sandbox import DuneSandbox, Scenario

from .conftest import COMMAND, Shell

BASE, DAILY = "dune.my_team.result_base", "dune.my_team.result_daily"
FAST = ("--plan", "enterprise")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Takes its standard input for the terminal of its session, so that Ctrl-C is a signal to it, and becomes the command.
AT_A_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command on a pseudo-terminal, and its output so far."""

    def __init__(self, shell: Shell, *arguments: str, columns: int = 100, rows: int = 24, **environment: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_A_TERMINAL, COMMAND, *arguments],
            cwd=shell.folder,
            env=shell.environment | {"TERM": "xterm-256color"} | environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """Read on until the screen has shown *pattern*; colours and movements of the cursor do not count."""
        end = time.monotonic() + 600  # what is drawn again and again would never leave it without anything to read
        while not re.search(pattern, self.plain):
            going_on = self._read() and time.monotonic() < end
            assert going_on, f"{pattern!r} was never shown: {self.shown[-2000:]!r}"
        return self.plain

    def end(self) -> int:
        """Read on to the end, and return the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=600)

    def insist(self, text: str) -> int:
        """Type it until the command ends: Python loses a Ctrl-C that comes right before it begins to read."""
        while self._process.poll() is None:
            self.type(text)
            while self._read(timeout=1):
                pass
        return self._process.returncode

    @property
    def plain(self) -> str:
        """All that was shown, one after the other, without colours and movements."""
        return ESCAPE.sub("", self.shown).replace("\r\n", "\n")

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait(timeout=600)
        os.close(self._master)

    def _read(self, timeout: float = 600) -> bool:
        ready, _, _ = select.select([self._master], [], [], timeout)
        try:
            found = os.read(self._master, 65536) if ready else b""
        except OSError:  # how Linux tells that nobody has the other side open any more
            return False
        self.shown += found.decode("utf-8", "replace")
        return bool(found)


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Any]:
    """Starts commands on pseudo-terminals."""
    started: list[Terminal] = []

    def start(*arguments: str, **more: Any) -> Terminal:
        started.append(Terminal(shell, *arguments, **more))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_refresh_is_shown_live(terminal: Any, dune: DuneSandbox) -> None:
    """A line a view with its state, time and cost, redrawn in place; then the table alone is left, in colour."""
    dune.rehearse(DAILY, Scenario(running=math.inf))
    shown = terminal("refresh", BASE, DAILY, *FAST)
    shown.until(rf"{DAILY}  executing +\d+\.\ds +0\.00 credits")
    shown.until(rf"{BASE} +succeeded +\d+\.\ds +1\.00 credits")
    shown.until(r"1 under way, 1 done; ")
    dune.finish(dune.ledger[1].execution_id)
    assert shown.end() == 0
    assert "\x1b[2K" in shown.shown  # lines are wiped, and drawn again
    assert "\x1b[?25h" in shown.shown.rpartition("\x1b[?25l")[2]  # the cursor is back
    last = shown.shown.rpartition("VIEW")[2].splitlines()
    assert f"{DAILY}  \x1b[32msucceeded\x1b[0m" in last[2]
    assert last[3].startswith("2 succeeded; ")
    assert not re.search(r"^20\d\d-", shown.plain, re.MULTILINE)  # no line is spent on an event


def test_the_place_in_the_queue_is_shown(terminal: Any, dune: DuneSandbox) -> None:
    """While a view waits for its turn at Dune."""
    dune.rehearse(DAILY, Scenario(pending=math.inf))
    shown = terminal("refresh", DAILY, *FAST)
    shown.until(rf"{DAILY}  pending .*place 1 in the queue")
    dune.finish(dune.ledger[0].execution_id)
    assert shown.end() == 0


def test_more_views_than_lines_are_summed_up(terminal: Any, dune: DuneSandbox) -> None:
    """Views under way stay on the screen; the rest is in the totals."""
    dune.rehearse("v.0", Scenario(running=math.inf))
    shown = terminal("refresh", *(f"v.{number}" for number in range(12)), *FAST, rows=6, columns=50)
    plain = shown.until(r"1 under way, 11 done")
    assert "v.0   executing" in plain.rpartition("11 done")[0][-400:]
    dune.finish(dune.ledger[0].execution_id)
    assert shown.end() == 0


def test_a_long_name_hides_nothing(terminal: Any, dune: DuneSandbox) -> None:
    """In a narrow terminal it loses its beginning, and the state, time, cost and place stay in sight."""
    name = f"dune.my_team.result_{'x' * 80}_end"
    dune.rehearse(name, Scenario(pending=math.inf))
    shown = terminal("refresh", name, *FAST, columns=80)
    shown.until(r"…x+_end  pending  +\d+\.\ds  0\.00 credits  place 1 in the queue\n")
    dune.finish(dune.ledger[0].execution_id)
    assert shown.end() == 0


def test_ctrl_c_leaves_the_terminal_in_order(terminal: Any, dune: DuneSandbox) -> None:
    """The live lines are gone, the cursor is back, and commands for running executions can be pasted."""
    dune.rehearse(DAILY, Scenario(running=math.inf))
    shown = terminal("refresh", DAILY)
    shown.until("executing")
    shown.type("\x03")
    assert shown.end() == 130
    assert "\x1b[?25h" in shown.shown.rpartition("\x1b[?25l")[2]
    (charge,) = dune.ledger
    assert shown.plain.endswith(
        f"{DAILY} goes on. Follow it, or end it:\n"
        f"  dune-matviews wait {charge.execution_id}\n"
        f"  dune-matviews cancel {charge.execution_id}\n"
    )
    assert "Traceback" not in shown.plain


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_left_out_where_nobody_wants_them(
    variable: dict[str, str], terminal: Any, dune: DuneSandbox
) -> None:
    """`NO_COLOR` takes the colours away, a dumb terminal the redrawing as well."""
    shown = terminal("refresh", DAILY, *FAST, **variable)
    assert shown.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*[349]\dm", shown.shown)
    assert ("\x1b" in shown.shown) == ("NO_COLOR" in variable)
    if "TERM" in variable:
        assert re.search(rf"^20\d\d\S+Z  {DAILY}  started", shown.plain, re.MULTILINE)


def test_quiet_is_quiet_at_a_terminal(terminal: Any, dune: DuneSandbox) -> None:
    """Nothing is drawn."""
    shown = terminal("refresh", DAILY, "-q", *FAST)
    assert (shown.end(), shown.shown) == (0, "")


def test_text_of_others_does_nothing_to_the_terminal(terminal: Any, dune: DuneSandbox) -> None:
    """Neither markup nor escape sequences in Dune's words are acted on."""
    from dune_matviews.sandbox import Failure

    dune.rehearse(DAILY, Scenario(end="failed", error=Failure(message="[bold]no[/] \x1b[31;1mway\x07 :boom:")))
    shown = terminal("refresh", DAILY, *FAST)
    assert shown.end() == 1
    assert "[bold]no[/] [31;1mway :boom:" in shown.plain
    assert "\x1b[31;1m" not in shown.shown
    assert "\x07" not in shown.shown


@pytest.mark.parametrize(("reply", "code", "sent"), [("y\n", 0, ["DELETE"]), ("n\n", 1, []), ("\x03", 130, [])])
def test_delete_asks(reply: str, code: int, sent: list[str], terminal: Any, dune: DuneSandbox) -> None:
    """Yes deletes; no, and Ctrl-C, leave the view as it is."""
    asked = terminal("delete", DAILY)
    asked.until(rf"Delete {DAILY} and its table, for good\? \[y/N\]: ")
    assert asked.insist(reply) == code
    assert [each.method for each in dune.requests] == sent
