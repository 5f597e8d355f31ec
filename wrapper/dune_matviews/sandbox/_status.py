"""Knows the fields of an execution's status, and from when on each is there.
Must not know requests, nor decide on states and costs."""

from typing import Final

from ._execution import Execution, moment
from ._scenarios import CANCELED, EXPIRED, PENDING, SUCCEEDED, Failure
from ._world import World

_RESULT_LIFETIME: Final = 90 * 86_400 * 1_000_000_000  # nanoseconds


def status_of(world: World, execution: Execution, now: int) -> dict[str, object]:
    """The fields of the status at *now*; some appear only once they apply."""
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
