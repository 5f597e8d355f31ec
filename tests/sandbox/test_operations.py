"""Knows the responses and refusals of each operation, as a client sees them over a real connection.
Must not reach into the sandbox by any other way than users have."""

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario

NAME = "dune.my_team.result_x"
REFRESH = f"/v1/materialized-views/{NAME}/refresh"
JSON = {"Content-Type": "application/json"}


def refresh(client: httpx.Client, name: str = NAME) -> str:
    """Start a refresh that must be accepted; its execution id."""
    response = client.post(f"/v1/materialized-views/{quote(name, safe='')}/refresh", json={})
    assert response.status_code == 200, response.text
    return str(response.json()["execution_id"])


def status(client: httpx.Client, execution_id: str) -> dict[str, Any]:
    """The status of an execution that must exist."""
    response = client.get(f"/v1/execution/{execution_id}/status")
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.parametrize(
    ("body", "performance"),
    [(b"", None), (b"{}", None), (b'{"performance": "small"}', "small"), (b'{"performance":"large","x":1}', "large")],
)
def test_an_accepted_refresh_is_billed_once(
    sandbox: DuneSandbox, client: httpx.Client, body: bytes, performance: str | None
) -> None:
    """The response to a refresh has its execution and its view, and the ledger has the tier that it asked for."""
    response = client.post(REFRESH, content=body, headers=JSON)
    [charge] = sandbox.ledger
    assert (200, {"execution_id": charge.execution_id, "sql_id": NAME}) == (response.status_code, response.json())
    assert (NAME, performance) == (charge.name, charge.performance)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON ;charset=x"])
def test_the_media_type_may_have_parameters(sandbox: DuneSandbox, client: httpx.Client, media_type: str) -> None:
    """Neither parameters nor upper case matter in Content-Type."""
    assert client.post(REFRESH, content=b"{}", headers={"Content-Type": media_type}).status_code == 200


