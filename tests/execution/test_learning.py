"""Quotas learned from responses, and the resulting waits, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._execution.pacing import Pace, Watched, poll_pause
from dune_matviews._execution.requests import admitted, time_limit
from dune_matviews._execution.session import Session
from dune_matviews._flow.effects import Flow
from dune_matviews._http.headers import RateLimit
from dune_matviews._http.rate_limits import PERIOD, PLANS, Bucket, RequestBudget, Turn, Window
from tests.simulation import Dune, starts

FREE = PLANS["free"]


def learning(budget: RequestBudget = FREE) -> tuple[Dune, Session]:
    """A client that begins with a plan's budget, and learns."""
    dune = Dune()
    session = dune.session()
    session.pace = Pace(budget, learns=True)
    return dune, session


def requests(dune: Dune, session: Session, bucket: Bucket, number: int, told: Sequence[RateLimit] = ()) -> list[float]:
    """Send so many requests at once, each of which is told the same; when each of them has left."""
    began = dune.now
    left: list[float] = []

    def one() -> Flow[None]:
        yield from admitted(session, bucket, time_limit(session))
        left.append(dune.now - began)
        session.pace.learn(bucket, "refresh" if bucket == "low" else "status", told, dune.now)

    dune.run_together(*(one() for _ in range(number)))
    return sorted(left)


def test_an_announced_quota_takes_the_place_of_the_plans() -> None:
    """350 a minute announced to a client on Free is used, by those that wait already, too."""
    dune, session = learning()
    left = requests(dune, session, "low", 360, [RateLimit("write", 350, 60)])
    assert left[349] <= 1.0
    assert left[350] >= PERIOD


def test_without_headers_the_plan_counts() -> None:
    """Without announcements, a client keeps to the plan's numbers."""
    dune, session = learning()
    left = requests(dune, session, "low", 31)
    assert (left[14], left[15], left[30]) == (0.0, PERIOD, 2 * PERIOD)


def test_a_smaller_quota_is_kept_to() -> None:
    """A request that waits when a smaller quota is announced waits for that quota."""
    dune, session = learning(PLANS["enterprise"])
    assert requests(dune, session, "low", 5, [RateLimit("write", 5, 60)]) == [0.0] * 5
    left = requests(dune, session, "low", 6)
    assert left[0] >= PERIOD
    assert left[5] >= 2 * PERIOD


def test_the_tightest_policy_governs() -> None:
    """Of several policies in one response, the one that allows the fewest requests in a time counts."""
    _, session = learning()
    session.pace.learn(
        "low", "refresh", [RateLimit("ip", 1000, 1), RateLimit("write", 70, 60), RateLimit("read", 200, 60)], 0.0
    )
    window = session.pace.windows["low"]
    assert (window.limit, window.period) == (70, PERIOD)


def test_a_policy_has_one_window() -> None:
    """Where Dune counts refreshes as it counts polls, both use one quota up."""
    dune, session = learning()
    told = [RateLimit("all", 20, 60)]
    requests(dune, session, "high", 10, told)
    requests(dune, session, "low", 1, told)
    assert session.pace.windows["low"] is session.pace.windows["high"]
    left = requests(dune, session, "low", 11)
    assert left[9] == 0.0
    assert left[10] >= PERIOD


def test_refreshes_that_wait_move_to_the_window_that_counts_them() -> None:
    """The first refresh's response names a roomier policy, known from polls: the others leave with the next second."""
    dune, session = learning()
    requests(dune, session, "high", 1, [RateLimit("read", 200, 60)])
    left = requests(dune, session, "low", 100, [RateLimit("read", 200, 60)])
    assert left[-1] <= 1.0


def test_a_refreshs_policy_is_remembered() -> None:
    """Announcements to other operations of the same kind do not affect refreshes once one has been announced."""
    _, session = learning()
    session.pace.learn("low", "delete", [RateLimit("write", 70, 60)], 0.0)
    assert session.pace.windows["low"].limit == 70
    session.pace.learn("low", "refresh", [RateLimit("read", 200, 60)], 0.0)
    session.pace.learn("low", "delete", [RateLimit("write", 60, 60)], 0.0)
    session.pace.learn("low", "upsert", [RateLimit("third", 5, 60)], 0.0)
    assert session.pace.windows["low"].limit == 200
    session.pace.learn("low", "upsert", [RateLimit("read", 210, 60)], 0.0)
    assert session.pace.windows["low"].limit == 210


