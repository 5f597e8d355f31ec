"""Knows what the wrapper rests on, from the text of its modules, and what that is in a spec as published.
Must not import the wrapper: where the spec has changed, the wrapper may not be importable.

The facts stand as plain data next to the code that needs them."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tools.document import Document, ToolError, operations, resolve, schema_name, schemas, shape

WRAPPER = Path("wrapper", "dune_matviews")
ENDPOINTS, READERS, TIERS = (WRAPPER / name for name in ("_endpoints.py", "_readers.py", "_tiers.py"))


@dataclass(frozen=True)
class Facts:
    """What the wrapper rests on.

    Attributes:
        operations: for each operation what it takes, sends and answers.
        sends: the types of the properties sent, by class.
        reads: the types of the properties read, by class.
        states: the names of states, by what each is to the wrapper.
        sentence: what the spec says of the tiers.
    """

    operations: Mapping[str, Document]
    sends: Mapping[str, Mapping[str, str]]
    reads: Mapping[str, Mapping[str, str]]
    states: Mapping[str, list[str]]
    sentence: str


@dataclass(frozen=True)
class Used:
    """What the wrapper uses of a spec.

    Attributes:
        operations: the operations that it calls.
        parameters: what it passes, as operation and name.
        properties: what it sends or reads, as schema and name.
        bodies: the schemas that it sends.
        sentences: what it rests on of what is said of a property, by schema and name.
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
    table = cast(ast.Dict, _constant(root / READERS, "_STATES"))
    for key, value in zip(table.keys, table.values, strict=True):
        states.setdefault(ast.unparse(value), []).append(cast(str, cast(ast.Constant, key).value))
    operations, sends = (_value(root / ENDPOINTS, name) for name in ("SPEC_OPERATIONS", "SPEC_SENDS"))
    return Facts(operations, sends, _value(root / READERS, "SPEC_READS"), states, _value(root / TIERS, "SPEC_SENTENCE"))


def _value(module: Path, name: str) -> Any:
    return ast.literal_eval(_constant(module, name))


def _constant(module: Path, name: str) -> ast.expr:
    for statement in ast.parse(module.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
            return statement.value
    raise ToolError(f"{module} has no {name}, by which the spec is checked")


def used_of(document: Document, facts: Facts) -> Used:
    """Find what the wrapper uses of *document*, a spec as published, by the names that it has there."""
    used = Used()
    calls = {shape(name): expected for name, expected in facts.operations.items()}
    for operation in operations(document):
        if (expected := calls.get(shape(str(operation)))) is None:
            continue
        used.operations.add(str(operation))
        used.parameters.update((str(operation), name) for name in expected.get("takes", {}))
        body = resolve(document, operation.content.get("requestBody", {}))
        answer = resolve(document, operation.content.get("responses", {}).get("200", {}))
        for kind, content, properties in (("sends", body, facts.sends), ("answers", answer, facts.reads)):
            for media_type in content.get("content", {}).values():
                if kind in expected:
                    _use(document, media_type.get("schema", {}), expected[kind], properties, used)
                if kind == "sends" and (name := schema_name(media_type.get("schema"))):
                    used.bodies.add(name)
                    used.sentences[name, "performance"] = facts.sentence if expected[kind] == "RefreshRequest" else ""
    return used


def _use(
    document: Document, node: Document, kind: str, properties: Mapping[str, Mapping[str, str]], used: Used
) -> None:
    """Note what the wrapper uses of the schema at *node*, which is of *kind* to it."""
    if kind.startswith("["):
        return _use(document, resolve(document, node).get("items", {}), kind[1:-1], properties, used)
    name = schema_name(node) or ""
    declared = schemas(document).get(name, {}).get("properties", {})
    for key, inner in properties.get(kind, {}).items():
        if key in declared and (name, key) not in used.properties:
            used.properties.add((name, key))
            _use(document, declared[key], inner, properties, used)
    return None
