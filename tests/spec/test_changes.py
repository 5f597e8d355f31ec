"""Every kind of change of a spec, its message, and the users it breaks.
Must not know where specs come from."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spec.full import TEXT, WHOLE, full_spec
from tools.change import Effect, Rank
from tools.changes import compare
from tools.document import Document, copy, schemas
from tools.generate import ROOT
from tools.merge import same
from tools.wrapper import Used, read_facts, used_of

CALL = "POST /v1/materialized-views/{name}/refresh"
PATH = "/v1/materialized-views/{name}/refresh"
ASKED, TOLD = "matviews.MatviewsRefreshRequest", "matviews.MatviewsRefreshResponse"
ALONE = f"**{Effect.GENERATED}**: "


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
    ("where", "value", "rank", "told"),
    [
        # Operations.
        (f"paths {PATH}", None, Rank.LOOK, f"**breaking**: `{CALL}`: removed"),
        (
            "paths /v1/datasets",
            None,
            Rank.REST,
            f"{ALONE}`GET /v1/datasets`: removed",
        ),
        ("paths /v1/new", {"get": {"responses": {}}}, Rank.NEW, "`GET /v1/new`: added"),
        (
            f"{REFRESH} summary",
            "Another",
            Rank.REST,
            f"`{CALL}`: its summary is `Another` now, and was `Refreshes a view`",
        ),
        (f"{REFRESH} deprecated", True, Rank.LOOK, f"`{CALL}`: deprecated"),
        # Parameters.
        (f"{REFRESH} parameters 0", None, Rank.LOOK, f"**breaking**: `{CALL}`: parameter `name` (`path`) removed"),
        (
            f"{GET} parameters 0",
            None,
            Rank.REST,
            f"{ALONE}`GET /v1/datasets`: parameter `limit` (`query`) removed",
        ),
        (
            f"{REFRESH} parameters +",
            {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}},
            Rank.LOOK,
            f"**breaking**: `{CALL}`: parameter `new` (`query`) added: `string`, required",
        ),
        (
            f"{GET} parameters +",
            {"in": "query", "name": "new", "required": True, "schema": {"type": "integer"}},
            Rank.REST,
            f"{ALONE}`GET /v1/datasets`: parameter `new` (`query`) added: `integer`, required",
        ),
        (
            f"{REFRESH} parameters +",
            {"in": "query", "name": "new", "schema": {"type": "array", "items": {"type": "string"}}},
            Rank.GAIN,
            f"`{CALL}`: parameter `new` (`query`) added: `list of string`",
        ),
        (
            f"{REFRESH} parameters 2 required",
            True,
            Rank.LOOK,
            f"**breaking**: `{CALL}`: parameter `api_key` (`query`) is required",
        ),
        (
            f"{REFRESH} parameters 0 required",
            False,
            Rank.LOOK,
            f"`{CALL}`: parameter `name` (`path`) is no longer required",
        ),
        (
            f"{REFRESH} parameters 0 schema type",
            "integer",
            Rank.LOOK,
            f"**breaking**: `{CALL}`: parameter `name` (`path`) is `integer` now, and was `string`",
        ),
        (
            "paths /v1/query/{queryId}/pipeline get parameters 1 schema enum",
            ["medium"],
            Rank.REST,
            (
                f"{ALONE}`GET /v1/query/{{queryId}}/pipeline`: parameter `performance` (`query`) has the enum value "
                "`large` removed"
            ),
        ),
        (
            "paths /v1/query/{queryId}/pipeline get parameters 1 schema enum",
            ["medium", "large", "small"],
            Rank.GAIN,
            "`GET /v1/query/{queryId}/pipeline`: parameter `performance` (`query`) has the enum value `small` added",
        ),
        # Bodies and responses.
        (f"{REFRESH} requestBody required", True, Rank.LOOK, f"**breaking**: `{CALL}`: body is required"),
        (f"{REFRESH} requestBody content text/csv", {}, Rank.GAIN, f"`{CALL}`: body as `text/csv` added"),
        (
            f"{REFRESH} requestBody content",
            {"application/json": {"schema": {"$ref": f"#/components/schemas/{ASKED}"}}},
            Rank.REST,
            f"`{CALL}`: body is `application/json` now, and was `*/*`",
        ),
        (f"{REFRESH} requestBody content */*", None, Rank.LOOK, f"**breaking**: `{CALL}`: body as `*/*` removed"),
        (f"{REFRESH} responses 202", {"description": "OK"}, Rank.GAIN, f"`{CALL}`: response `202` added"),
        (f"{REFRESH} responses 200", None, Rank.LOOK, f"**breaking**: `{CALL}`: response `200` removed"),
        (f"{REFRESH} responses 404", None, Rank.REST, f"`{CALL}`: response `404` removed"),
        (
            f"{GET} responses 200",
            None,
            Rank.REST,
            f"{ALONE}`GET /v1/datasets`: response `200` removed",
        ),
        (
            f"{REFRESH} responses 200 content application/json schema $ref",
            "#/components/schemas/models.Error400",
            Rank.LOOK,
            f"**breaking**: `{CALL}`: response `200`: is `models.Error400` now, and was `{TOLD}`",
        ),
        (
            f"{REFRESH} responses 404 content application/json schema $ref",
            "#/components/schemas/models.Error400",
            Rank.REST,
            f"{ALONE}`{CALL}`: response `404`: is `models.Error400` now, and was `models.Error404`",
        ),
        (
            "paths /v1/whoami get responses 200 content application/json schema properties customer_id",
            None,
            Rank.REST,
            f"{ALONE}`GET /v1/whoami`: response `200`: property `customer_id` removed (it was `string`)",
        ),
        # Schemas and their properties.
        (f"{SCHEMA} models.New", {"type": "object"}, Rank.REST, "`models.New`: schema added"),
        (
            f"{SCHEMA} models.Unused",
            None,
            Rank.REST,
            f"{ALONE}`models.Unused`: schema removed",
        ),
        (
            f"{SCHEMA} {TOLD} properties execution_id",
            None,
            Rank.LOOK,
            f"**breaking**: `{TOLD}`: property `execution_id` removed (it was `string`)",
        ),
        (
            f"{SCHEMA} {TOLD} properties sql_id",
            None,
            Rank.REST,
            f"{ALONE}`{TOLD}`: property `sql_id` removed (it was `string`)",
        ),
        (
            f"{SCHEMA} {TOLD} properties new",
            {"$ref": "#/components/schemas/models.Chart"},
            Rank.GAIN,
            f"`{TOLD}`: property `new` added: `models.Chart`",
        ),
        (
            f"{SCHEMA} {TOLD} properties execution_id type",
            "integer",
            Rank.LOOK,
            f"**breaking**: `{TOLD}`: property `execution_id` is `integer` now, and was `string`",
        ),
        (
            f"{SCHEMA} {TOLD} properties sql_id",
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            Rank.REST,
            f"{ALONE}`{TOLD}`: property `sql_id` is `string or null` now, and was `string`",
        ),
        (
            f"{SCHEMA} {TOLD} properties execution_id nullable",
            True,
            Rank.LOOK,
            f"**breaking**: `{TOLD}`: property `execution_id` may be null",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance nullable",
            True,
            Rank.REST,
            f"`{ASKED}`: property `performance` may be null",
        ),
        (f"{SCHEMA} {TOLD} required", ["execution_id"], Rank.LOOK, f"`{TOLD}`: property `execution_id` is required"),
        (
            f"{SCHEMA} {ASKED} required",
            ["performance"],
            Rank.LOOK,
            f"**breaking**: `{ASKED}`: property `performance` is required",
        ),
        (
            f"{SCHEMA} models.ExecuteSQLRequest required",
            None,
            Rank.REST,
            "`models.ExecuteSQLRequest`: property `sql` is no longer required",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance enum",
            ["medium", "large"],
            Rank.LOOK,
            f"**breaking**: `{ASKED}`: property `performance` has an enum now: `medium`, `large`",
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties state enum +",
            "QUERY_STATE_NEW",
            Rank.GAIN,
            "`models.GetExecutionStatusResponse`: property `state` has the enum value `QUERY_STATE_NEW` added",
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties state enum",
            None,
            Rank.REST,
            (
                "`models.GetExecutionStatusResponse`: property `state` no longer has an enum (it had "
                "`QUERY_STATE_PENDING`, `QUERY_STATE_EXECUTING`, `QUERY_STATE_COMPLETED`, "
                "`QUERY_STATE_COMPLETED_PARTIAL`, `QUERY_STATE_FAILED`, `QUERY_STATE_CANCELED`, "
                "`QUERY_STATE_EXPIRED`)"
            ),
        ),
        (
            f"{SCHEMA} models.GetExecutionStatusResponse properties submitted_at format",
            None,
            Rank.REST,
            (
                "`models.GetExecutionStatusResponse`: property `submitted_at`: `format` is not there now, and was "
                "`date-time`"
            ),
        ),
        (
            f"{SCHEMA} {ASKED} properties performance description",
            "The tier. Accepts `medium`, `large`.",
            Rank.LOOK,
            (
                f"**breaking**: `{ASKED}`: the description of property `performance` is ``The tier. Accepts `medium`, "
                "`large`.`` now, and was ``The tier. Accepts `small`, `medium`, `large`.``"
            ),
        ),
        (
            f"{SCHEMA} {ASKED} properties performance description",
            "Which tier. Accepts `small`, `medium`, `large`.",
            Rank.REST,
            (
                f"`{ASKED}`: the description of property `performance` is ``Which tier. Accepts `small`, `medium`, "
                "`large`.`` now, and was ``The tier. Accepts `small`, `medium`, `large`.``"
            ),
        ),
        # What is declared within.
        (
            f"{SCHEMA} models.ExecutionResultResponse properties result properties rows",
            None,
            Rank.REST,
            f"{ALONE}`models.ExecutionResultResponse`: property `result.rows` removed (it was `list of object`)",
        ),
        (
            f"{SCHEMA} models.TableList properties tables items properties size type",
            "number",
            Rank.REST,
            f"{ALONE}`models.TableList`: property `tables[].size` is `number` now, and was `integer`",
        ),
        (
            f"{SCHEMA} models.TableList properties tables items properties",
            {"full_name": {"type": "string"}},
            Rank.REST,
            f"{ALONE}`models.TableList`: property `tables[].size` removed (it was `integer`)",
        ),
        (
            f"{SCHEMA} models.Search properties categories items enum",
            ["canonical"],
            Rank.REST,
            f"{ALONE}`models.Search`: `categories[]` has the enum value `decoded` removed",
        ),
        (
            f"{SCHEMA} models.Rows items properties a type",
            "number",
            Rank.REST,
            f"{ALONE}`models.Rows`: property `[].a` is `number` now, and was `string`",
        ),
        (
            f"{SCHEMA} models.Rows items properties a maxLength",
            3,
            Rank.REST,
            "`models.Rows`: property `[].a`: `maxLength` is `3` now, and was `5`",
        ),
        (
            f"{SCHEMA} models.Map additionalProperties properties a",
            None,
            Rank.REST,
            f"{ALONE}`models.Map`: property `{{}}.a` removed (it was `integer`)",
        ),
        (
            f"{SCHEMA} models.Both allOf 1 properties more",
            None,
            Rank.REST,
            f"{ALONE}`models.Both`: property `allOf[1].more` removed (it was `string`)",
        ),
        (
            f"{SCHEMA} {ASKED} properties performance maxLength",
            3,
            Rank.LOOK,
            f"**breaking**: `{ASKED}`: property `performance`: `maxLength` is `3` now, and was not there",
        ),
        # What stands beside operations and schemas, and what there are no words for.
        (
            "servers",
            [{"url": "https://dune.test"}],
            Rank.LOOK,
            "**breaking**: `servers`: `[0].url` is `https://dune.test` now, and was `https://api.dune.com/api`",
        ),
        ("info version", "2.0", Rank.REST, "`info`: `version` is `2.0` now, and was `1.0`"),
        (
            f"{REFRESH} parameters 0 description",
            "New",
            Rank.REST,
            f"`{CALL}`: the description of parameter `name` (`path`) is `New` now, and was `The name`",
        ),
        (f"{REFRESH} x-new", True, Rank.REST, f"`{CALL}`: `x-new` is `true` now, and was not there"),
    ],
)
def test_a_change_is_told_with_what_it_breaks(where: str, value: Any, rank: Rank, told: str) -> None:
    """Each change is one line, with its effect on users, and ranked by importance."""
    (change, *rest) = compare(FULL, edited(FULL, where, value), USED)
    assert (str(change), change.rank) == (f"- {told}", rank)
    assert rest == []


def test_another_name_in_a_path_breaks_nothing() -> None:
    """An operation with another name in its path is the same request, and only the rename is reported."""
    new = copy(FULL)
    item = new["paths"].pop("/v1/query/{query_id}/execute")
    item["post"]["parameters"][0]["name"] = "queryId"
    new["paths"]["/v1/query/{queryId}/execute"] = item
    (change,) = compare(FULL, new, USED)
    assert str(change) == (
        "- `POST /v1/query/{query_id}/execute`: called `POST /v1/query/{queryId}/execute` now, "
        "which is the same request"
    )


def test_what_the_additions_rest_on_is_used_as_well() -> None:
    """A property deep within a response is known to be read."""
    where = f"{SCHEMA} models.PipelineViewNode properties name"
    (change,) = compare(FULL, edited(FULL, where, None), Used(properties={("models.PipelineViewNode", "name")}))
    assert change.effect is Effect.BREAKING


def test_what_breaks_comes_first() -> None:
    """Changes are sorted by importance, then by the users they break."""
    new = edited(edited(FULL, f"{SCHEMA} models.Unused", None), f"{SCHEMA} {TOLD} properties execution_id", None)
    new = edited(edited(new, f"{SCHEMA} {TOLD} properties other", TEXT), f"{SCHEMA} models.New", {})
    new["paths"]["/v1/a"] = {"get": {"responses": {}}}
    assert [(change.rank, change.effect) for change in compare(FULL, new, USED)] == [
        (Rank.LOOK, Effect.BREAKING),
        (Rank.GAIN, Effect.NONE),
        (Rank.NEW, Effect.NONE),
        (Rank.REST, Effect.GENERATED),
        (Rank.REST, Effect.NONE),
    ]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (f"{REFRESH} parameters +", {"in": "header", "name": "Idempotency-Key", "schema": TEXT}),
        (f"{REFRESH} parameters +", {"in": "header", "name": "X-Request-Id", "schema": TEXT}),
        (f"{REFRESH} description", "Refreshes a view. Idempotent by its header."),
        (f"{SCHEMA} {ASKED} properties client_request_token", TEXT),
        (f"{SCHEMA} {ASKED} properties max_credits", WHOLE),
        (f"{SCHEMA} {ASKED} properties cost_cap", WHOLE),
        (f"{SCHEMA} {ASKED} properties budget", WHOLE),
        (f"{SCHEMA} {ASKED} properties performance description", "Deprecated. Accepts `small`, `medium`, `large`."),
        (f"{SCHEMA} {ASKED} properties performance deprecated", True),
        (f"{SCHEMA} {TOLD} properties execution_id deprecated", True),
        (f"{REFRESH} parameters 0 deprecated", True),
        (f"{REFRESH} deprecated", True),
        (f"{REFRESH} requestBody required", False),
        (f"{SCHEMA} {TOLD} required", ["execution_id"]),
    ],
)
def test_what_touches_the_project_is_to_be_looked_at(where: str, value: Any) -> None:
    """An idempotency key, a credit cap, a deprecation and new requirements come first."""
    old = edited(FULL, f"{REFRESH} requestBody required", True) if value is False else FULL
    (change,) = compare(old, edited(old, where, value), USED)
    assert (change.rank, change.effect) == (Rank.LOOK, Effect.NONE)


@pytest.mark.parametrize(
    ("where", "value", "rank"),
    [
        (f"{GET} deprecated", True, Rank.REST),
        (f"{GET} description", "Deprecated.", Rank.REST),
        (f"{SCHEMA} models.Chart properties max_credits", WHOLE, Rank.REST),
        (f"{SCHEMA} {ASKED} properties capture", TEXT, Rank.GAIN),
        (f"{SCHEMA} {ASKED} properties region", TEXT, Rank.GAIN),
        (f"{SCHEMA} {TOLD} properties max_credits", WHOLE, Rank.GAIN),
    ],
)
def test_what_does_not_touch_it_is_not(where: str, value: Any, rank: Rank) -> None:
    """The same words elsewhere, and other words here, need no attention."""
    (change,) = compare(FULL, edited(FULL, where, value), USED)
    assert change.rank is rank


def test_what_dune_no_longer_publishes_and_we_describe_is_told() -> None:
    """Such an operation stays in the client, by our description, and its removal needs attention."""
    call = "POST /v1/usage"
    (change, *rest) = compare(FULL, edited(FULL, "paths /v1/usage", None), USED, frozenset({call}))
    assert str(change) == f"- `{call}`: no longer published; additions.yaml describes it still"
    assert (change.rank, rest) == (Rank.LOOK, [])


def test_a_long_text_is_shown_where_it_differs() -> None:
    """Two long texts with the same beginning are shown from shortly before their first difference."""
    old = edited(FULL, f"{REFRESH} description", "Much is said. " * 40 + "It costs nothing. " + "So be it. " * 40)
    new = edited(old, f"{REFRESH} description", old["paths"][PATH]["post"]["description"].replace("nothing", "much"))
    (change,) = compare(old, new, USED)
    before, after = re.findall("`…(.*?)`", change.what)
    assert "It costs much." in before
    assert "It costs nothing." in after
    assert len(change.what) < 700


def test_the_same_spec_has_no_changes() -> None:
    """Two specs with the same content yield no report, even if one repeats what the other shares."""
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
    """For every single difference of a spec, there is a report, unless the contents are the same."""
    node: Any = (new := copy(FULL))
    *path, key = where
    for each in path:
        node = node[each]
    node[key] = not node[key] if isinstance(node[key], bool) else f"{node[key]}, otherwise"
    assert same(FULL, new) or compare(FULL, new, USED)


@given(st.sets(st.sampled_from(sorted(FULL["paths"]))), st.sets(st.sampled_from(sorted(schemas(FULL)))))
def test_nothing_that_is_gone_or_new_is_left_out(paths: set[str], names: set[str]) -> None:
    """Every removal is reported by name, and the reverse reports the same things as added."""
    new = copy(FULL)
    gone = {f"{method.upper()} {path}" for path in paths for method in set(FULL["paths"][path]) - {"parameters"}}
    gone |= set(names)
    for path in paths:
        del new["paths"][path]
    # What is left refers to what is gone: the names alone are compared here.
    for name in names:
        schemas(new)[name] = {}
    removed = compare(FULL, edited(new, f"{SCHEMA} models.Error500", {}), USED)
    assert {change.subject for change in removed if change.what == "removed"} == {each for each in gone if " " in each}
    assert {name for name in gone if " " not in name} <= {change.subject for change in removed}
    added = compare(new, FULL, USED)
    assert {change.subject for change in added if change.what.startswith("added")} == {
        each for each in gone if " " in each
    }
