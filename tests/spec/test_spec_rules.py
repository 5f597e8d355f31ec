"""The conditions and effects of each general rule, and the operations it leaves alone.
Must not know any operation of Dune's."""

from typing import Any

import pytest

from tools.document import Document, copy
from tools.rules import apply_rules

NAMED = {"operationId": "do_it", "tags": ["things"]}


def spec_of(path: str = "/things", **operation: Any) -> Document:
    """Return a spec of one operation, which has a name, with two schemas that it may refer to."""
    return {
        "paths": {path: {"post": NAMED | {"responses": {}, **operation}}},
        "components": {"schemas": {"Thing": {"type": "object"}, "Text": {"type": "string"}}},
        "security": [],
    }


def operation_of(document: Document) -> Document:
    """Return the one operation of *document*."""
    (item,) = document["paths"].values()
    content: Document = item["post"]
    return content


def body_of(schema: Document, media_type: str = "*/*") -> Document:
    """Return a request body."""
    return {"content": {media_type: {"schema": schema}}}


def parameter(place: str, name: str, schema: Document | None = None) -> Document:
    """Return a parameter."""
    required = {"required": True} if place == "path" else {}
    return {"in": place, "name": name, **required, "schema": schema or {"type": "string"}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"properties": {}},
        {"$ref": "#/components/schemas/Thing"},
        {"allOf": [{"$ref": "#/components/schemas/Thing"}]},
    ],
)
def test_an_object_in_any_form_is_sent_as_json(schema: Document) -> None:
    """A body declared as */* becomes application/json where its schema is an object, and this is listed."""
    document = spec_of(requestBody=body_of(schema))
    assert apply_rules(document) == ["rule: POST /things: the body declared as */* is application/json"]
    assert operation_of(document)["requestBody"] == body_of(schema, "application/json")


@pytest.mark.parametrize(
    "schema",
    [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}, {"$ref": "#/components/schemas/Text"}],
)
def test_anything_else_is_sent_as_bytes(schema: Document) -> None:
    """A body declared as */* becomes application/octet-stream where its schema is no object, and this is listed."""
    document = spec_of(requestBody=body_of(schema))
    assert apply_rules(document) == [
        "rule: POST /things: the body declared as */* is no object, so application/octet-stream"
    ]
    binary = {"type": "string", "format": "binary"}
    assert operation_of(document)["requestBody"] == body_of(binary, "application/octet-stream")


def test_a_path_parameter_without_a_place_is_removed() -> None:
    """A path parameter that the path lacks is removed, and listed; one that it has stays."""
    parameters = [parameter("path", "id"), parameter("path", "name"), parameter("query", "name")]
    document = spec_of("/things/{id}", parameters=parameters)
    assert apply_rules(document) == [
        "rule: POST /things/{id}: the path has no place for the parameter name, which is removed"
    ]
    assert operation_of(document)["parameters"] == [parameter("path", "id"), parameter("query", "name")]


def test_the_key_becomes_a_security_scheme() -> None:
    """The key's parameters give way to one header scheme, required by document and operation, and this is listed."""
    document = spec_of(
        parameters=[parameter("query", "id"), parameter("header", "X-Dune-Api-Key"), parameter("query", "api_key")]
    )
    assert apply_rules(document) == [
        "rule: POST /things: the key is the security scheme X-Dune-Api-Key in place of parameters"
    ]
    assert operation_of(document)["parameters"] == [parameter("query", "id")]
    assert operation_of(document)["security"] == document["security"] == [{"apiKey": []}]
    assert document["components"]["securitySchemes"] == {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Dune-Api-Key"}
    }


def test_an_echo_of_the_summary_is_removed() -> None:
    """A description that only repeats the summary is removed, and listed."""
    document = spec_of(summary="Does it", description="Does it")
    assert apply_rules(document) == ["rule: POST /things: the description only repeats the summary, and is removed"]
    assert operation_of(document) == NAMED | {"summary": "Does it", "responses": {}}


def test_what_is_right_is_left_alone() -> None:
    """No rule acts on an operation that declares a media type, real path parameters and no key."""
    document = spec_of(
        "/things/{id}",
        summary="Does it",
        description="And how",
        parameters=[parameter("path", "id"), parameter("query", "key"), parameter("header", "X-Other")],
        requestBody=body_of({"type": "string", "format": "binary"}, "text/csv"),
    )
    before = copy(document)
    assert apply_rules(document) == []
    assert document == before


