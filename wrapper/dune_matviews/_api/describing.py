"""Responses that describe views, pipelines and accounts, to values.

This module must not know when requests are made, nor the decisions that follow from their responses.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Any

from dune_api import models as api
from dune_api.types import Unset

from .._http.messages import Response
from ..errors import UnexpectedResponseError
from ..models import Account, Matview, Schedule, Usage
from .parsing import day, history, integer, is_id, moment, number, parsed, response_date, text, unexpected
from .values import Node, Page, Stored


def matview(response: Response, asked_for: str) -> Matview:
    """A view as it stands."""
    view = parsed(response, api.MatviewResponse)
    ids: object = view.last_execution_ids
    return Matview(
        name=text(view.sql_id) or asked_for,
        query_id=integer(view.query_id),
        is_private=_flag(view.is_private),
        size_bytes=integer(view.table_size_bytes),
        last_execution_ids=tuple(filter(is_id, ids)) if isinstance(ids, list) else (),
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
    view = parsed(response, api.MatviewResponse)
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
    found = parsed(response, api.MatviewListResponse)
    views: object = found.materialized_views
    # A list that does not fit its declaration comes through as it is; an account without views may leave it out.
    listed = [] if views is None or isinstance(views, Unset) else views
    if not isinstance(listed, list) or not all(isinstance(each, api.MatviewListElement) for each in listed):
        raise unexpected(response, "the list of views cannot be read")
    offset: object = found.next_offset
    following = 0 if offset is None or isinstance(offset, Unset) else integer(offset)
    if following is None:
        raise unexpected(response, "where the list of views goes on cannot be read")
    return Page(tuple(_listed(response, each) for each in listed), following or None)


def _listed(response: Response, view: api.MatviewListElement) -> Matview:
    name = text(view.sql_id)
    if name is None:
        raise unexpected(response, "the list has a view without a name")
    return Matview(
        name=name,
        query_id=integer(view.query_id),
        is_private=_flag(view.is_private),
        size_bytes=integer(view.table_size_bytes),
        raw=view.to_dict(),
    )


def nodes(response: Response) -> tuple[Node, ...]:
    """The steps of a pipeline, each of which has to be whole: without one, the others have another order."""
    pipeline = parsed(response, api.PipelineResponse).pipeline
    found: object = pipeline.nodes if isinstance(pipeline, api.Pipeline) else None
    if not isinstance(found, list):
        raise unexpected(response, "the nodes of the pipeline cannot be read")
    return tuple(_node(response, each) for each in found)


def _node(response: Response, node: api.PipelineNode) -> Node:
    declared: object = node.dependencies
    found = [] if declared is None or isinstance(declared, Unset) else declared
    identity, *dependencies = map(integer, [node.id, *found] if isinstance(found, list) else [None])
    if identity is None or None in dependencies:
        raise unexpected(response, "a node of the pipeline has no id, or dependencies that cannot be read")
    refresh, query = node.materialized_view_refresh, node.query_execution
    view = text(refresh.name) if isinstance(refresh, api.PipelineRefresh) else None
    if view is None and (isinstance(refresh, api.PipelineRefresh) or not isinstance(query, api.PipelineExecution)):
        raise unexpected(response, f"node {identity} of the pipeline is neither a view nor a query")
    return Node(identity, tuple(each for each in dependencies if each is not None), view)


def usage(response: Response) -> Usage:
    """The usage of the billing period that the response's own date lies in, else of the latest."""
    found = parsed(response, api.UsageResponse)
    periods: list[api.BillingPeriod] = [] if isinstance(found.billing_periods, Unset) else found.billing_periods
    if not periods:
        raise unexpected(response, "the response has no billing period")
    now = response_date(response)
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
    found = parsed(response, api.WhoAmIResponse)
    return Account(
        handle=text(found.handle),
        customer_id=text(found.customer_id),
        api_key_id=text(found.api_key_id),
        created_by=integer(found.created_by),
        raw=found.to_dict(),
    )


def _starts(period: api.BillingPeriod) -> date:
    return day(period.start_date) or date.min


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
