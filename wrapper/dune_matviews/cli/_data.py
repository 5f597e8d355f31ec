"""Values of the SDK as plain data, for `--output json`.

This module must not know which command prints it.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from . import _text

if TYPE_CHECKING:
    from dune_matviews import ErrorDetail, ExecutionStatus


def plain(value: Any) -> Any:
    """*value* as JSON has it: models as objects without `raw`, times as ISO 8601 text, lengths of time as seconds."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    fields = getattr(type(value), "__attrs_attrs__", None)
    if fields is not None:
        return {each.name: plain(getattr(value, each.name)) for each in fields if each.name != "raw"}
    return value


def execution(status: ExecutionStatus) -> str:
    """An execution for people: a line for each thing that is known of it."""
    unknown = status.state.value == "unknown"
    took = _text.lasted(status.ended_at - status.started_at) if status.started_at and status.ended_at else None
    return _text.fields(
        [
            ("execution", _text.line(status.execution_id)),
            ("state", _text.line(repr(status.raw.get("state"))) if unknown else status.state.value),
            ("queue", None if status.queue_position is None else f"place {status.queue_position}"),
            ("query", None if status.query_id is None else str(status.query_id)),
            ("submitted", _moment(status.submitted_at)),
            ("started", _moment(status.started_at)),
            ("ended", _moment(status.ended_at)),
            ("took", took),
            ("cost", None if status.cost_credits is None else _text.credits(status.cost_credits)),
            ("rows", None if status.row_count is None else f"{status.row_count:,}"),
            ("size", None if status.size_bytes is None else _text.size(status.size_bytes)),
            ("error", error(status.error) if status.error else None),
        ]
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else _text.moment(moment)


def error(detail: ErrorDetail) -> str:
    """Why an execution failed, on one line."""
    place = "" if detail.line is None else f"(line {detail.line}, column {detail.column})"
    return _text.line(" ".join(filter(None, (detail.type, detail.message, place))))
