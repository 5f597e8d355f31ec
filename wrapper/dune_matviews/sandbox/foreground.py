"""Knows a sandbox that runs in the foreground of a terminal: two lines to paste, and the bill after Ctrl-C.
Must not know how a sandbox works, nor how its command is spelled."""

import signal
import sys
import time
from collections.abc import Sequence

from dune_matviews.sandbox import Charge, DuneSandbox

__all__ = ["serve"]


def serve(port: int, speed: float) -> None:
    """Run a sandbox until Ctrl-C or SIGTERM, then show its ledger.

    Raises OSError, OverflowError or ValueError where the port or the speed cannot be.
    """
    # Asked for by name, because a shell starts its background jobs with Ctrl-C ignored, and supervisors send SIGTERM.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with DuneSandbox(port=port, speed=speed) as sandbox:
        wait_for_ctrl_c(f"export DUNE_API_BASE_URL={sandbox.url}\nexport DUNE_API_KEY={sandbox.api_key}\n")
    sys.stdout.write(summary(sandbox.ledger))


def wait_for_ctrl_c(greeting: str) -> None:
    """Say *greeting*, and return once the user has had enough."""
    try:
        sys.stdout.write(greeting)
        sys.stdout.flush()
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        sys.stdout.write("\n")  # the terminal has just shown ^C


def summary(ledger: Sequence[Charge]) -> str:
    """One line for each accepted refresh, and one with their number and sum."""
    lines = [f"{each.execution_id}  {each.state:<30}{each.credits:>10.3f}  {each.name}\n" for each in ledger]
    return "".join([*lines, f"{len(lines)} refreshes accepted, {sum(each.credits for each in ledger):.3f} credits\n"])