@pytest.mark.parametrize("pace", [Pace(FREE, learns=True), Pace(FREE), Pace(None)])
def test_a_spent_quota_closes_before_a_429(pace: Pace) -> None:
    """`r=0;t=2` holds every request of the kind back for two seconds, in a client without pacing, too."""
    pace.learn("low", "refresh", [RateLimit("write", spent_for=2)], 10.0)
    assert starts(pace.windows[kind].reserve(10.0) for kind in ("low", "high")) == [12.0, 10.0]


def test_a_spent_quota_is_no_failure() -> None:
    """If every minute's quota is reported spent, a queue goes on at the plan's pace and drops no request."""
    dune, session = learning()
    left: list[float] = []

    def one() -> Flow[None]:
        yield from admitted(session, "low", time_limit(session))
        left.append(dune.now)
        recent = [moment for moment in left if moment > dune.now - 60]
        spent_for = math.ceil(recent[0] + 60 - dune.now) if len(recent) >= 15 else 0
        session.pace.learn("low", "refresh", [RateLimit("write", 15, 60, spent_for)], dune.now)

    dune.run_together(*(one() for _ in range(100)))
    assert max(left) - min(left) == 6 * PERIOD
    assert all(later - earlier > 60 for earlier, later in zip(left, left[15:], strict=False))


def test_no_pacing_and_a_budget_of_ones_own_stay() -> None:
    """An announced quota changes nothing for a client with its own budget, or with none."""
    for pace, limit in ((Pace(None), None), (Pace(RequestBudget(low=5, high=5)), 5)):
        pace.learn("low", "refresh", [RateLimit("write", 350, 60)], 0.0)
        pace.learn("high", "status", [RateLimit("read", 1000, 60)], 0.0)
        assert (pace.windows["low"].limit, pace.windows["high"].limit) == (limit, limit)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 8), st.integers(0, 20)), max_size=60))
def test_whatever_is_announced_turns_stay_in_order(events: list[tuple[float, int, int]]) -> None:
    """For all changes of quotas and pauses, requests keep their order and never leave too early."""
    window, now = Window(3), 0.0
    turns: list[tuple[float, Turn]] = []
    for pause, limit, spent_for in events:
        now += pause
        turn = window.reserve(now)
        assert turn is not None
        turns.append((now, turn))
        window.follow(limit, PERIOD, now)
        window.spend(now, now + spent_for)
        waiting = [each.start for _, each in turns if each.start > now]
        assert all(start >= now + spent_for for start in waiting)
        assert all(later - earlier >= PERIOD - 1e-6 for earlier, later in zip(waiting, waiting[limit:], strict=False))
    starts = [turn.start for _, turn in turns]
    assert starts == sorted(starts)
    assert all(turn.start >= asked for asked, turn in turns)


def test_polls_follow_the_announced_quota() -> None:
    """Twenty executions that share 40 polls a minute are polled five times as often once 200 are announced."""
    pace = Pace(FREE, learns=True)
    watches = [pace.watching(Watched(0.0)) for _ in range(20)]
    for watch in watches:
        watch.__enter__()
    before, eager = pace.pause(0.0, Watched(0.0)), pace.eager_pause(0.0, Watched(0.0))
    pace.learn("high", "status", [RateLimit("read", 200, 60)], 0.0)
    assert pace.pause(0.0, Watched(0.0)) == pytest.approx(before / 5)
    assert pace.eager_pause(0.0, Watched(0.0)) == pytest.approx(eager / 5)
    pace.learn("high", "status", [RateLimit("read", 10_000, 60)], 0.0)
    assert pace.pause(100.0, Watched(0.0)) == poll_pause(100.0)
    for watch in watches:
        watch.__exit__(None, None, None)


def test_a_child_process_keeps_what_was_learned() -> None:
    """In a forked child the windows have locks of their own, and the quotas that were announced."""
    pace = Pace(FREE, learns=True)
    pace.learn("low", "refresh", [RateLimit("write", 350, 60)], 0.0)
    for window in pace.windows.values():
        window._lock.__enter__()
    pace.start_over()
    assert starts(pace.windows["low"].reserve(0.0) for _ in range(350)) == [0.0] * 350
