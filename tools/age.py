"""Recognizes a source that may be older than the spec it would replace.
Must not know the subject of either.

Dune's pages have no dates. The evidence is a text identical to an earlier one, or a text that only removes things, as
an older version would."""

import re
from collections.abc import Iterator, Mapping

from tools.document import Document, operations, reachable, resolve, schemas, shape, subschemas
from tools.parts import parameters

# A value named in a description: “Accepts `small`, `medium`.”
NAMED = re.compile(r"`([^`\n]+)`")


def taken_away(old: Document, new: Document) -> list[str]:
    """Return the statements of *old* that *new* lacks about their common operations, if *new* adds none."""
    before, after = _said(old, new), _said(new, old)
    return [] if after.keys() - before.keys() else [before[key] for key in sorted(before.keys() - after.keys())]


def _said(document: Document, other: Document) -> Mapping[tuple[str, ...], str]:
    """Return the statements of *document* about operations that *other* also has: comparison key to description."""
    shared = {shape(str(each)) for each in operations(other)}
    found: dict[tuple[str, ...], str] = {}
    for operation in operations(document):
        if (call := shape(str(operation))) in shared:
            found |= {(call, *key): f"{operation}: {told}" for key, told in _of_operation(document, operation.content)}
            for name in reachable(document, [operation.content]):
                if name in schemas(other):
                    found |= {(name, *key): f"{name}: {told}" for key, told in _of_schema(schemas(document)[name])}
    return found


def _of_operation(document: Document, content: Document) -> Iterator[tuple[tuple[str, ...], str]]:
    for place, name in parameters(document, content):
        yield (place, name), f"the parameter {name}"
    for status, response in content.get("responses", {}).items():
        for media_type in resolve(document, response).get("content", {}):
            yield (status, media_type), f"response {status} as {media_type}"


def _of_schema(schema: Document) -> Iterator[tuple[tuple[str, ...], str]]:
    for part in subschemas(schema):
        for name, each in part.get("properties", {}).items():
            yield ("property", name), f"the property {name}"
            for value in (*each.get("enum", ()), *NAMED.findall(each.get("description", ""))):
                yield ("value", name, str(value)), f"the value {value} of {name}"
