"""Reads YAML into OpenAPI documents, and walks through them.
Must not know Dune, nor the faults of its spec."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, cast

import yaml

Document = dict[str, Any]

SCHEMAS = "#/components/schemas/"
COMBINATIONS = ("allOf", "anyOf", "oneOf")
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class ToolError(Exception):
    """A problem to report as one readable message, without a traceback."""


class Operation(NamedTuple):
    """One operation of a document. Its `str` is its name, such as `POST /v1/things`."""

    method: str
    path: str
    content: Document

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class Corrected:
    """A document after correction.

    Attributes:
        document: the corrected document.
        report: the corrections made, one per line.
        misfits: the corrections that could not be made.
    """

    document: Document
    report: list[str]
    misfits: list[str] = field(default_factory=list[str])


class _Loader(yaml.SafeLoader):
    """YAML as restricted by OpenAPI, without timestamps: an unquoted date stays text.

    It has no aliases either: a few lines of nested aliases could fill any memory.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Reject an alias, with its position."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # is not annotated
            raise yaml.MarkedYAMLError(None, None, f"the alias *{event.anchor} is not taken", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Reject duplicate keys. PyYAML would silently keep only the second."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(name: str, text: str) -> Document:
    """Read the YAML or JSON *text* of the file *name*; the name only appears in messages."""
    try:
        content = _content(text)
        if isinstance(content, dict):
            return copy(cast(Document, content))
    except yaml.YAMLError as problem:
        raise ToolError(f"{name} is not valid YAML: {problem}") from problem
    except ValueError as problem:
        raise ToolError(f"{name} is not valid JSON: {problem}") from problem
    except RecursionError as problem:
        raise ToolError(f"{name} is nested too deeply for a spec") from problem
    raise ToolError(f"{name} does not hold a YAML mapping")


@lru_cache(maxsize=32)  # the same few files are read again and again
def _content(text: str) -> object:
    if text.lstrip().startswith("{"):
        return json.loads(text, object_pairs_hook=_once)  # the YAML parser takes a minute for a large file
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, which ruff cannot see


def _once(pairs: list[tuple[str, Any]]) -> Document:
    """Build an object from *pairs*, and reject duplicate names. Python would keep only the second."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{', '.join(sorted({name for name in names if names.count(name) > 1}))} is there twice")
    return found


def render(document: Document) -> str:
    """Write *document* as YAML, in its own order and a uniform format."""
    # Shared objects are copied; otherwise they would become aliases, which the reader rejects.
    return yaml.safe_dump(copy(document), sort_keys=False, allow_unicode=True, width=120)


def copy(document: Document) -> Document:
    """Copy *document* so that no two places share an object, which `deepcopy` would preserve."""
    return cast(Document, json.loads(json.dumps(document)))


def operations(document: Document) -> Iterator[Operation]:
    """Yield the operations of *document*."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield Operation(method, path, item[method])


def shape(call: str) -> str:
    """Return *call*, an operation's name or path, without the parameter names, which are never sent."""
    return re.sub(r"\{.*?\}", "{}", call)


def schemas(document: Document) -> Document:
    """Return the named schemas of *document*."""
    return cast(Document, document.get("components", {}).get("schemas", {}))


def find(document: Document, subject: str) -> Document | None:
    """Return the operation (`POST /v1/things`) or schema named *subject*, or None."""
    for operation in operations(document):
        if str(operation) == subject:
            return operation.content
    return schemas(document).get(subject)


def resolve(document: Document, node: Document) -> Document:
    """Return *node*, or the target of its reference in *document*."""
    seen: list[str] = []
    while "$ref" in node:
        if node["$ref"] in seen:
            raise ToolError(f"The spec refers in a circle: {' -> '.join([*seen, node['$ref']])}")
        seen.append(node["$ref"])
        node = _target(document, node["$ref"])
    return node


def _target(document: Document, reference: str) -> Document:
    node = document
    for key in reference.removeprefix("#/").split("/"):
        if key not in node:
            raise ToolError(f"The spec refers to {reference}, which it does not have")
        node = node[key]
    return node


def schema_name(node: Any) -> str | None:
    """Return the name of the schema *node* refers to, directly or as the only part of a combination."""
    if not isinstance(node, dict):
        return None
    for how in COMBINATIONS:
        if len(node.get(how, [])) == 1 and "properties" not in node:
            return schema_name(node[how][0])
    reference = cast(str, node.get("$ref", ""))
    return reference.removeprefix(SCHEMAS) if reference.startswith(SCHEMAS) else None


def nodes(node: Any) -> Iterator[Document]:
    """Yield every object in *node*, including itself, outer ones first."""
    if isinstance(node, dict):
        yield cast(Document, node)
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(part)


def subschemas(schema: Any) -> Iterator[Document]:
    """Yield *schema* and the schemas declared within it, without following references."""
    if not isinstance(schema, dict):
        return
    yield cast(Document, schema)
    parts: list[Any] = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in (*parts, *(each for how in COMBINATIONS for each in schema.get(how, []))):
        yield from subschemas(part)


def reachable(document: Document, start: Iterable[Any]) -> list[str]:
    """Return the names of all schemas reachable by references from *start*."""
    found: dict[str, None] = {}
    waiting = list(start)
    while waiting:
        for node in nodes(waiting.pop()):
            reference = node.get("$ref")
            if not isinstance(reference, str) or reference in found:
                continue
            found[reference] = None
            waiting.append(_target(document, reference))
    return [reference.removeprefix(SCHEMAS) for reference in found if reference.startswith(SCHEMAS)]


def spread_path_parameters(document: Document) -> list[str]:
    """Copy the parameters of each path into its operations, and return the paths that had some."""
    spread: list[str] = []
    for path, item in document.get("paths", {}).items():
        shared = item.pop("parameters", [])
        if shared:
            spread.append(path)
        for operation in (item[method] for method in METHODS if method in item):
            own = operation.get("parameters", [])
            taken = {_identity(document, parameter) for parameter in own}
            if rest := [each for each in copy({"": shared})[""] if _identity(document, each) not in taken]:
                operation["parameters"] = rest + own
    return spread


def _identity(document: Document, parameter: Document) -> tuple[str, str]:
    declared = resolve(document, parameter)
    return declared["in"], declared["name"]
