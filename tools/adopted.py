"""Compares an operation that Dune now publishes with our earlier description of it.
Must not know any operation by name, nor where the documents came from.

Both are compared after correction, because the corrections are known differences, and without descriptions, because
ours were never Dune's."""

from collections.abc import Set
from typing import Any

from tools.change import Change
from tools.changes import compare
from tools.document import Document, copy, operations, reachable, schemas, shape
from tools.wrapper import Used

WORDS = ("description", "example", "examples", "summary", "title")


def adopted(before: Document, after: Document, calls: Set[str], published: Set[str], used: Used) -> list[Change]:
    """Return the differences of the operations *calls* between our description *before* and Dune's *after*.

    Skip schemas named in *published*, because Dune had published them before.
    """
    found = compare(_part(before, calls), _part(after, calls), used)
    return [each for each in found if each.subject not in published]


def _part(document: Document, calls: Set[str]) -> Document:
    """Return the operations *calls* with the schemas they need, without descriptions."""
    paths: dict[str, Document] = {}
    for each in operations(document):
        if shape(str(each)) in calls:
            paths.setdefault(each.path, {})[each.method] = each.content
    needed = {name: schemas(document)[name] for name in reachable(document, [paths])}
    return {"paths": _wordless(copy(paths)), "components": {"schemas": _wordless(copy(needed))}}


def _wordless(node: Any, named: bool = False) -> Any:
    """Return *node* without its descriptions. If *named*, its keys are names from the spec."""
    if isinstance(node, dict):
        return {
            key: _wordless(part, not named and key in ("properties", "schemas"))
            for key, part in node.items()
            if named or not (key in WORDS or key.startswith("x-"))
        }
    return [_wordless(part) for part in node] if isinstance(node, list) else node
