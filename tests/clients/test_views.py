"""The life of a view, its lineage and its freshness: both clients against the sandbox over real sockets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from typing import Any, cast

import pytest

from dune_matviews import (
    KEEP,
    AmbiguousRefreshError,
    BadRequestError,
    ClientClosedError,
    Freshness,
    InvalidArgumentError,
    Matview,
    MatviewsClient,
    NotFoundError,
    PermissionDeniedError,
    RequestFailedError,
    Schedule,
    SmallTierWarning,
    UnexpectedResponseError,
    UnsupportedTierError,
)
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

BARE = "result_daily_volume"
pytestmark = pytest.mark.usefixtures("skipped")

VIEW = f"dune.my_team.{BARE}"
LAST_MOMENT = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
"""It has no spelling in UTC."""

TOMORROW = datetime(2027, 1, 1, 6, 30, tzinfo=UTC)
Connect = Callable[..., MatviewsClient]


def bodies(sandbox: DuneSandbox, operation: str) -> list[Any]:
    """The JSON of every request of an operation."""
    return [json.loads(request.body) for request in sandbox.requests if request.operation == operation]


def seen(sandbox: DuneSandbox) -> list[str | None]:
    """The operations that were asked for, in order."""
    return [request.operation for request in sandbox.requests]


def response(**content: object) -> Fault:
    """A response in place of Dune's own."""
    return Fault(body=json.dumps(content).encode())


# Creating, and what it costs


