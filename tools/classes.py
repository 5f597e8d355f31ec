"""Predicts the class that the generator makes of each schema, and keeps two schemas from sharing one.
Must not know any schema by name, nor its contents.

If two schemas have the same class name, the generator drops the second. If only their module names are the same, the
second silently overwrites the first."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from openapi_python_client.strings import ClassName, PythonIdentifier, pascal_case

from tools.document import COMBINATIONS, Document, operations, resolve, schemas

PREFIX = "field_"  # the generator's prefix for names that Python does not allow


class Named(NamedTuple):
    """A schema that becomes a class: its place, and the parts of the class's name."""

    place: str
    schema: Document
    parent: str
    name: str


def tell_classes_apart(document: Document, given: Mapping[str, str]) -> list[str]:
    """Set titles so that no two schemas share a class. *given* maps the generator's class names to ours."""
    report: list[str] = []
    for name, schema in schemas(document).items():
        # A title would replace the schema's name as the class name, and bypass our own names for classes.
        if schema.pop("title", None):
            report.append(f"rule: {name}: its title is removed, because its class is named after it")
    taken: set[str] = set()
    for found in _classes(document, given):
        module = PythonIdentifier(_class(found, given), PREFIX)
        if module in taken:
            title, number = f"{found.schema.get('title', found.name)}_variant_", 2
            while (module := PythonIdentifier(_class(found._replace(name=f"{title}{number}"), given), PREFIX)) in taken:
                number += 1
            found.schema["title"] = f"{title}{number}"
            report.append(f"rule: {found.place}: another schema has its class's name, so it is {_class(found, given)}")
        taken.add(module)
    return report


def classes_by_schema(document: Document, given: Mapping[str, str]) -> dict[str, str]:
    """Return the class of each schema that has a name."""
    return {name: _class(Named(name, schema, "", name), given) for name, schema in schemas(document).items()}


def _class(found: Named, given: Mapping[str, str]) -> str:
    title = found.schema.get("title", found.name)
    own = ClassName(pascal_case(found.parent) + pascal_case(title) if found.parent else title, PREFIX)
    return ClassName(given.get(own, own), PREFIX)


def _classes(document: Document, given: Mapping[str, str]) -> Iterator[Named]:
    """Yield the schemas that become classes. The first of a name keeps it, so the order is: classes that we name,
    schemas that Dune names, then those declared within other schemas and in operations."""
    named = [Named(name, schema, "", name) for name, schema in schemas(document).items()]
    named.sort(key=lambda found: ClassName(found.name, PREFIX) not in given)
    yield from (found for found in named if _has_class(found.schema))
    for found in named:
        yield from _within(found, given)
    for operation in operations(document):
        name = PythonIdentifier(operation.content["operationId"], PREFIX)
        for each in _of_operation(document, operation.content):
            place = Named(str(operation), each[1], name, each[0])
            if _has_class(place.schema):
                yield place
            yield from _within(place, given)


def _of_operation(document: Document, content: Document) -> Iterator[tuple[str, Document]]:
    """Yield the schemas declared inline by an operation, with the generator's names for them."""
    for parameter in (resolve(document, each) for each in content.get("parameters", [])):
        yield parameter["name"], parameter.get("schema", {})
    for media_type in resolve(document, content.get("requestBody", {})).get("content", {}).values():
        yield "body", media_type.get("schema", {})
    for code, response in content.get("responses", {}).items():
        for media_type in resolve(document, response).get("content", {}).values():
            yield f"response_{code}", media_type.get("schema", {})


def _has_class(schema: Document) -> bool:
    if "$ref" in schema or any(schema.get(how) for how in ("anyOf", "oneOf")) or _is_reference(schema):
        return False
    typed = schema.get("type")
    return "enum" in schema or typed == "object" or bool(schema.get("allOf")) or (not typed and "properties" in schema)


def _is_reference(schema: Document) -> bool:
    """Whether the generator treats *schema* as the schema it refers to, because it combines nothing else."""
    parts = [part for how in COMBINATIONS for part in schema.get(how, [])]
    return len(parts) == 1 and "$ref" in parts[0]


def _within(outer: Named, given: Mapping[str, str]) -> Iterator[Named]:
    """Yield the schemas declared within *outer*."""
    schema = outer.schema
    parent = _class(outer, given) if _has_class(schema) else outer.parent
    inner = [(name, part, parent) for name, part in schema.get("properties", {}).items()]
    for part in schema.get("allOf", []):
        inner += [(name, each, parent) for name, each in part.get("properties", {}).items()]
    if isinstance(schema.get("additionalProperties"), dict):
        inner.append(("AdditionalProperty", schema["additionalProperties"], parent))
    if "items" in schema:
        inner.append((f"{outer.name}_item", schema["items"], outer.parent))
    for number, part in enumerate([*schema.get("anyOf", []), *schema.get("oneOf", [])]):
        inner.append((f"{outer.name}_type_{number}", part, outer.parent))
    for name, part, above in inner:
        found = Named(outer.place, part, above, name)
        if _has_class(part):
            yield found
        yield from _within(found, given)
