"""The generated names of operations and classes, and their uniqueness.
Must not know how the generator writes a name."""

from typing import Any

import pytest

from tests.spec.pages import spec_of
from tools.classes import classes_by_schema, tell_classes_apart
from tools.document import Document, copy, operations
from tools.naming import name_operations, words


def names(document: Document) -> dict[str, str]:
    """The place of each operation."""
    name_operations(document)
    return {str(each): f"{each.content['tags'][0]}.{each.content['operationId']}" for each in operations(document)}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("GET /v1/query/{query_id}/results", "query.get_query_results"),
        ("GET /v1/query/{query_id}", "query.get_query_by_query_id"),
        ("PATCH /v1/query/{queryId}", "query.patch_query_by_query_id"),
        ("POST /v2/materialized-views", "materialized_views.post_materialized_views"),
        ("GET /datasets/{slug}", "datasets.get_datasets_by_slug"),
        ("GET /", "root.get_root"),
        ("GET /{id}", "id.get_by_id"),
    ],
)
def test_a_name_is_made_of_method_and_path(call: str, name: str) -> None:
    """An operation without a name is called by its method and its path, without version and places in between."""
    assert names(spec_of(call)) == {call: name}


def test_relatives_share_a_tag() -> None:
    """An operation is placed with those that have the same first part of the path, if one of them has a tag."""
    document = spec_of("GET /v1/execution/{id}/results", "GET /v1/execution/{id}/status", "GET /v1/other")
    document["paths"]["/v1/execution/{id}/status"]["get"] |= {"tags": ["executions", "x"], "operationId": "get_status"}
    assert names(document) == {
        "GET /v1/execution/{id}/results": "executions.get_execution_results",
        "GET /v1/execution/{id}/status": "executions.get_status",
        "GET /v1/other": "other.get_other",
    }


def test_a_name_that_is_taken_is_made_longer() -> None:
    """Where two would have one name, the second says where its path has places, and in the end a number."""
    assert names(spec_of("GET /a/{x}/b", "GET /a/{y}/b", "GET /a/b", "GET /a-b", "GET /a_b")) == {
        "GET /a/{x}/b": "a.get_a_b",
        "GET /a/{y}/b": "a.get_a_y_b",
        "GET /a/b": "a.get_a_b_2",
        "GET /a-b": "a_b.get_a_b_3",
        "GET /a_b": "a_b.get_a_b_4",
    }


def test_a_name_that_is_given_twice_is_given_once() -> None:
    """Of operations with the same given name, in any spelling, the first keeps it."""
    document = spec_of("GET /a", "GET /b", "GET /get_a")
    for path, name in {"/a": "getA", "/b": "get_a"}.items():
        document["paths"][path]["get"]["operationId"] = name
    assert names(document) == {"GET /a": "a.getA", "GET /b": "b.get_b", "GET /get_a": "get_a.get_get_a"}
    assert words("get_a") == words("getA") == words("Get-A")


def test_naming_is_told_once() -> None:
    """Each naming is reported with its place, and a second pass changes nothing."""
    document = spec_of("GET /a")
    assert name_operations(document) == ["GET /a: its name is a.get_a"]
    assert name_operations(document) == []


def thing(**properties: Any) -> Document:
    """An object."""
    return {"type": "object", "properties": properties}


def test_schemas_of_one_class_are_told_apart() -> None:
    """Names that differ in spelling only would be one class, or one module: the later ones are called variants."""
    document = spec_of(
        **{"models.Thing": {"type": "object"}, "modelsThing": thing(), "models.THING": thing(), "Free": thing()}
    )
    assert tell_classes_apart(document, {}) == [
        "rule: modelsThing: another schema has its class's name, so it is ModelsThingVariant2",
        "rule: models.THING: another schema has its class's name, so it is ModelsTHINGVariant3",
    ]
    assert len({name.lower() for name in classes_by_schema(document, {}).values()}) == 4


def test_a_given_name_is_kept() -> None:
    """The class that the settings name comes first, wherever its schema stands."""
    document = spec_of(**{"Error": thing(), "models.Error": thing()})
    tell_classes_apart(document, {"ModelsError": "Error"})
    assert classes_by_schema(document, {"ModelsError": "Error"}) == {"Error": "ErrorVariant2", "models.Error": "Error"}


@pytest.mark.parametrize(
    "inner",
    [
        thing(),
        {"type": "string", "enum": ["a"]},
        {"allOf": [thing(), thing()]},
        {"properties": {"x": {}}},
    ],
)
@pytest.mark.parametrize("within", ["property", "item", "part", "any of", "values"])
def test_what_is_declared_within_gives_way(inner: Document, within: str) -> None:
    """An object or an enum within a schema would be called as another schema is: the other one has the name."""
    outer = {
        "property": thing(inner=inner),
        "item": thing(inner={"type": "array", "items": inner}),
        "part": {"allOf": [thing(inner=inner), thing()]},
        "any of": thing(inner={"anyOf": [{"type": "integer"}, inner]}),
        "values": {"type": "object", "additionalProperties": inner},
    }[within]
    name = {"item": "OuterInnerItem", "any of": "OuterInnerType1", "values": "OuterAdditionalProperty"}.get(
        within, "OuterInner"
    )
    document = spec_of(**copy({"Outer": outer, name: thing()}))
    assert tell_classes_apart(document, {}) == [
        f"rule: Outer: another schema has its class's name, so it is {name}Variant2"
    ]


def test_what_an_operation_declares_gives_way() -> None:
    """The same holds for inline schemas: parameters, body and responses."""
    document = spec_of("GET /a", GetABody=thing(), GetAResponse200=thing(), GetAWhich=thing())
    name_operations(document)
    document["paths"]["/a"]["get"] |= {
        "parameters": [{"in": "query", "name": "which", "schema": {"type": "string", "enum": ["a"]}}],
        "requestBody": {"content": {"application/json": {"schema": thing()}}},
        "responses": {"200": {"content": {"application/json": {"schema": thing()}}}},
    }
    assert [line.split("so it is ")[1] for line in tell_classes_apart(document, {})] == [
        "GetAWhichVariant2",
        "GetABodyVariant2",
        "GetAResponse200Variant2",
    ]


def test_a_title_is_no_name() -> None:
    """A schema's title would be its class's name in place of its own, and is removed; a reference has no class."""
    document = spec_of(
        **{"models.A": thing() | {"title": "B"}, "models.B": thing(b={"$ref": "#/components/schemas/models.A"})}
    )
    assert tell_classes_apart(document, {}) == [
        "rule: models.A: its title is removed, because its class is named after it"
    ]
    assert classes_by_schema(document, {}) == {"models.A": "ModelsA", "models.B": "ModelsB"}
