"""Knows the corrected spec as a judge of the sandbox, by generated requests, right and wrong ones.
Must not know how the sandbox decides anything."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import settings

from dune_matviews.sandbox import DuneSandbox, Failure, Scenario
from tools.document import parse
from tools.spec import correct

ROOT = Path(__file__).resolve().parents[2]
SPEC_FILES = ("openapi.yaml", "additions.yaml", "overlay.yaml")

# One execution in each state, which a generated request names by the word.
FAILURE = Failure("syntax_error", "mismatched input", line=3, column=9)
SCENARIOS = {
    "waits": Scenario(pending=math.inf),
    "runs": Scenario(pending=0, running=math.inf),
    "completed": Scenario(pending=0, running=0),
    "truncated": Scenario(pending=0, running=0, end="completed_partial"),
    "failed": Scenario(pending=0, running=0, end="failed", error=FAILURE),
    "canceled": Scenario(pending=0, running=0, end="canceled"),
    "expired": Scenario(pending=0, running=0, end="expired"),
    "unheard of": Scenario(pending=0, running=0, end="QUERY_STATE_OF_TOMORROW"),
}


def tightened_spec() -> dict[str, Any]:
    """The corrected spec, with what it leaves open said more sharply, so that more can be judged."""
    document = correct(*(parse(name, (ROOT / name).read_text()) for name in SPEC_FILES)).document
    schemas = document["components"]["schemas"]
    # The spec tells the tiers only in words.
    schemas["matviews.MatviewsRefreshRequest"]["properties"]["performance"]["enum"] = ["small", "medium", "large"]
    # The spec lets an answer have any further field; ours would be a misspelled one.
    for name, schema in schemas.items():
        if not name.endswith("Request"):
            schema["additionalProperties"] = False
    # The spec takes any text for an execution; a made-up one would never show more than a 404.
    for path, item in document["paths"].items():
        if "{execution_id}" in path:
            for operation in item.values():
                [parameter] = operation["parameters"]
                parameter["schema"]["enum"] = list(SCENARIOS)
    return document


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[DuneSandbox]:
    """A sandbox with a limit, so that the fields which tell of it are judged as well."""
    with DuneSandbox(max_parallel=1) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def executions(running_sandbox: DuneSandbox) -> dict[str, str]:
    """The execution ids by the words of SCENARIOS."""
    url = f"{running_sandbox.url}/api/v1/materialized-views/dune.my_team.result_x/refresh"
    # What ends at once goes first, because the one that runs for ever keeps the only slot.
    words = sorted(SCENARIOS, key=lambda word: word in ("waits", "runs"))
    running_sandbox.rehearse("dune.my_team.result_x", *(SCENARIOS[word] for word in words))
    with httpx.Client(headers={"X-Dune-Api-Key": running_sandbox.api_key}, trust_env=False) as client:
        return {word: client.post(url, json={}).json()["execution_id"] for word in words}


schema = schemathesis.openapi.from_dict(tightened_spec())


@schema.parametrize()
@settings(max_examples=60, derandomize=True, database=None, deadline=None)
def test_answers_are_what_the_spec_says(
    case: schemathesis.Case[Any], running_sandbox: DuneSandbox, executions: dict[str, str]
) -> None:
    """Right requests are accepted, wrong ones refused, and every answer has a status and a body of the spec."""
    word = case.path_parameters.get("execution_id")
    if word in executions:
        case.path_parameters["execution_id"] = executions[word]
    case.call_and_validate(base_url=f"{running_sandbox.url}/api", headers={"X-Dune-Api-Key": running_sandbox.api_key})


def test_only_accepted_refreshes_are_billed(running_sandbox: DuneSandbox) -> None:
    """Of all the requests above, exactly the refreshes that were answered with 200 are in the ledger."""
    accepted = [
        request
        for request in running_sandbox.requests
        if request.path.endswith("/refresh") and request.method == "POST" and request.status == 200
    ]
    assert len(accepted) == len(running_sandbox.ledger)
    refused = {request.status for request in running_sandbox.requests} - {200}
    assert refused in (set(), {400, 401, 404, 405})
