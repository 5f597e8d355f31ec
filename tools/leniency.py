"""Relaxes schemas so that no response is rejected for a detail, and so that the generator accepts them.
Must not know any operation or schema by name.

The generated models raise if a response lacks a required property, has a value missing from an enum, or has an invalid
date. Dune adds values from time to time, and none of them may hide the end of a refresh."""

import re
from collections.abc import Iterator
from typing import Any

from tools.document import Document, nodes, operations, reachable, resolve, schemas, subschemas

KNOWN = "Known values:"
PARSED = ("date", "date-time", "uuid")


def mend_schemas(document: Document) -> list[str]:
    """Correct constructs that OpenAPI 3 does not allow: types of Swagger 2.0, arrays without items."""
    report: list[str] = []
    for place, schema in _declared_schemas(document):
        for part in subschemas(schema):
            if part.get("type") == "file":
                part |= {"type": "string", "format": "binary"}
                report.append(f"{place}: the type file is binary")
            if part.get("type") == "array" and "items" not in part:
                part["items"] = {}
                report.append(f"{place}: a list that does not say of what is of anything")
            if "enum" in part and not _nameable(part["enum"]):
                _open(part)
                report.append(f"{place}: an enum whose values have no names of their own in Python is open")
    return report


def read_responses_leniently(document: Document) -> list[str]:
    """Make every property of a response optional, and every enum open."""
    report: list[str] = []
    responses = [each.content.get("responses", {}) for each in operations(document)]
    named = [(name, schemas(document)[name]) for name in reachable(document, responses)]
    for place, schema in [*named, *_answers(document)]:
        dropped: list[str] = []
        for part in subschemas(schema):
            dropped += _loosen(part)
        if dropped:
            report.append(f"{place}: read in responses, it is open: no {', '.join(dict.fromkeys(dropped))}")
    return report


def _loosen(schema: Document) -> list[str]:
    """Drop the keywords that make the generated model raise, and return them."""
    dropped: list[str] = [key for key in ("required", "default", "enum") if key in schema]
    if schema.get("format") in PARSED:
        dropped.append(f"format {schema.pop('format')}")
    if "enum" in schema:
        _open(schema)
    for key in ("required", "default"):
        schema.pop(key, None)
    return dropped


def _open(schema: Document) -> None:
    """Move the values of an enum into the description."""
    told = ", ".join(f"`{value}`" for value in schema.pop("enum"))
    schema["description"] = f"{schema.get('description', '')} {KNOWN} {told}.".strip()


def known_values(schema: Document) -> list[str]:
    """Return the values that *schema* lists in its description, in place of its former enum."""
    _, known, told = schema.get("description", "").rpartition(KNOWN)
    return re.findall(r"`(.*?)`", told) if known else []


def _nameable(values: list[Any]) -> bool:
    """Whether *values* have distinct names in Python, which the generator makes by upper-casing."""
    names = ["".join(filter(str.isalnum, value.upper())) for value in values if isinstance(value, str)]
    texts = [value for value in values if isinstance(value, str)]
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    rest = len(values) - values.count(None)
    return (len(texts) == rest and len(set(names)) == len(names)) or len(whole) == rest


def _declared_schemas(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield all named schemas, and those declared in operations."""
    yield from schemas(document).items()
    for operation in operations(document):
        for node in nodes(operation.content):
            if isinstance(node.get("schema"), dict):
                yield str(operation), node["schema"]


def _answers(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the schemas declared in responses."""
    for operation in operations(document):
        for response in operation.content.get("responses", {}).values():
            for media_type in resolve(document, response).get("content", {}).values():
                yield str(operation), media_type.get("schema", {})
