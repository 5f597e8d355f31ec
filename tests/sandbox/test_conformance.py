"""Knows the corrected spec as a judge of the sandbox, by generated requests, right and wrong ones.
Must not know how the sandbox decides anything."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings

from dune_matviews.sandbox import DuneSandbox, Failure, Scenario
from dune_matviews.sandbox._operations import OPERATIONS
from tools.document import parse
from tools.spec import correct

pytest_plugins = ["schemathesis.pytest.plugin"]

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


# Views of each kind, which a generated request names by the word. Deletions get a view of their own.
NAMES = {
    "new": "dune.my_team.result_new",
    "used": "dune.my_team.result_used",
    "scheduled": "dune.my_team.result_scheduled",
    "foreign": "dune.their_team.result_foreign",
    "deleted": "dune.my_team.result_deleted",
}
NAMELESS = re.compile(r"\{.*?\}")
DOOMED = "dune.my_team.result_doomed"
QUERIES = {"reader": 4711, "unknown": 4712}


def tightened_spec() -> dict[str, Any]:
    """The corrected spec, made stricter where it leaves something open, so that more can be judged."""
    document = correct(*(parse(name, (ROOT / name).read_text()) for name in SPEC_FILES)).document
    keep_what_the_sandbox_offers(document["paths"])
    schemas = document["components"]["schemas"]
    # The spec lets a response have any further field; ours would be a misspelled one.
    for name, schema in schemas.items():
        if not name.endswith("Request"):
            schema["additionalProperties"] = False
    tighten_bodies(schemas)
    tighten_parameters(document["paths"])
    document["paths"]["/v1/materialized-views"]["post"]["requestBody"]["required"] = True
    # The published page does not mention accounts that do not own the view.
    for path, method in (("/v1/materialized-views/{name}/refresh", "post"), ("/v1/materialized-views", "post")):
        responses = document["paths"][path][method]["responses"]
        responses["403"] = document["paths"]["/v1/materialized-views/{name}"]["get"]["responses"]["403"]
    return document


def keep_what_the_sandbox_offers(paths: dict[str, Any]) -> None:
    """Drop operations that the sandbox does not offer: Dune may publish some that have nothing to do with refreshes."""
    offered = {(each.method.lower(), each.path.removeprefix("/api")) for each in OPERATIONS}
    for path, item in list(paths.items()):
        kept = {method: content for method, content in item.items() if (method, NAMELESS.sub("{}", path)) in offered}
        paths.pop(path)
        paths |= {path: kept} if kept else {}


def tighten_bodies(schemas: dict[str, Any]) -> None:
    """Add the rules for a body's values that the spec states in words, or not at all."""
    tier = {"type": "string", "enum": ["small", "medium", "large"]}
    schemas["matviews.MatviewsRefreshRequest"]["properties"]["performance"] = tier
    upsert = schemas["matviews.MatviewsUpsertRequest"]
    upsert["required"] = ["name", "query_id"]
    upsert["properties"] |= {
        "name": {"type": "string", "pattern": "^result_[a-z0-9_]{0,120}[a-z0-9]$"},
        "query_id": {"type": "integer", "minimum": 1},
        "performance": tier,
        "cron_expression": {"type": "string", "enum": ["*/15 * * * *", "30 6 * * MON", "0 0 1-7,8-31/2 * *"]},
        "expires_at": {"type": "string", "format": "date-time"},
    }
    upsert["anyOf"] = [{"required": ["cron_expression"]}, {"not": {"required": ["expires_at"]}}]
    schemas["models.GetUsageRequest"]["properties"] = {
        "start_date": {"type": "string", "enum": ["0001-01-01", "2026-01-31", "2100-01-01"]},
        "end_date": {"type": "string", "enum": ["2100-01-01", "9999-12-31"]},
    }


def tighten_parameters(paths: dict[str, Any]) -> None:
    """Add the rules for parameters that the spec states in words, and the objects that exist: others are only 404."""
    sharper: dict[str, dict[str, Any]] = {
        "execution_id": {"enum": list(SCENARIOS)},
        "name": {"enum": list(NAMES)},
        "query_id": {"type": "string", "enum": list(QUERIES)},
        "limit": {"minimum": 1, "maximum": 10_000},
        "offset": {"minimum": 0},
        "performance": {"enum": ["medium", "large"]},
        "query_parameters": {"enum": ["{}", '{"day": "2026-11-01"}']},
    }
    for item in paths.values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] |= sharper[parameter["name"]]


