"""Writes RESULTS.md: the targets, every figure, and the machine. Each number is computed from measurements.

This module must not know the methods of measurement.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .figures import Rounds
from .real import CALLS, HANDLES, IMPORTS, STARTS, WAIT, WAITS
from .targets import Measured, Target, targets
from .virtual import TRIES

NAMES = {
    "python": "Python itself, doing nothing",
    "httpx_alone": "httpx alone",
    "generated": "the generated client alone",
    "matviews": "**dune-matviews**",
    "dune_client": "dune-client",
    "httpx_alone_async": "httpx alone, async",
    "matviews_async": "**dune-matviews, async**",
    "aiohttp_alone_async": "aiohttp alone, async",
    "dune_client_async": "dune-client, async (aiohttp)",
    "dune_client_version_once_async": "the same, its version read once",
}


def write(measured: Measured, path: Path) -> list[Target]:
    """Write everything to *path*; return the targets."""
    found = targets(measured)
    unmet = [each.what for each in found if not each.is_met]
    verdict = f"Not met: {'; '.join(unmet)}." if unmet else "All targets are met."
    sections = [
        "# Results",
        "`make bench` writes this page, in one run, on loopback. CPU is that of the client's process. Contenders "
        "take turns, so other load on the machine affects all of them. A figure is a median, followed by the "
        "quartiles in brackets. A ratio is the median of the ratios of single rounds.",
        "## Targets",
        table(("target", "measured", "at most", "met", "httpx alone"), (each.row() for each in found)),
        verdict,
        *_starting(measured),
        *_calling(measured),
        *_following(measured),
        *_in_virtual_time(measured),
        "## The machine",
        _machine(measured.versions),
    ]
    path.write_text("\n\n".join(sections) + "\n", "utf-8")
    return found


def _starting(measured: Measured) -> list[str]:
    imports, starts = measured.imports, measured.starts
    return [
        "## Starting",
        table(
            ("import, in a new process", "of `import httpx`", "ms of CPU", "ms", "modules"),
            (
                (
                    f"`{each}`",
                    imports.ratio(each, "import httpx", "cpu").show(digits=2),
                    imports[each, "cpu"].show(1e-3, 1),
                    imports[each, "wall"].show(1e-3, 1),
                    imports[each, "modules"].show(),
                )
                for each in IMPORTS
            ),
        ),
        "A cold start is a new process from start to end, with the import, a client and its first refresh. Every "
        "contender loads certificates, as it would for https.",
        table(
            ("cold start", "CPU, of httpx alone", "CPU, of dune-client's", "ms of CPU", "ms"),
            (
                (
                    NAMES[each],
                    starts.ratio(each, _twin("httpx_alone", each), "cpu").show(digits=2),
                    starts.ratio(each, _twin("dune_client", each), "cpu").show(digits=2),
                    starts[each, "cpu"].show(1e-3),
                    starts[each, "wall"].show(1e-3),
                )
                for each in STARTS
            ),
        ),
    ]


def _calling(measured: Measured) -> list[str]:
    parts = [
        "## Calling",
        f"Consecutive calls on one connection, {CALLS} per round, with new processes every few rounds. dune-matviews "
        "runs with all features: typing, pacing, retries and error mapping. No view is refreshed twice in a row, "
        "and all polls are of one execution. dune-client has no call for views; its own POST and status calls get "
        "the same responses. Its asynchronous client is slow for aiohttp because it reads its own version from the "
        "installed package's files for each request; the last row does so once.",
    ]
    for what, rounds in measured.calls.items():
        parts.append(
            table(
                (what, "CPU, of httpx alone", "CPU, of dune-client's", "µs of CPU per call", "calls per second"),
                (
                    (
                        NAMES[each],
                        rounds.ratio(each, _twin("httpx_alone", each), "cpu").show(digits=2),
                        rounds.ratio(each, _twin("dune_client", each), "cpu").show(digits=2),
                        rounds[each, "cpu"].show(1e-6),
                        f"{1 / rounds[each, 'wall'].median:,.0f}",
                    )
                    for each in rounds.contenders
                ),
            )
        )
    return parts


def _following(measured: Measured) -> list[str]:
    waits, memory = measured.waits, measured.memory
    return [
        "## Following many executions at once",
        f"{WAITS} executions of {WAIT:g} s, started at once and followed by one asynchronous client. httpx and "
        "dune-client poll once a second. dune-matviews uses its own cadence, which is faster at first and slower "
        "later.",
        table(
            (
                "",
                "CPU per poll, of httpx alone",
                "ms of CPU per poll",
                "s of CPU in total",
                "polls",
                "s until the end is noticed",
            ),
            (
                (
                    NAMES[each],
                    f"{_per_poll(waits, each) / _per_poll(waits, 'httpx_alone_async'):.2f}",
                    f"{_per_poll(waits, each) * 1000:.2f}",
                    waits[each, "cpu"].show(digits=2),
                    waits[each, "polls"].show(),
                    waits[each, "took"].show(digits=2),
                )
                for each in waits.contenders
            ),
        ),
        table(
            (f"memory, with {HANDLES:,} executions in flight", "KB for each"),
            ((NAMES[each], memory[each, "bytes"].show(1e3, 1)) for each in memory.contenders),
        ),
    ]


def _per_poll(waits: Rounds, contender: str) -> float:
    return waits[contender, "cpu"].median / waits[contender, "polls"].median


def _in_virtual_time(measured: Measured) -> list[str]:
    counts = measured.counts
    first = measured.scheduling[str(counts[0]), "cpu"].median
    return [
        "## In virtual time",
        f"Polls of one execution on the Free plan, over {TRIES} executions between 90 % and 100 % of each length. A "
        "poll once a second is up to 1 s late, and exceeds the Free plan's limit after 40 s.",
        table(
            ("s", "polls, of once a second", "most polls", "mean lateness, s", "worst, s", "allowed, s"),
            (
                (
                    f"{each.length:,}",
                    f"{each.polls / each.length:.2f}",
                    f"{each.polls:.0f}",
                    f"{each.mean_lateness:.1f}",
                    f"{each.most_lateness:.1f}",
                    f"{max(1.0, each.length / 10):.1f}",
                )
                for each in measured.polls
            ),
        ),
        "A run of 100 views that take 3 s to 1,000 s. *At once*: the same order and budget for starts, with every "
        "end noticed immediately. *Bound*: the lower limit for any order and policy.",
        table(
            ("plan", "in flight", "of at once", "of the bound", "s", "at once, s", "bound, s"),
            (
                (
                    each.plan,
                    str(each.parallel),
                    f"{each.taken / each.at_once:.3f}",
                    f"{each.taken / each.least:.3f}",
                    f"{each.taken:,.0f}",
                    f"{each.at_once:,.0f}",
                    f"{each.least:,.0f}",
                )
                for each in measured.makespans
            ),
        ),
        "CPU per view of a whole run, including the simulated Dune. Each view reads two others.",
        table(
            ("views", "of the smallest run", "µs of CPU per view"),
            (
                (
                    f"{count:,}",
                    f"{measured.scheduling[str(count), 'cpu'].median / first:.2f}",
                    measured.scheduling[str(count), "cpu"].show(1e-6),
                )
                for count in counts
            ),
        ),
        "## Generating the client",
        f"`make generate` takes {measured.generation['generate', 'wall'].show(digits=1)} s.",
    ]


def _twin(contender: str, of: str) -> str:
    """The contender of the same kind, synchronous or asynchronous."""
    return f"{contender}_async" if of.endswith("_async") else contender


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(versions: Mapping[str, str]) -> str:
    facts = {
        "processor": _first_line(Path("/proc/cpuinfo"), "model name") or platform.processor() or "unknown",
        "processors": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} on {platform.machine()}",
        "load average over the last 5 minutes of the run": f"{os.getloadavg()[1]:.1f}",
        "Python": platform.python_version(),
        **versions,
    }
    return table(("", ""), facts.items())


def _first_line(file: Path, name: str) -> str | None:
    """The value of a line `name: value`; None if there is no such file or line."""
    if not file.exists():
        return None
    lines = (line.partition(":") for line in file.read_text("utf-8").splitlines())
    return next((value.strip() for found, _, value in lines if found.strip() == name), None)
