"""Every fact that the wrapper relies on, and the message for a spec that no longer states it.
Must not know how the facts are used."""

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dune_api import models
from dune_matviews import UnexpectedResponseError
from dune_matviews._api.operations import Operations
from dune_matviews._api.values import Definition
from dune_matviews._flow.effects import Call
from dune_matviews._http.messages import Response
from tests.spec.conftest import read
from tests.spec.pages import SPEC
from tools.document import Document, copy, find, nodes, parse, schemas
from tools.facts import check, main
from tools.generate import ROOT, given_classes
from tools.spec import correct
from tools.wrapper import CONTRACT, ENDPOINTS, READERS, STATES, TIERS, read_facts, used_of

FACTS = read_facts(ROOT)
GIVEN = given_classes(ROOT)
CORRECTED = correct(parse("", SPEC), read("additions.yaml"), read("overlay.yaml")).document
SCHEMAS = {
    "RefreshRequest": "matviews.MatviewsRefreshRequest",
    "RefreshResponse": "matviews.MatviewsRefreshResponse",
    "UpsertRequest": "matviews.MatviewsUpsertRequest",
    "UpsertResponse": "matviews.MatviewsUpsertResponse",
    "DeleteResponse": "matviews.MatviewsDeleteResponse",
    "MatviewResponse": "matviews.MatviewsGetResponse",
    "MatviewSchedule": "matviews.MatviewsSchedule",
    "MatviewListResponse": "matviews.MatviewsListResponse",
    "MatviewListElement": "matviews.MatviewListElement",
    "CancelExecutionResponse": "models.CancelQueryExecutionResponse",
    "ExecutionStatusResponse": "models.GetExecutionStatusResponse",
    "ExecutionError": "models.QueryResultError",
    "SyntaxErrorMetadata": "models.SyntaxErrorMetadata",
    "ResultMetadata": "models.ExecutionResultMetadata",
    "UsageRequest": "models.GetUsageRequest",
    "UsageResponse": "models.GetUsageResponse",
    "WhoAmIResponse": "models.WhoAmIResponse",
    "BillingPeriod": "models.BillingPeriod",
    "PipelineResponse": "models.PipelineResponse",
    "Pipeline": "models.Pipeline",
    "PipelineNode": "models.PipelineNode",
    "PipelineRefresh": "models.PipelineRefresh",
    "PipelineExecution": "models.PipelineExecution",
}
TABLES = [(READERS, "reads", "READS", FACTS.reads), (ENDPOINTS, "sends", "SENDS", FACTS.sends)]


def properties() -> Iterator[tuple[Path, str, str, str, str]]:
    """Go through every property that the wrapper rests on."""
    for module, verb, table, classes in TABLES:
        for name, found in classes.items():
            yield from ((module, verb, table, name, key) for key in found)


@pytest.fixture
def document() -> Document:
    """The corrected spec, for a test to spoil."""
    return copy(CORRECTED)


def problems(document: Document) -> list[str]:
    """The messages for *document*."""
    return check(document, FACTS, GIVEN)


def property_of(document: Document, name: str, key: str) -> Document:
    """Return a property, by the class of its schema."""
    found: Document = schemas(document)[SCHEMAS[name]]["properties"][key]
    return found


