"""The operators: the refresh of one view as a task, and a run of many views as one.

This module must not know how a task's journal is stored, nor what clearing and killing a task means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any

from dune_matviews import InvalidArgumentError, Refresh
from dune_matviews.journal import read_journal
from dune_matviews.plan import read_plan

from ._engine import AirflowException, AirflowFailException, Asset, BaseOperatorLink, Context
from ._task import DuneOperator
from .journal import TaskJournal


class DuneQueryLink(BaseOperatorLink):
    """A link to the query behind the view."""

    name = "Dune query"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The query's page: Airflow asks for it in the task's own process, and stores it."""
        return f"https://dune.com/queries/{operator.query_id}" if operator.query_id else ""


class RefreshMatviewOperator(DuneOperator):
    """Refreshes one view, and pays for it once: a retry follows the execution that was started, whatever has died.

    It returns the execution as a dict: `execution_id`, `state`, `cost_credits`, `row_count`, `size_bytes`, `query_id`
    and `ended_at`. Where *view* is no template, the task's outlet is an `Asset` with the view's name, whose events have
    the same as their extra.

    Args:
        view: the view's full name, such as `dune.my_team.result_daily_volume`; templated.
        performance: the tier; None takes Dune's default; templated.
        max_credits: cancel the execution when its running cost passes so many credits.
        timeout: seconds (or a `timedelta`) to wait in one try; the execution goes on, and a retry follows it.
        deferrable: wait in the triggerer, without a worker.
        dune_conn_id, cancel_on_kill, retry_failed: see `DuneOperator`.
    """

    template_fields: Sequence[str] = ("view", "dune_conn_id", "performance")
    operator_extra_links = (DuneQueryLink(),)
    query_id: int | None = None

    def __init__(
        self,
        *,
        view: str,
        performance: str | None = None,
        max_credits: float | None = None,
        timeout: timedelta | float | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(view, str) and "{{" not in view:
            kwargs.setdefault("outlets", [Asset(view)])
        super().__init__(**kwargs)
        self.view, self.performance, self.deferrable = view, performance, deferrable
        self.max_credits, self.timeout = max_credits, timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the refresh, or find the one that an earlier try has started, and wait for its end."""
        with self.at_work(context) as (dune, journal):
            performance: Any = self.performance
            refresh = dune.refresh(self.view, performance=performance, journal=journal, retry_failed=self.retry_failed)
            status = refresh.status()
            self.query_id = status.query_id
            if self.deferrable and not status.is_finished:
                self._defer(refresh, journal)
            return self._ended(refresh, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take in the end of the execution, once the trigger has seen it."""
        with self.at_work(context) as (dune, journal):
            if not read_journal(journal).views:
                raise AirflowFailException(f"The task's journal is gone; its execution is {event['execution_id']}.")
            refresh = dune.refresh(self.view, journal=journal)  # sends nothing: the journal has the execution
            if event["error"] is not None:
                self.log.warning("The trigger stopped waiting: %s", event["error"])
            if not refresh.status().is_finished:
                raise AirflowException(event["error"] or f"Execution {refresh.execution_id} goes on.")
            return self._ended(refresh, context)

    def _defer(self, refresh: Refresh, journal: TaskJournal) -> None:
        from .trigger import ExecutionTrigger

        (entry,) = read_journal(journal).views.values()
        is_ours = entry.how == "response"  # only what is certainly ours is cancelled by a cap
        seconds = self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else self.timeout
        trigger = ExecutionTrigger(
            refresh.execution_id,
            self.view,
            self.dune_conn_id,
            timeout=seconds,
            max_credits=self.max_credits if is_ours else None,
            cancel_on_kill=self.may_cancel(entry),
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def _ended(self, refresh: Refresh, context: Context) -> dict[str, Any]:
        status = refresh.wait(timeout=self.timeout, max_credits=self.max_credits)
        self.query_id = status.query_id
        names = ("execution_id", "cost_credits", "row_count", "size_bytes", "query_id")
        told = {name: getattr(status, name) for name in names} | {"state": status.state.value}
        told["ended_at"] = status.ended_at and status.ended_at.isoformat()
        for outlet in self.outlets:
            if isinstance(outlet, Asset) and outlet.name == self.view:
                context["outlet_events"][outlet].extra = told
        return told


class RefreshMatviewsOperator(DuneOperator):
    """Refreshes many views in one task with `MatviewsClient.refresh_all`, and pays for each once.

    It occupies a worker until all have ended: only a worker can write the journal. It returns the report as a dict.
    Each view is an outlet, an `Asset` with its name, whose events have the view's result as their extra; a view that
    was left as it is, being fresh, has an event, too. Where views fail, retries go on with the rest, and end alike.

    Args:
        views: names, or a mapping of each name to the names that it reads.
        plan: the path of a plan file, in the place of *views*. It is read when the DAG is parsed.
        options: arguments for `refresh_all`, such as `max_credits`; they count more than those of the plan file.
        dune_conn_id, cancel_on_kill, retry_failed: see `DuneOperator`.
    """

    template_fields: Sequence[str] = ("dune_conn_id",)

    def __init__(
        self,
        *,
        views: Mapping[str, Iterable[str]] | Iterable[str] | None = None,
        plan: str | PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if (views is None) == (plan is None):
            raise InvalidArgumentError("pass either views= or plan=")
        options = dict(options or {})
        if plan is not None:
            read = read_plan(plan)
            views, options = read.views, {**read.options, "journal": None, **options}
        self.views = {name: list(views[name]) for name in views} if isinstance(views, Mapping) else list(views or ())
        kwargs.setdefault("outlets", [Asset(name) for name in self.views])
        kwargs.setdefault("retry_failed", options.pop("retry_failed", False))
        super().__init__(**kwargs)
        self.options = options

    def execute(self, context: Context) -> dict[str, Any]:
        """Refresh the views, or go on where an earlier try has stopped."""
        with self.at_work(context) as (dune, journal):
            options = {**self.options, "journal": journal, "retry_failed": self.retry_failed}
            report = dune.refresh_all(self.views, **options)
            self.log.info("%s", report)
            report.raise_for_failures()
        told: dict[str, Any] = report.to_dict()
        for outlet in self.outlets:
            if isinstance(outlet, Asset) and outlet.name in told["views"]:
                context["outlet_events"][outlet].extra = told["views"][outlet.name]
        return told
