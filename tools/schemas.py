"""Compares the values that two schemas allow.
Must not know the users of a schema, nor its place in the spec."""

from collections.abc import Iterator
from typing import Any

from tools.document import COMBINATIONS, Document, schema_name
from tools.telling import code, turned

# Keys with their own comparison, and keys that hold inner schemas.
COMPARED = {
    *("type", "format", "nullable", "enum", "deprecated", "description", "required"),
    *("properties", "items", "additionalProperties", *COMBINATIONS, "$ref"),
}
# Keys that do not restrict the values.
REMARKS = ("default", "example", "examples", "title")


def differences(old: Document, new: Document, sent: bool) -> Iterator[tuple[bool, str]]:
    """Yield the differences between the values two schemas allow, and whether each one breaks users."""
    if type_of(old) != type_of(new):
        yield True, turned(type_of(old), type_of(new))
    if old.get("format") != new.get("format"):
        yield sent, f"{code('format')} {turned(old.get('format'), new.get('format'))}"
    if bool(old.get("nullable")) != bool(new.get("nullable")):
        yield sent != bool(new.get("nullable")), f"may {'' if new.get('nullable') else 'no longer '}be null"
    values = [[str(value) for value in each.get("enum", ())] for each in (old, new)]
    if values[0] and not values[1]:
        yield False, f"no longer has an enum (it had {_listed(values[0])})"
    elif values[1] and not values[0]:
        yield sent, f"has an enum now: {_listed(values[1])}"
    else:
        for value in values[1]:
            if value not in values[0]:
                yield False, f"has the enum value {code(value)} added"
        for value in values[0]:
            if value not in values[1]:
                yield sent, f"has the enum value {code(value)} removed"
    for key in sorted((old.keys() | new.keys()) - COMPARED):
        if old.get(key) != new.get(key):
            limit = key in new and key not in REMARKS and not key.startswith("x-")
            yield sent and limit, f"{code(key)} {turned(old.get(key), new.get(key))}"


def _listed(values: list[str]) -> str:
    return ", ".join(map(code, values))


def details(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the places where *old* and *new* differ, with the values before and after."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from details(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from details(one, other, f"{where}[{place}]")
    elif old != new:
        yield where, old, new


def parts_of(schema: Document) -> Document:
    """Return the parts of *schema* other than its properties, by the name used in messages."""
    found = {"[]": schema.get("items"), "{}": schema.get("additionalProperties")}
    found |= {f"{how}[{place}]": part for how in COMBINATIONS for place, part in enumerate(schema.get(how, ()))}
    return {mark: part for mark, part in found.items() if isinstance(part, dict)}


def type_of(schema: Document) -> str:
    """Name the type that *schema* allows."""
    if name := schema_name(schema):
        return name
    for how in COMBINATIONS:
        if how in schema:
            return (" and " if how == "allOf" else " or ").join(type_of(part) for part in schema[how])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return f"object of {type_of(inner)}"
    types = schema.get("type") or ("object" if "properties" in schema else "anything")
    return " or ".join(types) if isinstance(types, list) else str(types)
