"""Turns Dune's published spec into the document to generate from: completed, corrected and normalized.
Must not read or write files, nor know the generator or the command line."""

from collections.abc import Iterable
from typing import Any, cast

from jsonpath_ng import DatumInContext
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.parser import parse as parse_path
from oas_patch import apply_overlay, validate  # type: ignore[import-untyped]  # oas-patch has no type information

from tools.additions import complete, keep_path
from tools.document import Corrected, Document, ToolError, copy, find
from tools.rules import apply_rules

REFRESH = "POST /v1/materialized-views/{name}/refresh"


def correct(published: Document, additions: Document, overlay: Document) -> Corrected:
    """Complete *published* from *additions*, and correct it by *overlay* and then by the general rules.

    An action of the overlay that does not fit is skipped, and reported among the misfits.
    """
    try:
        published, other = keep_path(published, REFRESH)
        renamed = [f"openapi.yaml: {other} is {REFRESH} to the client, as it was before"] if other else []
        if find(published, REFRESH) is None:
            raise ToolError(f"openapi.yaml lacks {REFRESH}, the operation that this project exists for")
        completed = complete(published, additions)
        overlaid = lay_over(completed.document, overlay)
        document = copy(overlaid.document)
        report = renamed + completed.report + overlaid.report + apply_rules(document)
        return Corrected(document, report, overlaid.misfits)
    except (AttributeError, KeyError, TypeError) as problem:
        # Raised if the document has another type where OpenAPI has an object or a list.
        raise ToolError(f"the spec files are not laid out as OpenAPI has it: {problem!r}") from problem


def lay_over(document: Document, overlay: Document) -> Corrected:
    """Apply the actions of *overlay*, except those without a subject in the document and those that do not fit."""
    document = copy(document)
    if (verdict := validate(overlay, "sh")) != "Validation successful":
        raise ToolError(f"overlay.yaml is no OpenAPI Overlay: {verdict}")
    report: list[str] = []
    misfits: list[str] = []
    for action in overlay["actions"]:
        names = _subjects(action)
        present = [name for name in names if find(document, name) is not None]
        report += [
            f"overlay.yaml: skipped, because the spec lacks {name}: {action['description']}"
            for name in names
            if name not in present
        ]
        report += _drop_names(document, action, present)
        if misfit := _misfit(document, action, present):
            misfits.append(misfit)
        elif present:
            document = _apply(document, action)
    return Corrected(document, report, misfits)


def _drop_names(document: Document, action: Document, names: Iterable[str]) -> list[str]:
    """Drop the tags that *action* replaces: the names of modules are our choice."""
    report: list[str] = []
    for name in names:
        node = find(document, name) or {}
        if "tags" in action.get("update", {}) and node.pop("tags", []):
            report.append(f"overlay.yaml: {name} has tags by now; it keeps its place by ours")
    return report


def _subjects(action: Document) -> list[str]:
    """Return the operations and schemas that *action* corrects, after checking that it is complete."""
    told = bool(action.get("x-applies-to") and action.get("description"))
    # oas-patch removes even for `remove: false`, and then ignores an update beside it.
    if not told or (action.get("remove") is True) == ("update" in action):
        raise ToolError(
            "overlay.yaml: an action needs `x-applies-to`, a `description` that is its reason, and either `update` or"
            f" `remove: true`, unlike this one: {action}"
        )
    names = action["x-applies-to"]
    return [names] if isinstance(names, str) else names


def _misfit(document: Document, action: Document, names: Iterable[str]) -> str:
    """Explain why *action* has nothing to correct in a subject, if so: oas-patch itself reports nothing."""
    try:
        matches = parse_path(action["target"]).find(document)
    except JSONPathError as problem:
        raise ToolError(f"overlay.yaml: {action['target']} is no JSONPath: {problem}") from problem
    for name in names:
        hits = [match for match in matches if _lies_within(match, find(document, name))]
        if not hits:
            return _why(action, name, "its target hits nothing")
        if any(_appends(match.value, action.get("update")) for match in hits):
            return _why(action, name, "its update would lengthen a list that the spec has by now")
    return ""


def _apply(document: Document, action: Document) -> Document:
    """Apply *action*, which fits."""
    try:
        # Copied before and after: oas-patch inserts the action's own objects into the document, once per hit.
        return copy(apply_overlay(copy(document), {"actions": [copy(action)]}))
    except TypeError as problem:  # as for the update of a list's element
        raise ToolError(f"overlay.yaml: oas-patch cannot correct {action['target']}: {problem}") from problem


def _lies_within(match: DatumInContext, node: Document | None) -> bool:
    """Whether *match* is *node* or a part of it."""
    step: DatumInContext | None = match
    while step is not None and step.value is not node:
        step = step.context
    return step is not None


def _appends(value: Any, update: Any) -> bool:
    """Whether merging *update* into *value* would append to a list that a correction has to replace."""
    if not (isinstance(value, dict) and isinstance(update, dict)):
        return False
    old, new = cast(Document, value), cast(Document, update)
    shared = old.keys() & new.keys()
    return any(
        (isinstance(old[key], list) and isinstance(new[key], list)) or _appends(old[key], new[key]) for key in shared
    )


def _why(action: Document, name: str, what: str) -> str:
    return (
        f"overlay.yaml: an action on {name} does not fit: {what}\n"
        f"  target: {action['target']}\n"
        f"  reason: {action['description']}\n"
        "Dune may have mended this itself; if so, remove the action."
    )
