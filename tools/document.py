"""Knows how an OpenAPI document is laid out, and how YAML text becomes one.
Must not know of Dune, nor of what is wrong with its spec."""

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
    """A problem that is told in one readable message, never as a traceback."""


class Operation(NamedTuple):
    """One operation of a document; as a text it is named as in `POST /v1/things`."""

    method: str
    path: str
    content: Document

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class Corrected:
    """A document, and what was done on the way to it.

    Attributes:
        document: what came of it.
        report: what was done, one line for each thing.
        misfits: the corrections that could not be made.
    """

    document: Document
    report: list[str]
    misfits: list[str] = field(default_factory=list[str])


class _Loader(yaml.SafeLoader):
    """YAML as OpenAPI restricts it: there are no timestamps, so a date without quotes stays the text that it is.

    Nor are there aliases: a few lines of them, each meaning several of the line before, would fill any memory.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse an alias where it stands."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # is not annotated
            raise yaml.MarkedYAMLError(None, None, f"the alias *{event.anchor} is not taken", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what is there twice, of which PyYAML would keep the second and lose the first without a word."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(name: str, text: str) -> Document:
    """Read the YAML or JSON *text* of the file *name*, which is used in messages alone."""
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
        return json.loads(text, object_pairs_hook=_once)  # JSON is YAML, which takes a minute for a large one
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, which ruff cannot see


def _once(pairs: list[tuple[str, Any]]) -> Document:
    """Make an object of *pairs*, of which Python would keep the second of two that share a name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{', '.join(sorted({name for name in names if names.count(name) > 1}))} is there twice")
    return found


def render(document: Document) -> str:
    """Write *document* as YAML, in its own order, one way for all."""
    # What is in two places is copied, or it would be written as an alias, which is not read.
    return yaml.safe_dump(copy(document), sort_keys=False, allow_unicode=True, width=120)


def copy(document: Document) -> Document:
    """Copy *document* so that no two places of the copy share an object, as they still would after a `deepcopy`."""
    return cast(Document, json.loads(json.dumps(document)))


def operations(document: Document) -> Iterator[Operation]:
    """Go through the operations of *document*."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield Operation(method, path, item[method])


def shape(call: str) -> str:
    """Return *call*, an operation's name or path, without the names in it: they are not part of what is sent."""
    return re.sub(r"\{.*?\}", "{}", call)


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
    """Return the name of the schema that *node* refers to, directly or as the only part of a combination."""
    if not isinstance(node, dict):
        return None
    for how in COMBINATIONS:
        if len(node.get(how, [])) == 1 and "properties" not in node:
            return schema_name(node[how][0])
    reference = cast(str, node.get("$ref", ""))
    return reference.removeprefix(SCHEMAS) if reference.startswith(SCHEMAS) else None


def nodes(node: Any) -> Iterator[Document]:
    """Go through every object in *node*, itself included, the outer ones first."""
    if isinstance(node, dict):
        yield cast(Document, node)
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(part)


def subschemas(schema: Any) -> Iterator[Document]:
    """Go through *schema* and the schemas declared within it; those that it only refers to are not entered."""
    if not isinstance(schema, dict):
        return
    yield cast(Document, schema)
    parts: list[Any] = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in (*parts, *(each for how in COMBINATIONS for each in schema.get(how, []))):
        yield from subschemas(part)


def reachable(document: Document, start: Iterable[Any]) -> list[str]:
    """Return the names of the schemas to which *start*, or what it refers to, refers."""
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
    """Give each operation the parameters that its path declares for all of them; return the paths where some were."""
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
