"""Reads the facts that the wrapper relies on from the contract and the source text, and finds them in a published spec.
Must not import the wrapper: after a change of the spec, the import may fail."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tools.document import Document, ToolError, operations, resolve, schema_name, schemas, shape

WRAPPER = Path("wrapper", "dune_matviews")
CONTRACT = Path("tools", "contract.py")
ENDPOINTS, READERS, STATES, TIERS = (
    WRAPPER / name for name in ("_api/operations.py", "_api", "_api/parsing.py", "_tiers.py")
)


@dataclass(frozen=True)
class Facts:
    """The facts that the wrapper relies on.

    Attributes:
        operations: the parameters, request and response of each operation.
        sends: the types of the properties sent, by class.
        reads: the types of the properties read, by class.
        states: Dune's names of states, by the wrapper's state.
        sentence: the spec's description of the tiers.
    """

    operations: Mapping[str, Document]
    sends: Mapping[str, Mapping[str, str]]
    reads: Mapping[str, Mapping[str, str]]
    states: Mapping[str, list[str]]
    sentence: str


@dataclass(frozen=True)
class Used:
    """The parts of a spec that the wrapper uses.

    Attributes:
        operations: the operations that it calls.
        parameters: the parameters that it passes, as operation and name.
        properties: the properties that it sends or reads, as schema and name.
        bodies: the schemas that it sends.
        sentences: the descriptions that it relies on, by schema and property.
    """

    operations: set[str] = field(default_factory=set[str])
    parameters: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    properties: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    bodies: set[str] = field(default_factory=set[str])
    sentences: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def __or__(self, other: "Used") -> "Used":
        return Used(
            self.operations | other.operations,
            self.parameters | other.parameters,
            self.properties | other.properties,
            self.bodies | other.bodies,
            self.sentences | other.sentences,
        )


def read_facts(root: Path) -> Facts:
    """Read the facts from the wrapper's code."""
    states: dict[str, list[str]] = {}
    table = cast(ast.Dict, _constant(root / STATES, "_STATES"))
    for key, value in zip(table.keys, table.values, strict=True):
        states.setdefault(ast.unparse(value), []).append(cast(str, cast(ast.Constant, key).value))
    operations, sends, reads = (_value(root / CONTRACT, name) for name in ("OPERATIONS", "SENDS", "READS"))
    return Facts(operations, sends, reads, states, _value(root / CONTRACT, "TIER_SENTENCE"))


def _value(module: Path, name: str) -> Any:
    return ast.literal_eval(_constant(module, name))


def _constant(module: Path, name: str) -> ast.expr:
    for statement in ast.parse(module.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
            return statement.value
    raise ToolError(f"{module} has no {name}, by which the spec is checked")


def used_of(document: Document, facts: Facts) -> Used:
    """Find the parts of *document*, a published spec, that the wrapper uses, by their names there."""
    used = Used()
    calls = {shape(name): expected for name, expected in facts.operations.items()}
    for operation in operations(document):
        if (expected := calls.get(shape(str(operation)))) is None:
            continue
        used.operations.add(str(operation))
        used.parameters.update((str(operation), name) for name in expected.get("takes", {}))
        for media_type in _media_types(document, operation.content.get("requestBody", {})):
            sent = expected.get("sends", "")
            _use(document, media_type.get("schema", {}), sent, facts.sends, used)
            if name := schema_name(media_type.get("schema")):
                used.bodies.add(name)
                used.sentences[name, "performance"] = facts.sentence if sent == "RefreshRequest" else ""
        for status, model in expected["responds"].items():
            for media_type in _media_types(document, operation.content.get("responses", {}).get(status, {})):
                _use(document, media_type.get("schema", {}), model, facts.reads, used)
    return used


def _media_types(document: Document, content: Document) -> Iterable[Document]:
    return list(resolve(document, content).get("content", {}).values())


def _use(
    document: Document, node: Document, kind: str, properties: Mapping[str, Mapping[str, str]], used: Used
) -> None:
    """Note the parts that the wrapper uses of the schema at *node*, which it treats as *kind*."""
    if kind.startswith("["):
        return _use(document, resolve(document, node).get("items", {}), kind[1:-1], properties, used)
    name = schema_name(node) or ""
    declared = schemas(document).get(name, {}).get("properties", {})
    for key, inner in properties.get(kind, {}).items():
        if key in declared and (name, key) not in used.properties:
            used.properties.add((name, key))
            _use(document, declared[key], inner, properties, used)
    return None
