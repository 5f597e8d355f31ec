"""Knows what the committed spec files promise, each for itself and taken together.
Must not know how the tools work."""

import hashlib

from oas_patch import validate  # type: ignore[import-untyped]  # oas-patch has no type information

from tools.document import Document, find, operations, schemas
from tools.generate import ROOT
from tools.spec import correct

ERRORS = {"400", "401", "404", "500"}


def test_the_vendored_spec_is_the_published_block() -> None:
    """`openapi.yaml` is, byte for byte, the block on Dune's page; when it is updated, this number is, too."""
    digest = hashlib.sha256((ROOT / "openapi.yaml").read_bytes()).hexdigest()
    assert digest == "2324f5ab24b6194ea7d3d7aeadb815339d4c978faf67ab6c67696422aabffaad"


def test_the_additions_are_the_operations_around_a_refresh(additions: Document) -> None:
    """Status, cancel and the view's details are added, each with the documented errors."""
    added = {str(operation): operation.content for operation in operations(additions)}
    assert added.keys() == {
        "GET /v1/execution/{execution_id}/status",
        "POST /v1/execution/{execution_id}/cancel",
        "GET /v1/materialized-views/{name}",
    }
    for content in added.values():
        assert content["responses"].keys() - {"403"} == {"200"} | ERRORS
        for code in content["responses"].keys() - {"200"}:
            schema = content["responses"][code]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/models.Error{code}"}


def test_the_additions_require_no_property(additions: Document) -> None:
    """As in Dune's own schemas, any property of an answer may be absent."""
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
    """Ids and tags place the operations in `api/materialized_views/` and `api/executions/`."""
    document = correct(published, additions, overlay).document
    places = {(operation.content["tags"][0], operation.content["operationId"]) for operation in operations(document)}
    assert places == {
        ("materialized_views", "refresh_materialized_view"),
        ("materialized_views", "get_materialized_view"),
        ("executions", "get_execution_status"),
        ("executions", "cancel_execution"),
    }


def test_the_tier_stays_an_open_string(published: Document, additions: Document, overlay: Document) -> None:
    """Which tiers exist is decided elsewhere: the corrected spec says of `performance` what the published one says."""
    document = correct(published, additions, overlay).document
    request = "matviews.MatviewsRefreshRequest"
    assert find(document, request) == find(published, request)
    assert schemas(document)[request]["properties"]["performance"]["type"] == "string"
