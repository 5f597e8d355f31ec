"""The media types given to bodies and responses, and their report.
Must not know any operation of Dune's."""

import pytest

from tests.spec.test_spec_rules import body_of, operation_of, parameter, spec_of
from tools.document import Document, copy, operations
from tools.rules import apply_rules

BINARY = {"type": "string", "format": "binary"}
TEXT = {"type": "string"}
THING = {"$ref": "#/components/schemas/Thing"}
JSON, BYTES, READABLE = "application/json", "application/octet-stream", "text/plain; charset=utf-8"


def bodies(document: Document) -> dict[str, Document]:
    """The contents of the body of each operation, by the operation's id."""
    return {each.content["operationId"]: each.content["requestBody"]["content"] for each in operations(document)}


@pytest.mark.parametrize("media_type", ["text/csv", "text/plain", "application/x-ndjson", "application/zip"])
@pytest.mark.parametrize("schema", [TEXT, {"type": "array", "items": TEXT}, THING])
def test_a_body_that_is_neither_json_nor_form_is_bytes(media_type: str, schema: Document) -> None:
    """A body keeps its media type, and is sent as the bytes that the caller gives."""
    document = spec_of(requestBody=body_of(schema, media_type))
    assert apply_rules(document) == [
        f"rule: POST /things: the body declared as {media_type} is sent as the bytes that it is"
    ]
    assert bodies(document) == {"do_it": {media_type: {"schema": BINARY}}}


def test_bytes_are_not_sent_as_json() -> None:
    """A body that is declared as JSON, and as bytes, is bytes."""
    document = spec_of(requestBody=body_of(BINARY, JSON))
    assert apply_rules(document) == [f"rule: POST /things: the body declared as {JSON} is bytes, so {BYTES}"]
    assert bodies(document) == {"do_it": {BYTES: {"schema": BINARY}}}


@pytest.mark.parametrize("media_type", [JSON, "application/vnd.dune+json", "multipart/form-data"])
def test_a_body_without_a_schema_takes_anything(media_type: str) -> None:
    """A body of which nothing is declared is not dropped."""
    document = spec_of(requestBody={"content": {media_type: {}}})
    assert apply_rules(document) == [
        f"rule: POST /things: the body declared as {media_type} has no schema, and takes anything"
    ]
    assert bodies(document) == {"do_it": {media_type: {"schema": {}}}}


def test_a_declared_media_type_comes_before_any() -> None:
    """`*/*` beside JSON adds nothing to it."""
    document = spec_of(requestBody={"content": {JSON: {"schema": THING}, "*/*": {"schema": {"type": "object"}}}})
    assert apply_rules(document) == [f"rule: POST /things: the body declared as */* is {JSON}"]
    assert bodies(document) == {"do_it": {JSON: {"schema": THING}}}


@pytest.mark.parametrize("schema", [{"type": "string", "enum": ["text/csv", "application/x-ndjson"]}, None])
def test_a_header_names_the_media_types_of_any(schema: Document | None) -> None:
    """A body declared as `*/*` is of the media types that a parameter `Content-Type` lists, or else of bytes."""
    header = [parameter("header", "Content-Type", schema)]
    document = spec_of(requestBody=body_of(TEXT), parameters=header)
    report = apply_rules(document)
    if schema is None:
        assert bodies(document) == {"do_it": {BYTES: {"schema": BINARY}}}
        return
    assert report[0] == "rule: POST /things: the body declared as */* is no object, so text/csv, application/x-ndjson"
    assert bodies(document) == {
        "do_it": {"text/csv": {"schema": BINARY}},
        "do_it_as_ndjson": {"application/x-ndjson": {"schema": BINARY}},
    }


def test_each_body_is_sent_by_an_operation_of_its_own() -> None:
    """Of several bodies, JSON keeps the name, and the others get a path suffix that is never sent."""
    content = {name: {"schema": BINARY} for name in ("text/csv", "application/x-www-form-urlencoded", BYTES)}
    document = spec_of(requestBody={"required": True, "content": content | {JSON: {"schema": THING}}})
    assert apply_rules(document) == [
        "rule: POST /things: the body as text/csv is sent by do_it_as_csv",
        "rule: POST /things: the body as application/x-www-form-urlencoded is sent by do_it_as_form",
        f"rule: POST /things: the body as {BYTES} is sent by do_it_as_bytes",
    ]
    assert list(document["paths"]) == [
        "/things",
        "/things#text/csv",
        "/things#application/x-www-form-urlencoded",
        f"/things#{BYTES}",
    ]
    assert {name: list(found) for name, found in bodies(document).items()} == {
        "do_it": [JSON],
        "do_it_as_csv": ["text/csv"],
        "do_it_as_form": ["application/x-www-form-urlencoded"],
        "do_it_as_bytes": [BYTES],
    }
    assert all(each.content["requestBody"]["required"] for each in operations(document))


@pytest.mark.parametrize(
    ("declared", "read_as", "schema"),
    [
        ({"text/csv": {"schema": BINARY}}, READABLE, TEXT),
        ({"text/plain": {}}, READABLE, TEXT),
        ({"text/html": {"schema": THING}}, READABLE, TEXT),
        ({"*/*": {"schema": THING}}, JSON, THING),
        ({"*/*": {}}, JSON, {}),
        ({"*/*": {"schema": TEXT}}, READABLE, TEXT),
        ({"*/*": {"schema": BINARY}}, BYTES, BINARY),
        ({"image/png": {"schema": TEXT}}, BYTES, BINARY),
        ({"application/x-ndjson": {}}, BYTES, BINARY),
        ({JSON: {"schema": BINARY}}, BYTES, BINARY),
        ({BYTES: {"schema": TEXT}}, BYTES, BINARY),
        ({"application/problem+json": {"schema": THING}}, JSON, THING),
    ],
)
def test_a_response_is_read_as_what_it_must_be(declared: Document, read_as: str, schema: Document) -> None:
    """A response has one media type with a fitting schema, and changes are reported."""
    document = spec_of(responses={"200": {"description": "OK", "content": declared}})
    (name,) = declared
    assert apply_rules(document) == [f"rule: POST /things: the response 200 declared as {name} is read as {read_as}"]
    response = operation_of(document)["responses"]["200"]
    assert response == {"description": "OK", "content": {read_as: {"schema": schema}}}


def test_of_several_responses_json_is_read() -> None:
    """The generated code reads one media type of a response, and the others are reported."""
    content = {name: {"schema": THING if name == JSON else TEXT} for name in ("text/csv", JSON, "application/zip")}
    document = spec_of(responses={"200": {"content": content}})
    assert apply_rules(document) == [
        f"rule: POST /things: the response 200 is read as {JSON} alone, out of text/csv, {JSON}, application/zip"
    ]
    assert operation_of(document)["responses"] == {"200": {"content": {JSON: {"schema": THING}}}}


def test_responses_that_are_right_are_left_alone() -> None:
    """JSON, text and empty responses are read as declared, and a status range is written in capitals."""
    responses = {
        "200": {"content": {JSON: {"schema": THING}}},
        "201": {"content": {"text/plain": {"schema": TEXT}}},
        "204": {"description": "Nothing"},
        "default": {"description": "Else"},
        "4xx": {"description": "Refused"},
    }
    document = spec_of(responses=copy(responses))
    assert apply_rules(document) == []
    found = operation_of(document)["responses"]
    assert found.pop("201") == {"content": {READABLE: {"schema": TEXT}}}
    assert found.pop("4XX") == responses.pop("4xx")
    assert found == {code: response for code, response in responses.items() if code != "201"}
