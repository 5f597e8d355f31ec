"""The displays of a notebook: views, executions, forecasts, and the progress of a run.

This module must not know how these are made. It uses IPython only where a kernel of it runs already.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from .._flow.log import log
from .elements import STYLE, bar, facts, reason, table, text, value
from .page import kind
from .timing import Span

if TYPE_CHECKING:
    from ..models import ExecutionStatus, Forecast, Matview
    from ..report import ViewResult

MOST_ROWS = 30
"""The views that the progress of a run shows at once."""


def view(shown: Matview) -> str:
    """A materialized view."""
    schedule = shown.schedule
    known = {
        "Query": shown.query_id and str(shown.query_id),
        "Private": shown.is_private,
        "Bytes": shown.size_bytes,
        "Latest execution": next(iter(shown.last_execution_ids), None),
        "Schedule": schedule and schedule.cron_expression,
        "Next refresh": schedule and schedule.next_run_at,
    }
    return _section(f"View {text(shown.name)}", facts(known))


def execution(shown: ExecutionStatus) -> str:
    """The status of an execution."""
    error, color = shown.error, "good" if shown.succeeded else "bad" if shown.is_finished else "idle"
    known = {
        "Error": error and ": ".join(filter(None, (error.type, error.message))),
        "Place in the queue": shown.queue_position,
        "Submitted": shown.submitted_at,
        "Started": shown.started_at,
        "Ended": shown.ended_at,
        "Credits": shown.cost_credits,
        "Rows": shown.row_count,
        "Bytes": shown.size_bytes,
    }
    title = f'Execution {text(shown.execution_id)}: <span class="{color}">{text(shown.state.value)}</span>'
    return _section(title, facts(known))


def handle(execution_id: str, name: str | None) -> str:
    """An execution that can be followed."""
    return _section(f"Execution {text(execution_id)}", facts({"View": name}))


def forecast(shown: Forecast) -> str:
    """The expected time and cost of a run."""
    whole = max((each.ends_after for each in shown.views.values()), default=0.0)
    verdicts = {True: "refresh", False: "fresh", None: "impossible"}
    rows = [
        f'<td class="v">{text(name)}<td>{verdicts[each.refreshes]}{reason(each.reason)}<td>{value(each.seconds)}'
        f'<td>{value(each.cost_credits)}<td class="lane">'
        + bar(Span(each.starts_after, each.ends_after), whole if each.refreshes else 0.0, name in shown.critical_path)
        for name, each in shown.views.items()
    ]
    time, cost = shown.seconds, shown.cost_credits
    told = f"{'unknown time' if time is None else f'{time} s'}, {'unknown cost' if cost is None else f'{cost} credits'}"
    heads = ("View", "Verdict", "Seconds", "Credits", "Gantt chart, critical path in blue")
    return _section(f"Forecast: {told}", f"<p>At most {shown.max_parallel} at once.</p>{table(heads, rows)}")


def progress(views: int) -> Progress | None:
    """The display of a run over so many views; None if this process is no notebook's."""
    try:
        shell = sys.modules["IPython"].get_ipython()
        if getattr(shell, "kernel", None) is None:  # no shell, or one in a terminal
            return None
        return Progress(views, importlib.import_module("IPython.display").display)
    except Exception as problem:
        log.debug("The notebook's display cannot be used: %r", problem)
        return None


class Progress:
    """An `on_update` that shows the run in one place of a notebook. It never raises: the run goes on without it."""

    def __init__(self, views: int, display: Any) -> None:
        self._views = views
        self._display = display
        self._handle: Any = None
        self._results: dict[str, ViewResult] = {}
        self._latest: ViewResult | None = None

    def __call__(self, name: str, result: ViewResult) -> None:
        """Show the step."""
        self._results[name] = self._latest = result
        try:
            if self._handle is not None:
                self._handle.update(self)
            elif self._display is not None:
                self._handle = self._display(self, display_id=True)
        except Exception as problem:
            self._handle = self._display = None
            log.warning("The progress cannot be shown any longer (%r); the run goes on.", problem)

    def __repr__(self) -> str:
        counts = Counter(each.outcome.value for each in self._results.values())
        counts["not_started"] += self._views - len(self._results)
        cost = sum(each.cost_credits or 0.0 for each in self._results.values())
        told = f"{', '.join(f'{count} {outcome}' for outcome, count in counts.items() if count)}; {cost:,.2f} credits"
        latest = self._latest
        if latest is None or latest.run_ends_at is None:
            return told
        to_come = "" if latest.run_credits_to_come is None else f", {latest.run_credits_to_come:,.2f} to come"
        return f"{told}{to_come}; ends at about {latest.run_ends_at.astimezone():%H:%M:%S}"

    def _repr_html_(self) -> str:
        """Views under way first, then those that failed, as many as have room."""
        order = ("bad", "idle", "good")
        rows = sorted(
            self._results.items(), key=lambda row: (row[1].outcome.value != "running", order.index(kind(row[1])))
        )
        drawn = [
            f'<td class="v">{text(name)}<td><span class="{kind(each)}">{text(_state(each))}</span>{reason(each.reason)}'
            f'<td class="n">{value(each.cost_credits)}'
            for name, each in rows[:MOST_ROWS]
        ]
        more = f"<p>And {len(rows) - MOST_ROWS} others.</p>" if len(rows) > MOST_ROWS else ""
        return _section(f"Refresh: {text(repr(self))}", table(("View", "State", "Credits"), drawn) + more)


def _state(result: ViewResult) -> str:
    return result.status.state.value if result.status and result.outcome.value == "running" else result.outcome.value


def _section(title: str, body: str) -> str:
    return f'<style>{STYLE}</style><div class="dune"><h2>{title}</h2>{body}</div>'
