"""Knows how an OpenAPI document is laid out, and how YAML text becomes one.
Must not know of Dune, nor of what is wrong with its spec."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import yaml

Document = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class ToolError(Exception):
    """A problem that is told in one readable message, never as a traceback."""


class Operation(NamedTuple):
    """One operation of a document; as a text it is named as in `POST /v1/things`."""

    method: str
    path: str
    content: Document

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


class _Loader(yaml.SafeLoader):
    """YAML as OpenAPI restricts it: there are no timestamps, so a date without quotes stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(name: str, text: str) -> Document:
    """Read the YAML *text* of the file *name*, which is used in messages alone."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, which ruff cannot see
    except yaml.YAMLError as problem:
        raise ToolError(f"{name} is not valid YAML: {problem}") from problem
    if not isinstance(content, dict):
        raise ToolError(f"{name} does not hold a YAML mapping")
    return copy(cast(Document, content))


def copy(document: Document) -> Document:
    """Copy *document* so that no two places of the copy share an object, as they still would after a `deepcopy`."""
    return cast(Document, json.loads(json.dumps(document)))


def operations(document: Document) -> Iterator[Operation]:
    """Go through the operations of *document*."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield Operation(method, path, item[method])


def schemas(document: Document) -> Document:
    """Return the named schemas of *document*."""
    return cast(Document, document.get("components", {}).get("schemas", {}))


def find(document: Document, subject: str) -> Document | None:
    """Return the operation (`POST /v1/things`) or the schema that *subject* names, or None."""
    for operation in operations(document):
        if str(operation) == subject:
            return operation.content
    return schemas(document).get(subject)


def resolve(document: Document, node: Document) -> Document:
    """Return *node*, or what it refers to in *document*."""
    while "$ref" in node:
        reference, node = node["$ref"], document
        for key in reference.removeprefix("#/").split("/"):
            if key not in node:
                raise ToolError(f"The spec refers to {reference}, which it does not have")
            node = node[key]
    return node
