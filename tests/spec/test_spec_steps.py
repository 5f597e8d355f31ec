"""Knows how a spec is read, completed and corrected, and every way in which a correction can fail to fit.
Must not generate anything."""

import re
from typing import Any

import pytest

from tests.spec.conftest import ACTION
from tools.additions import complete
from tools.document import Corrected, Document, ToolError, copy, find, parse, render, resolve, schemas
from tools.spec import REFRESH, correct, lay_over

STATUS = "GET /v1/execution/{execution_id}/status"
PATH = "/v1/materialized-views/{name}/refresh"
CANCEL = "POST /v1/execution/{execution_id}/cancel"


def overlay_of(*actions: Document) -> Document:
    """Return an overlay of these actions."""
    return {"overlay": "1.0.0", "info": {"title": "test", "version": "1"}, "actions": list(actions)}


def action_on(target: str, subject: str | list[str], **what: Any) -> Document:
    """Return an action that gives a reason."""
    return {"target": target, "x-applies-to": subject, "description": "a good reason", **what}


def spec_of(**named: Document) -> Document:
    """Return a spec of these schemas."""
    return {"paths": {}, "components": {"schemas": named}}


def told(overlaid: Corrected) -> list[str]:
    """Return the first line of each misfit."""
    return [misfit.split("\n")[0] for misfit in overlaid.misfits]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
        "a: &a {b: *a}",
        "a: &a {x: 1}\nb: {<<: *a}",
    ],
)
def test_aliases_are_refused(text: str) -> None:
    """YAML that means much more than it says is refused before it is unfolded, by the name of its first alias."""
    with pytest.raises(ToolError, match=r"x\.yaml is not valid YAML: the alias \*a is not taken"):
        parse("x.yaml", text)


@pytest.mark.parametrize("text", ["a: " + "[" * 3000 + "]" * 3000, '{"a": ' + "[" * 99_999 + "]" * 99_999 + "}"])
def test_what_is_nested_without_end_is_refused(text: str) -> None:
    """A document that is nested too deeply to be walked through is one message, not a traceback."""
    with pytest.raises(ToolError, match=r"x\.yaml is nested too deeply for a spec"):
        parse("x.yaml", text)


def test_what_is_written_has_no_alias() -> None:
    """Shared parts of a document are written twice, so that it can be read again."""
    shared = {"type": "string"}
    document = spec_of(One=shared, Two=shared)
    assert parse("x.yaml", render(document)) == document


def test_dates_stay_text() -> None:
    """A timestamp without quotes is read as the text that it is, because OpenAPI documents have no timestamps."""
    assert parse("x.yaml", "example: 2024-12-20T11:04:18Z") == {"example": "2024-12-20T11:04:18Z"}


@pytest.mark.parametrize("text", ["a: [", "- a", "just text", ""])
def test_unreadable_yaml_is_one_message(text: str) -> None:
    """A file that is no YAML mapping is reported by its name."""
    with pytest.raises(ToolError, match=r"x\.yaml"):
        parse("x.yaml", text)


def test_a_dangling_reference_is_one_message() -> None:
    """A reference to something that the spec lacks is reported as it stands there."""
    with pytest.raises(ToolError, match="#/components/schemas/Lost"):
        resolve(spec_of(), {"$ref": "#/components/schemas/Lost"})


def test_inputs_are_left_alone(published: Document, additions: Document, overlay: Document) -> None:
    """Correcting is a pure function: none of the three documents is changed."""
    before = copy(published), copy(additions), copy(overlay)
    correct(published, additions, overlay)
    assert before == (published, additions, overlay)


@pytest.mark.parametrize(
    "malformed", [{"paths": None}, {"components": []}, {"components": {"schemas": {"models.Error400": {}}}}]
)
def test_a_malformed_spec_is_one_message(
    malformed: Document, published: Document, additions: Document, overlay: Document
) -> None:
    """A document that is not OpenAPI, or lacks referenced parts, ends in a message without a traceback."""
    with pytest.raises(ToolError):
        correct(published | malformed, additions, overlay)


