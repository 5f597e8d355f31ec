"""Many views with both clients, over real sockets: arguments, reports and bills, even after `kill -9`."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dune_matviews import (
    AsyncMatviewsClient,
    InvalidArgumentError,
    JournalError,
    MatviewsClient,
    RefreshesFailedError,
)
from dune_matviews._execution.file_store import FileStore
from dune_matviews.report import RefreshReport, ViewResult
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario
from tests import hurried
from tests.profiles import tries

pytestmark = pytest.mark.usefixtures("skipped")

BASE, DAILY, WEEKLY = "dune.my_team.result_base", "dune.my_team.result_daily", "dune.my_team.result_weekly"
VIEWS = {WEEKLY: [DAILY], DAILY: [BASE]}


@pytest.fixture
def dune(connect: Callable[..., MatviewsClient], sandbox: DuneSandbox) -> MatviewsClient:
    """A client of the sandbox, of either kind, that need not keep to a plan."""
    return connect(sandbox.api_key, base_url=sandbox.url, plan=None)


def outcomes(report: RefreshReport) -> dict[str, str]:
    """The outcome of each view, as a word."""
    return {name: result.outcome.value for name, result in report.results.items()}


def billed(sandbox: DuneSandbox) -> list[str]:
    """The billed views, in the order of acceptance."""
    return [charge.name for charge in sandbox.ledger]


def test_a_mapping_is_refreshed_in_order(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A view is refreshed after the views it reads, each once, and the report prints and serializes."""
    report = dune.refresh_all(VIEWS)
    assert billed(sandbox) == [BASE, DAILY, WEEKLY]
    assert report.ok
    report.raise_for_failures()
    assert [line.split()[:2] for line in str(report).splitlines()[:3]] == [
        [name, "succeeded"] for name in (WEEKLY, DAILY, BASE)
    ]
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["cost_credits"] == sum(charge.credits for charge in sandbox.ledger) == 3
    assert {name: view["execution_id"] for name, view in plain["views"].items()} == {
        charge.name: charge.execution_id for charge in sandbox.ledger
    }


@pytest.mark.parametrize("form", [list, tuple, set, iter])
def test_names_are_refreshed_once_each(
    form: Callable[[list[str]], Any], dune: MatviewsClient, sandbox: DuneSandbox
) -> None:
    """Any iterable of names will do, and a repeated name is one view."""
    assert dune.refresh_all(form([DAILY, BASE, DAILY])).ok
    assert sorted(billed(sandbox)) == [BASE, DAILY]


