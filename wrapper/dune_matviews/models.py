"""The data that users hold: executions, views and the account's usage, plain and immutable.

This module must not know how the data is fetched, nor how Dune spells it in JSON.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    from .errors import DuneError


class ExecutionState(StrEnum):
    """Where an execution stands. A state that this version does not know is `UNKNOWN`."""

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
        """The state is an end. (Of an unknown state, nobody can say: `ExecutionStatus.is_finished` asks Dune.)"""
        return self not in (ExecutionState.PENDING, ExecutionState.EXECUTING, ExecutionState.UNKNOWN)

    @property
    def succeeded(self) -> bool:
        """The table is whole and fresh. After `COMPLETED_PARTIAL` only the stored query result is cut."""
        return self in (ExecutionState.COMPLETED, ExecutionState.COMPLETED_PARTIAL)


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """Why an execution failed, in Dune's words; each part is None where Dune does not say.

    Attributes:
        type: Dune's code, for example `FAILED_TYPE_EXECUTION_FAILED` or `syntax_error`.
        message: the text for people.
        line: line of the query, counted by Dune.
        column: column of the query, counted by Dune.
    """

    type: str | None = None
    message: str | None = None
    line: int | None = None
    column: int | None = None


@attrs.frozen(kw_only=True)
class ExecutionStatus:
    """The status of an execution (`GET /v1/execution/{execution_id}/status`).

    A part that Dune leaves out, or sends in a form that cannot be read, is None.

    Attributes:
        execution_id: the execution.
        state: where it stands.
        is_finished: it will not change any more.
        query_id: the query behind the view.
        queue_position: place in the queue while it is pending.
        submitted_at, started_at, ended_at, expires_at, cancelled_at: aware datetimes.
        cost_credits: credits so far, as Dune reports them: it grows while it runs, and lags behind. A failed execution
            may be billed, and a cancelled one is, for what it has used.
        error: why it failed.
        row_count: rows of the result.
        size_bytes: bytes of the result.
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
        """The view is fresh."""
        return self.state.succeeded


class Retry(NamedTuple):
    """A request that failed, and is sent again after a pause.

    Attributes:
        attempt: how often it has failed so far.
        seconds: the length of the pause.
        error: the failure.
        operation: the request's kind: "refresh", "upsert", "status", "cancel", "get", "list", "delete", "pipeline",
            "usage" or "whoami".
        view: the view that it is about, where that is known.
        execution_id: the execution that it is about, where that is known.
    """

    attempt: int
    seconds: float
    error: DuneError
    operation: str | None = None
    view: str | None = None
    execution_id: str | None = None


@attrs.frozen(kw_only=True)
class Schedule:
    """When Dune refreshes a view by itself; each part is None where Dune does not tell it, or it cannot be read.

    Attributes:
        cron_expression: five fields: minute, hour, day, month, weekday.
        performance: the tier of these refreshes.
        next_run_at: when the next is due; an aware datetime.
        expires_at: when the schedule ends; an aware datetime.
    """

    cron_expression: str | None = None
    performance: str | None = None
    next_run_at: datetime | None = None
    expires_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Matview:
    """A materialized view as it stands (`GET /v1/materialized-views/{name}`), or as a list shows it.

    A part that Dune leaves out, or sends in a form that cannot be read, is None.

    Attributes:
        name: its full name, such as `dune.my_team.result_daily_volume`.
        query_id: the query whose result it holds.
        is_private: only its owner can read it.
        size_bytes: the size of its table.
        last_execution_ids: its latest executions, newest first; empty in a list, where Dune does not tell them.
        schedule: when Dune refreshes it by itself; None without one, and in a list, where Dune does not tell it.
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


@attrs.frozen(kw_only=True)
class Freshness:
    """How old a view's data is.

    Attributes:
        name: the view, as it was asked for.
        completed_at: when its latest successful execution ended, an aware datetime; None if there is none.
        execution_id: that execution; None if there is none.
        age: the time since then, by Dune's own clock; None if there is none.
    """

    name: str
    completed_at: datetime | None = None
    execution_id: str | None = None
    age: timedelta | None = None


@attrs.frozen(kw_only=True)
class Usage:
    """The account's usage in its present billing period (`POST /v1/usage`).

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
    """Whose an API key is (`GET /whoami`): the person or the team in whose name, and for whose credits, it acts.

    Attributes:
        handle: the account's name, as it stands in the full names of its views.
        customer_id: the account's id: `user_` or `team_`, and a number.
        api_key_id: the key's id, which is no secret.
        created_by: the id of the user who made the key.
        raw: Dune's answer as it came, for whatever is not modelled here.
    """

    handle: str | None = None
    customer_id: str | None = None
    api_key_id: str | None = None
    created_by: int | None = None
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def is_team(self) -> bool | None:
        """The account is a team's; None where Dune does not tell."""
        kind = (self.customer_id or "").partition("_")[0]
        return {"team": True, "user": False}.get(kind)