def test_the_committed_spec_says_what_the_wrapper_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The committed spec yields no message."""
    assert main() == 0
    assert capsys.readouterr().out == "the spec states every fact that the wrapper relies on\n"


@pytest.mark.parametrize("name", list(FACTS.operations))
def test_an_operation_that_is_gone_is_told(name: str, document: Document) -> None:
    """An operation that is removed or moved is reported with the places to change."""
    method, path = name.split()
    document["paths"][f"{path}/renamed"] = {method.lower(): document["paths"][path].pop(method.lower())}
    (told,) = problems(document)
    assert told.startswith(f"the spec has no operation {name}, which {ENDPOINTS} calls.")
    assert f"`OPERATIONS` in {CONTRACT}, and the actions for {path} in overlay.yaml" in told


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, each) for name, fact in FACTS.operations.items() for each in fact.get("takes", {})]
)
def test_a_parameter_that_is_gone_or_of_another_type_is_told(name: str, parameter: str, document: Document) -> None:
    """A renamed or retyped parameter is reported with its operation."""
    content = find(document, name) or {}
    declared = next(each for each in content["parameters"] if each["name"] == parameter)
    kind, declared["schema"]["type"] = declared["schema"]["type"], "boolean"
    (told,) = problems(document)
    assert told.startswith(f"{name} takes `{parameter}` as boolean, where {ENDPOINTS} passes {kind}.")
    declared["name"] = f"{parameter}_2"
    (told,) = problems(document)
    assert told.startswith(f"{name} takes no parameter `{parameter}`, which {ENDPOINTS} passes. It has `{parameter}_2`")


@pytest.mark.parametrize(("module", "verb", "table", "name", "key"), list(properties()))
def test_a_property_that_is_gone_is_told(
    module: Path, verb: str, table: str, name: str, key: str, document: Document
) -> None:
    """A renamed property is reported with its new name, the module that needs it, and the table."""
    found = schemas(document)[SCHEMAS[name]]["properties"]
    found[f"{key}_2"] = found.pop(key)
    told = problems(document)[0]
    assert told.startswith(f"{SCHEMAS[name]} has no property `{key}` any more, which {module} {verb} as {name}.{key}.")
    assert f"It has `{key}_2`, which is new to the wrapper. Let the code and `{table}` in {CONTRACT} follow" in told


@pytest.mark.parametrize(("module", "verb", "table", "name", "key"), list(properties()))
def test_a_property_of_another_type_is_told(
    module: Path, verb: str, table: str, name: str, key: str, document: Document
) -> None:
    """A retyped property is reported with both types, the module that needs it, and the table."""
    schemas(document)[SCHEMAS[name]]["properties"][key] = {"type": "null"}
    kind = {**FACTS.reads, **FACTS.sends}[name][key]
    told = problems(document)[0]
    assert told.startswith(
        f"{SCHEMAS[name]} has `{key}` as null now, which {module} {verb} as {name}.{key}, as {kind}."
    )
    assert f"Let the code and `{table}` in {CONTRACT} follow" in told


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_a_schema_of_another_name_is_told(name: str, document: Document) -> None:
    """A renamed schema, and so a renamed class, is reported with the settings that name it."""
    for node in nodes(document):
        if node.get("$ref") == f"#/components/schemas/{SCHEMAS[name]}":
            node["$ref"] = "#/components/schemas/models.Renamed"
    schemas(document)["models.Renamed"] = schemas(document).pop(SCHEMAS[name])
    (first, *_) = [told for told in problems(document) if told.startswith("no schema")]
    assert first.startswith(f"no schema of the spec is the class {name}, which wrapper/dune_matviews/_")
    assert "`class_overrides` in generator-config.yaml" in first


@pytest.mark.parametrize(
    ("name", "verb", "kind"),
    [(name, "sends", fact["sends"]) for name, fact in FACTS.operations.items() if "sends" in fact]
    + [
        (name, f"responds to success ({status}) with", model)
        for name, fact in FACTS.operations.items()
        for status, model in fact["responds"].items()
    ],
)
def test_another_body_or_response_is_told(name: str, verb: str, kind: str, document: Document) -> None:
    """A request or response with another schema than the expected class is reported, with both."""
    content = find(document, name) or {}
    place = content["requestBody"] if verb == "sends" else content["responses"]["200"]
    schemas(document)["models.Other"] = {"type": "object"}
    place["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/models.Other"}
    (told,) = problems(document)
    assert told.startswith(f"{name} {verb} models.Other, whose class is not {kind}, as `OPERATIONS` in {CONTRACT}")


@pytest.mark.parametrize("name", [name for names in FACTS.states.values() for name in names if "CANCELLED" not in name])
def test_a_state_of_another_name_is_told(name: str, document: Document) -> None:
    """A renamed state is reported twice: the new name is unknown, and the old one is missing."""
    state = property_of(document, "ExecutionStatusResponse", "state")
    state["description"] = state["description"].replace(f"`{name}`", f"`{name}_RENAMED`")
    new, gone = problems(document)
    assert f"names the state {name}_RENAMED, which `_STATES` in {STATES} does not know" in new
    assert f"no longer lists the state {name}" in gone
    assert f"to `_STATES` in {STATES}. Is it called otherwise now?" in gone


def test_a_new_state_is_told_wherever_it_is_named(document: Document) -> None:
    """A state unknown to the wrapper is reported, even if it is only mentioned."""
    state = property_of(document, "ExecutionStatusResponse", "state")
    state["description"] = "For example `QUERY_STATE_SUSPENDED`"
    (told,) = problems(document)
    assert "names the state QUERY_STATE_SUSPENDED" in told
    assert "`ExecutionState` in models.py" in told


@pytest.mark.parametrize("spelling", ["QUERY_STATE_CANCELED", "QUERY_STATE_CANCELLED"])
def test_either_spelling_of_cancelled_will_do(spelling: str, document: Document) -> None:
    """The spec may list either of two names for one state, or list none at all."""
    state = property_of(document, "ExecutionStatusResponse", "state")
    state["description"] = state["description"].replace("QUERY_STATE_CANCELED", spelling)
    assert problems(document) == []
    state["description"] = "Where the execution stands"
    assert problems(document) == []


@pytest.mark.parametrize("told_now", ["Accepts `medium`, `large`.", "Accepts `small`, `medium`, `large`, `huge`.", ""])
def test_another_sentence_on_the_tiers_is_told(told_now: str, document: Document) -> None:
    """A changed description of the tiers is reported with its text, and the code that may have to go."""
    performance = property_of(document, "RefreshRequest", "performance")
    performance["description"] = f"The tier.\n{told_now}"
    (told,) = problems(document)
    assert f"no longer says {FACTS.sentence!r} of `performance`, on which {TIERS} rests" in told
    assert told_now in told
    assert f"take the special case out of {TIERS}, docs/client.md and the sandbox" in told


def test_an_enum_of_the_tiers_is_told(document: Document) -> None:
    """A closed list of tiers is reported, because the client must send the tier a user passes."""
    property_of(document, "RefreshRequest", "performance")["enum"] = ["medium", "large"]
    (told,) = problems(document)
    assert "lists the values of `performance` now: ['medium', 'large']" in told
    assert "keep it an open text by an action in overlay.yaml" in told


def test_what_says_less_than_it_did_is_right(document: Document) -> None:
    """A whole number will do for a number, a property without a type for any, and one of several types for its own."""
    property_of(document, "ExecutionStatusResponse", "execution_cost_credits")["type"] = "integer"
    del property_of(document, "ExecutionStatusResponse", "state")["type"]
    property_of(document, "ExecutionStatusResponse", "query_id")["type"] = ["integer", "null"]
    schemas(document)[SCHEMAS["UpsertResponse"]]["properties"]["name"] = {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    assert problems(document) == []


def test_the_tables_are_what_the_readers_read() -> None:
    """Every property in `READS` is parsed, and no other is: the table cannot fall behind the code."""
    readers = [each.read_text("utf-8") for each in (ROOT / READERS).glob("*.py")]
    walked = [node for each in readers for node in ast.walk(ast.parse(each))]
    named = {node.attr for node in walked if isinstance(node, ast.Attribute)}
    named |= {node.value for node in walked if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    used = {node.attr for node in walked if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "api"}
    assert used == FACTS.reads.keys()
    fields = {name: set(getattr(models, name).__annotations__) - {"additional_properties"} for name in used}
    ours = {"name", "raw"}  # fields of ours that happen to be called as some of Dune's
    for name, expected in FACTS.reads.items():
        python = {{"type": "type_"}.get(key, key) for key in expected}
        assert python <= fields[name]
        assert python <= named, f"Nothing in _api/ reads {python - named} of {name}, which READS lists."
    read = set[str]().union(*({{"type": "type_"}.get(key, key) for key in found} for found in FACTS.reads.values()))
    unlisted = (named & set[str]().union(*fields.values())) - ours - read
    assert not unlisted, f"_api/ reads {unlisted}, which READS in tools/contract.py does not list."


CALLS: dict[str, Callable[[Operations], Call[Any]]] = {
    "POST /v1/materialized-views/{name}/refresh": lambda operations: operations.refresh("n", None),
    "GET /v1/execution/{execution_id}/status": lambda operations: operations.status("E"),
    "POST /v1/execution/{execution_id}/cancel": lambda operations: operations.cancel("E"),
    "GET /v1/materialized-views": lambda operations: operations.page(0),
    "POST /v1/materialized-views": lambda operations: operations.upsert(Definition("n", 1, False)),
    "GET /v1/materialized-views/{name}": lambda operations: operations.matview("n"),
    "DELETE /v1/materialized-views/{name}": lambda operations: operations.delete("n"),
    "GET /v1/query/{query_id}/pipeline": lambda operations: operations.pipeline(1),
    "POST /v1/usage": lambda operations: operations.usage(),
    "GET /whoami": lambda operations: operations.whoami(),
}


def test_the_table_has_every_operation_that_is_called() -> None:
    """`OPERATIONS` has the operations that are called, and no other; `SENDS` the models that they send."""
    assert CALLS.keys() == FACTS.operations.keys()
    code = ast.parse((ROOT / ENDPOINTS).read_text("utf-8"))
    operations = next(node for node in code.body if isinstance(node, ast.ClassDef))
    told = {ast.get_docstring(each) for each in operations.body if isinstance(each, ast.FunctionDef)}
    assert {re.findall("`(.*)`", each or "")[0] for each in told} == FACTS.operations.keys()
    assert {each["sends"] for each in FACTS.operations.values() if "sends" in each} == FACTS.sends.keys()


def noting(read: list[str], name: str, make: Callable[[Any], object]) -> Callable[[Any], object]:
    """A model's `from_dict` that notes that it was called."""

    def from_dict(payload: Any) -> object:
        read.append(name)
        return make(payload)

    return from_dict


