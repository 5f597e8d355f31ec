"""The whole run: measures everything, and writes RESULTS.md beside this file. `make bench` calls it.

It must not know the meaning of any figure.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from . import real, report, virtual
from .figures import Rounds
from .processes import ROOT, fresh
from .targets import Measured

T = TypeVar("T")

RESULTS = Path(__file__).parent / "RESULTS.md"


def _generate() -> dict[str, float]:
    """Seconds for the whole generation. The result is compared with `generated/`, and does not replace it."""
    return fresh("import sys; from tools.generate import main; sys.exit(main(['--check']))", Path(sys.executable))


def main() -> None:
    """Measure, write, and say which targets are met."""
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "wrapper", "generated", "benchmarks"], cwd=ROOT, check=True
    )
    measured = Measured(
        imports=_doing("imports", partial(real.imports, 15)),
        starts=_doing("cold starts", partial(real.starts, 15)),
        calls=_doing("calls", partial(real.calls, 48)),
        waits=_doing("waits", partial(real.waits, 3)),
        memory=_doing("memory", real.memory),
        polls=_doing("polls", lambda: [virtual.polls(length) for length in virtual.LENGTHS]),
        makespans=_doing("runs", virtual.makespans),
        scheduling=_doing("scheduling", lambda: virtual.growth(5)),
        generation=_doing("generation", lambda: Rounds.of(3, {"generate": _generate})),
        versions=real.versions(),
    )
    for target in report.write(measured, RESULTS):
        print(*target.row(), sep="  |  ")


def _doing(what: str, work: Callable[[], T]) -> T:
    print(f"measuring {what} …", flush=True)
    return work()


if __name__ == "__main__":
    main()
