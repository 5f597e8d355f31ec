"""The whole run: each scenario against a server of its own, its bill compared with what was started; writes RESULT.md.

It must not know what happens within a scenario.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, NamedTuple

from .scenarios import SCENARIOS

RESULT = Path(__file__).parent / "RESULT.md"

INTRODUCTION = """# Result

Written by `make soak`. Each refresh is of a view of its own: a view that was billed twice is an intent that was billed
twice. 5 % of the requests meet a fault, of thirty kinds. A client works if, after all that, 200 requests of it at once
have their responses.

"""


class Result(NamedTuple):
    """What one scenario has come to."""

    name: str
    works: bool
    twice: int
    foreign: int
    refreshes: int
    requests: int
    seconds: float
    figures: dict[str, int]

    @property
    def is_good(self) -> bool:
        """The client works, nothing was billed twice, and every id is of the view that was asked for."""
        return self.works and not self.twice and not self.foreign and not self.figures.get("children that died")

    def row(self) -> str:
        """The result as a row of the table."""
        numbers = [self.twice, self.foreign, self.refreshes, self.requests, round(self.seconds)]
        figures = ", ".join(f"{what}: {number:,}" for what, number in sorted(self.figures.items()) if what != "works")
        cells = [self.name, "yes" if self.works else "**no**", *(f"{number:,}" for number in numbers), figures]
        return f"| {' | '.join(cells)} |"


def run(name: str, seed: int) -> Result:
    """Go through one scenario."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.soak.server", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        client = subprocess.run(
            [sys.executable, "-m", "tests.soak.scenarios", name, url, str(seed)], stdout=subprocess.PIPE, text=True
        )
        bill = json.loads(server.communicate("")[0])
    told: dict[str, Any] = json.loads(client.stdout) if client.stdout else {"started": {}, "figures": {}}
    billed = Counter(view for view, _ in bill["charges"])
    charges = dict(bill["charges"])
    return Result(
        name,
        client.returncode == 0 and bool(told["figures"].get("works")),
        sum(times > 1 for times in billed.values()),
        sum(charges.get(view) != execution_id for view, execution_id in told["started"].items()),
        len(bill["charges"]),
        bill["requests"],
        time.monotonic() - began,
        told["figures"],
    )


def main() -> None:
    """Go through the scenarios that are named, or all, and write all results."""
    seed = random.randrange(1_000_000)
    results = []
    for name in sys.argv[1:] or SCENARIOS:
        print(f"{name} …", flush=True)
        results.append(run(name, seed))
        print(results[-1].row(), flush=True)
    if not sys.argv[1:]:
        versions = ", ".join(f"{name} {version(name)}" for name in ("httpx", "httpcore", "anyio"))
        head = f"{datetime.now(UTC):%Y-%m-%d}, Python {python_version()}, {versions}, seed {seed}.\n\n"
        heading = ["", "works", "billed twice", "another's id", "billed", "requests", "seconds", "of which"]
        table = [f"| {' | '.join(heading)} |", "| --- " * len(heading) + "|", *(each.row() for each in results)]
        RESULT.write_text(INTRODUCTION + head + "\n".join(table) + "\n", "utf-8")
    if not all(each.is_good for each in results):
        sys.exit("A client is dead, or paid twice.")


if __name__ == "__main__":
    main()
