"""Watches the spec for an idempotency key, and names the function that would send it.
Must not know how a request is sent.

Dune's spec declares no idempotency key. If it ever does, a header can replace most of this project's protection against
paying twice, so `make check` fails until the header is sent."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.change import KEY
from tools.document import Document, ToolError, operations, resolve, schema_name, schemas, shape
from tools.generate import ROOT, load
from tools.telling import block
from tools.wrapper import WRAPPER, Facts, read_facts

BILLED = ("POST /v1/materialized-views/{name}/refresh", "POST /v1/materialized-views")


def main(root: Path = ROOT) -> int:
    """Check the repository at *root*, and return the exit code of the command."""
    try:
        problems = list(unsent_keys(load(root).document, read_facts(root), root))
    except (ToolError, OSError) as problem:
        problems = [str(problem)]
    for told in problems:
        print(f"error: {block(told)}", file=sys.stderr)
    if not problems:
        print("the spec declares no idempotency key that is not sent")
    return 1 if problems else 0


def unsent_keys(document: Document, facts: Facts, root: Path) -> Iterator[str]:
    """Return a sentence for each idempotency key that a billed operation of *document* declares and no code sends."""
    for operation in operations(document):
        for call in BILLED:
            if shape(call) != shape(str(operation)):
                continue
            sent = {*facts.operations[call].get("takes", {}), *facts.sends[facts.operations[call].get("sends", "")]}
            for name in declared(document, operation.content):
                if name not in sent:
                    yield (
                        f"AN IDEMPOTENCY KEY: {call} declares {name}, which this project is waiting for. If Dune's "
                        "page says that a request sent twice with one value is billed once, send it from "
                        f"{place(root, call)}: one value for each intent, and the same for each retry. Add it to "
                        "tools/contract.py. If it is something else, narrow KEY in tools/change.py."
                    )


def declared(document: Document, content: Document) -> list[str]:
    """Return the parameters and the properties of the body of an operation that look like an idempotency key."""
    names = [resolve(document, each)["name"] for each in content.get("parameters", ())]
    for media_type in resolve(document, content.get("requestBody", {})).get("content", {}).values():
        name = schema_name(media_type.get("schema"))
        schema = schemas(document)[name] if name else media_type.get("schema", {})
        names += schema.get("properties", {})
    return sorted({name for name in names if KEY.search(name)})


def place(root: Path, call: str) -> str:
    """Return the function that builds the request *call*: the one whose docstring begins with it."""
    found = [
        f"`{node.name}` in {path.relative_to(root)}"
        for path in sorted((root / WRAPPER).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and (ast.get_docstring(node) or "").startswith(f"`{call}`")
    ]
    if len(found) != 1:
        raise ToolError(f"{len(found)} functions in {WRAPPER} have a docstring that begins with `{call}`, not one")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