def test_no_views_are_no_work(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """An empty run sends nothing, and is a success."""
    assert dune.refresh_all([]).ok
    assert sandbox.requests == ()


def test_tiers_may_differ_by_view(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`performance` is one tier for all, or a mapping; a view that the mapping leaves out has none."""
    dune.refresh_all(VIEWS, performance={BASE: "large", DAILY: "medium"})
    assert [charge.performance for charge in sandbox.ledger] == ["large", "medium", None]
    dune.refresh_all([BASE], performance="medium")
    assert sandbox.ledger[-1].performance == "medium"


async def awaited(name: str, result: ViewResult) -> None:
    """No plain function."""


@pytest.mark.parametrize(
    ("views", "options", "message"),
    [
        (DAILY, {}, "views must be names"),
        (7, {}, "views must be names"),
        ([""], {}, "empty"),
        ({DAILY: BASE}, {}, "list of names"),
        ({DAILY: [BASE], BASE: [DAILY]}, {}, "circle: .* reads "),
        ([DAILY], {"max_parallel": 0}, "max_parallel"),
        ([DAILY], {"max_parallel": 1.5}, "max_parallel"),
        ([DAILY], {"max_parallel": True}, "max_parallel"),
        ([DAILY], {"max_credits": -1}, "max_credits"),
        ([DAILY], {"max_credits": math.nan}, "max_credits"),
        ([DAILY], {"max_age": 0}, "max_age"),
        ([DAILY], {"timeout": "soon"}, "timeout"),
        ([DAILY], {"performance": "huge"}, "huge"),
        ([DAILY], {"performance": {DAILY: "huge"}}, "huge"),
        ([DAILY], {"performance": {BASE: "large"}}, f"not refreshed: {BASE!r}"),
        ([DAILY], {"if_running": "stop"}, "if_running"),
        ([DAILY], {"on_update": awaited}, "on_update must be a plain function"),
    ],
)
def test_wrong_arguments_send_nothing(
    views: Any, options: dict[str, Any], message: str, dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """The error names an invalid argument before anything is sent or written."""
    with pytest.raises(InvalidArgumentError, match=message):
        dune.refresh_all(views, journal=tmp_path / "refresh.jsonl", **options)
    assert sandbox.requests == ()
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_view_costs_two_free_requests(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Within `max_age` of its last success a view is not refreshed; past it, it is. No end is read twice."""
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as other:
        other.refresh_all(VIEWS)
    for expected in ({"get": 3, "status": 3}, {"get": 3}):
        before = len(sandbox.requests)
        report = dune.refresh_all(VIEWS, max_age=timedelta(hours=6))
        assert set(outcomes(report).values()) == {"fresh"}
        assert Counter(request.operation for request in sandbox.requests[before:]) == expected
    assert len(sandbox.ledger) == 3
    sandbox.advance(7 * 3600)
    assert set(outcomes(dune.refresh_all(VIEWS, max_age=6 * 3600)).values()) == {"succeeded"}


def test_a_budget_of_credits_cancels_what_runs(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Past `max_credits` nothing more is started, running executions are cancelled, and the report has the cost."""
    names = [f"dune.my_team.result_{number}" for number in range(5)]
    for name in names:
        sandbox.rehearse(name, Scenario(pending=0, running=5000, credits=100))
    report = dune.refresh_all(names, max_credits=20, max_parallel=2)
    assert list(outcomes(report).values()) == ["canceled"] * 2 + ["not_started"] * 3
    assert report.cost_credits == pytest.approx(sum(charge.credits for charge in sandbox.ledger))
    assert 20 < report.cost_credits < 100
    assert all("over the cap of 20" in (result.reason or "") for result in report.results.values())


def test_a_timeout_leaves_running_what_runs(dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path) -> None:
    """An execution running at the timeout is reported with its id, and a repeat with the journal follows it."""
    sandbox.rehearse(BASE, Scenario(pending=0, running=math.inf))
    journal = tmp_path / "refresh.jsonl"
    report = dune.refresh_all(VIEWS, timeout=0.3, journal=journal)
    (charge,) = sandbox.ledger
    assert outcomes(report) == {WEEKLY: "not_started", DAILY: "not_started", BASE: "running"}
    assert report.results[BASE].execution_id == charge.execution_id
    assert "0.3 s" in (report.results[WEEKLY].reason or "")
    sandbox.finish(charge.execution_id, "completed")
    assert dune.refresh_all(VIEWS, journal=journal).ok
    assert billed(sandbox) == [BASE, DAILY, WEEKLY]


def test_updates_are_told_by_a_plain_function(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`on_update` is called with a name and its result at each step, by both clients."""
    steps: list[tuple[str, str]] = []
    dune.refresh_all({DAILY: [BASE]}, on_update=lambda name, result: steps.append((name, result.outcome.value)))
    assert list(dict.fromkeys(steps)) == [
        (BASE, "running"),
        (BASE, "succeeded"),
        (DAILY, "running"),
        (DAILY, "succeeded"),
    ]


def test_failures_are_told_together(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Nothing is raised in the middle; `raise_for_failures` names every view that is not fresh, with the reasons."""
    sandbox.rehearse(DAILY, Scenario(end="failed"))
    sandbox.fail("refresh", Fault(), Fault(), Fault(status=403, body=b'{"error": "not yours"}'))
    report = dune.refresh_all({**VIEWS, "dune.other.result_x": []}, max_parallel=1)
    assert outcomes(report) == {WEEKLY: "skipped", DAILY: "failed", BASE: "succeeded", "dune.other.result_x": "failed"}
    with pytest.raises(RefreshesFailedError) as caught:
        report.raise_for_failures()
    assert caught.value.report is report
    assert all(name in str(caught.value) for name in (WEEKLY, DAILY, "not yours"))


@pytest.mark.parametrize(
    "content", [b"notes\n", b'{"journal": "dune-matviews", "version": 2}\n', b"\x00" * 9], ids=repr
)
def test_a_journal_that_is_none_is_left_alone(
    content: bytes, dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """A damaged or foreign file is rejected before anything is sent, and stays unchanged."""
    path = tmp_path / "refresh.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"refresh\.jsonl"):
        dune.refresh_all(VIEWS, journal=path)
    assert path.read_bytes() == content
    assert sandbox.requests == ()


def test_a_journal_with_an_open_view_that_is_left_out_is_left_alone(
    dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """A run without a view that the last run left running is rejected before anything is sent or written."""
    sandbox.rehearse(BASE, Scenario(pending=0, running=math.inf))
    path = tmp_path / "refresh.jsonl"

    def interrupt(name: str, result: ViewResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dune.refresh_all(VIEWS, journal=path, on_update=interrupt)
    content, before = path.read_bytes(), len(sandbox.requests)
    with pytest.raises(JournalError, match=f"refreshes of {BASE} that are not settled"):
        dune.refresh_all([DAILY], journal=str(path))
    assert path.read_bytes() == content
    assert len(sandbox.requests) == before


def test_a_journal_with_an_end_that_is_none_is_damaged(
    dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """An invalid result in the journal is rejected with its line, before anything is sent."""
    path = tmp_path / "refresh.jsonl"
    dune.refresh_all(VIEWS, journal=path)
    content = path.read_bytes().replace(b'"succeeded"', b'"splendid"')
    path.write_bytes(content)
    before = len(sandbox.requests)
    with pytest.raises(JournalError, match=r"line 4: .*splendid"):
        dune.refresh_all(VIEWS, journal=path)
    assert path.read_bytes() == content
    assert len(sandbox.requests) == before


def test_a_journal_in_use_is_left_alone(dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path) -> None:
    """Of two runs on one journal, the second is rejected before it sends anything."""
    path = tmp_path / "refresh.jsonl"
    store = FileStore(path)
    store.lock()
    with pytest.raises(JournalError, match="another run"):
        dune.refresh_all(VIEWS, journal=path)
    assert path.read_bytes() == b""
    assert sandbox.requests == ()
    store.unlock()
    assert dune.refresh_all(VIEWS, journal=path).ok


def test_a_finished_journal_starts_afresh(dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path) -> None:
    """After a run that came to its end, the same journal begins another, which refreshes everything again."""
    path = tmp_path / "refresh.jsonl"
    for _ in range(2):
        assert dune.refresh_all([BASE], journal=path).ok
    assert billed(sandbox) == [BASE, BASE]


def test_after_a_refused_key_the_journal_goes_on(dune: MatviewsClient, sandbox: DuneSandbox, tmp_path: Path) -> None:
    """A run ended by a 401 continues once the key is good, and no success is paid for again."""
    path = tmp_path / "refresh.jsonl"
    sandbox.fail("refresh", Fault(), Fault(), Fault(status=401))
    report = dune.refresh_all(VIEWS, journal=path)
    assert outcomes(report) == {WEEKLY: "failed", DAILY: "succeeded", BASE: "succeeded"}
    assert dune.refresh_all(VIEWS, journal=path).ok
    assert billed(sandbox) == [BASE, DAILY, WEEKLY]


def test_ctrl_c_carries_the_report(sandbox: DuneSandbox, tmp_path: Path) -> None:
    """KeyboardInterrupt passes on with the report so far; nothing is sent after it, and the journal is free again."""
    path = tmp_path / "refresh.jsonl"
    sandbox.rehearse(BASE, Scenario(pending=0, running=math.inf))

    def interrupt(name: str, result: ViewResult) -> None:
        if result.status is not None:
            raise KeyboardInterrupt

    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
        with pytest.raises(KeyboardInterrupt) as caught:
            dune.refresh_all(VIEWS, journal=path, on_update=interrupt)
        report: RefreshReport = caught.value.report  # type: ignore[attr-defined]
        assert outcomes(report)[BASE] == "running"
        assert Counter(request.operation for request in sandbox.requests) == {"get": 1, "refresh": 1, "status": 1}
        sandbox.finish(sandbox.ledger[0].execution_id, "completed")
        assert dune.refresh_all(VIEWS, journal=path).ok
    assert billed(sandbox) == [BASE, DAILY, WEEKLY]


def test_a_cancelled_task_carries_the_report(sandbox: DuneSandbox, tmp_path: Path) -> None:
    """CancelledError passes on with the report so far; nothing is sent after it, and the journal is free again."""
    path = tmp_path / "refresh.jsonl"
    sandbox.rehearse(BASE, Scenario(pending=0, running=math.inf))

    async def main() -> RefreshReport:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None) as dune:
            seen = asyncio.Event()
            task = asyncio.create_task(dune.refresh_all(VIEWS, journal=path, on_update=lambda *_: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            before = len(sandbox.requests)
            assert outcomes(caught.value.report)[BASE] == "running"  # type: ignore[attr-defined]
            sandbox.finish(sandbox.ledger[0].execution_id, "completed")
            assert len(sandbox.requests) == before
            return await dune.refresh_all(VIEWS, journal=path)

    assert asyncio.run(main()).ok
    assert billed(sandbox) == [BASE, DAILY, WEEKLY]


# Four layers; `b2` and `c3` fail, and hold up what reads them.
TWELVE = {
    **{name: [] for name in ("a1", "a2", "a3")},
    "b1": ["a1"],
    "b2": ["a1", "a2"],
    "b3": ["a3"],
    "c1": ["b1"],
    "c2": ["b2", "b1"],
    "c3": ["b3"],
    "d1": ["c1"],
    "d2": ["c1", "b3"],
    "d3": ["c3", "a1"],
}
FAILING = ("b2", "c3")
SKIPPED = ("c2", "d3")

# Each waits for some milliseconds, not for minutes, until a refresh that is not listed counts as never accepted.
BEGINNING = f"""{hurried.HURRIED}
import json
from dune_matviews import AsyncMatviewsClient, MatviewsClient
"""

PROGRAMS = {
    "sync": BEGINNING
    + """
with MatviewsClient(plan=None) as dune:
    report = dune.refresh_all(json.loads(sys.argv[1]), journal=sys.argv[2])
print(json.dumps(report.to_dict()))
""",
    "async": BEGINNING
    + """
import asyncio

async def main():
    async with AsyncMatviewsClient(plan=None) as dune:
        return await dune.refresh_all(json.loads(sys.argv[1]), journal=sys.argv[2])

print(json.dumps(asyncio.run(main()).to_dict()))
""",
}


@pytest.fixture
def hurried_sandbox() -> Iterator[DuneSandbox]:
    """A Dune as hurried as the programs."""
    with DuneSandbox(speed=hurried.SPEED) as running:
        for name in FAILING:
            running.add_view(name)
            running.rehearse(name, Scenario(end="failed"))
        yield running


@pytest.mark.parametrize("seed", range(tries(1)))
def test_killed_at_any_moment_no_view_is_paid_twice_and_none_is_left_out(
    seed: int, kind: str, hurried_sandbox: DuneSandbox, tmp_path: Path
) -> None:
    """Twelve views, two failures, three times `kill -9`: each view is billed once, those that are skipped never."""
    chance = random.Random(f"{kind} {seed}")
    program, journal = tmp_path / "program.py", tmp_path / "refresh.jsonl"
    program.write_text(PROGRAMS[kind])

    def start() -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "DUNE_API_KEY": hurried_sandbox.api_key,
            "DUNE_API_BASE_URL": hurried_sandbox.url,
            "DUNE_API_REQUEST_TIMEOUT": "3",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        return subprocess.Popen(
            [sys.executable, program, json.dumps(TWELVE), journal],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    for moment in sorted(chance.sample(range(1, 36), 3)):  # ten views that start and end take more than 36 requests
        held = Fault(delay=math.inf, lost=chance.random() < 0.3)
        hurried_sandbox.fail(None, *[Fault()] * (moment - len(hurried_sandbox.requests) - 1), held)
        with start() as process:
            while len(hurried_sandbox.requests) < moment and process.poll() is None:
                threading.Event().wait(0.002)
            process.kill()
            _, errors = process.communicate()
        assert process.returncode not in (0, 1), f"it was over before it was killed at request {moment}: {errors}"
    with start() as process:
        printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    report = json.loads(printed)
    seen = {name: view["outcome"] for name, view in report["views"].items()}
    expected = {name: "failed" if name in FAILING else "skipped" if name in SKIPPED else "succeeded" for name in TWELVE}
    assert seen == expected
    names = billed(hurried_sandbox)
    assert Counter(names) == Counter(set(TWELVE) - set(SKIPPED))
    assert all(names.index(each) < names.index(name) for name in names for each in TWELVE[name])
    assert {name: view["execution_id"] for name, view in report["views"].items() if view["execution_id"]} == {
        charge.name: charge.execution_id for charge in hurried_sandbox.ledger
    }
    assert report["cost_credits"] == pytest.approx(sum(charge.credits for charge in hurried_sandbox.ledger))
