"""Knows the responses to creating, listing, reading and deleting views, over a real connection.
Must not reach into the sandbox by any other way than users have."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

VIEWS = "/v1/materialized-views"
NAME = "dune.my_team.result_x"
DEFINITION: dict[str, Any] = {"name": "result_x", "query_id": 77}


def upsert(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Create or replace a view, which must be accepted; the response."""
    response = client.post(VIEWS, json=DEFINITION | fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


def view_of(client: httpx.Client, name: str = NAME) -> dict[str, Any]:
    """A view that must exist."""
    response = client.get(f"{VIEWS}/{name}")
    assert response.status_code == 200, response.text
    return dict(response.json())


def listed(client: httpx.Client, **parameters: Any) -> tuple[list[str], int]:
    """The names on one page, and where the next one begins."""
    response = client.get(VIEWS, params=parameters)
    assert response.status_code == 200, response.text
    page = response.json()
    return [each["sql_id"] for each in page["materialized_views"]], page["next_offset"]


def test_a_new_view_is_filled_by_a_billed_execution(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The response to an upsert has the full name and an execution, and is charged with the tier that it asked for."""
    created = upsert(client, performance="large", is_private=True)
    [charge] = sandbox.ledger
    assert created == {"name": NAME, "execution_id": charge.execution_id}
    assert (charge.name, charge.performance) == (NAME, "large")
    sandbox.advance(5)
    assert view_of(client) == {
        "sql_id": NAME,
        "query_id": 77,
        "is_private": True,
        "table_size_bytes": 50_000,
        "last_execution_ids": [charge.execution_id],
    }


def test_a_view_can_have_been_refreshed_before(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view with an age has one execution that succeeded so long ago, and that no ledger and no usage has."""
    sandbox.add_view(NAME, age=3600)
    seen = view_of(client)
    [execution_id] = seen["last_execution_ids"]
    status = client.get(f"/v1/execution/{execution_id}/status").json()
    assert (status["state"], seen["table_size_bytes"]) == ("QUERY_STATE_COMPLETED", 50_000)
    age = datetime.now(UTC) - datetime.fromisoformat(status["execution_ended_at"])
    assert timedelta(hours=1) <= age < timedelta(hours=1, minutes=1)
    assert sandbox.ledger == ()
    assert client.post("/v1/usage", json={}).json()["billing_periods"][0]["credits_used"] == 0


def test_what_lies_further_back_is_listed_later(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Past refreshes are listed by time, in any order of their creation, and before those of today."""
    sandbox.add_view(NAME, age=3600)
    sandbox.add_view(NAME, age=7200)
    started = client.post(f"{VIEWS}/{NAME}/refresh", json={}).json()["execution_id"]
    ids = view_of(client)["last_execution_ids"]
    assert ids[0] == started
    assert ids == sorted(ids, reverse=True)  # they are ULIDs, which begin with their time


@pytest.mark.parametrize("age", [-1, float("inf"), float("nan")])
def test_an_impossible_age_is_refused(sandbox: DuneSandbox, age: float) -> None:
    """An age is a number of seconds that is not below zero."""
    with pytest.raises(ValueError, match="age must be zero or more seconds"):
        sandbox.add_view(NAME, age=age)


def test_an_upsert_does_what_was_rehearsed(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The execution that an upsert starts takes the next scenario of its view, like any other."""
    sandbox.rehearse(NAME, Scenario(pending=0, running=0, credits=3.5, end="expired"))
    upsert(client)
    assert [(each.state, each.credits) for each in sandbox.ledger] == [("QUERY_STATE_EXPIRED", 3.5)]


def test_an_upsert_replaces_everything_but_the_history(client: httpx.Client) -> None:
    """Settings that are not sent again are gone, also the schedule; earlier executions are still listed."""
    first = upsert(client, is_private=True, performance="large", cron_expression="0 6 * * *")
    second = upsert(client, query_id=78)
    replaced = view_of(client)
    assert (replaced["query_id"], replaced["is_private"], "schedule" in replaced) == (78, False, False)
    assert replaced["last_execution_ids"] == [second["execution_id"], first["execution_id"]]
    statuses = [client.get(f"/v1/execution/{each['execution_id']}/status").json() for each in (first, second)]
    assert [each["query_id"] for each in statuses] == [77, 78]


def test_the_team_is_part_of_the_full_name() -> None:
    """A view is created in the account of the key, under the name that this has in SQL."""
    with (
        DuneSandbox([], team='"21co"') as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        assert upsert(client)["name"] == 'dune."21co".result_x' == sandbox.ledger[0].name
        assert view_of(client, "dune.%2221co%22.result_x")["query_id"] == 77


NAME_RULE = "name must be result_ and more, 8 to 128 lower-case letters, digits and underscores"
FIVE_FIELDS = "cron_expression must have five fields, not"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        *(
            ({"name": name}, NAME_RULE)
            for name in (
                None,
                7,
                "",
                "result_",
                "result_x_",
                "result_X",
                "result_x\n",
                "resultx1",
                "result_ä",
                NAME,
                "result_" + "x" * 122,
            )
        ),
        *(({"query_id": query_id}, "query_id must be the number") for query_id in (None, "77", 0, -1, 7.5, True)),
        *(({"is_private": private}, "is_private must be true or false") for private in (None, "true", 0)),
        ({"performance": "huge"}, "performance must be one of free, small, medium, large, not 'huge'"),
        ({"cron_expression": None}, "cron_expression must be a text of five fields, not None"),
        ({"cron_expression": ""}, f"{FIVE_FIELDS} 0"),
        ({"cron_expression": "@daily"}, f"{FIVE_FIELDS} 1"),
        ({"cron_expression": "0 0 6 * * *"}, f"{FIVE_FIELDS} 6"),
        ({"cron_expression": "60 * * * *"}, "cron_expression '60 * * * *' cannot be read: Bad minute"),
        ({"cron_expression": "*/14 * * * *"}, "at least 15 minutes between two"),
        ({"cron_expression": "0 0 1 * *"}, "at least once a week"),
        ({"expires_at": "2027-01-01T00:00:00Z"}, "expires_at needs a cron_expression"),
        *(
            ({"cron_expression": "0 6 * * *", "expires_at": expiry}, "expires_at must be a time like")
            for expiry in (
                None,
                "",
                1,
                "2027-01-01",
                "2027-01-01T00:00:00",
                "2027-13-01T00:00:00Z",
                "20270101T000000Z",
                "2027-01-01T00:00:00+99:99",
            )
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_wrong_definition_is_refused_and_free(
    sandbox: DuneSandbox, client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    """A definition that Dune would refuse is 400, with a message; nothing is created, and nobody pays."""
    response = client.post(VIEWS, json=DEFINITION | fields)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
    assert (sandbox.ledger, listed(client)) == ((), ([], 0))


@pytest.mark.parametrize("name", ["result_x", "result_0", "result__9", "result_" + "x" * 121])
def test_a_name_may_have_8_to_128_characters(client: httpx.Client, name: str) -> None:
    """The shortest and the longest name are names."""
    assert upsert(client, name=name)["name"] == f"dune.my_team.{name}"


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_view_needs_a_definition(client: httpx.Client, body: bytes) -> None:
    """An upsert without a body, or with an empty one, is refused."""
    assert client.post(VIEWS, content=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_a_schedule_is_told(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view with a schedule tells it, with its tier, its end and when it is due next, by the sandbox's clock."""
    expiry = "2999-12-31T23:00:00Z"
    upsert(client, cron_expression="30 6 * * *", expires_at=expiry, performance="medium")
    for _ in range(2):
        schedule = view_of(client)["schedule"]
        now = sandbox.requests[-1].at
        today = now.replace(hour=6, minute=30, second=0, microsecond=0)
        due = today if now < today else today + timedelta(days=1)
        assert schedule == {
            "cron_expression": "30 6 * * *",
            "performance": "medium",
            "next_execution_time": f"{due:%Y-%m-%dT%H:%M:%SZ}",
            "expires_at": expiry,
        }
        sandbox.advance(86_400)


@pytest.mark.parametrize(
    ("expiry", "told"),
    [
        ("2999-12-31t23:00:00z", "2999-12-31T23:00:00Z"),
        ("2999-12-31T23:00:00.123456789+01:00", "2999-12-31T23:00:00.123456+01:00"),
    ],
)
def test_an_expiry_is_any_time_of_the_standard(client: httpx.Client, expiry: str, told: str) -> None:
    """Any time by RFC 3339 is an expiry: small letters, parts of a second, and any offset."""
    upsert(client, cron_expression="0 6 * * *", expires_at=expiry)
    assert view_of(client)["schedule"]["expires_at"] == told


def test_what_a_schedule_leaves_out_is_absent(client: httpx.Client) -> None:
    """Without a tier and an end of its own, a schedule has none; one that has ended is never due again."""
    upsert(client, cron_expression="0 6 * * *")
    assert set(view_of(client)["schedule"]) == {"cron_expression", "next_execution_time"}
    upsert(client, cron_expression="0 6 * * *", expires_at="0001-01-01T00:00:00+12:00")
    assert set(view_of(client)["schedule"]) == {"cron_expression", "expires_at"}


def test_a_schedule_bills_nobody(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """However long a schedule stands, the sandbox starts nothing by itself."""
    upsert(client, cron_expression="*/15 * * * *")
    sandbox.advance(30 * 86_400)
    assert len(view_of(client)["last_execution_ids"]) == 1 == len(sandbox.ledger)


def test_a_list_is_told_page_by_page() -> None:
    """A page has as many views as are asked for, in the order of their creation, and the last one points to none."""
    names = [f"dune.my_team.result_{number}" for number in range(5)]
    with (
        DuneSandbox(names) as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        assert listed(client) == (names, 0)
        assert [listed(client, limit=2, offset=offset) for offset in (0, 2, 4)] == [
            (names[:2], 2),
            (names[2:4], 4),
            (names[4:], 0),
        ]
        assert listed(client, limit=5) == (names, 0)
        assert listed(client, offset=9) == ([], 0)
        assert client.get(VIEWS).json()["materialized_views"][1] == {
            "sql_id": names[1],
            "query_id": view_of(client, names[1])["query_id"],
            "is_private": False,
            "table_size_bytes": 0,
        }


def test_without_a_list_of_views_those_exist_that_were_named(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Where any view exists, the list has those that somebody asked for."""
    assert listed(client) == ([], 0)
    view_of(client)
    sandbox.add_view("dune.my_team.result_y")
    assert listed(client) == ([NAME, "dune.my_team.result_y"], 0)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be from 1 to 10000, not 0"),
        ("limit=10001", "limit must be from 1 to 10000, not 10001"),
        ("limit=", "limit must be a whole number, not ''"),
        ("limit=-1", "limit must be a whole number, not '-1'"),
        ("offset=1.0", "offset must be a whole number, not '1.0'"),
        ("offset=%D9%A3", "offset must be a whole number, not '٣'"),
        ("offset=%FF", "the query is not percent-encoded UTF-8"),
        ("ofset=2", "the parameters are limit, offset; there is no 'ofset'"),
    ],
)
def test_a_wrong_page_is_refused(client: httpx.Client, query: str, sentence: str) -> None:
    """A page that there cannot be, and a misspelled parameter, are 400."""
    response = client.get(f"{VIEWS}?{query}")
    assert (response.status_code, response.json()) == (400, {"error": sentence})


@pytest.mark.parametrize("views", [None, [NAME]], ids=["any", "named"])
def test_a_deleted_view_is_gone(views: list[str] | None) -> None:
    """After its deletion a view is 404 and in no list, also where every view exists; its costs stay billed."""
    with (
        DuneSandbox(views) as sandbox,
        httpx.Client(base_url=f"{sandbox.url}/api", trust_env=False, timeout=600) as client,
    ):
        client.headers["X-Dune-Api-Key"] = sandbox.api_key
        execution_id = client.post(f"{VIEWS}/{NAME}/refresh").json()["execution_id"]
        deleted = client.delete(f"{VIEWS}/{NAME}")
        assert (deleted.status_code, deleted.json()) == (200, {"message": f"The materialized view {NAME} is deleted"})
        gone = [
            client.get(f"{VIEWS}/{NAME}"),
            client.post(f"{VIEWS}/{NAME}/refresh"),
            client.delete(f"{VIEWS}/{NAME}"),
        ]
        assert [(each.status_code, each.json()) for each in gone] == [(404, {"error": "Object not found"})] * 3
        assert listed(client) == ([], 0)
        assert client.get(f"/v1/execution/{execution_id}/status").status_code == 200
        assert [each.execution_id for each in sandbox.ledger] == [execution_id]


@pytest.mark.parametrize("way", ["upsert", "add_view"])
def test_a_deleted_view_may_come_back(sandbox: DuneSandbox, client: httpx.Client, way: str) -> None:
    """A view that is created anew under an old name begins without the executions of its namesake."""
    old = upsert(client)["execution_id"]
    client.delete(f"{VIEWS}/{NAME}")
    if way == "upsert":
        upsert(client)
    else:
        sandbox.add_view(NAME)
    assert old not in view_of(client)["last_execution_ids"]


def test_a_foreign_view_is_forbidden_and_free(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view of another account can not be read, refreshed, replaced or deleted, and is in no list."""
    sandbox.add_view(NAME, owned=False)
    responses = [
        client.get(f"{VIEWS}/{NAME}"),
        client.post(f"{VIEWS}/{NAME}/refresh"),
        client.delete(f"{VIEWS}/{NAME}"),
        client.post(VIEWS, json=DEFINITION),
    ]
    sentence = f"the view {NAME!r} belongs to another account"
    assert [(each.status_code, each.json()) for each in responses] == [(403, {"error": sentence})] * 4
    assert (sandbox.ledger, listed(client)) == ((), ([], 0))
    sandbox.add_view(NAME)
    assert listed(client) == ([NAME], 0)


def test_a_view_may_change_its_owner(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view that becomes foreign keeps its executions for the day on which it comes back."""
    execution_id = upsert(client)["execution_id"]
    sandbox.add_view(NAME, owned=False)
    assert client.get(f"{VIEWS}/{NAME}").status_code == 403
    sandbox.add_view(NAME)
    assert (view_of(client)["last_execution_ids"], view_of(client)["query_id"]) == ([execution_id], 77)


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [("list", "GET", VIEWS), ("upsert", "POST", VIEWS), ("delete", "DELETE", f"{VIEWS}/{NAME}")],
)
def test_each_operation_on_views_can_fail(
    sandbox: DuneSandbox, client: httpx.Client, operation: str, method: str, path: str
) -> None:
    """A fault meets the operation of its name, on a path that two operations share."""
    sandbox.fail(operation, Fault(status=502))
    assert client.request(method, path, json=DEFINITION).status_code == 502
    assert (sandbox.requests[0].operation, sandbox.ledger) == (operation, ())


def test_two_methods_of_one_path_are_told(client: httpx.Client) -> None:
    """A third method on a path of two operations is refused, and both are named."""
    response = client.put(VIEWS, json=DEFINITION)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, POST")


def test_the_clock_of_schedules_is_utc(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A schedule is due by UTC, in any time zone of the machine."""
    upsert(client, cron_expression="0 0 * * *")
    due = datetime.fromisoformat(view_of(client)["schedule"]["next_execution_time"])
    assert (due.hour, due.minute, due.tzinfo) == (0, 0, UTC)
