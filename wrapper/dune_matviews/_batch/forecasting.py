"""What a run would take and cost: read the past of its views, and play the run through, in the run's own order.

This module must not know how a view is refreshed; it starts nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from random import Random

from .._display.timing import Span, critical_path
from .._execution.session import Session
from .._execution.views import past
from .._flow.effects import Flow
from ..errors import NotFoundError, PermissionDeniedError
from ..models import Forecast, Range, ViewForecast
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
        found[name] = ViewForecast(refreshes=not is_fresh, reason=f"refreshed at {ended_at:%Y-%m-%d %H:%M} UTC")
    yield from session.history.saved()
    due = {name for name in views if found[name].refreshes}
    reads = {name: tuple(each for each in views[name] if each in due) for name in views if name in due}
    return _played(found, reads, max_parallel, session)


def _played(found: dict[str, ViewForecast], due: Reads, max_parallel: int, session: Session) -> Forecast:
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
    while True:
        for name in order.take(max(max_parallel, len(under_way)) - len(running)):
            spans[name] = Span(now, now + lengths[name])
            heapq.heappush(running, (spans[name].end, name))
        if not running:
            return spans
        now, name = heapq.heappop(running)
        order.done(name)


def _chance(random: Random) -> float:
    """Without the ends of the tails, of which a few past executions say nothing."""
    return min(max(random.random(), 0.02), 0.98)


def _range(quantile: Callable[[float], float]) -> Range:
    return Range(quantile(0.5), quantile(0.1), quantile(0.9))


def _of(values: list[float]) -> Callable[[float], float]:
    ordered = sorted(values)
    return lambda chance: ordered[round(chance * (len(ordered) - 1))]
