"""Knows how schemas are declared so that no answer is lost to a detail of it, and so that the generator takes them.
Must not know any operation or schema by name.

The generated models raise where an answer lacks a required property, has a value that an enum does not list, or a text
that is no date. Dune adds values from time to time; how a refresh ended must not be lost to one."""

import re
from collections.abc import Iterator
from typing import Any

from tools.document import Document, nodes, operations, reachable, resolve, schemas, subschemas

KNOWN = "Known values:"
PARSED = ("date", "date-time", "uuid")


def mend_schemas(document: Document) -> list[str]:
    """Put right what no schema of OpenAPI 3 says: types of Swagger 2.0, lists that do not say of what."""
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


def read_answers_leniently(document: Document) -> list[str]:
    """Let every answer lack what is required of it, and have other values than it is said to have."""
    report: list[str] = []
    answers = [each.content.get("responses", {}) for each in operations(document)]
    named = [(name, schemas(document)[name]) for name in reachable(document, answers)]
    for place, schema in [*named, *_answers(document)]:
        dropped: list[str] = []
        for part in subschemas(schema):
            dropped += _loosen(part)
        if dropped:
            report.append(f"{place}: as it is in answers, it is open: no {', '.join(dict.fromkeys(dropped))}")
    return report


def _loosen(schema: Document) -> list[str]:
    """Drop what makes the generated model raise, and return its names."""
    dropped: list[str] = [key for key in ("required", "default", "enum") if key in schema]
    if schema.get("format") in PARSED:
        dropped.append(f"format {schema.pop('format')}")
    if "enum" in schema:
        _open(schema)
    for key in ("required", "default"):
        schema.pop(key, None)
    return dropped


def _open(schema: Document) -> None:
    """Say the values of an enum in words alone."""
    told = ", ".join(f"`{value}`" for value in schema.pop("enum"))
    schema["description"] = f"{schema.get('description', '')} {KNOWN} {told}.".strip()


def known_values(schema: Document) -> list[str]:
    """Return the values that *schema* lists in words, in place of the enum that it had."""
    _, known, told = schema.get("description", "").rpartition(KNOWN)
    return re.findall(r"`(.*?)`", told) if known else []


def _nameable(values: list[Any]) -> bool:
    """Whether each of *values* can have a name of its own in Python, which the generator makes by upper case."""
    names = ["".join(filter(str.isalnum, value.upper())) for value in values if isinstance(value, str)]
    texts = [value for value in values if isinstance(value, str)]
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    rest = len(values) - values.count(None)
    return (len(texts) == rest and len(set(names)) == len(names)) or len(whole) == rest


def _declared_schemas(document: Document) -> Iterator[tuple[str, Document]]:
    """Go through all schemas that have a name, and those declared in operations."""
    yield from schemas(document).items()
    for operation in operations(document):
        for node in nodes(operation.content):
            if isinstance(node.get("schema"), dict):
                yield str(operation), node["schema"]


def _answers(document: Document) -> Iterator[tuple[str, Document]]:
    """Go through the schemas declared in answers."""
    for operation in operations(document):
        for answer in operation.content.get("responses", {}).values():
            for media_type in resolve(document, answer).get("content", {}).values():
                yield str(operation), media_type.get("schema", {})
