"""Knows the operations of Dune's API that the sandbox offers, with the fields of their requests and answers.
Must not know of keys, sockets or threads, nor decide on states and money, which belong to the world."""

import json
import reprlib
from collections.abc import Callable
from typing import Final, NoReturn

import attrs

from ._budgets import Bucket
from ._http import Answer, Request, json_answer
from ._scenarios import CANCELED, EXPIRED, PENDING, SUCCEEDED, Failure
from ._world import Execution, World, moment

# How many of a view's executions one answer lists; the world itself forgets none.
_LISTED_EXECUTIONS: Final = 100
_RESULT_LIFETIME: Final = 90 * 86_400 * 1_000_000_000  # nanoseconds


class BadRequestError(ValueError):
    """The request is refused with 400 and this sentence."""


@attrs.frozen
class Context:
    """What an operation works on. *tiers* are those that a refresh may ask for."""

    world: World
    request: Request
    tiers: tuple[str, ...]


@attrs.frozen
class Operation:
    """One row of the table: *run* receives, after the context, what stands in the path for each `{}`, decoded.

    *name* is the word that users have for it; *bucket* is the request budget that it draws on.
    """

    name: str
    method: str
    path: str
    bucket: Bucket
    run: Callable[..., Answer]


def get_view(context: Context, name: str) -> Answer:
    world, view = context.world, context.world.view(name)
    newest_first = reversed(view.executions[-_LISTED_EXECUTIONS:])
    content = {
        "sql_id": view.name,
        "query_id": view.query_id,
        "is_private": False,
        "table_size_bytes": view.size_bytes(world.now()),
        "last_execution_ids": [each.id for each in newest_first],
    }
    return json_answer(200, content)


def refresh_view(context: Context, name: str) -> Answer:
    execution = context.world.refresh(name, _performance(context))
    return json_answer(200, {"execution_id": execution.id, "sql_id": execution.name})


def get_execution_status(context: Context, execution_id: str) -> Answer:
    world = context.world
    return json_answer(200, _status(world, world.execution(execution_id), world.now()))


def cancel_execution(context: Context, execution_id: str) -> Answer:
    return json_answer(200, {"success": context.world.cancel(execution_id)})


OPERATIONS: Final = (
    Operation("get", "GET", "/api/v1/materialized-views/{}", "high", get_view),
    Operation("refresh", "POST", "/api/v1/materialized-views/{}/refresh", "low", refresh_view),
    Operation("status", "GET", "/api/v1/execution/{}/status", "high", get_execution_status),
    Operation("cancel", "POST", "/api/v1/execution/{}/cancel", "high", cancel_execution),
)


def _performance(context: Context) -> str | None:
    """The tier that the body asks for; None where it asks for none."""
    if not context.request.body:
        return None
    body = _json_object(context.request)
    if "performance" not in body:
        return None
    asked = body["performance"]
    if not isinstance(asked, str) or asked not in context.tiers:
        raise BadRequestError(f"performance must be one of {', '.join(context.tiers)}, not {reprlib.repr(asked)}")
    return asked


def _json_object(request: Request) -> dict[str, object]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequestError(f"Content-Type must be application/json, not {media_type or 'absent'}")
    try:
        body: object = json.loads(request.body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    return body


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _status(world: World, execution: Execution, now: int) -> dict[str, object]:
    """The fields that every status has; those that apply only later join them from their moment on."""
    state = execution.state(now)
    status: dict[str, object] = {
        "execution_id": execution.id,
        "query_id": execution.query_id,
        "is_execution_finished": now >= execution.ends,
        "state": state,
        "submitted_at": _timestamp(execution.submitted),
        "execution_cost_credits": execution.credits(now),
    }
    if now >= execution.starts:
        status["execution_started_at"] = _timestamp(int(execution.starts))
    if state == PENDING:
        status["queue_position"] = world.queue(now).index(execution) + 1
    if now >= execution.ends:
        status |= _ending(execution, state, int(execution.ends))
    elif world.max_parallel is not None and len(running := world.running(now)) >= world.max_parallel:
        status["max_inflight_interactive_executions"] = world.max_parallel
        status["max_inflight_interactive_reached"] = len(running)
    return status


def _ending(execution: Execution, state: str, ended: int) -> dict[str, object]:
    ending: dict[str, object] = {"execution_ended_at": _timestamp(ended)}
    if state in CANCELED:
        ending["cancelled_at"] = _timestamp(ended)
    if state == EXPIRED:
        ending["expires_at"] = _timestamp(ended)
    if state in SUCCEEDED:
        ending["expires_at"] = _timestamp(ended + _RESULT_LIFETIME)
        ending["result_metadata"] = _result_metadata(execution, ended)
    if error := execution.scenario.reported_error:
        ending["error"] = _error(error)
    return ending


def _result_metadata(execution: Execution, ended: int) -> dict[str, object]:
    scenario, started = execution.scenario, int(execution.starts)
    return {
        "row_count": scenario.rows,
        "total_row_count": scenario.rows,
        "result_set_bytes": scenario.bytes,
        "total_result_set_bytes": scenario.bytes,
        "pending_time_millis": (started - execution.submitted) // 1_000_000,
        "execution_time_millis": (ended - started) // 1_000_000,
    }


def _error(failure: Failure) -> dict[str, object]:
    error: dict[str, object] = {"type": failure.type, "message": failure.message}
    place = {"line": failure.line, "column": failure.column}
    metadata = {name: number for name, number in place.items() if number is not None}
    return error | ({"metadata": metadata} if metadata else {})


def _timestamp(nanoseconds: int) -> str:
    return f"{moment(nanoseconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"
