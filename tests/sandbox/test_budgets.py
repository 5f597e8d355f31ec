"""Knows how many requests a minute a plan allows, as numbers and over a connection.
Must not wait for a minute to pass."""

import re
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews.sandbox import DuneSandbox, Fault
from dune_matviews.sandbox._budgets import Budgets

VIEW = "/v1/materialized-views/dune.my_team.result_x"
REFRESH = f"{VIEW}/refresh"
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("plan", "limits"),
    [("free", (15, 40)), ("analyst", (15, 40)), ("plus", (70, 200)), ("enterprise", (350, 1000)), ((2, 3), (2, 3))],
    ids=str,
)
def test_a_plan_has_two_budgets(plan: str | tuple[int, int], limits: tuple[int, int]) -> None:
    """Each bucket admits as many requests as the plan allows, independently of the other one."""
    budgets = Budgets(plan)
    low = [budgets.admit("low", 0) for _ in range(2_000)].count(0)
    high = [budgets.admit("high", 0) for _ in range(2_000)].count(0)
    assert (low, high) == limits


@pytest.mark.parametrize("plan", ["Free", "", (0, 1), (1, 0)])
def test_a_plan_must_be_one(plan: str | tuple[int, int]) -> None:
    """A word that names no plan, and a budget that admits nothing, are refused."""
    with pytest.raises(ValueError, match="plan"):
        DuneSandbox(plan=plan)


@given(pauses=st.lists(st.integers(0, 30 * SECOND), max_size=60), limit=st.integers(1, 5))
def test_no_minute_has_more_requests_than_the_budget(pauses: list[int], limit: int) -> None:
    """A request is admitted just if fewer than the limit were in the minute before it, else told when it would be."""
    budgets, now, admitted = Budgets((limit, 1)), 0, list[int]()
    for pause in pauses:
        now += pause
        recent = [each for each in admitted if each > now - 60 * SECOND]
        seconds = budgets.admit("low", now)
        assert (seconds == 0) == (len(recent) < limit)
        if seconds == 0:
            admitted.append(now)
        else:
            frees_at = recent[0] + 60 * SECOND
            assert (seconds - 1) * SECOND < frees_at - now <= seconds * SECOND


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A sandbox of an account that may send two low and three high requests a minute."""
    with DuneSandbox(plan=(2, 3)) as sandbox:
        yield sandbox


def statuses(client: httpx.Client, method: str, path: str, times: int) -> list[int]:
    """The responses to a request that is sent so many times."""
    return [client.request(method, path).status_code for _ in range(times)]


def test_a_request_past_the_budget_is_refused_and_free(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A refresh too many is 429 with the seconds to wait, and is not billed; after those it is accepted."""
    assert statuses(client, "POST", REFRESH, 2) == [200, 200]
    refused = client.post(REFRESH)
    assert refused.status_code == 429
    assert refused.json() == {"error": "Too many requests: the low budget of this minute is spent"}
    assert 50 < int(refused.headers["Retry-After"]) <= 60
    assert len(sandbox.ledger) == 2
    sandbox.advance(int(refused.headers["Retry-After"]))
    assert statuses(client, "POST", REFRESH, 2)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/materialized-views"), ("DELETE", VIEW), ("POST", f"{VIEW}/refresh")]
)
def test_what_writes_draws_on_the_low_budget(client: httpx.Client, method: str, path: str) -> None:
    """Upserts and deletions share the budget of refreshes, and leave the other one alone."""
    definition = {"name": "result_x", "query_id": 77}
    responses = [client.post(REFRESH, json={}), *(client.request(method, path, json=definition) for _ in range(2))]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert statuses(client, "GET", "/v1/materialized-views", 4) == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/materialized-views"), ("GET", "/v1/query/1/pipeline"), ("POST", "/v1/usage")]
)
def test_what_only_reads_draws_on_the_high_budget(client: httpx.Client, method: str, path: str) -> None:
    """Lists, pipelines and usage share the budget of statuses, and leave the other one alone."""
    assert [status == 429 for status in statuses(client, method, path, 4)] == [False, False, False, True]
    assert statuses(client, "POST", REFRESH, 3) == [200, 200, 429]


