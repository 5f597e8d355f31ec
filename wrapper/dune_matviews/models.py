"""The data that users hold: executions, views, forecasts and the account's usage, plain and immutable.

This module must not know how the data is fetched, nor how Dune spells it in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    from .errors import DuneError


class ExecutionState(StrEnum):
    """The state of an execution. A state that this version does not know is `UNKNOWN`."""

    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    COMPLETED_PARTIAL = "completed_partial"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def is_finished(self) -> bool:
        """True if the state is final. For an unknown state, only `ExecutionStatus.is_finished` can tell."""
        return self in FINISHED

    @property
    def succeeded(self) -> bool:
        """True if the table is complete and fresh. `COMPLETED_PARTIAL` truncates only the stored query result."""
        return self in (ExecutionState.COMPLETED, ExecutionState.COMPLETED_PARTIAL)


FINISHED = frozenset(ExecutionState) - {ExecutionState.PENDING, ExecutionState.EXECUTING, ExecutionState.UNKNOWN}
"""The final states."""


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """The reason for a failed execution, in Dune's words. A part that Dune leaves out is None.

    Attributes:
        type: Dune's code, for example `FAILED_TYPE_EXECUTION_FAILED` or `syntax_error`.
        message: the text for people.
        line: the line in the query, as Dune counts.
        column: the column in the query, as Dune counts.
    """

    type: str | None = None
    message: str | None = None
    line: int | None = None
    column: int | None = None


@attrs.frozen(kw_only=True)
class ExecutionStatus:
    """The status of an execution (`GET /v1/execution/{execution_id}/status`).

    A part that Dune leaves out, or sends in an unreadable form, is None.

    Attributes:
        execution_id: the execution.
        state: its state.
        is_finished: True if the state is final.
        query_id: the query behind the view.
        queue_position: the place in the queue while it is pending.
        submitted_at, started_at, ended_at, expires_at, cancelled_at: aware datetimes.
        cost_credits: the credits used so far, as Dune reports them; they grow during the execution, and lag behind. A
            failed execution may be billed. A cancelled one is billed for the credits it has used.
        error: the reason for a failure.
        row_count: the number of rows in the result.
        size_bytes: the size of the result in bytes.
        request_id: the id by which Dune's support can find the request of this poll.
        raw: Dune's response as it came, for everything that is not modelled here.
    """

    execution_id: str
    state: ExecutionState
    is_finished: bool
    query_id: int | None = None
    queue_position: int | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    cancelled_at: datetime | None = None
    cost_credits: float | None = None
    error: ErrorDetail | None = None
    row_count: int | None = None
    size_bytes: int | None = None
    request_id: str | None = attrs.field(default=None, eq=False)
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def succeeded(self) -> bool:
        """True if the view is fresh."""
        return self.state.succeeded

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._display.notebook import execution

        return execution(self)


class Retry(NamedTuple):
    """A failed request that will be sent again after a pause.

    Attributes:
        attempt: the number of failures so far.
        seconds: the length of the pause.
        error: the failure.
        operation: the request's kind: "refresh", "upsert", "status", "cancel", "get", "list", "delete", "pipeline",
            "usage" or "whoami".
        view: the view concerned, or None if unknown.
        execution_id: the execution concerned, or None if unknown.
    """

    attempt: int
    seconds: float
    error: DuneError
    operation: str | None = None
    view: str | None = None
    execution_id: str | None = None


@attrs.frozen(kw_only=True)
class Schedule:
    """The schedule on which Dune refreshes a view. A part that is missing or unreadable in the response is None.

    Attributes:
        cron_expression: five fields: minute, hour, day, month, weekday.
        performance: the tier of these refreshes.
        next_run_at: the time of the next refresh; an aware datetime.
        expires_at: the end of the schedule; an aware datetime.
    """

    cron_expression: str | None = None
    performance: str | None = None
    next_run_at: datetime | None = None
    expires_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Matview:
    """A materialized view, from `GET /v1/materialized-views/{name}` or from a list.

    A part that Dune leaves out, or sends in an unreadable form, is None.

    Attributes:
        name: its full name, such as `dune.my_team.result_daily_volume`.
        query_id: the query whose result it holds.
        is_private: True if only its owner may read it.
        size_bytes: the size of its table in bytes.
        last_execution_ids: its latest executions, newest first; always empty in a list.
        schedule: the schedule on which Dune refreshes it; None without one, and always None in a list.
        request_id: the id by which Dune's support can find the request; None in a list.
        raw: Dune's response as it came, for everything that is not modelled here.
    """

    name: str
    query_id: int | None = None
    is_private: bool | None = None
    size_bytes: int | None = None
    last_execution_ids: tuple[str, ...] = ()
    schedule: Schedule | None = None
    request_id: str | None = attrs.field(default=None, eq=False)
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._display.notebook import view

        return view(self)


@attrs.frozen(kw_only=True)
class Freshness:
    """The age of a view's data.

    Attributes:
        name: the view, as passed to `freshness`.
        completed_at: the end of its latest successful execution, an aware datetime; None if there is none.
        execution_id: that execution; None if there is none.
        age: the time since then, by Dune's own clock; None if there is none.
    """

    name: str
    completed_at: datetime | None = None
    execution_id: str | None = None
    age: timedelta | None = None


@attrs.frozen(kw_only=True)
class Usage:
    """The account's usage in the current billing period (`POST /v1/usage`).

    Attributes:
        period_start: the period's first day.
        period_end: the day on which it ends.
        credits_used: credits used so far.
        credits_included: credits that the plan includes.
        raw: Dune's response as it came, for everything that is not modelled here.
    """

    period_start: date | None = None
    period_end: date | None = None
    credits_used: float | None = None
    credits_included: float | None = None
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


@attrs.frozen(kw_only=True)
class Account:
    """The account that owns an API key, and pays for its use (`GET /whoami`).

    Attributes:
        handle: the account's name, as in the full names of its views.
        customer_id: the account's id: `user_` or `team_`, and a number.
        api_key_id: the key's id, which is no secret.
        created_by: the id of the user who created the key.
        raw: Dune's response as it came, for everything that is not modelled here.
    """

    handle: str | None = None
    customer_id: str | None = None
    api_key_id: str | None = None
    created_by: int | None = None
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def is_team(self) -> bool | None:
        """True for a team, False for a person, None if Dune does not say."""
        kind = (self.customer_id or "").partition("_")[0]
        return {"team": True, "user": False}.get(kind)


class Range(NamedTuple):
    """An expected amount.

    Attributes:
        expected: the median: half of all executions (or runs) stay below it.
        low, high: four of five executions (or runs) lie between these.
    """

    expected: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.expected:,.1f} ({self.low:,.1f} to {self.high:,.1f})"


@attrs.frozen(kw_only=True)
class ViewForecast:
    """One view in the forecast of a run.

    Attributes:
        refreshes: True if it would be refreshed, False if it is fresh and costs nothing, None if Dune refuses it.
        reason: an explanation for people; None if none is needed.
        seconds: the time from its submission to its end; None if unknown, or if it would not be refreshed.
        cost_credits: its cost in credits; None likewise.
        starts_after, ends_after: its expected start and end, in seconds after the start of the run.
        known_executions: the number of past successes behind these figures; 0 if they rest on other views alone.
    """

    refreshes: bool | None
    reason: str | None = None
    seconds: Range | None = None
    cost_credits: Range | None = None
    starts_after: float = 0.0
    ends_after: float = 0.0
    known_executions: int = 0


@attrs.frozen(kw_only=True)
class Forecast:
    """The expected time and cost of a run of `refresh_all`, from past executions of its views.

    Attributes:
        views: the forecast of each view by its name.
        seconds: the time of the whole run; None if no view has past executions.
        cost_credits: the cost of the whole run, in credits; None likewise.
        critical_path: the views, one after another, whose times add up to that of the run.
        max_parallel: the number of executions in flight at once.
    """

    views: Mapping[str, ViewForecast]
    seconds: Range | None
    cost_credits: Range | None
    critical_path: tuple[str, ...]
    max_parallel: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`: a range is an object with `expected`, `low` and `high`."""
        return attrs.asdict(
            self, value_serializer=lambda _, field, value: value._asdict() if isinstance(value, Range) else value
        )

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._display.notebook import forecast

        return forecast(self)
