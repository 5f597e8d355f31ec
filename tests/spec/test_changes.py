"""Knows each kind of change that a spec can undergo, in which words it is told, and whom it breaks.
Must not know where specs come from."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spec.full import full_spec
from tools.changes import Effect, compare
from tools.document import Document, copy, schemas
from tools.generate import ROOT
from tools.merge import same
from tools.wrapper import Used, read_facts, used_of

CALL = "POST /v1/materialized-views/{name}/refresh"
PATH = "/v1/materialized-views/{name}/refresh"
ASKED, TOLD = "matviews.MatviewsRefreshRequest", "matviews.MatviewsRefreshResponse"
BREAKING, ALONE, HARMLESS = "breaking", "breaking for users of dune_api alone", "not breaking"


def edited(old: Document, where: str, value: Any) -> Document:
    """Return *old* with the value at *where*, keys apart by blanks, replaced; None removes it."""
    new = copy(old)
    *path, last = where.split()
    node: Any = new
    for key in path:
        node = node[int(key) if isinstance(node, list) else key]
    if value is None:
        del node[int(last) if isinstance(node, list) else last]
    elif last == "+":
        node.append(value)
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return new


FULL = full_spec()
FULL["components"]["schemas"] |= {
    "models.Unused": {"type": "object"},
    "models.Both": {
        "allOf": [{"$ref": "#/components/schemas/models.Chart"}, {"properties": {"more": {"type": "string"}}}]
    },
    "models.Rows": {"type": "array", "items": {"properties": {"a": {"type": "string", "maxLength": 5}}}},
    "models.Map": {"type": "object", "additionalProperties": {"properties": {"a": {"type": "integer"}}}},
}
USED = used_of(FULL, read_facts(ROOT))
REFRESH = f"paths {PATH} post"
GET = "paths /v1/datasets get"
SCHEMA = "components schemas"


@pytest.mark.parametrize(
    ("where", "value", "effect", "told"),
    [
        # Operations.
        (f"paths {PATH}", None, BREAKING, f"`{CALL}`: removed"),
        ("paths /v1/datasets", None, ALONE, "`GET /v1/datasets`: removed"),
        ("paths /v1/new", {"get": {"responses": {}}}, HARMLESS, "`GET /v1/new`: added"),
        (f"{REFRESH} summary", "Another", HARMLESS, f"`{CALL}`: its text changed"),
        (f"{REFRESH} deprecated", True, HARMLESS, f"`{CALL}`: deprecated"),
        # Parameters.
        (f"{REFRESH} parameters 0", None, BREAKING, f"`{CALL}`: parameter `name` (path) removed"),
        (f"{GET} parameters 0", None, ALONE, "`GET /v1/datasets`: parameter `limit` (query) removed"),
        (
            f"{REFRESH} parameters +",
            {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}},
            BREAKING,
            f"`{CALL}`: parameter `new` (query) added: string, required",
        ),
        (
            f"{GET} parameters +",
            {"in": "query", "name": "new", "required": True, "schema": {"type": "integer"}},
            ALONE,
            "`GET /v1/datasets`: parameter `new` (query) added: integer, required",
        ),
        (
            f"{REFRESH} parameters +",
            {"in": "query", "name": "new", "schema": {"type": "array", "items": {"type": "string"}}},
            HARMLESS,
            f"`{CALL}`: parameter `new` (query) added: list of string",
        ),
        (
            f"{REFRESH} parameters 2 required",
            True,
            BREAKING,
            f"`{CALL}`: parameter `api_key` (query) is required",
        ),
        (
            f"{REFRESH} parameters 0 required",
            False,
            HARMLESS,
            f"`{CALL}`: parameter `name` (path) is no longer required",
        ),
        (
            f"{REFRESH} parameters 0 schema type",
            "integer",
            BREAKING,
            f"`{CALL}`: parameter `name` (path) is integer now, and was string",
        ),
        (
            "paths /v1/query/{queryId}/pipeline get parameters 1 schema enum",
            ["medium"],
            ALONE,
            "`GET /v1/query/{queryId}/pipeline`: parameter `performance` (query) has the enum value large removed",
        ),
        (
            "paths /v1/query/{queryId}/pipeline get parameters 1 schema enum",
            ["medium", "large", "small"],
            HARMLESS,
            "`GET /v1/query/{queryId}/pipeline`: parameter `performance` (query) has the enum value small added",
        ),
        # Bodies and answers.
        (f"{REFRESH} requestBody required", True, BREAKING, f"`{CALL}`: body is required"),
        (f"{REFRESH} requestBody content text/csv", {}, HARMLESS, f"`{CALL}`: body as text/csv added"),
        (
            f"{REFRESH} requestBody content",
            {"application/json": {"schema": {"$ref": f"#/components/schemas/{ASKED}"}}},
            HARMLESS,
            f"`{CALL}`: body is application/json now, and was */*",
        ),
        (f"{REFRESH} requestBody content */*", None, BREAKING, f"`{CALL}`: body as */* removed"),
        (f"{REFRESH} responses 202", {"description": "OK"}, HARMLESS, f"`{CALL}`: answer 202 added"),
        (f"{REFRESH} responses 200", None, BREAKING, f"`{CALL}`: answer 200 removed"),
        (f"{REFRESH} responses 404", None, HARMLESS, f"`{CALL}`: answer 404 removed"),
        (f"{GET} responses 200", None, ALONE, "`GET /v1/datasets`: answer 200 removed"),
        (
            f"{REFRESH} responses 200 content application/json schema $ref",
            "#/components/schemas/models.Error400",
            BREAKING,
            f"`{CALL}`: answer 200: is models.Error400 now, and was {TOLD}",
        ),
        (
            f"{REFRESH} responses 404 content application/json schema $ref",
            "#/components/schemas/models.Error400",
            ALONE,
            f"`{CALL}`: answer 404: is models.Error400 now, and was models.Error404",
        ),
        (
            "paths /v1/whoami get responses 200 content application/json schema properties customer_id",
            None,
            ALONE,
            "`GET /v1/whoami`: answer 200: property `customer_id` removed (it was string)",
        ),
        # Schemas and their properties.
        (f"{SCHEMA} models.New", {"type": "object"}, HARMLESS, "`models.New`: schema added"),
        (f"{SCHEMA} models.Unused", None, ALONE, "`models.Unused`: schema removed"),
        (
            f"{SCHEMA} {TOLD} properties execution_id",
            None,
            BREAKING,
            f"`{TOLD}`: property `execution_id` removed (it was",
        ),
        (f"{SCHEMA} {TOLD} properties sql_id", None, ALONE, f"`{TOLD}`: property `sql_id` removed (it was string)"),
        (
            f"{SCHEMA} {TOLD} properties new",
            {"$ref": "#/components/schemas/models.Chart"},
            HARMLESS,
            f"`{TOLD}`: property `new` added: models.Chart",
        ),
        (
            f"{SCHEMA} {TOLD} properties execution_id type",
            "integer",
            BREAKING,
            f"`{TOLD}`: property `execution_id` is integer now, and was string",
        ),
        (
            f"{SCHEMA} {TOLD} properties sql_id",
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            ALONE,
            f"`{TOLD}`: property `sql_id` is string or null now, and was string",
        ),
        (
            f"{SCHEMA} {TOLD} properties execution_id nullable",
            True,
            BREAKING,
            f"`{TOLD}`: property `execution_id` may be null",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance nullable",
            True,
            HARMLESS,
            f"`{ASKED}`: property `performance` may be null",
        ),
        (f"{SCHEMA} {TOLD} required", ["execution_id"], HARMLESS, f"`{TOLD}`: property `execution_id` is required"),
        (f"{SCHEMA} {ASKED} required", ["performance"], BREAKING, f"`{ASKED}`: property `performance` is required"),
        (
            f"{SCHEMA} models.ExecuteSQLRequest required",
            None,
            HARMLESS,
            "`models.ExecuteSQLRequest`: property `sql` is no longer required",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance enum",
            ["medium", "large"],
            BREAKING,
            f"`{ASKED}`: property `performance` has an enum now: medium, large",
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties state enum +",
            "QUERY_STATE_NEW",
            HARMLESS,
            "`models.GetExecutionStatusResponse`: property `state` has the enum value QUERY_STATE_NEW added",
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties state enum",
            None,
            HARMLESS,
            "`models.GetExecutionStatusResponse`: property `state` no longer has an enum (it had QUERY_STATE_PENDING,",
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties submitted_at format",
            None,
            HARMLESS,
            "`models.GetExecutionStatusResponse`: property `submitted_at` has the format none now, and had date-time",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance description",
            "The tier. Accepts `medium`, `large`.",
            BREAKING,
            f"`{ASKED}`: property `performance` is described otherwise: “The tier. Accepts `small`,",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance description",
            "Which tier. Accepts `small`, `medium`, `large`.",
            HARMLESS,
            f"`{ASKED}`: property `performance` is described otherwise:",
        ),
        # What is declared within.
        (
            f"{SCHEMA} models.ExecutionResultResponse properties result properties rows",
            None,
            ALONE,
            "`models.ExecutionResultResponse`: property `result.rows` removed (it was list of object)",
        ),
        (
            f"{SCHEMA} models.TableList properties tables items properties size type",
            "number",
            ALONE,
            "`models.TableList`: property `tables[].size` is number now, and was integer",
        ),
        (
            f"{SCHEMA} models.TableList properties tables items properties",
            {"full_name": {"type": "string"}},
            ALONE,
            "`models.TableList`: property `tables[].size` removed (it was integer)",
        ),
        (
            f"{SCHEMA} models.Search properties categories items enum",
            ["canonical"],
            ALONE,
            "`models.Search`: `categories[]` has the enum value decoded removed",
        ),
        (
            f"{SCHEMA} models.Rows items properties a type",
            "number",
            ALONE,
            "`models.Rows`: property `[].a` is number now",
        ),
        (
            f"{SCHEMA} models.Rows items properties a maxLength",
            3,
            HARMLESS,
            "`models.Rows`: property `[].a` has maxLength 3 now, and had 5",
        ),
        (
            f"{SCHEMA} models.Map additionalProperties properties a",
            None,
            ALONE,
            "`models.Map`: property `{}.a` removed (it was integer)",
        ),
        (
            f"{SCHEMA} models.Both allOf 1 properties more",
            None,
            ALONE,
            "`models.Both`: property `allOf[1].more` removed (it was string)",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance maxLength",
            3,
            BREAKING,
            f"`{ASKED}`: property `performance` has maxLength 3 now, and had none",
        ),
        # What stands beside operations and schemas, and what there are no words for.
        (
            "servers",
            [{"url": "https://dune.test"}],
            BREAKING,
            "`servers`: is [{'url': 'https://dune.test'}] now, and was",
        ),
        ("info version", "2.0", HARMLESS, "`info`: is "),
        (
            f"{REFRESH} parameters 0 description",
            "New",
            HARMLESS,
            f"`{CALL}`: the text of parameter `name` (path) changed",
        ),
        (f"{REFRESH} x-new", True, HARMLESS, f"`{CALL}`: a detail changed, see openapi.yaml"),
    ],
)
def test_a_change_is_told_with_what_it_breaks(where: str, value: Any, effect: str, told: str) -> None:
    """Each change is one line, in the field's words, and is marked by whom it breaks."""
    (change, *rest) = compare(FULL, edited(FULL, where, value), USED)
    assert str(change).startswith(f"- **{effect}**: {told}")
    assert rest == []


