"""Knows a sandbox in the foreground of a terminal: two lines to paste, and the bill after Ctrl-C.
Must not know how a sandbox works, nor the options of its command."""

import signal
import sys
import time
from collections.abc import Sequence

from dune_matviews.sandbox import Charge, DuneSandbox
from dune_matviews.sandbox.example import example

__all__ = ["serve", "summary"]

_TO_TRY = (
    "list",
    "lineage dune.my_team.result_daily --format toml > plan.toml",
    "run plan.toml --dry-run",
    "refresh --upstream dune.my_team.result_daily --max-age 6h",
)


def serve(port: int, speed: float, *, with_example: bool) -> None:
    """Run a sandbox, with or without the example, until Ctrl-C or SIGTERM; then show its ledger.

    Raises OSError, OverflowError or ValueError for a port or a speed that is impossible.
    """
    # Set explicitly: shells start background jobs with Ctrl-C ignored, and supervisors send SIGTERM.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with (example if with_example else DuneSandbox)(port=port, speed=speed) as sandbox:
        wait_for_ctrl_c(greeting(sandbox, with_example=with_example))
    sys.stdout.write(summary(sandbox.ledger))


def greeting(sandbox: DuneSandbox, *, with_example: bool) -> str:
    """Two lines to paste, and notes on them."""
    lines = [
        f"export DUNE_API_BASE_URL={sandbox.url}",
        f"export DUNE_API_KEY={sandbox.api_key}",
        "",
        "Paste these two lines into another shell. The key is for this sandbox only: do not use your own here.",
        "Nothing here is billed. Ctrl-C ends the sandbox and shows the bill that Dune would have sent.",
    ]
    if with_example:
        lines += ["", "Then, for example:", *(f"  dune-matviews {each}" for each in _TO_TRY)]
    return "\n".join([*lines, ""])


def wait_for_ctrl_c(text: str) -> None:
    """Print *text*, and return at Ctrl-C."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        sys.stdout.write("\n")  # the terminal has just shown ^C


def summary(ledger: Sequence[Charge]) -> str:
    """One line for each accepted refresh, and one with their number and their total."""
    rows = [
        (each.execution_id, each.state.removeprefix("QUERY_STATE_").lower(), f"{each.credits:.3f}", each.name)
        for each in ledger
    ]
    state_width, cost_width = (max((len(row[place]) for row in rows), default=0) for place in (1, 2))
    lines = [f"{id}  {state:<{state_width}}  {cost:>{cost_width}}  {name}\n" for id, state, cost, name in rows]
    accepted = f"{len(rows)} {'refresh' if len(rows) == 1 else 'refreshes'} accepted"
    return "".join([*lines, f"{accepted}, {sum(each.credits for each in ledger):.3f} credits\n"])
