"""The benefit of past executions, in virtual time: runs and waits with and without history, and an oracle.

The real scheduler and the real watching run against a simulated Dune, whose executions are log-normal; every figure
comes out the same on any machine. This module must not know how executions are predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

from dune_matviews import ExecutionState, ExecutionStatus
from dune_matviews._batch.forecasting import forecast
from dune_matviews._batch.graph import reads
from dune_matviews._batch.run import Run
from dune_matviews._batch.view import Limits, Plan
from dune_matviews._execution.pacing import Pace, Watched, poll_pause
from dune_matviews._execution.session import Session
from dune_matviews._execution.starting import start
from dune_matviews._execution.watching import Watch, watch
from dune_matviews._execution.wish import Wish
from dune_matviews._http.rate_limits import PLANS
from dune_matviews.models import Range
from tests.simulation import EPOCH, Dune

from .report import table

SPREADS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Standard deviations of the logarithms of one view's durations."""

KINDS = ("independent", "chains", "layered", "random")
PARALLEL = (3, 10)
VIEWS = 100
PAST = 8
"""Past executions of each view."""

MEDIANS = (60.0, 300.0, 1_200.0)
"""Median lengths of the executions in waits, in seconds."""

Views = dict[str, tuple[str, ...]]


class Runs(NamedTuple):
    """Makespans of runs of one kind, relative to the oracle's and to runs without history.

    Attributes:
        worst: the largest of the ratios to a run without history.
        informed: the makespan of an oracle that knows each view's median alone, relative to the one that knows all.
        held: how many of the makespans lie within the forecast's range.
    """

    kind: str
    spread: float
    parallel: int
    of_oracle: float
    of_today: float
    worst: float
    informed: float
    held: float


class Waits(NamedTuple):
    """The average polls and seconds of lateness of waits for executions of about *median* seconds.

    Attributes:
        polls, lateness: with history.
        today_polls, today_lateness: without it.
        equal_lateness: without it, with all pauses scaled for the same number of polls.
        broken: the number of ends noticed later than promised.
    """

    median: float
    spread: float
    polls: float
    lateness: float
    today_polls: float
    today_lateness: float
    equal_lateness: float
    broken: int


class World:
    """A hundred views that read each other, with the median, past and future length of each."""

    def __init__(self, kind: str, spread: float, seed: int) -> None:
        self._random = Random(f"{kind} {spread} {seed}")
        self._spread = spread
        self.views = reads(_graph(kind, self._random))
        self.medians = {name: 10 ** self._random.uniform(0.5, 3.0) for name in self.views}
        self.past = {name: [self._drawn(name) for _ in range(PAST)] for name in self.views}
        self.lengths = {name: self._drawn(name) for name in self.views}

    def _drawn(self, name: str) -> float:
        return self.medians[name] * math.exp(self._random.gauss(0.0, self._spread))

    def run(self, parallel: int, past: dict[str, list[float]], *, at_once: bool = False) -> float:
        """Seconds of a run of all views with this past; with *at_once*, every end is noticed at once."""
        dune = Dune()
        dune.scenarios = {
            name: (length, ExecutionState.COMPLETED, length / 60) for name, length in self.lengths.items()
        }
        session = dune.session(PLANS["free"])
        if at_once:
            session.pace = AtOnce(dune)
        remember(session, past)
        began = dune.now
        found = Run(session, Plan(self.views, dict.fromkeys(self.views)), Limits(max_parallel=parallel))
        if not dune.run(found.flow()).ok:
            raise RuntimeError("a run did not do what is measured")
        return dune.now - began

    def range(self, parallel: int) -> Range:
        """What a run is forecast to take."""
        dune = Dune()
        session = dune.session(PLANS["free"])
        remember(session, self.past)
        found = dune.run(forecast(session, self.views, parallel, None)).seconds
        if found is None:
            raise RuntimeError("nothing was forecast")
        return found


class AtOnce(Pace):
    """Knows the end of each execution, and polls it exactly then."""

    def __init__(self, dune: Dune) -> None:
        super().__init__(PLANS["free"])
        self._dune = dune

    def eager_pause(self, now: float, watched: Watched) -> float:
        """Seconds until the next end of any execution."""
        return min(each.ends for each in self._dune.ledger if each.ends > now) - now


