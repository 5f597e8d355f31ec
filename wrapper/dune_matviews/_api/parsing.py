"""Responses about executions to values, over the models of the generated code; and single JSON values.

This module must not know when requests are made, nor the decisions that follow from their responses. Only the heart of
a response has to be there (a state, an id); a detail that cannot be read is None, and never hides the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime
from typing import Any, Protocol, Self, TypeGuard, TypeVar

from dune_api import models as api
from dune_api.types import Unset

from .._http.headers import http_date
from .._http.messages import Response
from ..errors import DuneError, UnexpectedResponseError
from ..models import FINISHED, ErrorDetail, ExecutionState, ExecutionStatus
from .values import Started, ViewHistory


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

# Dune's ids are ULIDs, but nothing here depends on that.
_ID = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")


def read(parse: Callable[[Response], T], response: Response) -> T:
    """What *parse* reads of a response, which may not be as the spec says."""
    try:
        return parse(response)
    except DuneError:
        raise
    except Exception as problem:  # the models of the generated code believe the spec
        message = f"the response does not fit the API's description ({type(problem).__name__})"
        raise unexpected(response, message) from problem


def started(response: Response) -> Started:
    """The execution that a refresh has started."""
    return _started(response, parsed(response, api.RefreshResponse).execution_id, None)


def created(response: Response) -> Started:
    """The execution that an upsert has started, and the view's full name."""
    found = parsed(response, api.UpsertResponse)
    return _started(response, found.execution_id, text(found.name))


def _started(response: Response, execution_id: object, name: str | None) -> Started:
    if not is_id(execution_id):
        raise unexpected(response, "the response names no execution")
    return Started(execution_id, name)


def canceled(response: Response) -> bool:
    """Whether there was something to cancel."""
    return parsed(response, api.CancelExecutionResponse).success is True


def deleted(response: Response) -> None:
    """That a view is gone."""
    parsed(response, api.DeleteResponse)


def history(response: Response) -> ViewHistory:
    """The executions of a view, which have to be readable."""
    view = parsed(response, api.MatviewResponse)
    found: object = view.last_execution_ids
    if isinstance(found, Unset) and not isinstance(view.query_id, Unset):
        found = []  # a view that was never executed, or so it seems
    if not isinstance(found, list) or not all(map(is_id, found)):
        # Taken for "none", it would have a refresh started beside one that runs.
        raise unexpected(response, "the view's executions cannot be read")
    is_stated = not isinstance(view.last_execution_ids, Unset)
    return ViewHistory(tuple(found), response_date(response), is_stated, is_cached="age" in response.headers)


def status(response: Response, execution_id: str) -> ExecutionStatus:
    """An execution as it stands, of which only the state has to be there."""
    found = parsed(response, api.ExecutionStatusResponse)
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


def is_id(value: object) -> TypeGuard[str]:
    """An id that can stand in a path."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def response_date(response: Response) -> datetime | None:
    """When the server responded, by its own clock."""
    return http_date(response.headers.get("date", ""))


def parsed(response: Response, model: type[M]) -> M:
    if response.status_code != 200:
        raise unexpected(response, "a success of another kind than expected")
    return model.from_dict(response.payload)


def unexpected(response: Response, problem: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(problem, status_code=response.status_code, request_id=response.request_id)


def text(value: object) -> str | None:
    """A text that is not blank."""
    return value if isinstance(value, str) and value.strip() else None


def number(value: object) -> float | None:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def amount(value: object) -> float | None:
    """A finite number, zero or more, or a text that is one."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def integer(*values: object) -> int | None:
    """The first of *values* that is a whole number of at most 64 bits: a larger one is no count, and overflows."""
    for value in values:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
    return None


def moment(value: object) -> datetime | None:
    """An aware datetime in UTC, as is a moment without a zone.

    None in the first and the last year of the calendar: no moment is meant there, and arithmetic with it overflows.
    """
    found = _written_moment(value)
    if found is None or not MINYEAR < found.year < MAXYEAR:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def day(value: object) -> date | None:
    """A calendar date; of a moment, the date that it is written with."""
    found = _written_moment(value)
    return found and found.date()


def _written_moment(value: object) -> datetime | None:
    written = (text(value) or "").strip()
    if not written:
        return None
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return _odd_moment(written)


def _odd_moment(written: str) -> datetime | None:
    """A moment written in another way, such as `2024-12-20 11:04:18.724 UTC`, if it begins with a whole date."""
    if not re.match(r"\d{4}-\d\d-\d\d", written) or len(written) > 64:
        return None
    try:
        from dateutil import parser  # 30 ms of import for a format that Dune's API itself does not send

        return parser.parse(written)
    except (ImportError, ValueError, OverflowError):
        return None
