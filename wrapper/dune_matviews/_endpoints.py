"""Dune's operations: one `Call` for each, over the generated client, from arguments of ours to values of ours.

This module is the only importer of `dune_api`, and must not know when calls are made, or how often.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import attrs

from dune_api import AuthenticatedClient
from dune_api.api.executions import cancel_execution, get_execution_status
from dune_api.api.materialized_views import get_materialized_view, refresh_materialized_view
from dune_api.models import (
    CancelExecutionResponse,
    ExecutionError,
    ExecutionStatusResponse,
    MatviewResponse,
    RefreshRequest,
    RefreshResponse,
    ResultMetadata,
    SyntaxErrorMetadata,
)
from dune_api.types import UNSET, Response, Unset

from ._answers import http_date
from ._flow import Call
from ._transport import AsyncTransport, SyncTransport, time_limit
from .errors import DuneError, UnexpectedResponseError
from .models import ErrorDetail, ExecutionState, ExecutionStatus

P = ParamSpec("P")
M = TypeVar("M")
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


@attrs.frozen
class ViewHistory:
    """The latest executions of a view, newest first, and when the server said so, by its own clock."""

    last_execution_ids: tuple[str, ...]
    answered_at: datetime | None


class Endpoints:
    """The operations, bound to the transport of one client."""

    def __init__(self, transport: SyncTransport | AsyncTransport) -> None:
        # The generated client shows its token in its repr; ours stays with the transport.
        self._client = AuthenticatedClient(base_url=str(transport.base_url), token="")
        if isinstance(transport, SyncTransport):
            self._client.set_httpx_client(transport)
        else:
            self._client.set_async_httpx_client(transport)

    def refresh(self, name: str, performance: str | None) -> Call[str]:
        """`POST /v1/materialized-views/{name}/refresh`: the id of the execution that it starts."""
        return _call(
            refresh_materialized_view.sync_detailed,
            refresh_materialized_view.asyncio_detailed,
            _execution_id,
            name,
            client=self._client,
            body=RefreshRequest(performance=UNSET if performance is None else performance),
        )

    def status(self, execution_id: str) -> Call[ExecutionStatus]:
        """`GET /v1/execution/{execution_id}/status`."""
        return _call(
            get_execution_status.sync_detailed,
            get_execution_status.asyncio_detailed,
            lambda response: _status(execution_id, _parsed(response, ExecutionStatusResponse)),
            execution_id,
            client=self._client,
        )

    def cancel(self, execution_id: str) -> Call[bool]:
        """`POST /v1/execution/{execution_id}/cancel`: whether there was something to cancel."""
        return _call(
            cancel_execution.sync_detailed,
            cancel_execution.asyncio_detailed,
            lambda response: _parsed(response, CancelExecutionResponse).success is True,
            execution_id,
            client=self._client,
        )

    def view(self, name: str) -> Call[ViewHistory]:
        """`GET /v1/materialized-views/{name}`."""
        return _call(
            get_materialized_view.sync_detailed,
            get_materialized_view.asyncio_detailed,
            _history,
            name,
            client=self._client,
        )


def _call(
    sync: Callable[P, Response[Any]],
    asyncio: Callable[P, Awaitable[Response[Any]]],
    read: Callable[[Response[Any]], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Call[T]:
    """Both colours of one operation; typed, so that a renamed parameter of the generated code is an error here."""

    def run(limit: float) -> T:
        with time_limit(limit), _understood():
            return read(sync(*args, **kwargs))

    async def run_async(limit: float) -> T:
        with time_limit(limit), _understood():
            return read(await asyncio(*args, **kwargs))

    return Call(run, run_async)


@contextmanager
def _understood() -> Generator[None]:
    """Whatever the generated code trips over in an answer is an answer that cannot be understood."""
    try:
        yield
    except DuneError:
        raise
    except Exception as problem:
        message = f"the answer does not fit the API's description ({type(problem).__name__})"
        raise UnexpectedResponseError(message, status_code=200) from problem


def _parsed(response: Response[Any], model: type[M]) -> M:
    if not isinstance(response.parsed, model):
        raise UnexpectedResponseError("a success of another kind than expected", status_code=response.status_code)
    return response.parsed


def _execution_id(response: Response[Any]) -> str:
    found = _parsed(response, RefreshResponse).execution_id
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise UnexpectedResponseError("the answer names no execution", status_code=response.status_code)
    return found


def _history(response: Response[Any]) -> ViewHistory:
    view = _parsed(response, MatviewResponse)
    found: object = view.last_execution_ids
    if isinstance(found, Unset) and not isinstance(view.query_id, Unset):
        found = []  # a view that was never executed
    if not isinstance(found, list) or not all(isinstance(each, str) and _ID.fullmatch(each) for each in found):
        # Taken for "none", it would have a refresh started beside one that runs.
        raise UnexpectedResponseError("the view's executions cannot be read", status_code=response.status_code)
    return ViewHistory(
        last_execution_ids=tuple(found),
        answered_at=http_date(response.headers.get("date", "")),
    )


def _status(execution_id: str, answer: ExecutionStatusResponse) -> ExecutionStatus:
    """The status, of which only the state has to be there: a detail that cannot be read must not hide an end."""
    state = _STATES.get(_text(answer.state) or "", ExecutionState.UNKNOWN)
    told = answer.is_execution_finished is True
    result = answer.result_metadata if isinstance(answer.result_metadata, ResultMetadata) else ResultMetadata()
    return ExecutionStatus(
        execution_id=execution_id,
        state=state,
        is_finished=told if state is ExecutionState.UNKNOWN else state.is_finished,
        query_id=_integer(answer.query_id),
        queue_position=_integer(answer.queue_position),
        submitted_at=_moment(answer.submitted_at),
        started_at=_moment(answer.execution_started_at),
        ended_at=_moment(answer.execution_ended_at),
        expires_at=_moment(answer.expires_at),
        cancelled_at=_moment(answer.cancelled_at),
        cost_credits=_number(answer.execution_cost_credits),
        error=_error(answer.error),
        row_count=_integer(result.total_row_count, result.row_count),
        size_bytes=_integer(result.total_result_set_bytes, result.result_set_bytes),
        raw=answer.to_dict(),
    )


def _error(error: object) -> ErrorDetail | None:
    if isinstance(error, str):
        return ErrorDetail(message=error)
    if not isinstance(error, ExecutionError):
        return None
    place = error.metadata if isinstance(error.metadata, SyntaxErrorMetadata) else SyntaxErrorMetadata()
    return ErrorDetail(
        type=_text(error.type_), message=_text(error.message), line=_integer(place.line), column=_integer(place.column)
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _integer(*values: object) -> int | None:
    """The first of *values* that is a whole number."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return None


def _moment(value: object) -> datetime | None:
    """An aware datetime; whatever has no zone is in UTC."""
    text = (_text(value) or "").strip()
    try:
        moment: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        moment = _odd_moment(text)
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment


def _odd_moment(text: str) -> datetime | None:
    """A moment written in another way, such as `2024-12-20 11:04:18.724 UTC`, if it begins with a whole date."""
    if not re.match(r"\d{4}-\d\d-\d\d", text) or len(text) > 64:
        return None
    from dateutil import parser  # 30 ms of import for what Dune's API itself does not send

    try:
        return parser.parse(text)
    except (ValueError, OverflowError):
        return None
