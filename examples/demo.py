"""A refresh from start to end: against a local sandbox, or against Dune itself with `demo.py NAME` and DUNE_API_KEY."""

from __future__ import annotations

import os
import sys
import time

from dune_matviews import DuneError, ExecutionStatus, MatviewsClient
from dune_matviews.sandbox import DuneSandbox

NAME = "dune.my_team.result_daily_volume"


def show(status: ExecutionStatus) -> None:
    """Print one look at the execution."""
    queue = f", place {status.queue_position} in the queue" if status.queue_position else ""
    print(f"  {status.state:<10} {status.cost_credits or 0:6.2f} credits{queue}")


def demonstrate(dune: MatviewsClient, name: str) -> None:
    """Refresh one view, and show what happens."""
    began = time.monotonic()
    refresh = dune.refresh(name)
    print(f"Refreshing {name}: execution {refresh.execution_id}")
    status = refresh.wait(timeout=3600, on_update=show)
    print(f"Fresh after {time.monotonic() - began:.1f} s, for {status.cost_credits} credits")


def main(arguments: list[str]) -> int:
    """Choose where to refresh: only a key and a name together reach Dune, and cost credits."""
    try:
        if arguments and "DUNE_API_KEY" in os.environ:
            with MatviewsClient() as dune:
                demonstrate(dune, arguments[0])
        else:
            print("In a local sandbox, at no cost (for the real Dune: DUNE_API_KEY=… make demo VIEW=name)")
            with DuneSandbox() as sandbox, MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
                demonstrate(dune, arguments[0] if arguments else NAME)
    except DuneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("\n".join(["Interrupted.", *getattr(interruption, "__notes__", [])]), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
