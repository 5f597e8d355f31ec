"""The relaxation of response schemas, and the preservation of request schemas.
Must not know any schema of Dune's."""

from typing import Any

import pytest

from tests.spec.test_spec_rules import body_of, spec_of
from tools.document import Document, schemas
from tools.leniency import known_values
from tools.rules import apply_rules

STRICT: Document = {
    "type": "object",
    "required": ["state"],
    "properties": {
        "state": {"type": "string", "enum": ["on", "off"], "default": "on", "description": "How it is."},
        "since": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "id": {"type": "string", "format": "uuid"},
        # Properties that are called like what is taken away.
        "required": {"type": "boolean"},
        "enum": {"type": "array", "items": {"type": "string", "enum": ["a"]}},
        "format": {"type": "string", "format": "email"},
    },
}
OPEN: Document = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "description": "How it is. Known values: `on`, `off`."},
        "since": {"type": "string"},
        "day": {"type": "string"},
        "id": {"type": "string"},
        "required": {"type": "boolean"},
        "enum": {"type": "array", "items": {"type": "string", "description": "Known values: `a`."}},
        "format": {"type": "string", "format": "email"},
    },
}
LINE = "read in responses, it is open: no required, default, enum, format date-time, format date, format uuid"


def responding(schema: Document, code: str = "200") -> Document:
    """Return responses."""
    return {code: {"content": {"application/json": {"schema": schema}}}}


def copied(schema: Any) -> Any:
    """Return a deep copy."""
    return {key: copied(part) for key, part in schema.items()} if isinstance(schema, dict) else schema


def test_a_response_requires_nothing_and_rules_nothing_out() -> None:
    """A schema reachable from a response is open, and properties with the same names stay."""
    document = spec_of(responses=responding({"type": "array", "items": {"$ref": "#/components/schemas/Outer"}}))
    schemas(document)["Outer"] = {"type": "object", "properties": {"inner": {"$ref": "#/components/schemas/Inner"}}}
    schemas(document)["Inner"] = copied(STRICT)
    assert apply_rules(document) == [f"rule: Inner: {LINE}"]
    assert schemas(document)["Inner"] == OPEN
    assert known_values(schemas(document)["Inner"]["properties"]["state"]) == ["on", "off"]
    assert known_values({"description": "`a`"}) == []


def test_a_response_of_its_own_is_open_as_well() -> None:
    """The same holds for inline schemas, even of errors."""
    document = spec_of(responses=responding(copied(STRICT), "404"))
    assert apply_rules(document) == [f"rule: POST /things: {LINE}"]
    (response,) = document["paths"]["/things"]["post"]["responses"].values()
    assert response["content"]["application/json"]["schema"] == OPEN


def test_what_is_only_sent_stays_strict() -> None:
    """A schema outside responses stays unchanged, because requests must be right."""
    document = spec_of(requestBody=body_of({"$ref": "#/components/schemas/Sent"}, "application/json"))
    schemas(document)["Sent"] = copied(STRICT)
    assert apply_rules(document) == []
    assert schemas(document)["Sent"] == STRICT


@pytest.mark.parametrize("values", [["a", "A"], ["a-b", "a b"], ["a", 1], [1.5], [True, False]])
def test_an_enum_that_python_cannot_name_is_open(values: list[Any]) -> None:
    """An enum at which the generator breaks down, because two values would have one name, is open wherever it is."""
    document = spec_of()
    schemas(document)["Sent"] = {"type": "object", "properties": {"x": {"enum": values}}}
    assert apply_rules(document) == ["rule: Sent: an enum whose values have no names of their own in Python is open"]
    assert "enum" not in schemas(document)["Sent"]["properties"]["x"]


@pytest.mark.parametrize("values", [["a", "b"], ["a", None], [1, 2, -3]])
def test_an_enum_that_python_can_name_stays(values: list[Any]) -> None:
    """Texts and whole numbers that differ are values of an enum, null beside them too."""
    document = spec_of()
    schemas(document)["Sent"] = {"enum": values}
    assert apply_rules(document) == []


def test_leftovers_of_swagger_are_put_right() -> None:
    """The type `file` becomes bytes, and an array without items may hold anything, at any place."""
    document = spec_of(requestBody=body_of({"type": "file"}, "application/octet-stream"))
    schemas(document)["Thing"] = {"type": "object", "properties": {"list": {"type": "array"}}}
    assert apply_rules(document) == [
        "rule: Thing: a list that does not say of what is of anything",
        "rule: POST /things: the type file is binary",
    ]
    assert schemas(document)["Thing"]["properties"]["list"] == {"type": "array", "items": {}}
