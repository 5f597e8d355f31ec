"""Knows the operations of Dune's API that the sandbox offers, and the fields of their responses.
Must not know keys, sockets or threads, nor decide on states and costs, which belong to the world."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final

import attrs
from attrs.validators import and_, ge, lt

from ._budgets import Bucket
from ._catalog import View
from ._execution import moment
from ._http import Request, Response, json_response
from ._inputs import (
    bare_name_of,
    check_parameters,
    days_of,
    definition_of,
    json_object,
    page_of,
    query_id_of,
    query_values,
    tier_of,
)
from ._lineage import Step
from ._schedule import Schedule
from ._status import status_of
from ._usage import billing_periods
from ._world import World

# The number of a view's executions that one response lists; the world itself forgets none.
_LISTED_EXECUTIONS: Final = 100
# The tiers that a request for a pipeline may name; the first is the default.
_PIPELINE_TIERS: Final = ("medium", "large")
_BYTES_ALLOWED: Final = 100_000_000_000


@attrs.frozen(kw_only=True)
class Account:
    """The owner of the API key. *tiers* are those of a refresh, *refused* those of them that the plan lacks."""

    key: str = attrs.field(repr=False)
    team: str
    tiers: tuple[str, ...]
    refused: tuple[str, ...]
    credits_included: float = attrs.field(validator=and_(ge(0.0), lt(math.inf)))


@attrs.frozen
class Context:
    """The input of an operation."""

    world: World
    account: Account
    request: Request


@attrs.frozen
class Operation:
    """One operation: *run* takes the context and the decoded segments of the path that fill each `{}`.

    *name* is its public name in the sandbox; *bucket* is the request budget that it draws on.
    """

    name: str
    method: str
    path: str
    bucket: Bucket
    run: Callable[..., Response]


def list_views(context: Context) -> Response:
    limit, offset = page_of(context.request)
    world = context.world
    views, now = world.catalog.owned(), world.now()
    content: dict[str, object] = {
        "materialized_views": [_summary(each, now) for each in views[offset : offset + limit]],
        "next_offset": offset + limit if offset + limit < len(views) else 0,
    }
    return json_response(200, content)


def upsert_view(context: Context) -> Response:
    body = json_object(context.request)
    name = f"dune.{context.account.team}.{bare_name_of(body)}"
    execution = context.world.define(name, definition_of(body, partial(_tier_of, context.account)))
    return json_response(200, {"name": name, "execution_id": execution.id})


def get_view(context: Context, name: str) -> Response:
    view, now = context.world.catalog.find_owned(name), context.world.now()
    newest_first = reversed(view.executions[-_LISTED_EXECUTIONS:])
    content = {**_summary(view, now), "last_execution_ids": [each.id for each in newest_first]}
    if schedule := view.definition.schedule:
        content["schedule"] = _schedule(schedule, moment(now))
    return json_response(200, content)


def delete_view(context: Context, name: str) -> Response:
    context.world.catalog.delete(name)
    return json_response(200, {"message": f"The materialized view {name} is deleted"})


def refresh_view(context: Context, name: str) -> Response:
    execution = context.world.refresh(name, _tier_of(context.account, json_object(context.request)))
    return json_response(200, {"execution_id": execution.id, "sql_id": execution.name})


def get_execution_status(context: Context, execution_id: str) -> Response:
    world = context.world
    return json_response(200, status_of(world, world.execution(execution_id), world.now()))


def cancel_execution(context: Context, execution_id: str) -> Response:
    return json_response(200, {"success": context.world.cancel(execution_id)})


def get_pipeline(context: Context, query_id: str) -> Response:
    values = query_values(context.request, "performance", "query_parameters")
    tier = tier_of(values, _PIPELINE_TIERS) or _PIPELINE_TIERS[0]
    check_parameters(values)
    steps = context.world.pipeline(query_id_of(query_id))
    return json_response(200, {"pipeline": {"nodes": [_node(each, tier) for each in steps]}})


def get_usage(context: Context) -> Response:
    world, account = context.world, context.account
    start, end = days_of(json_object(context.request))
    now = world.now()
    began, today = moment(world.began).date(), moment(now).date()
    # The account is as old as the sandbox.
    first = max(start or (began if end else today), began)
    periods = billing_periods(world.ledger(), first, min(end or today, today))
    content = {
        "billing_periods": [
            {
                "start_date": each.start.isoformat(),
                "end_date": each.end.isoformat(),
                "credits_used": each.credits,
                "credits_included": account.credits_included,
            }
            for each in periods
        ],
        "bytes_used": sum(each.size_bytes(now) for each in world.catalog.owned()),
        "bytes_allowed": _BYTES_ALLOWED,
        "private_queries": 0,
        "private_dashboards": 0,
    }
    return json_response(200, content)


def get_whoami(context: Context) -> Response:
    handle = context.account.team
    return json_response(200, {"api_key_id": "sandbox", "created_by": 1, "customer_id": "team_1", "handle": handle})


OPERATIONS: Final = (
    Operation("list", "GET", "/api/v1/materialized-views", "high", list_views),
    Operation("upsert", "POST", "/api/v1/materialized-views", "low", upsert_view),
    Operation("get", "GET", "/api/v1/materialized-views/{}", "high", get_view),
    Operation("delete", "DELETE", "/api/v1/materialized-views/{}", "low", delete_view),
    Operation("refresh", "POST", "/api/v1/materialized-views/{}/refresh", "low", refresh_view),
    Operation("status", "GET", "/api/v1/execution/{}/status", "high", get_execution_status),
    Operation("cancel", "POST", "/api/v1/execution/{}/cancel", "high", cancel_execution),
    Operation("pipeline", "GET", "/api/v1/query/{}/pipeline", "high", get_pipeline),
    Operation("usage", "POST", "/api/v1/usage", "high", get_usage),
    Operation("whoami", "GET", "/api/whoami", "high", get_whoami),
)


def _tier_of(account: Account, values: Mapping[str, object]) -> str | None:
    return tier_of(values, account.tiers, account.refused)


def _summary(view: View, now: int) -> dict[str, object]:
    """The fields of a view in a list."""
    return {
        "sql_id": view.name,
        "query_id": view.query_id,
        "is_private": view.definition.is_private,
        "table_size_bytes": view.size_bytes(now),
    }


def _schedule(schedule: Schedule, now: datetime) -> dict[str, str]:
    optional = {
        "performance": schedule.performance,
        "next_execution_time": _instant(schedule.next_time(now)),
        "expires_at": _instant(schedule.expires_at),
    }
    applying = {field: text for field, text in optional.items() if text is not None}
    return {"cron_expression": schedule.cron_expression, **applying}


def _instant(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _node(step: Step, tier: str) -> dict[str, object]:
    node: dict[str, object] = {"id": step.id, "dependencies": step.dependencies}
    if isinstance(step.source, str):
        node["materialized_view_refresh"] = {"name": step.source, "performance": tier}
    else:
        node["query_execution"] = {"query_id": step.source, "performance": tier}
    return node
