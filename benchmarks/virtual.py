"""Measurements in virtual time, against a simulated Dune: polls and lateness, whole runs, the cost of scheduling.

This module must not know the format of the figures, nor their targets. Every figure except CPU time is the same on any
machine.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

from dune_matviews import ExecutionState
from dune_matviews._batch.graph import reads
from dune_matviews._batch.run import Run
from dune_matviews._batch.view import Limits, Plan
from dune_matviews._execution.starting import start
from dune_matviews._execution.watching import Watch, watch
from dune_matviews._execution.wish import Wish
from dune_matviews._flow.effects import Flow
from dune_matviews._http.rate_limits import PLANS, RequestBudget
from dune_matviews.report import RefreshReport
from tests.batch.workloads import least_makespan, makespan, views_of_all_lengths
from tests.simulation import Dune

from .figures import Rounds

LENGTHS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds that executions last."""

TRIES = 50
"""Executions of about the same length, because the delay between an end and the next poll is random."""

GROWTH = (100, 1_000, 10_000)
"""Views in one run."""

PARALLEL = (3, 10)


class Polls(NamedTuple):
    """The cost of following executions of about *length* seconds."""

    length: int
    polls: float
    mean_lateness: float
    most_lateness: float


class Makespan(NamedTuple):
    """Seconds for a hundred views: measured, with every end noticed at once, and the lower bound."""

    plan: str
    parallel: int
    taken: float
    at_once: float
    least: float


def polls(length: int) -> Polls:
    """Follow executions from 90 % of *length* to all of it, one at a time, on the Free plan."""
    counts: list[int] = []
    lateness: list[float] = []
    for number in range(1, TRIES + 1):
        dune = Dune(length=length * (0.9 + 0.1 * number / TRIES))
        session = dune.session(PLANS["free"])
        begun = dune.run(start(session, Wish(view="v")))
        if begun.execution_id is None:
            raise RuntimeError("no execution was started")
        dune.run(watch(session, Watch(execution_id=begun.execution_id, how=begun.how, since=dune.now)))
        counts.append(sum(each.what.startswith("status") for each in dune.seen))
        lateness.append(dune.now - dune.ledger[0].ends)
    return Polls(length, max(counts), sum(lateness) / TRIES, max(lateness))


def makespans() -> list[Makespan]:
    """A hundred views, from seconds to a quarter of an hour long, at each plan's budget."""
    lengths = views_of_all_lengths(100)
    found: list[Makespan] = []
    for plan, budget in PLANS.items():
        for parallel in PARALLEL:
            dune = Dune()
            dune.scenarios = {name: (length, ExecutionState.COMPLETED, 1.0) for name, length in lengths.items()}
            began = dune.now
            dune.run(_run(dune, dict.fromkeys(lengths, ()), budget, parallel))
            started = [lengths[each.name] for each in dune.ledger]
            found.append(
                Makespan(
                    plan,
                    parallel,
                    dune.now - began,
                    makespan(started, parallel, budget.low),
                    least_makespan(started, parallel, budget.low),
                )
            )
    return found


def growth(rounds: int) -> Rounds:
    """The cost of scheduling per view, in runs of a hundred views and of many more."""
    return Rounds.of(rounds, {str(count): partial(_scheduling, count) for count in GROWTH})


def _scheduling(count: int) -> dict[str, float]:
    """Seconds of CPU for each of *count* views in one run; each reads two views before it, and lasts for 1 s."""
    views = {f"v{place}": tuple(f"v{below}" for below in {place // 2, place // 3} - {place}) for place in range(count)}
    dune = Dune(length=1.0)
    cpu = time.process_time()
    report = dune.run(_run(dune, reads(views), None, 10))
    cpu = time.process_time() - cpu
    if not report.ok or len(dune.ledger) != count:
        raise RuntimeError("the run did not do what is measured")
    return {"cpu": cpu / count}


def _run(
    dune: Dune, views: dict[str, tuple[str, ...]], budget: RequestBudget | None, parallel: int
) -> Flow[RefreshReport]:
    plan = Plan(views, dict.fromkeys(views))
    return Run(dune.session(budget), plan, Limits(max_parallel=parallel)).flow()
