"""Dune's operations: one `Call` for each, over the generated client, from arguments of ours to values of ours.

This module must not know when calls are made, or how often, nor how an answer is read. With `_readers` it is the only
importer of `dune_api`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from dune_api import AuthenticatedClient
from dune_api.types import UNSET, Response, Unset

from . import _readers
from ._flow import Call
from ._transport import AsyncTransport, SyncTransport, deadline
from ._values import Definition, Node, Page, Started, Stored, ViewHistory
from .errors import DuneError, UnexpectedResponseError
from .models import ExecutionStatus, Matview, Usage

P = ParamSpec("P")
T = TypeVar("T")

VIEWS_A_PAGE = 1000
"""What Dune's own command line takes as the most; the spec allows more."""

# What the spec has to say for this module to be right. `make check` holds the spec to it (tools/facts.py), and says
# what to change where when Dune says otherwise. Types are those of OpenAPI, classes those of `dune_api.models`.
SPEC_OPERATIONS = {
    "POST /v1/materialized-views/{name}/refresh": {
        "takes": {"name": "string"},
        "sends": "RefreshRequest",
        "answers": "RefreshResponse",
    },
    "GET /v1/execution/{execution_id}/status": {
        "takes": {"execution_id": "string"},
        "answers": "ExecutionStatusResponse",
    },
    "POST /v1/execution/{execution_id}/cancel": {
        "takes": {"execution_id": "string"},
        "answers": "CancelExecutionResponse",
    },
    "GET /v1/materialized-views": {
        "takes": {"limit": "integer", "offset": "integer"},
        "answers": "MatviewListResponse",
    },
    "POST /v1/materialized-views": {"sends": "UpsertRequest", "answers": "UpsertResponse"},
    "GET /v1/materialized-views/{name}": {"takes": {"name": "string"}, "answers": "MatviewResponse"},
    "DELETE /v1/materialized-views/{name}": {"takes": {"name": "string"}, "answers": "DeleteResponse"},
    "GET /v1/query/{query_id}/pipeline": {"takes": {"query_id": "integer"}, "answers": "PipelineResponse"},
    "POST /v1/usage": {"sends": "UsageRequest", "answers": "UsageResponse"},
}
SPEC_SENDS = {
    "RefreshRequest": {"performance": "string"},
    "UpsertRequest": {
        "name": "string",
        "query_id": "integer",
        "is_private": "boolean",
        "performance": "string",
        "cron_expression": "string",
        "expires_at": "string",
    },
    "UsageRequest": {},
}