def test_another_name_in_a_path_breaks_nothing() -> None:
    """An operation whose path has another name in it is the same request, and that is all that is told."""
    new = copy(FULL)
    item = new["paths"].pop("/v1/query/{query_id}/execute")
    item["post"]["parameters"][0]["name"] = "queryId"
    new["paths"]["/v1/query/{queryId}/execute"] = item
    (change,) = compare(FULL, new, USED)
    assert str(change) == (
        "- **not breaking**: `POST /v1/query/{query_id}/execute`: called `POST /v1/query/{queryId}/execute` now, which"
        " is the same request"
    )


def test_what_the_additions_rest_on_is_used_as_well() -> None:
    """A property of an answer that is deep within others is known to be read."""
    where = f"{SCHEMA} models.PipelineViewNode properties name"
    (change,) = compare(FULL, edited(FULL, where, None), Used(properties={("models.PipelineViewNode", "name")}))
    assert change.effect is Effect.BREAKING


def test_what_breaks_comes_first() -> None:
    """Changes are sorted by whom they break, whatever they are about."""
    new = edited(edited(FULL, f"{SCHEMA} models.Unused", None), f"{SCHEMA} {TOLD} properties execution_id", None)
    new["paths"]["/v1/a"] = {"get": {"responses": {}}}
    assert [change.effect for change in compare(FULL, new, USED)] == list(Effect)


