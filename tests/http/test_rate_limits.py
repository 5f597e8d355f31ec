"""The numbers of request budgets: who may send when."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._http.rate_limits import PERIOD, Window
from tests.simulation import starts


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 20))
def test_no_period_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    """However requests arrive, no `PERIOD` holds more of them than allowed, and none is held up without need."""
    window, now = Window(limit), 0.0
    starts: list[float] = []
    for gap in gaps:
        now += gap
        turn = window.reserve(now)
        assert turn is not None
        earliest = max(now, starts[-limit] + PERIOD) if len(starts) >= limit else now
        assert turn.start == max([earliest, *starts[-1:]])
        starts.append(turn.start)
    assert all(later - earlier >= PERIOD - 1e-6 for earlier, later in zip(starts, starts[limit:], strict=False))


def test_a_moment_past_the_latest_is_not_taken() -> None:
    """Who cannot wait for a free moment leaves it to others."""
    window = Window(1)
    assert starts([window.reserve(0.0)]) == [0.0]
    assert window.reserve(1.0, latest=10.0) is None
    assert starts([window.reserve(2.0)]) == [PERIOD]


def test_a_closed_window_lets_nobody_through() -> None:
    """After a 429 everybody waits until the server listens again; the longest closure counts."""
    window = Window(None)
    window.close(5.0, 50.0)
    window.close(6.0, 20.0)
    assert starts([window.reserve(10.0)]) == [50.0]
    assert window.closed_for(10.0) == 40.0
    assert window.closed_for(60.0) == 0.0


def test_whoever_waits_keeps_its_place_when_the_window_closes() -> None:
    """A pause delays the requests within it to its end, and those behind by the limit."""
    window = Window(2)
    turns = [window.reserve(0.0) for _ in range(6)]
    window.close(10.0, 40.0)
    assert starts(turns) == [0.0, 0.0, PERIOD, PERIOD, 2 * PERIOD, 2 * PERIOD]
    window.close(12.0, 91.0)
    assert starts(turns[2:]) == [91.0, 91.0, 91.0 + PERIOD, 91.0 + PERIOD]


def test_ctrl_c_leaves_no_window_locked() -> None:
    """Wherever Ctrl-C strikes while a thread reserves its turn, another thread can reserve the next."""
    window, now = Window(None), count()

    def strike(*_: Any) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(1000):
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 20e-6)
                while True:
                    window.reserve(next(now))
    finally:
        signal.signal(signal.SIGALRM, earlier)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(window.reserve, next(now)).result(timeout=60) is not None
