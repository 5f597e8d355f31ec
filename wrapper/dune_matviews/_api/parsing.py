"""Responses to values: one parser for each kind of success, over the models of the generated code.

This module must not know when requests are made, nor the decisions that follow from their responses. Only the heart of
a response has to be there (a state, an id); a detail that cannot be read is None, and never hides the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Protocol, Self, TypeVar

from dune_api import models as api
from dune_api.types import Unset

from .._http.headers import http_date
from .._http.messages import Response
from ..errors import DuneError, UnexpectedResponseError
from ..models import FINISHED, Account, ErrorDetail, ExecutionState, ExecutionStatus, Matview, Schedule, Usage
from .scalars import amount, day, integer, moment, number, text
from .values import Node, Page, Started, Stored, ViewHistory


class _Model(Protocol):
    """A model of the generated code."""

    @classmethod
    def from_dict(cls, src_dict: Any) -> Self: ...


M = TypeVar("M", bound=_Model)
T = TypeVar("T")

_STATES = {
    "QUERY_STATE_PENDING": ExecutionState.PENDING,
    "QUERY_STATE_EXECUTING": ExecutionState.EXECUTING,
    "QUERY_STATE_COMPLETED": ExecutionState.COMPLETED,
    "QUERY_STATE_COMPLETED_PARTIAL": ExecutionState.COMPLETED_PARTIAL,
    "QUERY_STATE_FAILED": ExecutionState.FAILED,
    "QUERY_STATE_CANCELED": ExecutionState.CANCELED,
    "QUERY_STATE_CANCELLED": ExecutionState.CANCELED,
    "QUERY_STATE_EXPIRED": ExecutionState.EXPIRED,
}

# An id that can stand in a path: Dune's are ULIDs, but nothing here depends on that.
_ID = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")


def read(parse: Callable[[Response], T], response: Response) -> T:
    """What *parse* reads of a response, which may not be as the spec says."""
    try:
        return parse(response)
    except DuneError:
        raise
    except Exception as problem:  # the models of the generated code believe the spec
        message = f"the response does not fit the API's description ({type(problem).__name__})"
        raise _unexpected(response, message) from problem


def started(response: Response) -> Started:
    """The execution that a refresh has started."""
    return _started(response, _parsed(response, api.RefreshResponse).execution_id, None)


def created(response: Response) -> Started:
    """The execution that an upsert has started, and the view's full name."""
    found = _parsed(response, api.UpsertResponse)
    return _started(response, found.execution_id, text(found.name))


def _started(response: Response, execution_id: object, name: str | None) -> Started:
    if not isinstance(execution_id, str) or not _ID.fullmatch(execution_id):
        raise _unexpected(response, "the response names no execution")
    return Started(execution_id, name)


def canceled(response: Response) -> bool:
    """Whether there was something to cancel."""
    return _parsed(response, api.CancelExecutionResponse).success is True


def deleted(response: Response) -> None:
    """That a view is gone."""
    _parsed(response, api.DeleteResponse)


def history(response: Response) -> ViewHistory:
    """The executions of a view, which have to be readable."""
    view = _parsed(response, api.MatviewResponse)
    found: object = view.last_execution_ids
    if isinstance(found, Unset) and not isinstance(view.query_id, Unset):
        found = []  # a view that was never executed, or so it seems
    if not isinstance(found, list) or not all(map(_is_id, found)):
        # Taken for "none", it would have a refresh started beside one that runs.
        raise _unexpected(response, "the view's executions cannot be read")
    is_stated = not isinstance(view.last_execution_ids, Unset)
    return ViewHistory(tuple(found), _date(response), is_stated, is_cached="age" in response.headers)


def matview(response: Response, asked_for: str) -> Matview:
    """A view as it stands."""
    view = _parsed(response, api.MatviewResponse)
    ids: object = view.last_execution_ids
    return Matview(
        name=text(view.sql_id) or asked_for,
        query_id=integer(view.query_id),
        is_private=_flag(view.is_private),
        size_bytes=integer(view.table_size_bytes),
        last_execution_ids=tuple(filter(_is_id, ids)) if isinstance(ids, list) else (),
        schedule=_schedule(view.schedule),
        request_id=response.request_id,
        raw=view.to_dict(),
    )


def _schedule(schedule: object) -> Schedule | None:
    if not isinstance(schedule, api.MatviewSchedule):
        return None
    return Schedule(
        cron_expression=text(schedule.cron_expression),
        performance=text(schedule.performance),
        next_run_at=moment(schedule.next_execution_time),
        expires_at=moment(schedule.expires_at),
    )


def stored(response: Response, asked_for: str) -> Stored:
    """A view, of which each part that an upsert has to send again is there as Dune wrote it, or not at all."""
    view = _parsed(response, api.MatviewResponse)
    parts: dict[str, Any] = {"query_id": integer(view.query_id), "is_private": _flag(view.is_private)}
    parts = {name: part for name, part in parts.items() if part is not None} | _stored_schedule(view.schedule)
    with suppress(UnexpectedResponseError):  # which only a lost response would need
        return Stored(text(view.sql_id) or asked_for, parts, history(response))
    return Stored(text(view.sql_id) or asked_for, parts)


def _stored_schedule(schedule: object) -> dict[str, str | None]:
    """The parts of a view's schedule, all of them None where it has none."""
    if schedule is None or isinstance(schedule, Unset):
        return dict.fromkeys(("cron_expression", "performance", "expires_at"))
    if not isinstance(schedule, api.MatviewSchedule):
        return {}
    parts = {} if text(schedule.cron_expression) is None else {"cron_expression": text(schedule.cron_expression)}
    for name in ("performance", "expires_at"):
        part = getattr(schedule, name)
        if part is None or isinstance(part, str | Unset):
            parts[name] = text(part)
    return parts