def remember(session: Session, past: dict[str, list[float]]) -> None:
    """Give a client past executions of views, by their lengths, latest first."""
    for name, lengths in past.items():
        for place, length in enumerate(lengths):
            ended = EPOCH - timedelta(days=place)
            status = ExecutionStatus(
                execution_id=f"{name} {place}",
                state=ExecutionState.COMPLETED,
                is_finished=True,
                submitted_at=ended - timedelta(seconds=length),
                ended_at=ended,
                cost_credits=length / 60,
            )
            session.history.add(status, name)


def _graph(kind: str, random: Random) -> Views:
    names = [f"v{place}" for place in range(VIEWS)]
    found: Views = {}
    for place, name in enumerate(names):
        upstream: Iterable[str] = ()
        if kind == "chains" and place % 5:
            upstream = names[place - 1 : place]
        elif kind == "layered" and place >= VIEWS // 5:
            layer = place // (VIEWS // 5) * (VIEWS // 5)
            upstream = random.sample(names[layer - VIEWS // 5 : layer], 2)
        elif kind == "random":
            upstream = random.sample(names[:place], min(place, random.choice((0, 0, 1, 2))))
        found[name] = tuple(upstream)
    order = list(found)
    random.shuffle(order)
    return {name: found[name] for name in order}


def runs(tries: int = 10) -> list[Runs]:
    """Runs of all kinds on the Free plan, each repeated."""
    found: list[Runs] = []
    for kind, spread, parallel in product(KINDS, SPREADS, PARALLEL):
        of_oracle: list[float] = []
        of_today: list[float] = []
        informed: list[float] = []
        held: list[bool] = []
        for seed in range(tries):
            world = World(kind, spread, seed)
            taken = world.run(parallel, world.past)
            truth, medians = (
                {name: [length] * PAST for name, length in each.items()} for each in (world.lengths, world.medians)
            )
            oracle = world.run(parallel, truth, at_once=True)
            of_oracle.append(taken / oracle)
            informed.append(world.run(parallel, medians, at_once=True) / oracle)
            held.append(world.range(parallel).low <= taken <= world.range(parallel).high)
            of_today.append(taken / world.run(parallel, {}))
        means = fmean(of_oracle), fmean(of_today), max(of_today), fmean(informed), fmean(held)
        found.append(Runs(kind, spread, parallel, *means))
    return found


def waits(tries: int = 60) -> list[Waits]:
    """Single executions, waited for on the Plus plan, so many of each kind."""
    return [waits_of(median, spread, tries) for median, spread in product(MEDIANS, SPREADS)]


def waits_of(median: float, spread: float, tries: int) -> Waits:
    """Wait for so many executions, with and without history."""
    random = Random(f"{median} {spread}")
    drawn = [[median * math.exp(random.gauss(0.0, spread)) for _ in range(PAST + 1)] for _ in range(tries)]
    lengths = [length for length, *_ in drawn]
    found = [_waited(length, past) for length, *past in drawn]
    today = [_waited(length, []) for length in lengths]
    polls = fmean(each for each, _ in found)
    low, high, equal = 0.1, 10.0, today
    for _ in range(12):
        pause = partial(_scaled, math.sqrt(low * high))
        equal = [_waited(length, [], pause) for length in lengths]
        too_many = fmean(each for each, _ in equal) > polls
        low, high = (math.sqrt(low * high), high) if too_many else (low, math.sqrt(low * high))
    return Waits(
        median,
        spread,
        polls,
        fmean(late for _, late in found),
        fmean(each for each, _ in today),
        fmean(late for _, late in today),
        fmean(late for _, late in equal),
        sum(late > max(1.0, length / 10) + 0.01 for (_, late), length in zip(found, lengths, strict=True)),
    )


def _scaled(scale: float, now: float, watched: Watched) -> float:
    return poll_pause(now - watched.since) * scale


def _waited(
    length: float, past: list[float], pause: Callable[[float, Watched], float] | None = None
) -> tuple[int, float]:
    """Polls until the end of one execution is noticed, and seconds from its end until then."""
    dune = Dune(length=length)
    session = dune.session(PLANS["plus"])
    remember(session, {"v": past})
    begun = dune.run(start(session, Wish(view="v")))
    if begun.execution_id is None:
        raise RuntimeError("no execution was started")
    watched = Watch(execution_id=begun.execution_id, view="v", how=begun.how, since=dune.now, pause=pause)
    dune.run(watch(session, watched))
    return sum(each.what.startswith("status") for each in dune.seen), dune.now - dune.ledger[0].ends


def main(path: Path) -> None:
    """Measure everything, and write it to *path*, with the targets."""
    waited, ran = waits(), runs()
    least = [each for each in ran if each.parallel == 3], [each for each in ran if each.parallel == 10]
    targets = [
        ("makespan: of the oracle's, mean", fmean(each.of_oracle for each in ran), 1.03),
        ("makespan: of the oracle's, worst kind", max(each.of_oracle for each in ran), 1.03),
        ("makespan: of that without history, mean at 3 in parallel", fmean(e.of_today for e in least[0]), 0.97),
        ("makespan: of that without history, mean at 10 in parallel", fmean(e.of_today for e in least[1]), 0.93),
        ("makespan: of that without history, worst kind", max(each.of_today for each in ran), 1.01),
        (
            "lateness: of that without history at equal polls",
            fmean(e.lateness / e.equal_lateness for e in waited),
            0.25,
        ),
        ("makespans within the forecast's range of 80 %", fmean(each.held for each in ran), 0.85),
        ("makespans outside of it", 1 - fmean(each.held for each in ran), 0.25),
        ("ends noticed later than promised", sum(each.broken for each in waited), 0),
    ]
    sections = [
        "# The benefit of past executions",
        "`make foresight` writes this page, in virtual time and with fixed seeds, so it is the same on any machine. "
        f"The runs have {VIEWS} views with median durations between 3 s and 1,000 s and {PAST} past executions each, "
        "log-normal, on the Free plan. *Without history* is the same code without past executions. The oracle knows "
        "the length of each execution, and notices every end at once.",
        table(
            ("target", "measured", "at most", "met"),
            (
                (what, f"{found:.3f}", f"{limit:g}", "yes" if found <= limit else "**no**")
                for what, found, limit in targets
            ),
        ),
        "## Runs",
        "An oracle that knows only the median duration of each view takes "
        f"{fmean(each.informed for each in ran):.3f} of the time of one that knows all in the mean, and "
        f"{max(each.informed for each in ran):.3f} for the worst kind of graph: the order loses next to nothing. "
        f"The rest is medians estimated from {PAST} executions, and ends noticed late within the plan's budget "
        "of polls.",
        table(
            (
                *("views", "spread", "in parallel", "of the oracle", "the same, medians known"),
                *("of without history", "worst seed", "in range"),
            ),
            (
                (
                    *(e.kind, f"{e.spread:g}", str(e.parallel), f"{e.of_oracle:.3f}", f"{e.informed:.3f}"),
                    *(f"{e.of_today:.3f}", f"{e.worst:.3f}", f"{e.held:.0%}"),
                )
                for e in ran
            ),
        ),
        "## Waits",
        "Polls, and seconds from the end of an execution until it is noticed. *At equal polls*: without history, with "
        "all pauses scaled for the same number of polls.",
        table(
            ("median, s", "spread", "polls", "late", "polls without", "late without", "late at equal polls", "ratio"),
            (
                (
                    *(f"{e.median:g}", f"{e.spread:g}", f"{e.polls:.1f}", f"{e.lateness:.2f}", f"{e.today_polls:.1f}"),
                    *(f"{e.today_lateness:.2f}", f"{e.equal_lateness:.2f}", f"{e.lateness / e.equal_lateness:.2f}"),
                )
                for e in waited
            ),
        ),
    ]
    path.write_text("\n\n".join(sections) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(__file__).with_name("FORESIGHT.md"))