def test_creating_a_view_starts_one_execution(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """One request creates it, is billed once, and gives a handle that knows the view's full name."""
    refresh = dune.upsert(BARE, 4711)
    status = refresh.wait()
    (charge,) = sandbox.ledger
    assert (refresh.execution_id, refresh.name) == (charge.execution_id, VIEW)
    assert (charge.name, charge.performance, status.query_id) == (VIEW, None, 4711)
    assert bodies(sandbox, "upsert") == [{"name": BARE, "query_id": 4711, "is_private": False}]


def test_all_that_makes_a_view_is_sent_and_read_back(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`get` returns the definition passed to `upsert`, including its schedule."""
    until = TOMORROW.astimezone(timezone(timedelta(hours=2)))
    refresh = dune.upsert(
        BARE, 4711, is_private=True, performance="large", cron_expression="0 */6 * * *", expires_at=until
    )
    refresh.wait()
    view = dune.get(VIEW)
    assert (view.name, view.query_id, view.is_private, view.size_bytes) == (VIEW, 4711, True, 50_000)
    assert view.last_execution_ids == (refresh.execution_id,)
    assert view.schedule is not None
    assert view.schedule.next_run_at is not None
    assert view.schedule.next_run_at.hour % 6 == view.schedule.next_run_at.minute == 0
    assert view.schedule == Schedule(
        cron_expression="0 */6 * * *",
        performance="large",
        next_run_at=view.schedule.next_run_at,
        expires_at=TOMORROW,
    )
    assert bodies(sandbox, "upsert")[0]["expires_at"] == "2027-01-01T06:30:00Z"
    assert view.raw["sql_id"] == VIEW


def test_the_clients_default_tier_is_an_upserts_too(connect: Connect, sandbox: DuneSandbox) -> None:
    """An execution started by `upsert` runs on the client's default tier, unless the call names another."""
    dune = connect(sandbox.api_key, base_url=sandbox.url, performance="medium")
    dune.upsert(BARE, 1)
    dune.upsert(BARE, 1, performance="large")
    assert [charge.performance for charge in sandbox.ledger] == ["medium", "large"]


def test_small_is_as_open_a_question_for_upserts(connect: Connect) -> None:
    """It is sent with a warning, and a 400 to it names the disagreement."""
    with DuneSandbox(small=False) as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        with pytest.warns(SmallTierWarning), pytest.raises(UnsupportedTierError, match="lists only"):
            dune.upsert(BARE, 1, performance="small")


NAMES = [
    ("dune.my_team.result_x1", "pass the bare one, 'result_x1'"),
    ('dune."21co".result_x1', "pass the bare one, 'result_x1'"),
    ("volume", "lower-case letters"),
    ("result_", "no underscore"),
    ("result_x_", "no underscore"),
    ("Result_x", "lower-case"),
    ("result_é", "lower-case"),
    ("result_" + "x" * 122, "8 to 128"),
    ("", "is empty"),
    (None, "must be a str"),
]


@pytest.mark.parametrize(("name", "problem"), NAMES)
def test_a_view_is_created_by_a_bare_name_alone(
    dune: MatviewsClient, sandbox: DuneSandbox, name: Any, problem: str
) -> None:
    """A full name is refused with the bare one in the message, any other with the rule; nothing is sent."""
    with pytest.raises(InvalidArgumentError, match=problem):
        dune.upsert(name, 1)
    assert sandbox.requests == ()


@pytest.mark.parametrize("name", ["result_x", "result_" + "x" * 121, "result__1"])
def test_every_bare_name_that_dune_takes_is_sent(dune: MatviewsClient, sandbox: DuneSandbox, name: str) -> None:
    """From 8 to 128 characters."""
    dune.upsert(name, 1)
    assert [charge.name for charge in sandbox.ledger] == [f"dune.my_team.{name}"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"query_id": 0}, "number of a saved query"),
        ({"query_id": "1"}, "number of a saved query"),
        ({"query_id": True}, "number of a saved query"),
        ({"is_private": 1}, "True or False"),
        ({"performance": "huge"}, "'small', 'medium', 'large'"),
        ({"cron_expression": " "}, "five fields"),
        ({"cron_expression": 15}, "five fields"),
        ({"cron_expression": "0 0 * * *", "expires_at": datetime(2027, 1, 1)}, "time zone"),
        ({"cron_expression": "0 0 * * *", "expires_at": "2027-01-01"}, "time zone"),
        ({"cron_expression": "0 0 * * *", "expires_at": LAST_MOMENT}, "time zone"),
        ({"expires_at": TOMORROW}, "ends a schedule"),
    ],
)
def test_what_dune_would_refuse_or_misread_is_refused_before(
    dune: MatviewsClient, sandbox: DuneSandbox, arguments: dict[str, Any], problem: str
) -> None:
    """The rule is in the message, and nothing is sent."""
    with pytest.raises(InvalidArgumentError, match=problem):
        dune.upsert(BARE, **cast(dict[str, Any], {"query_id": 1} | arguments))
    with pytest.raises(InvalidArgumentError, match=problem):
        dune.update(VIEW, **cast(dict[str, Any], {"cron_expression": None} | arguments))
    assert sandbox.requests == ()


@pytest.mark.parametrize(
    ("expression", "problem"),
    [("* * * * *", "at least 15 minutes"), ("0 0 1 * *", "once a week"), ("@daily", "five fields")],
)
def test_a_wrong_schedule_is_refused_by_dune_at_no_cost(
    dune: MatviewsClient, sandbox: DuneSandbox, expression: str, problem: str
) -> None:
    """Dune knows its own rules for schedules: its words reach the caller, and nothing is billed."""
    with pytest.raises(BadRequestError, match=problem):
        dune.upsert(BARE, 1, cron_expression=expression)
    assert sandbox.ledger == ()