class Endpoints:
    """The operations, bound to the transport of one client."""

    def __init__(self, transport: SyncTransport | AsyncTransport) -> None:
        # The generated client shows its token in its repr; ours stays with the transport.
        self._client = AuthenticatedClient(base_url=str(transport.base_url), token="")
        if isinstance(transport, SyncTransport):
            self._client.set_httpx_client(transport)
        else:
            self._client.set_async_httpx_client(transport)

    def refresh(self, name: str, performance: str | None) -> Call[Started]:
        """`POST /v1/materialized-views/{name}/refresh`."""
        from dune_api.api.materialized_views import refresh_materialized_view
        from dune_api.models import RefreshRequest

        return _call(
            refresh_materialized_view.sync_detailed,
            refresh_materialized_view.asyncio_detailed,
            _readers.started,
            name,
            client=self._client,
            body=RefreshRequest(performance=_or_unset(performance)),
        )

    def status(self, execution_id: str) -> Call[ExecutionStatus]:
        """`GET /v1/execution/{execution_id}/status`."""
        from dune_api.api.executions import get_execution_status

        return _call(
            get_execution_status.sync_detailed,
            get_execution_status.asyncio_detailed,
            lambda response: _readers.status(response, execution_id),
            execution_id,
            client=self._client,
        )

    def cancel(self, execution_id: str) -> Call[bool]:
        """`POST /v1/execution/{execution_id}/cancel`: whether there was something to cancel."""
        from dune_api.api.executions import cancel_execution

        return _call(
            cancel_execution.sync_detailed,
            cancel_execution.asyncio_detailed,
            _readers.canceled,
            execution_id,
            client=self._client,
        )

    def history(self, name: str) -> Call[ViewHistory]:
        """`GET /v1/materialized-views/{name}`: the view's executions."""
        return self._get(name, _readers.history)

    def matview(self, name: str) -> Call[Matview]:
        """`GET /v1/materialized-views/{name}`: the view as it stands."""
        return self._get(name, lambda response: _readers.matview(response, name))

    def stored(self, name: str) -> Call[Stored]:
        """`GET /v1/materialized-views/{name}`: what an upsert has to send again."""
        return self._get(name, lambda response: _readers.stored(response, name))

    def _get(self, name: str, read: Callable[[Response[Any]], T]) -> Call[T]:
        from dune_api.api.materialized_views import get_materialized_view

        return _call(
            get_materialized_view.sync_detailed,
            get_materialized_view.asyncio_detailed,
            read,
            name,
            client=self._client,
        )

    def page(self, offset: int) -> Call[Page]:
        """`GET /v1/materialized-views`."""
        from dune_api.api.materialized_views import list_materialized_views

        return _call(
            list_materialized_views.sync_detailed,
            list_materialized_views.asyncio_detailed,
            _readers.page,
            client=self._client,
            limit=VIEWS_A_PAGE,
            offset=offset,
        )

    def upsert(self, view: Definition) -> Call[Started]:
        """`POST /v1/materialized-views`."""
        from dune_api.api.materialized_views import upsert_materialized_view
        from dune_api.models import UpsertRequest

        return _call(
            upsert_materialized_view.sync_detailed,
            upsert_materialized_view.asyncio_detailed,
            _readers.created,
            client=self._client,
            body=UpsertRequest(
                name=view.name,
                query_id=view.query_id,
                is_private=view.is_private,
                performance=_or_unset(view.performance),
                cron_expression=_or_unset(view.cron_expression),
                expires_at=_or_unset(view.expires_at),
            ),
        )

    def delete(self, name: str) -> Call[None]:
        """`DELETE /v1/materialized-views/{name}`."""
        from dune_api.api.materialized_views import delete_materialized_view

        return _call(
            delete_materialized_view.sync_detailed,
            delete_materialized_view.asyncio_detailed,
            _readers.deleted,
            name,
            client=self._client,
        )

    def pipeline(self, query_id: int) -> Call[tuple[Node, ...]]:
        """`GET /v1/query/{query_id}/pipeline`."""
        from dune_api.api.queries import get_query_pipeline

        return _call(
            get_query_pipeline.sync_detailed,
            get_query_pipeline.asyncio_detailed,
            _readers.nodes,
            query_id,
            client=self._client,
        )

    def usage(self) -> Call[Usage]:
        """`POST /v1/usage`, for the present billing period."""
        from dune_api.api.usage import get_usage
        from dune_api.models import UsageRequest

        return _call(
            get_usage.sync_detailed,
            get_usage.asyncio_detailed,
            _readers.usage,
            client=self._client,
            body=UsageRequest(),
        )


def _or_unset(text: str | None) -> str | Unset:
    return UNSET if text is None else text


def _call(
    sync: Callable[P, Response[Any]],
    asyncio: Callable[P, Awaitable[Response[Any]]],
    read: Callable[[Response[Any]], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Call[T]:
    """Both colours of one operation; typed, so that a renamed parameter of the generated code is an error here."""

    def run(limit: float) -> T:
        with _Attempt(limit):
            return read(sync(*args, **kwargs))

    async def run_async(limit: float) -> T:
        with _Attempt(limit):
            return read(await asyncio(*args, **kwargs))

    return Call(run, run_async)


class _Attempt:
    """One call of the generated code, in so many seconds at most.

    Whatever it trips over in an answer is an answer that cannot be understood.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        self._token = deadline.set(time.monotonic() + self._limit)

    def __exit__(self, kind: object, problem: BaseException | None, traceback: object) -> None:
        deadline.reset(self._token)
        if isinstance(problem, Exception) and not isinstance(problem, DuneError):
            message = f"the answer does not fit the API's description ({type(problem).__name__})"
            raise UnexpectedResponseError(message, status_code=200) from problem
