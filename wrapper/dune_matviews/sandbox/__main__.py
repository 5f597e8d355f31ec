"""Knows the terminal side of `python -m dune_matviews.sandbox`: two lines to paste, and the bill after Ctrl-C.
Must not know how a sandbox works."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from dune_matviews.sandbox import Charge, DuneSandbox


def main() -> None:
    """Run a sandbox in the foreground until Ctrl-C, then show its ledger."""
    parser = argparse.ArgumentParser(
        prog="python -m dune_matviews.sandbox",
        description="A local stand-in for Dune's API, in which any materialized view exists. Ends with Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster executions run (default: 1)")
    arguments = parser.parse_args()
    # Asked for by name, because a shell starts its background jobs with Ctrl-C ignored, and supervisors send SIGTERM.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        sandbox = DuneSandbox(port=arguments.port, speed=arguments.speed)
    except (OSError, OverflowError, ValueError) as error:
        parser.error(str(error))
    with sandbox:
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


if __name__ == "__main__":
    main()
