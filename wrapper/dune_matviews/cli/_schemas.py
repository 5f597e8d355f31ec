"""JSON schemas of the documents that commands print with `--output json`, derived from the types of the SDK.

This module must not know the work of a command. It is imported only if a schema is asked for.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from dune_matviews import Account, ExecutionStatus, Freshness, Matview, Outcome, StopReason, Usage

Schema = dict[str, Any]

_PLAIN: Mapping[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    timedelta: {"type": "number", "description": "seconds"},
}


def of_type(kind: Any) -> Schema:
    """The schema of a value of that type, as `_data.plain` writes it."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if get_origin(kind) in (Union, types.UnionType):
        return {"anyOf": [of_type(each) for each in get_args(kind)]}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": of_type(get_args(kind)[0])}
    if issubclass(kind, Enum):
        return {"enum": [each.value for each in kind]}
    hints = get_type_hints(kind)
    return _object({each.name: of_type(hints[each.name]) for each in kind.__attrs_attrs__ if each.name != "raw"})


def _object(properties: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has all of *properties*, may have *optional*, and may have more in a later version."""
    return {"type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties)}


def _by_name(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema, "description": "by the name of the view"}


_TEXT, _TRUTH, _NUMBER = (of_type(kind) for kind in (str, bool, float))
_TEXT_OR_NULL, _NUMBER_OR_NULL = of_type(str | None), of_type(float | None)
_MOMENT, _STATUS_OR_NULL = of_type(datetime), of_type(ExecutionStatus | None)
_REMEDY = {"anyOf": [_object({"type": _TEXT}), {"type": "null"}], "description": "the next step, as data"}
_ERROR = _object({"type": _TEXT, "message": _TEXT}, {"remedy": _REMEDY})
_OF_ERROR = {"view": _TEXT_OR_NULL, "execution_id": _TEXT_OR_NULL, "execution": of_type(ExecutionStatus)}
_RESULT = _object(
    {
        "outcome": of_type(Outcome),
        "reason": _TEXT_OR_NULL,
        "remedy": _REMEDY,
        "execution_id": _TEXT_OR_NULL,
        "status": {"anyOf": [_object({"state": _TEXT}), {"type": "null"}]},
        "started_at": of_type(datetime | None),
        "ended_at": of_type(datetime | None),
        "cost_credits": _NUMBER_OR_NULL,
    }
)
_REPORT = {
    "stopped_by": of_type(StopReason | None),
    "cost_credits": _NUMBER,
    "started_at": _MOMENT,
    "ended_at": _MOMENT,
    "seconds": _NUMBER,
    "views": _by_name(_RESULT),
}
_CHECKED = _object(
    {
        "ok": _TRUTH,
        "problem": _TEXT_OR_NULL,
        "freshness": of_type(Freshness | None),
        "last_execution": _STATUS_OR_NULL,
    }
)
_ENTRY = _object({"state": _TEXT, "execution_id": _TEXT_OR_NULL, "result": {"anyOf": [_RESULT, {"type": "null"}]}})
_STARTED = _object({"execution_id": _TEXT_OR_NULL}, {"error": _ERROR})
_LAYERS = {"type": "array", "items": {"type": "array", "items": _TEXT}}
_FOLLOWED = [{"execution": of_type(ExecutionStatus)}]
_MADE = [*_FOLLOWED, {"view": _TEXT, "execution_id": _TEXT}]

_RANGE_OR_NULL = {"anyOf": [_object({"expected": _NUMBER, "low": _NUMBER, "high": _NUMBER}), {"type": "null"}]}
_FORESEEN = _object(
    {
        "refreshes": of_type(bool | None),
        "reason": _TEXT_OR_NULL,
        "seconds": _RANGE_OR_NULL,
        "cost_credits": _RANGE_OR_NULL,
        "starts_after": _NUMBER,
        "ends_after": _NUMBER,
        "known_executions": of_type(int),
    }
)
_FORECAST = _object(
    {
        "seconds": _RANGE_OR_NULL,
        "cost_credits": _RANGE_OR_NULL,
        "critical_path": {"type": "array", "items": _TEXT},
        "max_parallel": of_type(int),
        "views": _by_name(_FORESEEN),
    }
)

_DOCUMENTS: Mapping[str, Sequence[Mapping[str, Schema]]] = {
    "refresh": [_REPORT, {"views": _by_name(_STARTED)}],
    "run": [_REPORT, {"layers": _LAYERS, "forecast": _FORECAST}],
    "status": _FOLLOWED,
    "wait": _FOLLOWED,
    "create": _MADE,
    "update": _MADE,
    "cancel": [{"execution_id": _TEXT, "canceled": _TRUTH}],
    "get": [{"view": of_type(Matview), "freshness": of_type(Freshness), "last_execution": _STATUS_OR_NULL}],
    "history": [{"executions": {"type": "array", "items": of_type(ExecutionStatus)}}],
    "list": [{"views": {"type": "array", "items": of_type(Matview)}}],
    "lineage": [{"lineage": _by_name({"type": "array", "items": _TEXT})}],
    "check": [{"views": _by_name(_CHECKED)}],
    "usage": [{"usage": of_type(Usage)}],
    "whoami": [{"account": of_type(Account)}],
    "delete": [{"deleted": _TEXT_OR_NULL}],
    "journal show": [{"run": _TEXT_OR_NULL, "is_finished": _TRUTH, "views": _by_name(_ENTRY)}],
    "journal resolve": [{"view": _TEXT, "execution_id": _TEXT_OR_NULL}],
    "completion": [{"completion": _TEXT}],
    "help": [{"help": _TEXT}],
}
"""The documents of each command, including those with `--no-wait` and `--dry-run`."""


def of_command(name: str) -> Schema:
    """The schema of a command's document: one of those that it may print, or that of an error."""
    always = {"ok": _TRUTH, "exit_code": of_type(int)}
    error = _object({**always, "error": _ERROR}, _OF_ERROR)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"dune-matviews {name} --output json",
        "anyOf": [*(_object({**always, **document}) for document in _DOCUMENTS.get(name, [])), error],
    }