def test_a_404_to_an_upsert_is_about_the_query(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """The hint speaks of the query, since there is no view yet whose name could be wrong."""
    sandbox.fail("upsert", Fault(status=404, body=b'{"error": "Object not found"}'))
    with pytest.raises(NotFoundError, match="Query 4711 must be saved"):
        dune.upsert(BARE, 4711)


@pytest.mark.parametrize("existed", [True, False])
def test_a_lost_response_to_an_upsert_is_found_again(dune: MatviewsClient, sandbox: DuneSandbox, existed: bool) -> None:
    """A view that was there before or not: its execution is found by its bare name, and paid once."""
    sandbox.add_view("dune.my_team.result_other")
    if existed:
        sandbox.add_view(VIEW)
    sandbox.fail("upsert", Fault(lost=True, accepted=True))
    refresh = dune.upsert(BARE, 4711)
    (charge,) = sandbox.ledger
    assert (refresh.execution_id, refresh.name) == (charge.execution_id, VIEW)
    assert seen(sandbox).count("upsert") == 1


def test_an_upsert_that_is_not_found_again_is_ambiguous(connect: Connect, sandbox: DuneSandbox) -> None:
    """Where no view of that name comes to light, nothing is sent a second time."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    sandbox.fail("upsert", Fault(status=502))
    with pytest.raises(AmbiguousRefreshError) as caught:
        dune.upsert(BARE, 4711)
    assert (caught.value.name, sandbox.ledger) == (BARE, ())
    assert seen(sandbox).count("upsert") == 1


# Changing


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        ({"query_id": 2}, {"query_id": 2}),
        ({"is_private": False}, {"is_private": False}),
        ({"performance": "large"}, {"performance": "large"}),
        ({"performance": None}, {"performance": None}),
        ({"cron_expression": "0 9 * * 1"}, {"cron_expression": "0 9 * * 1"}),
        ({"cron_expression": None}, {"cron_expression": None, "expires_at": None}),
        ({"expires_at": None}, {"expires_at": None}),
        ({"expires_at": TOMORROW + timedelta(1)}, {"expires_at": "2027-01-02T06:30:00Z"}),
        ({"query_id": 2, "is_private": KEEP}, {"query_id": 2}),
    ],
)
def test_an_update_changes_what_is_passed_and_keeps_the_rest(
    dune: MatviewsClient, sandbox: DuneSandbox, change: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Query, privacy, tier and schedule are sent again as Dune has them; the execution is billed once."""
    dune.upsert(BARE, 1, is_private=True, performance="medium", cron_expression="0 0 * * *", expires_at=TOMORROW).wait()
    refresh = dune.update(VIEW, **change)
    before = {
        "name": BARE,
        "query_id": 1,
        "is_private": True,
        "performance": "medium",
        "cron_expression": "0 0 * * *",
        "expires_at": "2027-01-01T06:30:00Z",
    }
    expected = {name: value for name, value in (before | sent).items() if value is not None}
    assert bodies(sandbox, "upsert")[-1] == expected
    assert (refresh.name, refresh.execution_id) == (VIEW, sandbox.ledger[-1].execution_id)
    assert len(sandbox.ledger) == 2


def test_a_view_without_a_schedule_has_no_tier_to_keep(connect: Connect, sandbox: DuneSandbox) -> None:
    """Dune reports a tier only with a schedule: without one the field is omitted, for any client's default."""
    dune = connect(sandbox.api_key, base_url=sandbox.url, performance="large")
    dune.upsert(BARE, 1)
    dune.update(VIEW, query_id=2)
    assert bodies(sandbox, "upsert")[-1] == {"name": BARE, "query_id": 2, "is_private": False}


def test_a_text_that_cannot_be_dated_is_kept_as_it_is(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """An update sends Dune's text unchanged, to the nanosecond."""
    odd = {"cron_expression": "0 0 * * *", "performance": "large", "expires_at": "2027-01-01T00:00:00.123456789Z"}
    sandbox.add_view(VIEW)
    sandbox.fail("get", response(sql_id=VIEW, query_id=1, is_private=False, schedule=odd))
    dune.update(VIEW, query_id=2)
    (sent,) = bodies(sandbox, "upsert")
    assert sent["expires_at"] == odd["expires_at"]


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"is_private": False}, "query_id"),
        ({"query_id": 1}, "is_private"),
        ({"query_id": "1", "is_private": "no"}, "query_id and is_private"),
        ({"query_id": 1, "is_private": False, "schedule": "daily"}, "performance and cron_expression and expires_at"),
        ({"query_id": 1, "is_private": False, "schedule": {}}, "cron_expression"),
        ({"query_id": 1, "is_private": False, "schedule": {"cron_expression": 5}}, "cron_expression"),
        (
            {"query_id": 1, "is_private": False, "schedule": {"cron_expression": "0 0 * * *", "expires_at": 5}},
            "expires_at",
        ),
        (
            {"query_id": 1, "is_private": False, "schedule": {"cron_expression": "0 0 * * *", "performance": []}},
            "performance",
        ),
    ],
)
def test_an_update_does_not_guess(
    dune: MatviewsClient, sandbox: DuneSandbox, told: dict[str, Any], missing: str
) -> None:
    """If the read lacks a part needed for the write, nothing is written, and the error names the arguments."""
    told = {"sql_id": VIEW} | told
    change: dict[str, Any] = {"query_id": 2} if "query_id" not in missing else {"performance": "large"}
    sandbox.fail("get", response(**told))
    with pytest.raises(UnexpectedResponseError, match=f"pass {missing}=".replace(" and ", "= and ")) as caught:
        dune.update(VIEW, **change)
    assert "nothing was changed" in str(caught.value)
    assert sandbox.ledger == ()


