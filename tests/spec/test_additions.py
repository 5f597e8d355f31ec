"""The replacement of our entry by Dune's own, and the parts that stay ours.
Must not know any operation of Dune's."""

from tests.spec.pages import spec_of
from tools.additions import complete, keep_path
from tools.document import Document, copy, find, schemas

CALL = "GET /things/{thing_id}"


def ref(name: str) -> Document:
    """A reference."""
    return {"$ref": f"#/components/schemas/{name}"}


def thing(**properties: Document) -> Document:
    """An object."""
    return {"type": "object", "properties": properties}


def responding(call: str, schema: Document, **named: Document) -> Document:
    """Return a spec of one operation, its response, and schemas."""
    document = spec_of(call, **named)
    content = {"application/json": {"schema": schema}}
    find(document, call)["responses"]["200"]["content"] = content  # type: ignore[index]
    return document


OURS = responding(CALL, ref("Thing"), Thing=thing(parts={"type": "array", "items": ref("Part")}, note={}), Part=thing())


def test_names_of_ours_stay_where_dune_has_others() -> None:
    """Schemas with other names at Dune keep our names throughout, with Dune's contents."""
    theirs = responding(
        CALL,
        ref("ThingV2"),
        ThingV2=thing(parts={"type": "array", "items": ref("PartV2")}, other=ref("PartV2")),
        PartV2=thing(name={"type": "string"}),
    )
    completed = complete(theirs, OURS)
    assert schemas(completed.document) == {
        "Thing": thing(parts={"type": "array", "items": ref("Part")}, other=ref("Part")),
        "Part": thing(name={"type": "string"}),
    }
    assert completed.report == [
        f"additions.yaml: {CALL} is published now; our entry is dropped",
        "additions.yaml: the schema ThingV2 is Thing to the client, as it was before",
        "additions.yaml: the schema PartV2 is Part to the client, as it was before",
        "additions.yaml: Thing is published now; our entry is dropped",
        "additions.yaml: Part is published now; our entry is dropped",
    ]


def test_schemas_without_a_name_get_ours() -> None:
    """A schema that Dune declares inline gets the name in our entry."""
    theirs = responding(CALL, thing(parts={"type": "array", "items": thing(name={})}))
    completed = complete(theirs, OURS).document
    assert schemas(completed) == {
        "Thing": thing(parts={"type": "array", "items": ref("Part")}),
        "Part": thing(name={}),
    }
    response = find(completed, CALL)["responses"]["200"]  # type: ignore[index]
    assert response["content"]["application/json"]["schema"] == ref("Thing")


def test_a_reference_with_words_is_a_reference() -> None:
    """A converter wraps a reference that has a description; it is the same schema."""
    theirs = responding(CALL, {"allOf": [ref("Mine")], "description": "It"}, Mine=thing())
    assert schemas(complete(theirs, OURS).document).keys() == {"Thing", "Part"}


def test_a_schema_that_circles_is_compared_once() -> None:
    """Schemas that contain themselves are no trouble."""
    ours = responding(CALL, ref("Node"), Node=thing(next=ref("Node")))
    theirs = responding(CALL, ref("Other"), Other=thing(next=ref("Other")))
    assert schemas(complete(theirs, ours).document) == {"Node": thing(next=ref("Node"))}


def test_a_name_that_dune_uses_itself_is_not_given_away() -> None:
    """Where Dune has another schema of our name, nothing is renamed: the facts decide whether that will do."""
    theirs = responding(CALL, ref("Mine"), Mine=thing(parts={}), Thing=thing(own={}))
    completed = complete(theirs, OURS).document
    assert schemas(completed) == {"Mine": thing(parts={}), "Thing": thing(own={}), "Part": thing()}


def test_names_in_a_path_stay_ours() -> None:
    """An operation is the same under any names of path parameters, and gets the names in our entry."""
    theirs = spec_of("GET /things/{thingId}", "PUT /things/{thingId}")
    theirs["paths"]["/things/{thingId}"]["parameters"] = [
        {"in": "path", "name": "thingId", "schema": {"type": "integer"}}
    ]
    completed = complete(theirs, OURS)
    assert completed.report[:3] == [
        "rule: /things/{thingId}: the parameters of the path are now of each operation",
        f"additions.yaml: {CALL} is published now; our entry is dropped",
        f"additions.yaml: GET /things/{{thingId}} is {CALL} to the client, as it was before",
    ]
    paths = completed.document["paths"]
    assert paths["/things/{thing_id}"]["get"]["parameters"][0]["name"] == "thing_id"
    assert paths["/things/{thingId}"].keys() == {"put"}
    assert paths["/things/{thingId}"]["put"]["parameters"][0]["name"] == "thingId"


def test_only_what_is_known_to_be_missing_is_filled_in() -> None:
    """A property that Dune does not declare is gone, unless our entry says that Dune is known not to publish it."""
    ours = copy(OURS)
    schemas(ours)["Thing"]["properties"]["new"] = {"type": "string", "x-unpublished": True}
    completed = complete(responding(CALL, ref("Thing"), Thing={"type": "object"}), ours)
    assert schemas(completed.document)["Thing"] == thing(new={"type": "string"})
    assert completed.report[-1] == "additions.yaml: Thing is published without new, which is ours still"
    published = responding(CALL, ref("Thing"), Thing=thing(new={"type": "integer"}))
    assert schemas(complete(published, ours).document)["Thing"] == thing(new={"type": "integer"})


def test_one_operation_keeps_its_path() -> None:
    """An operation whose path has other names is found, and called as it was; another one is left alone."""
    document = spec_of("GET /things/{id}", "PUT /things/{id}")
    kept, other = keep_path(document, CALL)
    assert find(kept, CALL) == find(document, "GET /things/{id}")
    assert other == "GET /things/{id}"
    assert keep_path(document, "GET /other/{id}") == (document, None)
    assert keep_path(kept, CALL) == (kept, None)