def test_an_operation_without_anything_is_left_alone() -> None:
    """No rule needs an operation to have a body, parameters or texts."""
    document = spec_of("/things")
    before = copy(document)
    assert apply_rules(document) == []
    assert document == before


@pytest.mark.parametrize("spelling", ["query_id", "QueryId", "query-id"])
def test_a_path_parameter_that_is_spelled_otherwise_is_renamed(spelling: str) -> None:
    """`{queryId}` is declared by `query_id`: the declaration is moved to the name that the path has."""
    document = spec_of("/query/{queryId}", parameters=[parameter("path", spelling, {"type": "integer"})])
    assert apply_rules(document) == [
        "rule: POST /query/{queryId}: the parameter queryId of the path was not declared, and is integer now",
        f"rule: POST /query/{{queryId}}: the path has no place for the parameter {spelling}, which is removed",
    ]
    assert operation_of(document)["parameters"] == [parameter("path", "queryId", {"type": "integer"})]


def test_a_place_that_nothing_is_declared_for_takes_a_text() -> None:
    """A path parameter without a declaration gets one, and an optional one becomes required."""
    document = spec_of("/a/{one}/{two}", parameters=[{"in": "path", "name": "one", "schema": {"type": "integer"}}])
    assert apply_rules(document) == [
        "rule: POST /a/{one}/{two}: the parameter two of the path was not declared, and is string now"
    ]
    assert operation_of(document)["parameters"] == [
        parameter("path", "one", {"type": "integer"}),
        parameter("path", "two"),
    ]


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "Accept", "Authorization"])
def test_a_header_that_is_no_parameter_is_removed(name: str) -> None:
    """A header that the body or the key determines is removed, in any spelling; elsewhere the name is free."""
    document = spec_of(parameters=[parameter("header", name), parameter("query", name)])
    assert apply_rules(document) == [f"rule: POST /things: the header {name} is no parameter, and is removed"]
    assert operation_of(document)["parameters"] == [parameter("query", name)]


def test_a_parameter_that_is_there_twice_is_there_once() -> None:
    """Of two parameters with one name and place the first stays; one name at two places is two parameters."""
    first, second = parameter("query", "id", {"type": "integer"}), parameter("query", "id")
    document = spec_of(parameters=[first, second, parameter("header", "id")])
    assert apply_rules(document) == ["rule: POST /things: the parameter id is there twice, and once now"]
    assert operation_of(document)["parameters"] == [first, parameter("header", "id")]


@pytest.mark.parametrize("name", ["params", "headers", "cookies", "Body"])
def test_a_parameter_that_would_be_overwritten_is_removed(name: str) -> None:
    """A parameter of the name of a variable in the generated code is removed aloud, instead of sent wrongly."""
    document = spec_of(parameters=[parameter("query", name), parameter("query", f"{name}_x")])
    assert apply_rules(document) == [
        f"rule: POST /things: the generated code cannot pass a parameter called {name}, which is removed"
    ]
    assert operation_of(document)["parameters"] == [parameter("query", f"{name}_x")]


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
        ({"content": {"application/json": {"schema": {"type": "object"}}}}, {"type": "object"}),
        ({"type": "integer", "default": 5}, {"type": "integer", "default": 5}),
        ({}, {"type": "string"}),
    ],
)
def test_a_parameter_without_a_schema_is_given_one(declared: Document, schema: Document) -> None:
    """A schema in Swagger 2.0's place or in a content moves to its place; without any, it is text."""
    document = spec_of(parameters=[{"in": "query", "name": "q", **declared}])
    assert apply_rules(document) == [
        f"rule: POST /things: the parameter q has no schema, and is given {schema}",
    ]
    assert operation_of(document)["parameters"] == [parameter("query", "q", schema)]


def test_parameters_of_a_path_are_those_of_its_operations() -> None:
    """Parameters of a path are copied into its operations, unless an operation declares its own."""
    own, shared = parameter("query", "q", {"type": "integer"}), [parameter("query", "q"), parameter("query", "r")]
    document = spec_of(parameters=[own])
    document["paths"]["/things"] |= {"parameters": shared, "get": {**NAMED, "operationId": "get_it", "responses": {}}}
    assert apply_rules(document) == ["rule: /things: the parameters of the path are now of each operation"]
    item = document["paths"]["/things"]
    assert item.keys() == {"get", "post"}
    assert (item["get"]["parameters"], item["post"]["parameters"]) == (shared, [shared[1], own])