def test_additions_complete_the_spec(published: Document, additions: Document) -> None:
    """Parts that only the additions have are added without a report."""
    completed = complete(published, additions)
    assert find(completed.document, STATUS) == find(additions, STATUS)
    ours = copy(schemas(additions))
    assert ours["matviews.MatviewsGetResponse"]["properties"]["schedule"].pop("x-unpublished") is True
    assert schemas(completed.document) == schemas(published) | ours
    assert completed.report == []


def test_a_published_operation_replaces_ours(published: Document, additions: Document) -> None:
    """An operation that Dune publishes by now is taken from there; ours is dropped, and that is said."""
    theirs: Document = {"summary": "theirs", "responses": {}}
    published["paths"]["/v1/execution/{execution_id}/status"] = {"get": theirs}
    completed = complete(published, additions)
    assert find(completed.document, STATUS) == theirs
    assert find(completed.document, CANCEL) == find(additions, CANCEL)
    assert completed.report == [f"additions.yaml: {STATUS} is published now; our entry is dropped"]


def test_a_published_schema_replaces_ours(published: Document, additions: Document) -> None:
    """A schema that Dune publishes by now is taken from there; ours is dropped, and that is said."""
    theirs = {"type": "object", "description": "theirs"}
    schemas(published)["models.QueryResultError"] = theirs
    completed = complete(published, additions)
    assert schemas(completed.document)["models.QueryResultError"] == theirs
    assert completed.report == ["additions.yaml: models.QueryResultError is published now; our entry is dropped"]


def test_the_refresh_is_never_optional(published: Document, additions: Document, overlay: Document) -> None:
    """Without the refresh operation nothing is corrected, also when the additions have one."""
    additions["paths"] |= published["paths"]
    published["paths"] = {}
    with pytest.raises(ToolError, match=re.escape(f"openapi.yaml lacks {REFRESH}")):
        correct(published, additions, overlay)


def test_an_absent_operation_is_skipped_and_listed(published: Document, additions: Document, overlay: Document) -> None:
    """Where the spec lacks an operation other than the refresh, its corrections are passed over, and that is said."""
    del additions["paths"]["/v1/execution/{execution_id}/cancel"]
    corrected = correct(published, additions, overlay)
    assert [line for line in corrected.report if not line.startswith("rule: ")] == [
        f"overlay.yaml: skipped, because the spec lacks {CANCEL}: Dune publishes neither ids nor tags,"
        " and a module named after the path is not pleasant to import."
    ]


def test_an_action_that_hits_nothing_is_a_misfit(published: Document, additions: Document, overlay: Document) -> None:
    """A correction without a remaining error is reported, with its reason and a hint at the cause."""
    overlay["actions"].append(ACTION)
    assert correct(published, additions, overlay).misfits == []
    del published["paths"]["/v1/materialized-views/{name}/refresh"]["post"]["summary"]
    (message,) = correct(published, additions, overlay).misfits
    assert f"an action on {REFRESH} does not fit: its target hits nothing" in message
    assert "reason: A reason of ours." in message
    assert "Dune may have mended this itself" in message


def test_an_action_must_hit_what_it_names() -> None:
    """A target in another schema than `x-applies-to` names counts as hitting nothing."""
    document = spec_of(One={"type": "object"}, Two={"type": "object"})
    overlaid = lay_over(document, overlay_of(action_on("$.components.schemas.One", "Two", update={"title": "x"})))
    assert overlaid.document == document
    assert told(overlaid) == ["overlay.yaml: an action on Two does not fit: its target hits nothing"]


def test_one_misfit_stands_in_no_others_way() -> None:
    """Actions after a misfit are applied, and every misfit is reported."""
    misfit = action_on("$.components.schemas.One.gone", "One", remove=True)
    fitting = action_on("$.components.schemas.One", "One", update={"title": "x"})
    overlaid = lay_over(spec_of(One={}), overlay_of(misfit, fitting, misfit | {"description": "another"}))
    assert schemas(overlaid.document) == {"One": {"title": "x"}}
    assert told(overlaid) == ["overlay.yaml: an action on One does not fit: its target hits nothing"] * 2


