"""The trustworthiness of `make bench`: its figures, its verdicts, and its contenders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from operator import truediv
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.contenders import CONTENDERS, Async, Sync
from benchmarks.figures import Figure, Rounds, figure
from benchmarks.foresight import World, waits_of
from benchmarks.processes import serving
from benchmarks.report import write
from benchmarks.targets import Measured, Target, targets
from benchmarks.virtual import Makespan, Polls

OURS = [name for name in CONTENDERS if not name.startswith("dune_client")]  # which has an environment of its own


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of the benchmarks, whose executions are over soon."""
    with serving(0.1) as found:
        yield found


@pytest.mark.parametrize("name", OURS)
def test_a_contender_does_what_it_is_measured_at(name: str, url: str) -> None:
    """Each contender starts its own execution, polls one, and follows one to its end."""

    async def main(contender: Async) -> tuple[list[str], int]:
        started = [await contender.refresh() for _ in range(2)]
        await contender.status()
        polls = await contender.follow(started[0])
        await contender.close()
        return started, polls

    contender = CONTENDERS[name](url)
    if isinstance(contender, Sync):
        started = [contender.refresh() for _ in range(2)]
        contender.status()
        contender.close()
    else:
        started, polls = asyncio.run(main(contender))
        assert polls >= 1
    assert len(set(started)) == 2
    assert all(each.startswith("01") and len(each) == 26 for each in started)


def test_a_ratio_is_that_of_the_single_rounds() -> None:
    """Load on a whole round changes no ratio, and a different contender begins each round."""
    costs = {"a": iter([3.0, 30.0, 3.0]), "b": iter([2.0, 20.0, 2.0])}
    order: list[str] = []

    def measured(name: str) -> dict[str, float]:
        order.append(name)
        return {"cpu": next(costs[name])}

    rounds = Rounds.of(3, {"a": lambda: measured("a"), "b": lambda: measured("b")})
    assert rounds.ratio("a", "b", "cpu") == Figure(1.5, 1.5, 1.5)
    assert rounds["a", "cpu"].median == 3.0
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_a_figure_is_a_median_with_its_quartiles() -> None:
    """Half of all that was measured lies within the spread, which is not shown where there is none."""
    assert figure([1, 2, 3, 4, 5, 6, 7]) == Figure(4, 2, 6)
    assert figure([1, 2, 3, 4, 5, 6, 7]).show(2, 1) == "2.0 (1.0 to 3.0)"
    assert figure([5.0]).show() == "5"


def test_a_target_is_met_up_to_its_limit() -> None:
    """The limit itself meets the target, and an unmet target is bold."""
    assert Target("x", 1.1, 1.1).row() == ("x", "1.10", "1.10", "yes", "")
    assert Target("x", 1.101, 1.1, 1.0).row()[-2:] == ("**no**", "1.00")


@pytest.mark.parametrize(("cost", "met"), [(1.0, True), (9.0, False)])
def test_results_say_what_is_not_met(tmp_path: Path, cost: float, met: bool) -> None:
    """The verdict is computed from the figures."""
    measured = everything(cost)
    write(measured, tmp_path / "RESULTS.md")
    shown = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert all(each.is_met for each in targets(measured)) is met
    assert ("All targets are met." in shown) is met
    assert ("Not met: import, in CPU: of httpx's;" in shown) is not met


def everything(cost: float) -> Measured:
    """Figures of a run in which httpx and dune-client cost 10, and the SDK *cost*."""

    def rounds(*names: str, **figures: float) -> Rounds:
        ours = {"matviews", "matviews_async", "import dune_matviews", "10000"}
        return Rounds.of(
            1,
            {
                name: lambda name=name: {each: cost if name in ours else figures[each] for each in figures}  # type: ignore[misc]
                for name in names
            },
        )

    return Measured(
        imports=rounds(
            "import dune_matviews",
            "from dune_matviews import MatviewsClient",
            "import httpx",
            "from dune_client.client import DuneClient",
            cpu=10,
            wall=10,
            modules=10,
        ),
        starts=rounds("python", *CONTENDERS, cpu=10, wall=10),
        calls={what: rounds(*CONTENDERS, cpu=10, wall=10) for what in ("refresh", "status")},
        waits=rounds("httpx_alone_async", "matviews_async", "dune_client_async", cpu=10, polls=10, took=10),
        memory=rounds("httpx_alone_async", "matviews_async", "dune_client_async", bytes=10),
        polls=[Polls(600, 60, 1.0, 60.0)],
        makespans=[Makespan("free", 3, 100.0, 100.0, 90.0)],
        scheduling=rounds("100", "10000", cpu=1),
        generation=rounds("generate", wall=1),
        versions={"httpx": "1"},
    )


def test_history_shortens_runs() -> None:
    """Known views are refreshed sooner than unknown ones, and about as soon as by an oracle; a forecast says when."""
    worlds = [World(kind, 0.3, 1) for kind in ("independent", "chains", "random")]
    foreseen = 0
    for parallel, least in ((3, 0.98), (10, 0.93)):
        taken = [world.run(parallel, world.past) for world in worlds]
        without = [world.run(parallel, {}) for world in worlds]
        oracle = [
            world.run(parallel, {name: [length] * 8 for name, length in world.lengths.items()}, at_once=True)
            for world in worlds
        ]
        assert fmean(map(truediv, taken, without)) <= least
        assert fmean(map(truediv, taken, oracle)) <= 1.03
        ranges = [world.range(parallel) for world in worlds]
        foreseen += sum(each.low <= length <= each.high for each, length in zip(ranges, taken, strict=True))
    assert foreseen >= 3


def test_history_makes_ends_known_sooner() -> None:
    """At as many polls, an end whose view has a past is noticed four times as soon, and never later than promised."""
    found = [waits_of(300.0, spread, 15) for spread in (0.1, 0.3)]
    assert fmean(each.lateness / each.equal_lateness for each in found) <= 0.25
    assert sum(each.broken for each in found) == 0
