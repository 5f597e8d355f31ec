"""What a run would take and cost, or what is left of one: play it through in its own order, by the past of its views.

This module must not know how a view is refreshed; it starts nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any

from .._display.timing import Span, critical_path
from .._execution.scouting import is_wanted
from .._execution.session import Session
from .._execution.views import past, refreshed_at
from .._flow.effects import Flow
from ..errors import NotFoundError, PermissionDeniedError
from ..models import Forecast, Range, ViewForecast
from ..report import Outcome, ViewResult
from .graph import Order

ENOUGH = 3
"""Past executions of a view that are read for a forecast."""

DRAWS = 300
"""How often a run is played through; less often with very many views."""

Reads = Mapping[str, tuple[str, ...]]


def forecast(session: Session, views: Reads, max_parallel: int, max_age: timedelta | None) -> Flow[Forecast]:
    """What refreshing the views would take and cost; reads what is not known yet of their past."""
    found: dict[str, ViewForecast] = {}
    ended: dict[str, datetime] = {}
    for name in Order(views).downwards:
        try:
            success = yield from past(session, name, ENOUGH)
        except (NotFoundError, PermissionDeniedError) as refusal:
            found[name] = ViewForecast(refreshes=None, reason=str(refusal))
            continue
        changed = next((each for each in views[name] if found[each].refreshes is not False), None)
        latest = success.status
        ended_at = None if latest is None else latest.ended_at
        if changed is not None or max_age is None or ended_at is None or success.age() is None:
            reason = f"reads {changed}" if changed else "never refreshed" if latest is None else None
            found[name] = ViewForecast(refreshes=True, reason=reason)
            continue
        ended[name] = ended_at
        is_fresh = success.is_fresh(max_age, (ended[each] for each in views[name]))
        found[name] = ViewForecast(refreshes=not is_fresh, reason=refreshed_at(ended_at))
    yield from session.history.saved()
    due = {name for name in views if found[name].refreshes}
    reads = {name: tuple(each for each in views[name] if each in due) for name in views if name in due}
    return _by_past(found, reads, max_parallel, session)


def _by_past(found: dict[str, ViewForecast], due: Reads, max_parallel: int, session: Session) -> Forecast:
    """Play the refreshes that are due many times, with times and costs drawn by what the past says of each view."""
    expected = session.history.expectations(due)
    if expected is None:
        return Forecast(views=found, seconds=None, cost_credits=None, critical_path=(), max_parallel=max_parallel)
    means = {name: each.seconds.mean for name, each in expected.items()}
    usual = played(due, means, {name: each.seconds.quantile(0.5) for name, each in expected.items()}, max_parallel)
    random = Random(0)  # noqa: S311  # the same forecast each time
    makespans, costs = [], []
    for _ in range(max(20, min(DRAWS, 30_000 // max(len(due), 1)))):
        drawn = {name: each.seconds.quantile(_chance(random)) for name, each in expected.items()}
        makespans.append(max((each.end for each in played(due, means, drawn, max_parallel).values()), default=0.0))
        costs.append(math.fsum(each.credits.quantile(_chance(random)) for each in expected.values() if each.credits))
    for name, each in expected.items():
        found[name] = ViewForecast(
            refreshes=True,
            reason=found[name].reason,
            seconds=_range(each.seconds.quantile),
            cost_credits=each.credits and _range(each.credits.quantile),
            starts_after=usual[name].start,
            ends_after=usual[name].end,
            known_executions=each.known,
        )
    has_costs = not due or any(each.credits is not None for each in expected.values())
    return Forecast(
        views=found,
        seconds=_range(_of(makespans)),
        cost_credits=_range(_of(costs)) if has_costs else None,
        critical_path=critical_path(due, usual),
        max_parallel=max_parallel,
    )


class Foresight:
    """What the past says of a run under way: the order of its views, the past worth reading, its end and its cost."""

    def __init__(
        self, session: Session, reads: Reads, max_parallel: int, order: Order, results: Mapping[str, ViewResult]
    ) -> None:
        """*order* is by the expected time of views from now on; *results* are those of the run, as they come in."""
        self._session = session
        self._reads = reads
        self._max_parallel = max_parallel
        self._order = order
        self._results = results
        self._weigh()
        self._unread = order.by_rank()[::-1]
        self._weighed = 0
        self._rest: dict[str, Any] = {}
        self._updates = 0

    def unread(self) -> str | None:
        """A view that waits, and whose past is not read yet; the first ones first."""
        while self._unread and not self._is_unread(self._unread[-1]):
            self._unread.pop()
        read = len(self._reads) - len(self._unread)
        if read > 1.5 * self._weighed:
            self._weighed = read
            self._weigh()
        return self._unread[-1] if self._unread else None

    def rest(self) -> dict[str, Any]:
        """The expected end and cost of the rest, as fields of a `ViewResult`.

        Computed once for as many updates as a twentieth of the views, so that large runs cost no more for each view.
        """
        if self._updates % (len(self._reads) // 20 + 1) == 0 and self._expected:
            self._rest = self._played_on()
        self._updates += 1
        return self._rest

    def _is_unread(self, name: str) -> bool:
        return self._results[name].outcome is Outcome.NOT_STARTED and is_wanted(self._session, name, 1)

    def _weigh(self) -> None:
        """Order by the time that views are expected to take, as far as their own past says it."""
        self._expected = self._session.history.expectations(self._reads) or {}
        if self._expected:
            self._order.weigh({name: each.seconds.mean for name, each in self._expected.items() if each.known})

    def _played_on(self) -> dict[str, Any]:
        now = self._session.now()
        lengths: dict[str, float] = {}
        costs: list[float] = []
        running: list[str] = []
        for name, result in self._results.items():
            expected = self._expected[name]
            if result.outcome is Outcome.NOT_STARTED:
                lengths[name] = expected.seconds.mean
            elif result.outcome is Outcome.RUNNING:
                age = (now - (result.requested_at or now)).total_seconds()
                lengths[name] = expected.end(age) - age
                running.append(name)
            else:
                continue
            if expected.credits is not None:
                costs.append(max(expected.credits.mean - (result.cost_credits or 0.0), 0.0))
        reads = {name: tuple(each for each in self._reads[name] if each in lengths) for name in lengths}
        spans = played(reads, lengths, lengths, self._max_parallel, running)
        seconds = max((each.end for each in spans.values()), default=0.0)
        return {"run_ends_at": now + timedelta(seconds=seconds), "run_credits_to_come": math.fsum(costs)}


def played(
    views: Reads,
    weights: Mapping[str, float],
    lengths: Mapping[str, float],
    max_parallel: int,
    under_way: Collection[str] = (),
) -> dict[str, Span]:
    """When each view starts and ends in a run that orders by *weights*; what is *under way* starts at once."""
    order, now = Order(views), 0.0
    order.weigh({**weights, **dict.fromkeys(under_way, math.inf)})
    spans: dict[str, Span] = {}
    running: list[tuple[float, str]] = []
    ended: list[str] = []
    while True:
        for name in order.take(max(max_parallel, len(under_way)) - len(running), ended):
            spans[name] = Span(now, now + lengths[name])
            heapq.heappush(running, (spans[name].end, name))
        if not running:
            return spans
        now, name = heapq.heappop(running)
        ended = [name]


def _chance(random: Random) -> float:
    """Without the ends of the tails, of which a few past executions say nothing."""
    return min(max(random.random(), 0.02), 0.98)


def _range(quantile: Callable[[float], float]) -> Range:
    return Range(quantile(0.5), quantile(0.1), quantile(0.9))


def _of(values: list[float]) -> Callable[[float], float]:
    ordered = sorted(values)
    return lambda chance: ordered[round(chance * (len(ordered) - 1))]
