"""Checks that the corrected spec still states every fact that the wrapper relies on.
Must not know where the wrapper declares those facts."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from tools.classes import classes_by_schema
from tools.document import COMBINATIONS, Document, ToolError, find, operations, resolve, schema_name, schemas
from tools.generate import ROOT, given_classes, load
from tools.leniency import known_values
from tools.sources import require_as_recorded
from tools.wrapper import CONTRACT, ENDPOINTS, READERS, STATES, TIERS, Facts, read_facts

OTHERWISE = "If Dune only declares it wrongly, correct that in overlay.yaml."


def main(root: Path = ROOT) -> int:
    """Check the repository at *root*, and return the exit code of the command."""
    problems: list[str] = []
    try:
        problems += check(load(root).document, read_facts(root), given_classes(root))
        require_as_recorded(root)
    except (ToolError, OSError) as problem:
        problems.append(str(problem))
    for told in problems:
        print(f"error: {told}", file=sys.stderr)
    if not problems:
        print("the spec states every fact that the wrapper relies on")
    return 1 if problems else 0


def check(document: Document, facts: Facts, given: Mapping[str, str]) -> list[str]:
    """Return a sentence for each fact that *document* no longer states. *given* maps the generator's class names to
    ours."""
    classes = classes_by_schema(document, given)
    problems = [told for name in facts.operations for told in _operation(document, name, facts, classes)]
    by_class = {made: schema for schema, made in classes.items()}
    for where, verb, properties in ((READERS, "reads", facts.reads), (ENDPOINTS, "sends", facts.sends)):
        table = f"`{verb.upper()}` in {CONTRACT}"
        for name, expected in properties.items():
            if name not in by_class:
                problems.append(
                    f"no schema of the spec is the class {name}, which {where} {verb}. Has Dune renamed it? Then let "
                    "`class_overrides` in generator-config.yaml give that name to the schema as it is called now."
                )
                continue
            user = f"{where} {verb} as {name}"
            problems += _properties(
                document, by_class[name], expected, classes, user, f"{table} follow, and the sandbox"
            )
    if "ExecutionStatusResponse" in by_class:
        problems += _states(document, by_class["ExecutionStatusResponse"], facts.states)
    if "RefreshRequest" in by_class:
        problems += _tiers(document, by_class["RefreshRequest"], facts.sentence)
    return problems


def _operation(document: Document, name: str, facts: Facts, classes: Mapping[str, str]) -> Iterator[str]:
    content = find(document, name)
    if content is None:
        path = name.split()[1]
        others = get_close_matches(name, [str(each) for each in operations(document)], n=1, cutoff=0.8)
        yield (
            f"the spec has no operation {name}, which {ENDPOINTS} calls.{_instead(others)} Let {ENDPOINTS} follow, "
            f"with `OPERATIONS` in {CONTRACT}, and the actions for {path} in overlay.yaml; or, if Dune only does not "
            "publish it, add it to additions.yaml."
        )
        return
    expected = facts.operations[name]
    parameters = [resolve(document, each) for each in content.get("parameters", [])]
    types = {each["name"]: each.get("schema", {}) for each in parameters}
    for parameter, kind in expected.get("takes", {}).items():
        if parameter not in types:
            others = get_close_matches(parameter, types, n=1)
            yield f"{name} takes no parameter `{parameter}`, which {ENDPOINTS} passes.{_instead(others)} {OTHERWISE}"
        elif not _fits(document, types[parameter], kind, classes):
            found = _told(types[parameter])
            yield f"{name} takes `{parameter}` as {found}, where {ENDPOINTS} passes {kind}. {OTHERWISE}"
    parts = [("sends", content.get("requestBody", {}), expected.get("sends"))]
    for status, model in expected["responds"].items():
        parts.append((f"responds to success ({status}) with", content.get("responses", {}).get(status, {}), model))
    for verb, part, model in parts:
        found = _schema(resolve(document, part).get("content", {}))
        if model and classes.get(found) != model:
            yield (
                f"{name} {verb} {found or 'something without a name'}, whose class is not {model}, as `OPERATIONS` in "
                f"{CONTRACT} has it. Let `class_overrides` in generator-config.yaml give that name to it, or let the "
                "wrapper follow."
            )


def _schema(content: Document) -> str:
    return schema_name(content.get("application/json", {}).get("schema")) or ""


def _properties(
    document: Document,
    schema: str,
    expected: Mapping[str, str],
    classes: Mapping[str, str],
    user: str,
    following: str,
) -> Iterator[str]:
    properties = schemas(document)[schema].get("properties", {})
    for name, kind in expected.items():
        if name not in properties:
            others = get_close_matches(name, sorted(properties.keys() - expected.keys()), n=1, cutoff=0.4)
            yield (
                f"{schema} has no property `{name}` any more, which {user}.{name}.{_instead(others)} Let the code and "
                f"{following}. {OTHERWISE}"
            )
        elif not _fits(document, properties[name], kind, classes):
            yield (
                f"{schema} has `{name}` as {_told(properties[name])} now, which {user}.{name}, as {kind}. Let the code "
                f"and {following}. {OTHERWISE}"
            )


def _fits(document: Document, schema: Document, kind: str, classes: Mapping[str, str]) -> bool:
    """Whether *schema* may be of *kind*; a schema without a type may be anything."""
    if kind[0].isupper() and classes.get(schema_name(schema) or "") == kind:
        return True
    parts = [part for how in COMBINATIONS for part in schema.get(how, [])]
    if parts:
        return any(_fits(document, part, kind, classes) for part in parts if part)
    declared = resolve(document, schema)
    if kind.startswith("["):
        return declared.get("type") == "array" and _fits(document, declared.get("items", {}), kind[1:-1], classes)
    if kind[0].isupper():
        return False
    types = declared.get("type", kind)
    return bool(
        {kind, "integer" if kind == "number" else kind}.intersection(types if isinstance(types, list) else [types])
    )


def _states(document: Document, schema: str, states: Mapping[str, list[str]]) -> Iterator[str]:
    """Compare the states, if the spec names any: Dune adds some from time to time."""
    state = schemas(document)[schema].get("properties", {}).get("state", {})
    named = set(re.findall(r"QUERY_STATE_[A-Z_]+", json.dumps(state)))
    for name in sorted(named.difference(*states.values())):
        yield (
            f"{schema} names the state {name}, which `_STATES` in {STATES} does not know: add it there, and to "
            "`ExecutionState` in models.py if it is none of those, with what it means for a refresh."
        )
    listed = set(known_values(state))
    for meaning, names in states.items():
        if listed and not listed.intersection(names):
            yield (
                f"{schema} no longer lists the state {' or '.join(names)}, which is {meaning} to `_STATES` in "
                f"{STATES}. Is it called otherwise now? Then add that name there. {OTHERWISE}"
            )


def _tiers(document: Document, schema: str, sentence: str) -> Iterator[str]:
    performance = schemas(document)[schema].get("properties", {}).get("performance", {})
    told = " ".join(performance.get("description", "").split())
    if sentence not in told:
        yield (
            f"{schema} no longer says {sentence!r} of `performance`, on which {TIERS} rests, but {told!r}. Look "
            "whether Dune's page still disagrees with itself over the tier `small`. If it does, let `TIER_SENTENCE` in "
            f"{CONTRACT} be what the spec says now; if not, take the special case out of {TIERS}, docs/client.md and "
            "the sandbox."
        )
    if "enum" in performance:
        yield (
            f"{schema} lists the values of `performance` now: {performance['enum']}. Let the tiers in {TIERS} follow, "
            "and keep it an open text by an action in overlay.yaml."
        )


def _instead(names: list[str]) -> str:
    return f" It has `{names[0]}`, which is new to the wrapper." if names else ""


def _told(schema: Document) -> str:
    return str(schema.get("type") or schema_name(schema) or schema)


if __name__ == "__main__":
    sys.exit(main())
