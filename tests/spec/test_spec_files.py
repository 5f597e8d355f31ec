"""The promises of the committed spec files, separately and together.
Must not know how the tools work."""

import re

from oas_patch import validate  # type: ignore[import-untyped]  # oas-patch has no type information

from tools.document import Document, copy, find, operations, parse, schemas
from tools.generate import ROOT
from tools.sources import read_record, read_watched, require_as_recorded
from tools.spec import REFRESH, correct

ERRORS = {"400", "401", "404", "500"}


def test_the_vendored_spec_is_as_it_came() -> None:
    """`openapi.yaml` is, byte for byte, the content of the recorded sources."""
    require_as_recorded(ROOT)
    published = parse("openapi.yaml", (ROOT / "openapi.yaml").read_text("utf-8"))
    recorded = [call for source in read_record(ROOT) for call in source["operations"]]
    assert sorted(recorded) == sorted(str(each) for each in operations(published))


def test_the_additions_are_the_operations_around_a_refresh(additions: Document) -> None:
    """The operations around a refresh, and the life of a view, are added, each with the documented errors."""
    added = {str(operation): operation.content for operation in operations(additions)}
    assert added.keys() == {
        "GET /v1/execution/{execution_id}/status",
        "POST /v1/execution/{execution_id}/cancel",
        "GET /v1/materialized-views",
        "POST /v1/materialized-views",
        "GET /v1/materialized-views/{name}",
        "DELETE /v1/materialized-views/{name}",
        "GET /v1/query/{query_id}/pipeline",
        "POST /v1/usage",
        "GET /whoami",
    }
    for name, content in added.items():
        # Dune documents nothing of the last one: that a key may be wrong is known of all.
        assert content["responses"].keys() - {"403"} == {"200"} | ({"401"} if name == "GET /whoami" else ERRORS)
        for code in content["responses"].keys() - {"200"}:
            schema = content["responses"][code]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/models.Error{code}"}


def test_every_known_operation_is_watched(additions: Document) -> None:
    """`make update` reads Dune's page for the refresh and for every operation that we describe, if it exists."""
    pages = parse("openapi.pages.yaml", (ROOT / "openapi.pages.yaml").read_text("utf-8"))
    assert {REFRESH, *(str(each) for each in operations(additions))} <= pages.keys()
    assert [call for call, address in pages.items() if not address] == ["GET /whoami"]
    watched = read_watched(ROOT)
    assert watched == [address for address in pages.values() if address]
    assert all(re.fullmatch(r"https://docs\.dune\.com/api-reference/[a-z/-]+\.md", each) for each in watched)


def test_the_additions_require_no_property(additions: Document) -> None:
    """As in Dune's own schemas, every property of a response is optional."""
    assert [name for name, schema in schemas(additions).items() if "required" in schema] == []


def test_the_overlay_is_valid(overlay: Document) -> None:
    """`overlay.yaml` is an OpenAPI Overlay 1.0."""
    assert overlay["overlay"] == "1.0.0"
    assert validate(overlay, "sh") == "Validation successful"


def test_every_action_says_why_and_what_it_corrects(overlay: Document) -> None:
    """Each action of the overlay has its reason as `description`, and names its subjects in `x-applies-to`."""
    assert [action for action in overlay["actions"] if not action.get("description")] == []
    assert [action for action in overlay["actions"] if not action.get("x-applies-to")] == []


def test_all_corrections_are_in_use(published: Document, additions: Document, overlay: Document) -> None:
    """Nothing of the committed additions and overlay is dropped or skipped; only the general rules have to report."""
    report = correct(published, additions, overlay).report
    assert [line for line in report if not line.startswith("rule: ")] == []


def test_modules_get_readable_places(published: Document, additions: Document, overlay: Document) -> None:
    """Ids and tags place the operations in folders with readable names."""
    document = correct(published, additions, overlay).document
    places = {(operation.content["tags"][0], operation.content["operationId"]) for operation in operations(document)}
    assert places == {
        ("materialized_views", "refresh_materialized_view"),
        ("materialized_views", "get_materialized_view"),
        ("materialized_views", "list_materialized_views"),
        ("materialized_views", "upsert_materialized_view"),
        ("materialized_views", "delete_materialized_view"),
        ("executions", "get_execution_status"),
        ("executions", "cancel_execution"),
        ("queries", "get_query_pipeline"),
        ("usage", "get_usage"),
        ("account", "get_whoami"),
    }


def test_the_tier_stays_an_open_string(published: Document, additions: Document, overlay: Document) -> None:
    """The tiers are decided elsewhere: the corrected spec keeps the published description of `performance`."""
    document = correct(published, additions, overlay).document
    request = "matviews.MatviewsRefreshRequest"
    assert find(document, request) == find(published, request)
    assert schemas(document)[request]["properties"]["performance"]["type"] == "string"


def test_our_declarations_are_right_where_dunes_own_are_wrong(additions: Document) -> None:
    """Paging takes numbers, no parameter of a path is one that the path lacks, and every body has a media type."""
    listing = find(additions, "GET /v1/materialized-views")
    assert listing is not None
    types = {each["name"]: each["schema"]["type"] for each in listing["parameters"]}
    assert (types["limit"], types["offset"]) == ("integer", "integer")
    for operation in operations(additions):
        content = operation.content
        in_path = [each["name"] for each in content["parameters"] if each["in"] == "path"]
        assert all(f"{{{name}}}" in operation.path for name in in_path)
        assert list(content.get("requestBody", {}).get("content", {"application/json": {}})) == ["application/json"]


def test_the_overlay_awaits_dunes_own_declarations(published: Document, additions: Document, overlay: Document) -> None:
    """Vendored as Dune declares them, list and upsert come out as ours do, and additions.yaml's entries are dropped."""
    theirs = copy(published)
    ours = schemas(additions)
    for path, method in (("/v1/materialized-views", "get"), ("/v1/materialized-views", "post")):
        theirs["paths"].setdefault(path, {})[method] = copy(additions["paths"][path][method])
    listing, upsert = theirs["paths"]["/v1/materialized-views"].values()
    for parameter in listing["parameters"]:
        parameter["schema"]["type"] = "string"
    upsert["parameters"].insert(0, {"in": "path", "name": "name", "required": True, "schema": {"type": "string"}})
    upsert["requestBody"]["content"] = {"*/*": upsert["requestBody"]["content"]["application/json"]}
    theirs["components"]["schemas"] |= {name: ours[name] for name in ours if name.startswith("matviews.")}

    corrected = correct(theirs, additions, overlay)
    assert corrected.document == correct(published, additions, overlay).document
    dropped = [line for line in corrected.report if "is published now" in line]
    assert [line.split(" is ")[0] for line in dropped if "/v1/" in line] == [
        "additions.yaml: GET /v1/materialized-views",
        "additions.yaml: POST /v1/materialized-views",
    ]
