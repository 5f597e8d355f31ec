"""Dune's operations: one `Call` for each, from arguments of ours to values of ours.

This module must not know when calls are made, or how often, nor who sends them. The generated code builds the requests
and holds the models that responses are read into; it sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

from dune_api.types import UNSET, Unset

from .._flow.effects import Call
from .._http.messages import Request, Response
from ..models import Account, ExecutionStatus, Matview, Usage
from . import describing, parsing
from .values import Definition, Node, Page, Started, Stored, ViewHistory

T = TypeVar("T")

VIEWS_A_PAGE = 1000
"""The most that Dune's own command line takes; the spec allows more."""

PAGE_BYTES = 10_000_000
"""The largest page of the list of views that makes sense."""


class Operations:
    """The operations. `make check` holds each to the spec, by the tables in tools/contract.py."""

    def refresh(self, name: str, performance: str | None) -> Call[Started]:
        """`POST /v1/materialized-views/{name}/refresh`."""
        from dune_api.api.materialized_views import refresh_materialized_view_request
        from dune_api.models import RefreshRequest

        _load(_AFTER_A_REFRESH)
        body = RefreshRequest(performance=_or_unset(performance))
        parts = refresh_materialized_view_request(name, body=body)
        return _call("refresh", parts, parsing.started, view=name, bucket="low", is_billed=True)

    def status(self, execution_id: str, view: str | None = None) -> Call[ExecutionStatus]:
        """`GET /v1/execution/{execution_id}/status`. *view* is for logs."""
        from dune_api.api.executions import get_execution_status_request

        parts = get_execution_status_request(execution_id)
        read = partial(parsing.status, execution_id=execution_id)
        return _call("status", parts, read, view=view, execution_id=execution_id)

    def cancel(self, execution_id: str, view: str | None = None) -> Call[bool]:
        """`POST /v1/execution/{execution_id}/cancel`: whether there was something to cancel. *view* is for logs."""
        from dune_api.api.executions import cancel_execution_request

        parts = cancel_execution_request(execution_id)
        return _call("cancel", parts, parsing.canceled, view=view, execution_id=execution_id)

    def history(self, name: str) -> Call[ViewHistory]:
        """`GET /v1/materialized-views/{name}`: the view's executions."""
        return _get(name, parsing.history)

    def matview(self, name: str) -> Call[Matview]:
        """`GET /v1/materialized-views/{name}`: the view as it stands."""
        return _get(name, lambda response: describing.matview(response, name))

    def stored(self, name: str) -> Call[Stored]:
        """`GET /v1/materialized-views/{name}`: the parts that an upsert has to send again."""
        return _get(name, lambda response: describing.stored(response, name))

    def page(self, offset: int) -> Call[Page]:
        """`GET /v1/materialized-views`."""
        from dune_api.api.materialized_views import list_materialized_views_request

        parts = list_materialized_views_request(limit=VIEWS_A_PAGE, offset=offset)
        return _call("list", parts, describing.page, max_bytes=PAGE_BYTES)

    def upsert(self, view: Definition) -> Call[Started]:
        """`POST /v1/materialized-views`."""
        from dune_api.api.materialized_views import upsert_materialized_view_request
        from dune_api.models import UpsertRequest

        _load(_AFTER_AN_UPSERT)
        body = UpsertRequest(
            name=view.name,
            query_id=view.query_id,
            is_private=view.is_private,
            performance=_or_unset(view.performance),
            cron_expression=_or_unset(view.cron_expression),
            expires_at=_or_unset(view.expires_at),
        )
        parts = upsert_materialized_view_request(body=body)
        return _call("upsert", parts, parsing.created, view=view.name, bucket="low", is_billed=True)

    def delete(self, name: str) -> Call[None]:
        """`DELETE /v1/materialized-views/{name}`."""
        from dune_api.api.materialized_views import delete_materialized_view_request

        return _call("delete", delete_materialized_view_request(name), parsing.deleted, view=name, bucket="low")

    def pipeline(self, query_id: int) -> Call[tuple[Node, ...]]:
        """`GET /v1/query/{query_id}/pipeline`."""
        from dune_api.api.queries import get_query_pipeline_request

        return _call("pipeline", get_query_pipeline_request(query_id), describing.nodes)

    def usage(self) -> Call[Usage]:
        """`POST /v1/usage`, for the present billing period."""
        from dune_api.api.usage import get_usage_request
        from dune_api.models import UsageRequest

        return _call("usage", get_usage_request(body=UsageRequest()), describing.usage)

    def whoami(self) -> Call[Account]:
        """`GET /whoami`."""
        from dune_api.api.account import get_whoami_request

        return _call("whoami", get_whoami_request(), describing.whoami)


_AFTER_A_REFRESH = (
    "CancelExecutionResponse",
    "ExecutionError",
    "ExecutionStatusResponse",
    "MatviewResponse",
    "MatviewSchedule",
    "RefreshResponse",
    "ResultMetadata",
    "SyntaxErrorMetadata",
)
_AFTER_AN_UPSERT = (*_AFTER_A_REFRESH, "MatviewListElement", "MatviewListResponse", "UpsertResponse")


@cache
def _load(names: tuple[str, ...]) -> None:
    """Import all that can be needed once money has been spent: by then, an upgrade in place may have moved it away."""
    import html  # noqa: F401  # for pages of proxies in place of a response

    from dune_api import models
    from dune_api.api import executions, materialized_views

    requests = ("get_materialized_view_request", "list_materialized_views_request")
    for room, these in ((models, names), (executions, executions.__all__), (materialized_views, requests)):
        for name in these:
            getattr(room, name)


def _get(name: str, parse: Callable[[Response], T]) -> Call[T]:
    from dune_api.api.materialized_views import get_materialized_view_request

    parts = get_materialized_view_request(name)
    fresh = parts | {"headers": {"Cache-Control": "no-cache"}}  # an old history proves nothing
    return _call("get", fresh, parse, view=name)


def _call(
    operation: str,
    parts: dict[str, Any],
    parse: Callable[[Response], T],
    *,
    view: str | None = None,
    execution_id: str | None = None,
    **options: Any,
) -> Call[T]:
    about = {"operation": operation, "view": view, "execution_id": execution_id}
    return Call(Request(operation, parts, **options), partial(parsing.read, parse), about=about)


def _or_unset(text: str | None) -> str | Unset:
    return UNSET if text is None else text