def page(response: Response) -> Page:
    """Views of the account, each of which has to have a name."""
    found = _parsed(response, api.MatviewListResponse)
    views: object = found.materialized_views
    # A list that does not fit its declaration comes through as it is; an account without views may leave it out.
    listed = [] if views is None or isinstance(views, Unset) else views
    if not isinstance(listed, list) or not all(isinstance(each, api.MatviewListElement) for each in listed):
        raise _unexpected(response, "the list of views cannot be read")
    offset: object = found.next_offset
    following = 0 if offset is None or isinstance(offset, Unset) else integer(offset)
    if following is None:
        raise _unexpected(response, "where the list of views goes on cannot be read")
    return Page(tuple(_listed(response, each) for each in listed), following or None)


def _listed(response: Response, view: api.MatviewListElement) -> Matview:
    name = text(view.sql_id)
    if name is None:
        raise _unexpected(response, "the list has a view without a name")
    return Matview(
        name=name,
        query_id=integer(view.query_id),
        is_private=_flag(view.is_private),
        size_bytes=integer(view.table_size_bytes),
        raw=view.to_dict(),
    )


def nodes(response: Response) -> tuple[Node, ...]:
    """The steps of a pipeline, each of which has to be whole: without one, the others have another order."""
    pipeline = _parsed(response, api.PipelineResponse).pipeline
    found: object = pipeline.nodes if isinstance(pipeline, api.Pipeline) else None
    if not isinstance(found, list):
        raise _unexpected(response, "the nodes of the pipeline cannot be read")
    return tuple(_node(response, each) for each in found)


def _node(response: Response, node: api.PipelineNode) -> Node:
    declared: object = node.dependencies
    found = [] if declared is None or isinstance(declared, Unset) else declared
    identity, *dependencies = map(integer, [node.id, *found] if isinstance(found, list) else [None])
    if identity is None or None in dependencies:
        raise _unexpected(response, "a node of the pipeline has no id, or dependencies that cannot be read")
    refresh, query = node.materialized_view_refresh, node.query_execution
    view = text(refresh.name) if isinstance(refresh, api.PipelineRefresh) else None
    if view is None and (isinstance(refresh, api.PipelineRefresh) or not isinstance(query, api.PipelineExecution)):
        raise _unexpected(response, f"node {identity} of the pipeline is neither a view nor a query")
    return Node(identity, tuple(each for each in dependencies if each is not None), view)


def usage(response: Response) -> Usage:
    """The usage of the billing period that the response's own date lies in, else of the latest."""
    found = _parsed(response, api.UsageResponse)
    periods: list[api.BillingPeriod] = [] if isinstance(found.billing_periods, Unset) else found.billing_periods
    if not periods:
        raise _unexpected(response, "the response has no billing period")
    now = _date(response)
    begun = [each for each in periods if now is None or _starts(each) <= now.date()]
    present = max(begun or periods, key=_starts)
    return Usage(
        period_start=day(present.start_date),
        period_end=day(present.end_date),
        credits_used=number(present.credits_used),
        credits_included=number(present.credits_included),
        raw=found.to_dict(),
    )


def whoami(response: Response) -> Account:
    """Whose the key is."""
    found = _parsed(response, api.WhoAmIResponse)
    return Account(
        handle=text(found.handle),
        customer_id=text(found.customer_id),
        api_key_id=text(found.api_key_id),
        created_by=integer(found.created_by),
        raw=found.to_dict(),
    )


def _starts(period: api.BillingPeriod) -> date:
    return day(period.start_date) or date.min


def status(response: Response, execution_id: str) -> ExecutionStatus:
    """An execution as it stands, of which only the state has to be there."""
    found = _parsed(response, api.ExecutionStatusResponse)
    state = _STATES.get(text(found.state) or "", ExecutionState.UNKNOWN)
    told = found.is_execution_finished is True
    result = found.result_metadata if isinstance(found.result_metadata, api.ResultMetadata) else api.ResultMetadata()
    return ExecutionStatus(
        execution_id=execution_id,
        state=state,
        is_finished=told if state is ExecutionState.UNKNOWN else state in FINISHED,
        query_id=integer(found.query_id),
        queue_position=integer(found.queue_position),
        submitted_at=moment(found.submitted_at),
        started_at=moment(found.execution_started_at),
        ended_at=moment(found.execution_ended_at),
        expires_at=moment(found.expires_at),
        cancelled_at=moment(found.cancelled_at),
        cost_credits=amount(found.execution_cost_credits),
        error=_error(found.error),
        row_count=integer(result.total_row_count, result.row_count),
        size_bytes=integer(result.total_result_set_bytes, result.result_set_bytes),
        request_id=response.request_id,
        raw=response.payload,
    )


def _error(error: object) -> ErrorDetail | None:
    if isinstance(error, str):
        return ErrorDetail(message=error)
    if not isinstance(error, api.ExecutionError):
        return None
    place = error.metadata if isinstance(error.metadata, api.SyntaxErrorMetadata) else api.SyntaxErrorMetadata()
    return ErrorDetail(
        type=text(error.type_), message=text(error.message), line=integer(place.line), column=integer(place.column)
    )


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _date(response: Response) -> datetime | None:
    """When the server responded, by its own clock."""
    return http_date(response.headers.get("date", ""))


def _parsed(response: Response, model: type[M]) -> M:
    if response.status_code != 200:
        raise _unexpected(response, "a success of another kind than expected")
    return model.from_dict(response.payload)


def _unexpected(response: Response, problem: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(problem, status_code=response.status_code, request_id=response.request_id)