def test_the_same_spec_has_no_changes() -> None:
    """Nothing is told of two specs that say the same, also where one says once what the other says for each."""
    spread = copy(FULL)
    shared = spread["paths"]["/v1/execution/{execution_id}/status"].pop("parameters")
    assert shared
    assert compare(FULL, spread, USED) == []


def leaves(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through the places of all that a spec says, but for names by which other parts are found."""
    if not isinstance(node, dict | list):
        yield where
        return
    for key, part in node.items() if isinstance(node, dict) else enumerate(node):
        if key not in ("$ref", "in", "name"):
            yield from leaves(part, (*where, key))


@given(st.sampled_from(list(leaves(FULL))))
def test_no_change_is_silent(where: tuple[Any, ...]) -> None:
    """Whatever one thing of a spec is said differently, something is told, unless the two specs say the same."""
    node: Any = (new := copy(FULL))
    *path, key = where
    for each in path:
        node = node[each]
    node[key] = not node[key] if isinstance(node[key], bool) else f"{node[key]}, otherwise"
    assert same(FULL, new) or compare(FULL, new, USED)


@given(st.sets(st.sampled_from(sorted(FULL["paths"]))), st.sets(st.sampled_from(sorted(schemas(FULL)))))
def test_nothing_that_is_gone_or_new_is_left_out(paths: set[str], names: set[str]) -> None:
    """Whatever is removed is told, by its name, and the way back tells the same things as added."""
    new = copy(FULL)
    gone = {f"`{method.upper()} {path}`" for path in paths for method in set(FULL["paths"][path]) - {"parameters"}}
    gone |= {f"`{name}`" for name in names}
    for path in paths:
        del new["paths"][path]
    # What is left refers to what is gone: the names alone are compared here.
    for name in names:
        schemas(new)[name] = {}
    removed = compare(FULL, edited(new, f"{SCHEMA} models.Error500", {}), USED)
    assert {change.subject for change in removed if change.what == "removed"} == {each for each in gone if " " in each}
    assert {name for name in gone if " " not in name} <= {change.subject for change in removed}
    added = compare(new, FULL, USED)
    assert {change.subject for change in added if change.what == "added"} == {each for each in gone if " " in each}