@pytest.mark.parametrize("operation", CALLS)
def test_an_operation_reads_the_status_and_model_of_the_table(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A success is read as the model that the spec has for its status, and another status is no success."""
    call = CALLS[operation](Operations())
    assert call.request.parts["method"].upper() == operation.split()[0]
    read: list[str] = []
    for name in FACTS.reads:
        model = getattr(models, name)
        monkeypatch.setattr(model, "from_dict", noting(read, name, model.from_dict))
    ((status, expected),) = FACTS.operations[operation]["responds"].items()
    with suppress(UnexpectedResponseError):
        call.parse(Response(int(status), {}, {}))
    assert read[0] == expected
    with pytest.raises(UnexpectedResponseError, match="another kind"):
        call.parse(Response(int(status) + 1, {}, {}))


def test_what_the_wrapper_uses_is_known_by_dunes_names() -> None:
    """The parameters, requests and responses that the wrapper uses are found in a published spec, under any names."""
    text = SPEC.replace("matviews.MatviewsRefreshResponse", "models.Other")
    used = used_of(parse("", text), FACTS)
    assert used.properties == {("matviews.MatviewsRefreshRequest", "performance"), ("models.Other", "execution_id")}
    assert used.bodies == {"matviews.MatviewsRefreshRequest"}
    assert used.sentences == {("matviews.MatviewsRefreshRequest", "performance"): FACTS.sentence}


def test_a_spec_edited_by_hand_is_told(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte of openapi.yaml that did not come from Dune fails the check, and the way to change it is named."""
    assert main(repository) == 0
    with (repository / "openapi.yaml").open("a") as file:
        file.write("# edited\n")
    assert main(repository) == 1
    assert "openapi.yaml differs from the version recorded in openapi.sources.yaml" in capsys.readouterr().err


def test_a_fact_edited_away_is_told_beside_that(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spec edited by hand yields the missing facts, and the rule against editing it."""
    (repository / "openapi.yaml").write_text(SPEC.replace("Accepts `small`,", "Accepts"), "utf-8")
    assert main(repository) == 1
    fact, record = capsys.readouterr().err.splitlines()
    assert "no longer says 'Accepts `small`, `medium`, `large`.'" in fact
    assert "differs from the version recorded" in record


def test_every_broken_fact_is_an_error(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command fails, and tells each fact in a line of its own."""
    additions = (repository / "additions.yaml").read_text("utf-8")
    (repository / "additions.yaml").write_text(
        additions.replace("next_offset", "next_page").replace("queue_position", "place_in_queue"), "utf-8"
    )
    assert main(repository) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" any more")[0] for line in told] == [
        "error: matviews.MatviewsListResponse has no property `next_offset`",
        "error: models.GetExecutionStatusResponse has no property `queue_position`",
    ]


@pytest.mark.parametrize("constant", ["READS", "TIER_SENTENCE"])
def test_a_fact_that_is_not_stated_is_told(constant: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A contract that no longer states its facts ends the command with a message that names them."""
    text = (repository / CONTRACT).read_text("utf-8")
    (repository / CONTRACT).write_text(text.replace(f"{constant} =", "RENAMED ="), "utf-8")
    assert main(repository) == 1
    assert f"has no {constant}, by which the spec is checked" in capsys.readouterr().err
