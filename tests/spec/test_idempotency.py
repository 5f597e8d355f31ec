"""Knows that the day on which Dune takes an idempotency key does not pass unnoticed.
Must not know how requests are sent."""

from pathlib import Path

import pytest

from tests.spec.conftest import read
from tests.spec.pages import SPEC
from tools.document import Document, ToolError, find, parse
from tools.generate import ROOT
from tools.idempotency import BILLED, main, place, unsent_keys
from tools.spec import correct
from tools.wrapper import WRAPPER, Facts, read_facts

FACTS = read_facts(ROOT)
TEXT: Document = {"type": "string"}


@pytest.fixture
def document() -> Document:
    """The corrected spec, for a test to spoil."""
    return correct(parse("", SPEC), read("additions.yaml"), read("overlay.yaml")).document


def test_the_committed_spec_declares_none(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is committed, Dune's spec has no idempotency key."""
    assert main() == 0
    assert capsys.readouterr().out == "the spec declares no idempotency key that is not sent\n"


@pytest.mark.parametrize("call", BILLED)
@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Request-Id", "idempotencyKey", "dedup_token"])
def test_a_key_in_a_header_is_told_with_the_place_to_send_it_from(call: str, name: str, document: Document) -> None:
    """`make check` names the one function that would send it, which exists."""
    content = find(document, call)
    assert content is not None
    content.setdefault("parameters", []).append({"in": "header", "name": name, "schema": TEXT})
    (told,) = unsent_keys(document, FACTS, ROOT)
    assert told.startswith(f"AN IDEMPOTENCY KEY: {call} declares {name}")
    function, module = place(ROOT, call).split(" in ")
    assert f"send it from {function} in {module}" in told
    assert f"def {function.strip('`')}(" in (ROOT / module).read_text("utf-8")


def test_a_key_in_a_body_is_told(document: Document) -> None:
    """A key in the request body is found as well."""
    document["components"]["schemas"]["matviews.MatviewsUpsertRequest"]["properties"]["client_token"] = TEXT
    (told,) = unsent_keys(document, FACTS, ROOT)
    assert "POST /v1/materialized-views declares client_token" in told


def test_a_key_that_is_sent_is_not_told(document: Document) -> None:
    """Once the wrapper's tables say that it is sent, there is nothing to say."""
    content = find(document, BILLED[0])
    assert content is not None
    content.setdefault("parameters", []).append({"in": "header", "name": "Idempotency-Key", "schema": TEXT})
    operations = {**FACTS.operations}
    operations[BILLED[0]] = operations[BILLED[0]] | {"takes": {"name": "string", "Idempotency-Key": "string"}}
    facts = Facts(operations, FACTS.sends, FACTS.reads, FACTS.states, FACTS.sentence)
    assert list(unsent_keys(document, facts, ROOT)) == []


def test_a_key_elsewhere_is_not_told(document: Document) -> None:
    """A key of a free operation does not matter."""
    content = find(document, "POST /v1/execution/{execution_id}/cancel")
    assert content is not None
    content.setdefault("parameters", []).append({"in": "header", "name": "Idempotency-Key", "schema": TEXT})
    assert list(unsent_keys(document, FACTS, ROOT)) == []


def test_the_check_is_loud(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails, on the error stream, in capitals."""
    spec = (repository / "openapi.yaml").read_text("utf-8")
    (repository / "openapi.yaml").write_text(spec.replace("name: api_key", "name: Idempotency-Key"), "utf-8")
    assert main(repository) == 1
    assert capsys.readouterr().err.startswith("error: AN IDEMPOTENCY KEY: POST ")


def test_a_place_that_is_not_the_only_one_is_told(tmp_path: Path) -> None:
    """Where no function, or more than one, says that it builds the request, that has to be mended first."""
    (tmp_path / WRAPPER).mkdir(parents=True)
    with pytest.raises(ToolError, match="0 functions in "):
        place(tmp_path, BILLED[0])