@pytest.fixture
def running_sandbox() -> Iterator[DuneSandbox]:
    """A sandbox with a limit, so that the fields which tell of it are judged as well, and with all kinds of views."""
    views = [NAMES[word] for word in ("new", "used", "scheduled", "deleted")]
    with DuneSandbox(views, max_parallel=1) as sandbox:
        sandbox.add_view(NAMES["foreign"], owned=False)
        sandbox.reads(QUERIES["reader"], NAMES["used"], NAMES["foreign"], 4710)
        sandbox.reads(4710, NAMES["scheduled"])
        yield sandbox


@pytest.fixture
def executions(running_sandbox: DuneSandbox) -> Iterator[dict[str, str]]:
    """The execution ids by the words of SCENARIOS; on the way, the views become those of NAMES.

    After the test, each accepted request was billed, and some requests were accepted and some refused.
    """
    path = "/api/v1/materialized-views"
    # Executions that end at once go first, because the one that runs for ever keeps the only slot.
    words = sorted(SCENARIOS, key=lambda word: word in ("waits", "runs"))
    running_sandbox.rehearse(NAMES["used"], *(SCENARIOS[word] for word in words))
    headers = {"X-Dune-Api-Key": running_sandbox.api_key}
    scheduled = {
        "name": "result_scheduled",
        "query_id": 4709,
        "performance": "large",
        "cron_expression": "0 6 * * *",
        "expires_at": "9999-01-01T00:00:00Z",
    }
    with httpx.Client(base_url=running_sandbox.url, headers=headers, trust_env=False, timeout=600) as client:
        found = {word: client.post(f"{path}/{NAMES['used']}/refresh").json()["execution_id"] for word in words}
        assert client.post(path, json=scheduled).status_code == 200
        assert client.delete(f"{path}/{NAMES['deleted']}").status_code == 200
    before = len(running_sandbox.requests)
    yield found
    paid = [each for each in running_sandbox.requests if each.operation in ("refresh", "upsert")]
    assert sum(each.status == 200 for each in paid) == len(running_sandbox.ledger)
    assert {200, 401} <= {each.status for each in running_sandbox.requests[before:] if each.operation}


def test_the_sandbox_offers_what_the_spec_describes() -> None:
    """Each operation of the spec is one of the sandbox, so that it is judged below, and there is no other."""
    described = {(method.upper(), path) for path, item in tightened_spec()["paths"].items() for method in item}
    # Where the spec names a parameter, the sandbox has but a place.
    assert {(method, f"/api{re.sub('{[^}]+}', '{}', path)}") for method, path in described} == {
        (each.method, each.path) for each in OPERATIONS
    }


schema = schemathesis.openapi.from_dict(tightened_spec())


# One sandbox meets all requests to an operation, as Dune does.
@schema.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_responses_are_what_the_spec_says(
    case: schemathesis.Case[Any], running_sandbox: DuneSandbox, executions: dict[str, str]
) -> None:
    """Right requests are accepted, wrong ones refused, and every response has a status and a body of the spec."""
    assume([] not in (case.query or {}).values())  # a wrong parameter that is an empty list would not be sent at all
    names = NAMES
    if case.method == "DELETE":
        running_sandbox.add_view(DOOMED)
        names = NAMES | {"new": DOOMED, "used": DOOMED, "scheduled": DOOMED}
    meanings_by_parameter: dict[str, Mapping[str, object]] = {
        "execution_id": executions,
        "name": names,
        "query_id": QUERIES,
    }
    for parameter, meanings in meanings_by_parameter.items():
        word: Any = case.path_parameters.get(parameter)
        if word in meanings:
            case.path_parameters[parameter] = meanings[word]
    case.call_and_validate(base_url=f"{running_sandbox.url}/api", headers={"X-Dune-Api-Key": running_sandbox.api_key})