def test_what_is_passed_need_not_be_told(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """With all parts passed, nothing missing from the read matters."""
    sandbox.add_view(VIEW)
    sandbox.fail("get", response(sql_id=VIEW, schedule=7))
    dune.update(VIEW, query_id=2, is_private=True, performance="large", cron_expression=None)
    assert bodies(sandbox, "upsert") == [{"name": BARE, "query_id": 2, "is_private": True, "performance": "large"}]


def test_a_forbidden_tier_is_not_sent_again(connect: Connect, sandbox: DuneSandbox) -> None:
    """A view that has the tier `small` is not updated with it where that is forbidden; another tier may be passed."""
    connect(sandbox.api_key, base_url=sandbox.url, small_tier="allow").upsert(
        BARE, 1, performance="small", cron_expression="0 0 * * *"
    )
    dune = connect(sandbox.api_key, base_url=sandbox.url, small_tier="forbid")
    with pytest.raises(InvalidArgumentError, match="'small' is refused, as was asked for"):
        dune.update(VIEW, query_id=2)
    assert len(sandbox.ledger) == 1
    dune.update(VIEW, query_id=2, performance="medium")
    assert sandbox.ledger[-1].performance == "medium"


def test_an_end_needs_a_schedule_to_end(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`expires_at` for a view without a schedule is refused before anything is written."""
    sandbox.add_view(VIEW)
    with pytest.raises(InvalidArgumentError, match=f"{VIEW} has none. Pass cron_expression="):
        dune.update(VIEW, expires_at=TOMORROW)
    assert (seen(sandbox), sandbox.ledger) == (["get"], ())


def test_an_update_of_nothing_is_refused(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """It would cost an execution and change nothing."""
    with pytest.raises(InvalidArgumentError, match="changes nothing"):
        dune.update(VIEW)
    assert sandbox.requests == ()


def test_a_foreign_view_is_not_updated_into_one_of_ones_own(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Dune's refusal to show it ends the update, before a view of the same bare name is made and billed."""
    sandbox.add_view("dune.others.result_x", owned=False)
    with pytest.raises(PermissionDeniedError):
        dune.update("dune.others.result_x", query_id=2)
    assert sandbox.ledger == ()


def test_a_foreign_view_that_dune_shows_is_not_updated_either(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """One's own view of that bare name would be replaced, and billed, since Dune creates by the bare name alone."""
    dune.upsert("result_x", 1, cron_expression="0 0 * * *")
    before = dune.get("dune.my_team.result_x")
    sandbox.fail("get", response(sql_id="dune.others.result_x", query_id=9, is_private=False))
    with pytest.raises(
        InvalidArgumentError, match=r"dune\.others\.result_x is not among the views of the key's account"
    ):
        dune.update("dune.others.result_x", performance="large")
    after = dune.get("dune.my_team.result_x")
    assert (after.query_id, after.last_execution_ids) == (before.query_id, before.last_execution_ids)
    assert len(sandbox.ledger) == 1


def test_an_update_that_became_another_view_is_logged(
    dune: MatviewsClient, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """If Dune responds with another name, the handle has it, and a warning says so."""
    sandbox.add_view(VIEW)
    sandbox.fail("upsert", response(name="dune.others.result_x", execution_id="E1"))
    assert dune.update(VIEW, query_id=2).name == "dune.others.result_x"
    assert f"update of {VIEW} with a view named dune.others.result_x" in caplog.text


def test_an_update_keeps_the_full_name(
    dune: MatviewsClient, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The handle has the name even if the response lacks it, without a warning about another view."""
    sandbox.add_view(VIEW)
    sandbox.fail("upsert", response(execution_id="E1"))
    assert dune.update(VIEW, query_id=3).name == VIEW
    assert "with a view named" not in caplog.text


# Reading


def test_what_a_view_leaves_out_is_none(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Only the name is certain: it is the requested one if Dune does not report it."""
    nonsense: dict[str, Any] = {
        "sql_id": None,
        "query_id": "x",
        "is_private": 0,
        "table_size_bytes": [],
        "schedule": None,
    }
    for strange in (dict[str, Any](), nonsense):
        sandbox.fail("get", response(**strange))
        assert dune.get(VIEW) == Matview(name=VIEW)


@pytest.mark.parametrize("call", ["get", "delete", "lineage", "freshness"])
def test_names_are_checked_and_explained_everywhere(dune: MatviewsClient, sandbox: DuneSandbox, call: str) -> None:
    """An invalid name sends nothing, and a 404 for a bare name shows the form of a full one."""
    with pytest.raises(InvalidArgumentError, match="is empty"):
        getattr(dune, call)(" ")
    assert sandbox.requests == ()
    sandbox.fail("delete" if call == "delete" else "get", Fault(status=404, body=b'{"error": "Object not found"}'))
    with pytest.raises(NotFoundError, match=r"looks like 'dune\.my_team\.my_matview'"):
        getattr(dune, call)("my_matview")


def test_a_list_goes_through_pages_as_they_are_needed(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Nothing is asked for before the first view is, and the second page not before its first view."""
    first = [{"sql_id": f"a{place}", "query_id": place} for place in range(2)]
    sandbox.fail(
        "list",
        response(materialized_views=first, next_offset=2),
        response(materialized_views=[{"sql_id": "b", "is_private": True}], next_offset=0),
    )
    views = iter(dune.list())
    assert sandbox.requests == ()
    assert [view.name for view in islice(views, 2)] == ["a0", "a1"]
    assert len(sandbox.requests) == 1
    assert list(views) == [Matview(name="b", is_private=True)]
    assert [request.query for request in sandbox.requests] == ["limit=1000&offset=0", "limit=1000&offset=2"]


@pytest.mark.parametrize("last", [{}, {"next_offset": 0}, {"next_offset": None}])
@pytest.mark.parametrize("none", [{"materialized_views": []}, {"materialized_views": None}, {}])
def test_an_account_without_views_has_an_empty_list(
    dune: MatviewsClient, sandbox: DuneSandbox, last: dict[str, Any], none: dict[str, Any]
) -> None:
    """However Dune says that there is nothing, it is no error."""
    sandbox.fail("list", response(**last, **none))
    assert list(dune.list()) == []


@pytest.mark.parametrize("repeated", [2, 1, -1])
def test_a_list_never_goes_in_circles(
    dune: MatviewsClient, sandbox: DuneSandbox, repeated: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that says to go on from where the list has been already is the last, which is logged."""
    page = [{"sql_id": "a"}, {"sql_id": "b"}]
    sandbox.fail(
        "list",
        response(materialized_views=page, next_offset=2),
        response(materialized_views=page, next_offset=repeated),
    )
    assert len(list(dune.list())) == 4
    assert len(sandbox.requests) == 2
    assert f"ends at 2, because Dune names {repeated}" in caplog.text


@pytest.mark.parametrize(
    "strange",
    [
        {"materialized_views": "none"},
        {"materialized_views": [None]},
        {"materialized_views": [{"query_id": 1}]},
        {"materialized_views": [{"sql_id": "a"}], "next_offset": "2"},
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(
    connect: Connect, sandbox: DuneSandbox, strange: dict[str, Any]
) -> None:
    """A view is never left out without a word."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    sandbox.fail("list", *[response(**strange)] * 200)
    with pytest.raises(UnexpectedResponseError):
        list(dune.list())


def test_a_list_has_the_accounts_views_only(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Those of others are not listed, and a deleted one no more."""
    sandbox.add_view("dune.others.result_x", owned=False)
    dune.upsert("result_one", 1, is_private=True)
    dune.upsert("result_two", 2)
    assert [(view.name, view.query_id, view.is_private) for view in dune.list()] == [
        ("dune.my_team.result_one", 1, True),
        ("dune.my_team.result_two", 2, False),
    ]
    dune.delete("dune.my_team.result_one")
    assert [view.name for view in dune.list()] == ["dune.my_team.result_two"]


def test_a_list_of_a_closed_client_is_an_error(connect: Connect, sandbox: DuneSandbox) -> None:
    """Also where the client was closed halfway through."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    sandbox.fail("list", response(materialized_views=[{"sql_id": "a"}], next_offset=1))
    views = dune.list()
    assert next(iter(views)).name == "a"
    dune.close()
    with pytest.raises(ClientClosedError):
        next(iter(views))


# Deleting


def test_a_deleted_view_is_gone(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Deleting takes one request; later requests are 404s."""
    sandbox.add_view(VIEW)
    dune.delete(VIEW)
    assert seen(sandbox) == ["delete"]
    for call in (dune.get, dune.refresh, dune.delete, dune.freshness):
        with pytest.raises(NotFoundError):
            call(VIEW)


def test_a_lost_response_to_a_deletion_is_no_failure(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A 404 on the second attempt means that the first one worked; without a lost response it is an error."""
    sandbox.add_view(VIEW)
    sandbox.fail("delete", Fault(lost=True, accepted=True))
    dune.delete(VIEW)
    assert seen(sandbox) == ["delete", "delete"]
    sandbox.fail("delete", Fault(status=429))
    with pytest.raises(NotFoundError):
        dune.delete(VIEW)


def test_a_foreign_view_stays(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """403 is not tried again, and says whose view it must be."""
    sandbox.add_view(VIEW, owned=False)
    with pytest.raises(PermissionDeniedError, match="must own the view"):
        dune.delete(VIEW)
    assert seen(sandbox) == ["delete"]


# Lineage


def test_four_layers_are_found_and_refreshed_in_order(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Two lines of code refresh a view after everything that it reads, through a plain query in between."""
    raw, hourly, daily, top = (f"dune.my_team.result_{name}" for name in ("raw", "hourly", "daily", "top"))
    for name in (top, daily, hourly, raw):
        sandbox.add_view(name)
    sandbox.reads(top, daily, raw)
    sandbox.reads(daily, 4711)
    sandbox.reads(4711, hourly)
    sandbox.reads(hourly, raw)

    lineage = dune.lineage(top)
    dune.refresh_all(lineage).raise_for_failures()

    assert dict(lineage) == {raw: (), hourly: (raw,), daily: (hourly,), top: (daily, raw)}
    assert [charge.name for charge in sandbox.ledger] == [raw, hourly, daily, top]


def test_the_lineage_goes_by_full_names(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A view requested by its bare name has its full name in the lineage, like the views it reads."""
    sandbox.add_view(VIEW)
    sandbox.fail("get", response(sql_id=VIEW, query_id=1001))
    assert dict(dune.lineage(BARE)) == {VIEW: ()}


@pytest.mark.parametrize(
    "pipeline",
    [
        {},
        {"pipeline": None},
        {"pipeline": {}},
        {"pipeline": {"nodes": None}},
        {"pipeline": {"nodes": []}},
        {"pipeline": {"nodes": "none"}},
        {"pipeline": {"nodes": [None]}},
        {"pipeline": {"nodes": [{"id": 1}]}},
        {"pipeline": {"nodes": [{"query_execution": {}}]}},
        {"pipeline": {"nodes": [{"id": 1, "dependencies": ["2"], "query_execution": {}}]}},
        {"pipeline": {"nodes": [{"id": 1, "dependencies": 2, "query_execution": {}}]}},
        {"pipeline": {"nodes": [{"id": 1, "dependencies": [2], "query_execution": {}}]}},
        {"pipeline": {"nodes": [{"id": 1, "materialized_view_refresh": {}, "query_execution": {}}]}},
    ],
)
def test_a_response_without_an_order_is_an_error(
    connect: Connect, sandbox: DuneSandbox, pipeline: dict[str, Any]
) -> None:
    """No nodes, or nodes that are not whole, are never taken for a view that reads nothing."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    sandbox.fail("pipeline", *[response(**pipeline)] * 200)
    with pytest.raises(UnexpectedResponseError):
        dune.lineage(VIEW)


def test_a_pipeline_without_nodes_is_not_asked_for_again(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """The response is complete and permanent, so the error names the remedy at once."""
    sandbox.fail("pipeline", response(pipeline={"nodes": []}))
    with pytest.raises(UnexpectedResponseError, match="a mapping for refresh_all"):
        dune.lineage(VIEW)
    assert seen(sandbox) == ["get", "pipeline"]


def test_a_name_of_the_servers_is_shown_on_one_line(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A message is printable for any content, and sends no commands to a terminal."""
    odd = "dune.t.\x1b[31m\nresult_x"
    sandbox.fail("get", response(sql_id=odd, query_id=1), response(sql_id=odd, query_id=1))
    steps = [(1, [], odd), (2, [1], "b"), (3, [2], odd)]
    nodes = [{"id": each, "dependencies": on, "materialized_view_refresh": {"name": name}} for each, on, name in steps]
    sandbox.fail("pipeline", response(pipeline={"nodes": nodes}))
    for call in (lambda: dune.update(VIEW, query_id=2), lambda: dune.lineage(VIEW)):
        with pytest.raises(UnexpectedResponseError) as caught:
            call()
        assert str(caught.value).isprintable()


def test_nulls_in_a_node_are_no_obstacle(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A node may say by null that it is not of the other kind, or depends on nothing."""
    base = {"id": 1, "dependencies": None, "materialized_view_refresh": {"name": "a"}, "query_execution": None}
    end = {"id": 2, "dependencies": [1.0], "materialized_view_refresh": None, "query_execution": {"query_id": 1}}
    sandbox.fail("pipeline", response(pipeline={"nodes": [base, end]}))
    assert dict(dune.lineage(VIEW)) == {"a": (), VIEW: ("a",)}


def test_views_that_read_each_other_are_an_error(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A circle at Dune is reported as one, and nothing is refreshed in a wrong order."""
    one, two = "dune.my_team.result_one", "dune.my_team.result_two"
    for name in (one, two, VIEW):
        sandbox.add_view(name)
    sandbox.reads(VIEW, one)
    sandbox.reads(one, two)
    sandbox.reads(two, one)
    with pytest.raises(UnexpectedResponseError, match="circle"):
        dune.lineage(VIEW)


def test_a_view_whose_query_is_not_told_has_no_lineage(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Without the query there is nothing to ask for, and nothing is guessed."""
    sandbox.fail("get", response(sql_id=VIEW))
    with pytest.raises(UnexpectedResponseError, match="query behind"):
        dune.lineage(VIEW)
    assert seen(sandbox) == ["get"]


# Freshness and usage


def test_freshness_is_that_of_the_latest_success(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Newer executions that failed or still run are skipped, and ended ones are not polled again."""
    sandbox.rehearse(VIEW, Scenario(), Scenario(end="failed"), Scenario(running=math.inf))
    good = dune.refresh(VIEW).wait()
    sandbox.advance(3600)
    dune.refresh(VIEW)
    dune.refresh(VIEW)
    sandbox.advance(60)
    fresh = dune.freshness(VIEW)
    assert (fresh.name, fresh.completed_at, fresh.execution_id) == (VIEW, good.ended_at, good.execution_id)
    assert fresh.age is not None
    assert timedelta(seconds=3659) < fresh.age < timedelta(seconds=3720)
    assert seen(sandbox)[-3:] == ["get", "status", "status"]


def test_a_view_that_never_completed_has_no_age(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Nothing is known of its data but its name."""
    sandbox.add_view(VIEW)
    assert dune.freshness(VIEW) == Freshness(name=VIEW)


def test_an_age_is_never_negative(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A success of this very second is zero old, though the server's `Date` has whole seconds."""
    dune.refresh(VIEW).wait()
    age = dune.freshness(VIEW).age
    assert age is not None
    assert age >= timedelta()


def test_usage_is_that_of_the_present_period(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """The account's usage is the sum of the ledger."""
    sandbox.rehearse(VIEW, Scenario(credits=7.5))
    dune.refresh(VIEW).wait()
    usage = dune.usage()
    assert (usage.credits_used, usage.credits_included) == (7.5, 2500.0)
    assert usage.period_start is not None
    assert usage.period_end is not None
    assert usage.period_start <= sandbox.ledger[0].submitted_at.date() <= usage.period_end
    assert bodies(sandbox, "usage") == [{}]
    assert "bytes_used" in usage.raw


def test_of_several_periods_the_present_one_counts(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """It is the latest that has begun by the server's clock; one whose dates cannot be read only serves alone."""
    months = [{"start_date": f"{year}-01-01", "end_date": f"{year + 1}-01-01"} for year in (2025, 9000, 2026)]
    sandbox.fail("usage", response(billing_periods=[*months, {"start_date": "soon", "credits_used": True}]))
    assert dune.usage().period_start == date(2026, 1, 1)
    sandbox.fail("usage", response(billing_periods=[{"start_date": "soon", "credits_used": True}]))
    usage = dune.usage()
    assert (usage.period_start, usage.credits_used) == (None, None)


@pytest.mark.parametrize("strange", [{}, {"billing_periods": []}, {"billing_periods": None}])
def test_usage_without_a_period_is_an_error(connect: Connect, sandbox: DuneSandbox, strange: dict[str, Any]) -> None:
    """A usage of zero differs from an unknown usage."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    sandbox.fail("usage", *[response(**strange)] * 200)
    with pytest.raises(UnexpectedResponseError):
        dune.usage()


def test_reads_are_tried_again(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A free, repeatable request survives a transient failure."""
    for operation, call in (("get", lambda: dune.get(VIEW)), ("usage", dune.usage), ("list", lambda: [*dune.list()])):
        sandbox.fail(operation, Fault(status=502))
        call()
        assert seen(sandbox)[-2:] == [operation, operation]


def test_a_server_that_cannot_be_reached_is_an_error_of_ours(connect: Connect) -> None:
    """After ten request timeouts without a connection."""
    with DuneSandbox() as gone:
        pass
    dune = connect("key", base_url=gone.url)
    with pytest.raises(RequestFailedError):
        dune.get(VIEW)