def test_everything_about_executions_draws_on_the_high_budget(client: httpx.Client) -> None:
    """Status, cancel and get share one budget, which refreshes leave alone."""
    execution_id = client.post(REFRESH).json()["execution_id"]
    execution = f"/v1/execution/{execution_id}"
    responses = [
        client.get(f"{execution}/status"),
        client.post(f"{execution}/cancel"),
        client.get(VIEW),
        client.get(f"{execution}/status"),
        client.post(f"{execution}/cancel"),
        client.get(VIEW),
    ]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429, 429]
    assert statuses(client, "POST", REFRESH, 2) == [200, 429]


def test_refused_requests_count_if_they_have_the_key(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A body or an object that Dune refuses counts; a wrong key or path, which is no account's, does not."""
    wrong = {"X-Dune-Api-Key": "wrong"}
    assert [client.post(REFRESH, headers=wrong).status_code for _ in range(3)] == [401] * 3
    assert statuses(client, "GET", REFRESH, 4) == [405] * 4
    assert client.post(REFRESH, content=b"no JSON").status_code == 400
    assert statuses(client, "POST", REFRESH, 2) == [200, 429]
    assert statuses(client, "GET", "/v1/execution/01/status", 4) == [404, 404, 404, 429]


def test_what_dune_never_saw_does_not_count(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A request that fails before Dune leaves the budget alone; one that Dune accepted counts with any response."""
    sandbox.fail("refresh", *[Fault(status=502)] * 3, Fault(status=502, accepted=True))
    assert statuses(client, "POST", REFRESH, 6) == [502, 502, 502, 502, 200, 429]
    assert len(sandbox.ledger) == 2


def test_a_fault_does_not_lift_the_budget(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Past the budget even an accepted refresh is none, and a fault then shapes the refusal."""
    assert statuses(client, "POST", REFRESH, 2) == [200, 200]
    sandbox.fail("refresh", Fault(status=502, accepted=True), Fault(headers={"Retry-After": "soon"}))
    assert statuses(client, "POST", REFRESH, 1) == [502]
    refused = client.post(REFRESH)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "soon")
    assert len(sandbox.ledger) == 2


def test_without_a_plan_there_is_no_limit() -> None:
    """A sandbox admits any number of requests unless it is told a plan."""
    budgets = Budgets(None)
    assert not any(budgets.admit("low", 0) for _ in range(10_000))


def test_each_response_tells_what_is_left(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Each response, refusals included, reports each policy: quota, remaining requests and the time of the reset."""
    for left, status in ((1, 200), (0, 200), (0, 429)):
        response = client.post(REFRESH)
        assert response.status_code == status
        assert response.headers["RateLimit-Policy"] == '"ip";q=1000;w=1, "write";q=2;w=60'
        address, write = response.headers["RateLimit"].split(", ")
        assert re.fullmatch(r'"ip";r=99\d;t=1', address)
        assert re.fullmatch(rf'"write";r={left};t=(59|60)', write)
    assert '"read";r=2;t=60' in client.get(VIEW).headers["RateLimit"]
    sandbox.advance(30)
    assert '"write";r=0;t=30' in client.post(REFRESH).headers["RateLimit"]


def test_what_no_budget_counts_tells_none(client: httpx.Client) -> None:
    """A wrong key has no account, and no budget; a sandbox without a plan has none either."""
    assert "RateLimit" not in client.get(VIEW, headers={"X-Dune-Api-Key": "wrong"}).headers
    with DuneSandbox() as unlimited:
        response = httpx.get(
            f"{unlimited.url}/api{VIEW}", headers={"X-Dune-Api-Key": unlimited.api_key}, trust_env=False
        )
        assert (response.status_code, "RateLimit" in response.headers) == (200, False)