@pytest.mark.parametrize(
    ("body", "headers", "sentence"),
    [
        (b"{}", {}, "Content-Type must be application/json, not absent"),
        (b"{}", {"Content-Type": "*/*"}, "Content-Type must be application/json, not */*"),
        (b"{}", {"Content-Type": "text/plain"}, "Content-Type must be application/json, not text/plain"),
        (b"{", JSON, "the body is no JSON"),
        (b'{"performance": "\xe9"}', JSON, "the body is no JSON"),
        (b"[" * 100_000, JSON, "the body is no JSON"),
        (b'{"x": NaN}', JSON, "NaN is no JSON number"),
        (b"[]", JSON, "the body must be a JSON object"),
        (b"null", JSON, "the body must be a JSON object"),
        (b'{"performance": null}', JSON, "performance must be one of free, small, medium, large, not None"),
        (b'{"performance": ""}', JSON, "performance must be one of free, small, medium, large, not ''"),
        (b'{"performance": "Large"}', JSON, "performance must be one of free, small, medium, large, not 'Large'"),
        (b'{"performance": ["large"]}', JSON, "performance must be one of free, small, medium, large, not ['large']"),
        (json.dumps({"x": "x" * 1_000_000}).encode(), JSON, "the body is longer than 1000000 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_refresh_is_refused_and_free(
    sandbox: DuneSandbox, client: httpx.Client, body: bytes, headers: Mapping[str, str], sentence: str
) -> None:
    """A body that the spec does not allow is refused with 400 and a message, and nobody pays."""
    response = client.post(REFRESH, content=body, headers=headers)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
    assert sandbox.ledger == ()


@pytest.mark.parametrize(("plan", "statuses"), [("free", [200, 200, 400, 400]), ("plus", [200, 200, 200, 200])])
def test_a_plan_has_its_tiers(plan: str, statuses: list[int]) -> None:
    """A Free account is refused the larger tiers, for a refresh and for a definition, in Dune's words, and free."""
    with DuneSandbox(plan=plan) as sandbox, httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False) as client:
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        for path, body in ((REFRESH, {}), ("/v1/materialized-views", {"name": "result_x", "query_id": 7})):
            asked = [
                client.post(path, json={**body, "performance": tier}) for tier in ("free", "small", "medium", "large")
            ]
            assert [response.status_code for response in asked] == statuses
            refused = {response.json()["error"] for response in asked if response.status_code == 400}
            assert refused <= {"Invalid performance tier"}
        assert len(sandbox.ledger) == 2 * statuses.count(200)


def test_whose_the_key_is(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The key is that of the team whose views are the account's own."""
    upserted = client.post("/v1/materialized-views", json={"name": "result_x", "query_id": 7}).json()
    told = client.get("/whoami").json()
    assert upserted["name"] == f"dune.{told['handle']}.result_x"
    assert told["customer_id"].startswith("team_")


def test_the_tier_small_may_be_unknown() -> None:
    """A sandbox that follows the prose of Dune's page refuses the tier small, and knows the other two."""
    with (
        DuneSandbox(small=False) as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        statuses = {tier: client.post(REFRESH, json={"performance": tier}) for tier in ("small", "medium", "large")}
        assert [response.status_code for response in statuses.values()] == [400, 200, 200]
        assert statuses["small"].json()["error"] == "performance must be one of free, medium, large, not 'small'"


@pytest.mark.parametrize("key", [None, "", "wrong", "sandbox-key, sandbox-key"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", REFRESH),
        ("GET", "/v1/materialized-views"),
        ("POST", "/v1/materialized-views"),
        ("GET", f"/v1/materialized-views/{NAME}"),
        ("DELETE", f"/v1/materialized-views/{NAME}"),
        ("GET", "/v1/execution/01/status"),
        ("POST", "/v1/execution/01/cancel"),
        ("GET", "/v1/query/1/pipeline"),
        ("POST", "/v1/usage"),
    ],
)
def test_a_wrong_key_is_refused_and_free(sandbox: DuneSandbox, method: str, path: str, key: str | None) -> None:
    """Without the right key in the header the response is 401; a key in the query does not count."""
    headers = {} if key is None else {"X-Dune-Api-Key": key}
    url = f"{sandbox.url}/api{path}?api_key={sandbox.api_key}"
    response = httpx.request(method, url, headers=headers, trust_env=False, timeout=600)
    assert (response.status_code, response.json()) == (401, {"error": "Invalid API Key"})
    assert sandbox.ledger == ()


@pytest.mark.parametrize(
    "path", ["", "/v1", "/v1/materialized-views//refresh", f"{REFRESH}/", "/v2/x", "/v1/execution/1"]
)
def test_an_unknown_path_is_not_found(client: httpx.Client, path: str) -> None:
    """A path that the API does not have is 404, also with an empty name or a slash too many."""
    response = client.get(path)
    assert response.status_code == 404
    assert path in response.json()["error"]


def test_a_wrong_method_is_told_the_right_one(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A path that exists under another method is 405, names that method, and starts nothing."""
    response = client.put(REFRESH, json={})
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.json()["error"] == "this path allows POST, not PUT"
    assert client.head(REFRESH).status_code == 405
    assert sandbox.ledger == ()


def test_what_does_not_exist_is_not_found() -> None:
    """Views outside the list and made-up executions are 404, and nobody pays; a view may be added later."""
    with (
        DuneSandbox([NAME]) as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        unknown = "/v1/materialized-views/dune.my_team.result_y"
        responses = [
            client.get(unknown),
            client.post(f"{unknown}/refresh", json={}),
            client.get("/v1/execution/01HZ065JVE23C23FM2HKWQP2RT/status"),
            client.post("/v1/execution/01HZ065JVE23C23FM2HKWQP2RT/cancel"),
        ]
        assert [(each.status_code, each.json()) for each in responses] == [(404, {"error": "Object not found"})] * 4
        assert sandbox.ledger == ()
        sandbox.add_view("dune.my_team.result_y")
        assert [client.get(unknown).status_code, client.post(REFRESH, json={}).status_code] == [200, 200]


@pytest.mark.parametrize("name", ['dune."21co".result_x', "a/b", "a b", "a+b", "100%", "a%2Fb", "ä", "?", "..", "\x00"])
def test_a_name_is_one_encoded_segment(sandbox: DuneSandbox, client: httpx.Client, name: str) -> None:
    """Any name fits into a path once it is percent-encoded, and is decoded exactly once."""
    # httpx, like any client, takes two literal dots for a step up.
    segment = quote(name, safe="").replace(".", "%2E")
    response = client.post(f"/v1/materialized-views/{segment}/refresh", json={})
    assert name == response.json()["sql_id"] == sandbox.ledger[0].name
    assert f"/api/v1/materialized-views/{segment}/refresh" == sandbox.requests[0].path


@pytest.mark.parametrize(
    ("segment", "sentence"),
    [("%FF", "the path is not percent-encoded UTF-8"), ("100%", "a percent sign in the path must be encoded, as %25")],
)
def test_a_name_must_be_encoded_well(sandbox: DuneSandbox, segment: str, sentence: str) -> None:
    """Bytes that are no text, and percent signs that stand for themselves, name no view."""
    # http.client sends the path as it is; httpx would mend it.
    connection = HTTPConnection(sandbox.url.removeprefix("http://"), timeout=600)
    connection.request(
        "POST", f"/api/v1/materialized-views/{segment}/refresh", headers={"X-Dune-Api-Key": "sandbox-key"}
    )
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (400, {"error": sentence})
    connection.close()
    assert sandbox.ledger == ()


def test_a_status_tells_what_applies_so_far(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """While it waits, an execution has a place in the queue; once it runs, a start and a growing cost."""
    sandbox.rehearse(NAME, Scenario(pending=10, running=math.inf))
    execution_id = refresh(client)
    waiting = status(client, execution_id)
    submitted_at = waiting.pop("submitted_at")
    query_id = waiting.pop("query_id")
    assert {
        "execution_id": execution_id,
        "is_execution_finished": False,
        "state": "QUERY_STATE_PENDING",
        "queue_position": 1,
        "execution_cost_credits": 0.0,
    } == waiting
    sandbox.advance(10)
    running = status(client, execution_id)
    started_at = datetime.fromisoformat(running.pop("execution_started_at"))
    assert timedelta(seconds=10) == started_at - datetime.fromisoformat(submitted_at)
    assert {
        "execution_id": execution_id,
        "query_id": query_id,
        "is_execution_finished": False,
        "state": "QUERY_STATE_EXECUTING",
        "submitted_at": submitted_at,
        "execution_cost_credits": 0.0,
    } == running


def test_a_success_tells_the_size_of_the_result(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A completed execution has its end, its cost, the result's size and when the result expires."""
    sandbox.rehearse(NAME, Scenario(pending=2, running=3, credits=4, rows=5, bytes=6))
    execution_id = refresh(client)
    sandbox.advance(5)
    ended = status(client, execution_id)
    start, end, expiry = (
        datetime.fromisoformat(ended[field]) for field in ("execution_started_at", "execution_ended_at", "expires_at")
    )
    assert (timedelta(seconds=3), timedelta(days=90)) == (end - start, expiry - end)
    assert (
        ended["state"],
        ended["is_execution_finished"],
        ended["execution_cost_credits"],
    ) == ("QUERY_STATE_COMPLETED", True, 4)
    assert ended["result_metadata"] == {
        "row_count": 5,
        "total_row_count": 5,
        "result_set_bytes": 6,
        "total_result_set_bytes": 6,
        "pending_time_millis": 2000,
        "execution_time_millis": 3000,
    }
    assert not {"error", "queue_position", "cancelled_at"} & set(ended)


def test_a_failure_tells_its_error(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The error of a scenario is in the status once the execution has failed, with its place in the query, if known."""
    sandbox.rehearse(
        NAME, Scenario(end="failed", error=Failure("syntax_error", "mismatched input", 3, 9)), Scenario(end="failed")
    )
    placed, general = refresh(client), refresh(client)
    assert "error" not in status(client, placed)
    sandbox.advance(5)
    assert status(client, placed)["error"] == {
        "type": "syntax_error",
        "message": "mismatched input",
        "metadata": {"line": 3, "column": 9},
    }
    assert status(client, general)["error"] == {
        "type": "FAILED_TYPE_EXECUTION_FAILED",
        "message": "The execution failed, as rehearsed.",
    }


@pytest.mark.parametrize(
    ("end", "field"),
    [("canceled", "cancelled_at"), ("QUERY_STATE_CANCELLED", "cancelled_at"), ("expired", "expires_at")],
)
def test_other_ends_tell_their_time(sandbox: DuneSandbox, client: httpx.Client, end: str, field: str) -> None:
    """A canceled or expired execution tells in a field of its own when that happened."""
    execution_id = refresh(client)
    sandbox.finish(execution_id, end)
    ended = status(client, execution_id)
    assert ended["is_execution_finished"]
    assert ended["execution_ended_at"] == ended[field]
    assert "result_metadata" not in ended


def test_a_state_of_ones_own_is_reported_as_it_is(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A state that nobody knows yet can be rehearsed: it is final, and told word for word."""
    execution_id = refresh(client)
    sandbox.finish(execution_id, "QUERY_STATE_OF_TOMORROW")
    ended = status(client, execution_id)
    assert (ended["state"], ended["is_execution_finished"]) == ("QUERY_STATE_OF_TOMORROW", True)


def test_timestamps_have_nanoseconds_and_zulu(client: httpx.Client) -> None:
    """Timestamps are spelled as Dune spells them: nine digits of a second, then Z."""
    submitted_at = status(client, refresh(client))["submitted_at"]
    assert 9 == len(submitted_at.partition(".")[2].removesuffix("Z")) == len("2024-12-20T11:04:18.724658237") - 20


def test_the_queue_has_places() -> None:
    """Under a limit, who waits is told the place in the queue and, once the limit is reached, the limit."""
    forever = Scenario(pending=0, running=math.inf)
    with (
        DuneSandbox(default=forever, max_parallel=2) as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        executions = [refresh(client) for _ in range(4)]
        statuses = [status(client, each) for each in executions]
        assert [each.get("queue_position") for each in statuses] == [None, None, 1, 2]
        fields = ("max_inflight_interactive_executions", "max_inflight_interactive_reached")
        assert [tuple(each[field] for field in fields) for each in statuses] == [(2, 2)] * 4
        sandbox.finish(executions[0])
        assert [status(client, each).get("queue_position") for each in executions[2:]] == [None, 1]


def test_cancel_says_whether_it_was_in_time(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A cancel ends a running execution at its cost so far, and reports when there was none."""
    sandbox.rehearse(NAME, Scenario(pending=0, running=100, credits=100))
    execution_id = refresh(client)
    sandbox.advance(10)
    responses = [client.post(f"/v1/execution/{execution_id}/cancel").json() for _ in range(2)]
    assert responses == [{"success": True}, {"success": False}]
    [charge] = sandbox.ledger
    assert (charge.state, 10 <= charge.credits < 20) == ("QUERY_STATE_CANCELED", True)


def test_a_view_tells_its_executions_newest_first(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The response about a view names its query, its size and its executions, as far as a hundred back."""
    executions = [refresh(client) for _ in range(101)]
    sandbox.rehearse(NAME, Scenario(pending=0, running=0, bytes=77))
    executions.append(refresh(client))
    assert {
        "sql_id": NAME,
        "query_id": status(client, executions[0])["query_id"],
        "is_private": False,
        "table_size_bytes": 77,
        "last_execution_ids": executions[:1:-1],
    } == client.get(f"/v1/materialized-views/{NAME}").json()


def test_responses_tell_the_time_of_the_sandbox(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The Date header follows the clock of the sandbox, which is also the clock of its timestamps."""
    sandbox.advance(86_400)
    response = client.get(f"/v1/execution/{refresh(client)}/status")
    submitted_at = datetime.fromisoformat(response.json()["submitted_at"])
    assert timedelta(0) <= parsedate_to_datetime(response.headers["Date"]) - submitted_at.replace(microsecond=0)
    assert sandbox.ledger[0].submitted_at == submitted_at
    assert timedelta(hours=23) < submitted_at - datetime.now(submitted_at.tzinfo) < timedelta(hours=25)


def test_every_response_is_json_with_an_id(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Responses, refusals too, are JSON of a known length, and name the request that they belong to."""
    responses = [
        client.get("/"),
        client.get(REFRESH),
        client.post(REFRESH, content=b"x"),
        client.post(REFRESH, json={}),
    ]
    for response, request in zip(responses, sandbox.requests, strict=True):
        assert response.headers["Content-Type"] == "application/json"
        assert len(response.content) == int(response.headers["Content-Length"])
        assert request.id == response.headers["X-Request-Id"]
        assert request.status == response.status_code


def test_everything_that_arrives_is_kept(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A request is kept as it came, with its time and the status of its response."""
    client.post(REFRESH, params={"a": "b c"}, json={"performance": "large"})
    [request] = sandbox.requests
    assert ("POST", f"/api{REFRESH}", "a=b+c", b'{"performance":"large"}', 200) == (
        request.method,
        request.path,
        request.query,
        request.body,
        request.status,
    )
    assert request.headers["content-type"] == "application/json"
    assert abs(request.at - datetime.now(request.at.tzinfo)) < timedelta(minutes=1)


def test_the_body_of_what_is_refused_is_not_kept(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A request without the key, for no operation, or with a wrong body is on record without its body."""
    client.post(REFRESH, json={}, headers={"X-Dune-Api-Key": "another"})
    client.post("/v1/elsewhere", json={})
    client.post(REFRESH, json={"performance": "huge"})
    assert [(each.status, each.body) for each in sandbox.requests] == [(401, b""), (404, b""), (400, b"")]


def test_what_a_fault_refused_is_kept(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A body that met a fault stays, whether Dune did its work or not, for a test to read."""
    sandbox.fail("refresh", Fault(status=400), Fault(status=502, accepted=True))
    for tier in ("medium", "large"):
        client.post(REFRESH, json={"performance": tier})
    assert [each.body for each in sandbox.requests] == [b'{"performance":"medium"}', b'{"performance":"large"}']


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:80", "127.0.0.1.attacker.example", "", "10.0.0.1"]
)
def test_a_foreign_host_is_refused(sandbox: DuneSandbox, client: httpx.Client, host: str) -> None:
    """A request for another host, as a web page makes it that its own name leads here, does and uses up nothing."""
    sandbox.fail("refresh", Fault(status=502))
    response = client.post(REFRESH, json={}, headers={"Host": host})
    assert (response.status_code, sandbox.ledger) == (403, ())
    assert "Host" in response.json()["error"]
    [request] = sandbox.requests
    assert (request.operation, request.body, len(sandbox.pending_faults)) == (None, b"", 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "LocalHost:9999", "[::1]:80"])
def test_every_name_of_this_machine_is_served(client: httpx.Client, host: str) -> None:
    """The loopback interface's own names are served, with any port, as a tunnel may lead here from another."""
    assert client.post(REFRESH, json={}, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", f"/v1/materialized-views/{NAME}", "get"),
        ("POST", REFRESH, "refresh"),
        ("GET", "/v1/execution/01/status", "status"),
        ("POST", "/v1/execution/01/cancel", "cancel"),
        ("GET", "/v1/materialized-views", "list"),
        ("POST", "/v1/materialized-views", "upsert"),
        ("DELETE", f"/v1/materialized-views/{NAME}", "delete"),
        ("GET", "/v1/query/1/pipeline", "pipeline"),
        ("POST", "/v1/usage", "usage"),
        ("GET", REFRESH, None),
        ("GET", "/v1/elsewhere", None),
    ],
)
def test_a_request_is_kept_with_its_operation(
    sandbox: DuneSandbox, client: httpx.Client, method: str, path: str, operation: str | None
) -> None:
    """Requests can be told apart by the operation that they were for, also those that were refused."""
    client.request(method, path)
    client.request(method, path, headers={"X-Dune-Api-Key": "wrong"})
    assert [request.operation for request in sandbox.requests] == [operation] * 2


def test_the_key_is_not_in_the_repr_of_a_request(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A failing assertion about requests does not print the key that a test sent."""
    client.get("/")
    assert sandbox.api_key == sandbox.requests[0].headers["x-dune-api-key"]
    assert sandbox.api_key not in repr(sandbox.requests)