def test_each_of_several_subjects_counts_for_itself() -> None:
    """An action on several schemas corrects those there are and lists the others, but has to hit each that is there."""
    document = spec_of(One={"type": "string"}, Two={"type": "string"})
    action = action_on("$.components.schemas['One','Two','Three'].type", ["One", "Two", "Three"], remove=True)
    overlaid = lay_over(document, overlay_of(action))
    assert schemas(overlaid.document) == {"One": {}, "Two": {}}
    assert overlaid.report == ["overlay.yaml: skipped, because the spec lacks Three: a good reason"]
    overlaid = lay_over(spec_of(One={"type": "string"}, Two={}), overlay_of(action))
    assert told(overlaid) == ["overlay.yaml: an action on Two does not fit: its target hits nothing"]


def test_what_an_action_adds_is_not_shared() -> None:
    """Two schemas that one action corrects are independent for the next one."""
    document = spec_of(One={}, Two={})
    both = action_on("$.components.schemas['One','Two']", ["One", "Two"], update={"properties": {"a": {}}})
    one = action_on("$.components.schemas.One.properties.a", "One", update={"type": "string"})
    overlaid = lay_over(document, overlay_of(both, one))
    assert schemas(overlaid.document) == {
        "One": {"properties": {"a": {"type": "string"}}},
        "Two": {"properties": {"a": {}}},
    }


def test_an_action_never_lengthens_a_list_by_merging() -> None:
    """Where Dune publishes a list that a correction means to set, the work stops instead of mixing the two."""
    action = action_on("$.components.schemas.One", "One", update={"required": ["ours"]})
    overlaid = lay_over(spec_of(One={"required": ["theirs"]}), overlay_of(action))
    assert schemas(overlaid.document) == {"One": {"required": ["theirs"]}}
    assert told(overlaid) == [
        "overlay.yaml: an action on One does not fit: its update would lengthen a list that the spec has by now"
    ]


def test_names_are_ours_to_choose(published: Document, additions: Document, overlay: Document) -> None:
    """If Dune publishes ids and tags, ours stay, so that imports keep working."""
    ours = correct(published, additions, overlay)
    theirs = copy(published)
    theirs["paths"][PATH]["post"] |= {"tags": ["theirs", "more"], "operationId": "theirs"}
    corrected = correct(theirs, additions, overlay)
    assert corrected.document == ours.document
    assert set(corrected.report) - set(ours.report) == {
        f"overlay.yaml: {REFRESH} has tags by now; it keeps its place by ours"
    }


def test_another_name_in_the_refreshs_path_does_not_count(
    published: Document, additions: Document, overlay: Document
) -> None:
    """Should Dune call the view in the refresh's path otherwise, the operation is the same, by its old name."""
    theirs = copy(published)
    theirs["paths"] = {PATH.replace("{name}", "{matviewName}"): theirs["paths"][PATH]}
    theirs["paths"][PATH.replace("{name}", "{matviewName}")]["post"]["parameters"][0]["name"] = "matviewName"
    corrected = correct(theirs, additions, overlay)
    assert corrected.document == correct(published, additions, overlay).document
    assert "to the client, as it was before" in corrected.report[0]


@pytest.mark.parametrize(
    "faulty",
    [
        {"description": ""},
        {"x-applies-to": []},
        {"remove": False},
        {"remove": True, "update": {}},
        {"target": "components"},
        {"target": "$.components["},
        {"target": "$.components.schemas.One.enum[0]", "update": "x"},
    ],
)
def test_a_faulty_action_is_one_message(faulty: Document) -> None:
    """An action that lacks something, contradicts itself or cannot be carried out is named, not passed over."""
    action = action_on("$.components.schemas.One.type", "One") | faulty
    action |= {} if action.keys() & {"remove", "update"} else {"remove": True}
    with pytest.raises(ToolError, match=r"overlay\.yaml"):
        lay_over(spec_of(One={"type": "string", "enum": [{}]}), overlay_of(action))
