"""A plan of six views, from start to end: the command `dune-matviews run`, with a sandbox in place of Dune.

`demo.py 100` runs the executions a hundred times as fast.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from dune_matviews.sandbox import DuneSandbox
from dune_matviews.sandbox.example import example
from dune_matviews.sandbox.foreground import summary

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).parent / "dune-matviews"
PLAN = "examples/plan.toml"

BEGINNING = """\
Six materialized views in three layers. A local sandbox stands in for Dune, so
nothing of this is billed.

First the plan: its layers, the view that is younger than its six hours, and the
expected time and cost of the others, from their past.
"""
RUN = """
Then the run. One view fails: the view that reads it is skipped, and the others go on.
"""
BILL = """
The bill, by the sandbox's ledger, in which failures cost nothing:
"""
END = """
To try more:
  {command} sandbox --example
With your own views, billed by Dune:
  DUNE_API_KEY=… {command} refresh --upstream NAME"""


def main(speed: float) -> int:
    """Show the plan, run it, and show the bill; return 0 if everything went as planned."""
    with example(speed=speed) as sandbox:
        tell(BEGINNING)
        code = run(sandbox, "run", PLAN, "--dry-run")
        if code == 0:
            tell(RUN)
            code = run(sandbox, "run", PLAN, "--plan", "enterprise")  # polls as often as it likes
        tell(BILL)
        tell(summary(sandbox.ledger).rstrip("\n"))
    if code != 1:  # a run with a failed view exits with 1
        return code or 1
    tell(END.format(command=os.path.relpath(COMMAND)))
    return 0


def run(sandbox: DuneSandbox, *arguments: str) -> int:
    """Run the command in the sandbox, as a person would, and return its exit code."""
    tell(f"$ {shlex.join(['dune-matviews', *arguments])}")
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    environment = {
        **os.environ,
        "DUNE_API_BASE_URL": sandbox.url,
        "DUNE_API_KEY": sandbox.api_key,
        "no_proxy": f"127.0.0.1,{others}",
    }
    with subprocess.Popen([COMMAND, *arguments], cwd=ROOT, env=environment) as command:  # noqa: S603 - our own
        # A terminal's Ctrl-C also reaches the command, which reports the state before it ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: command.terminate())
        try:
            return command.wait()
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def tell(text: str) -> None:
    """Print *text* before anything that a command prints after it."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 1.0))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
