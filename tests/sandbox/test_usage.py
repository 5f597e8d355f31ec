"""Knows the usage of an account in each calendar month, as a rule and over a connection.
Must not know how a month is computed."""

from datetime import UTC, date, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews.sandbox import Charge, DuneSandbox, Scenario
from dune_matviews.sandbox._usage import billing_periods

NAME = "dune.my_team.result_x"
DAYS = st.dates(date(2020, 1, 1), date(2029, 12, 31))


def charge(day: date, credits: float) -> Charge:
    """A charge of the last microsecond of a day."""
    submitted_at = datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, tzinfo=UTC)
    return Charge("01", NAME, None, credits, "QUERY_STATE_COMPLETED", submitted_at)


@given(first=DAYS, length=st.integers(0, 800), spent=st.lists(st.tuples(DAYS, st.integers(1, 9))))
def test_each_day_is_in_one_period(first: date, length: int, spent: list[tuple[date, int]]) -> None:
    """The periods are the months that have one of the days asked for, without a gap, each with its own charges."""
    last = first + timedelta(days=length)
    periods = billing_periods([charge(*each) for each in spent], first, last)
    days = [first + timedelta(days=number) for number in range(length + 1)]
    assert [each.start for each in periods] == list(dict.fromkeys(day.replace(day=1) for day in days))
    for period in periods:
        assert period.end == (period.start + timedelta(days=40)).replace(day=1)
        assert period.credits == sum(credits for day, credits in spent if period.start <= day < period.end)


def usage(client: httpx.Client, **days: str) -> list[tuple[str, str, float]]:
    """The billing periods, each by its days and its credits."""
    response = client.post("/v1/usage", json=days)
    assert response.status_code == 200, response.text
    return [(each["start_date"], each["end_date"], each["credits_used"]) for each in response.json()["billing_periods"]]


def test_usage_is_what_the_ledger_says(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """The current period has the costs so far, on any day of the month, and the bytes are those of the tables."""
    sandbox.rehearse(NAME, Scenario(pending=0, running=0, credits=2.5, bytes=70))
    client.post(f"/v1/materialized-views/{NAME}/refresh")
    [period] = (response := client.post("/v1/usage").json())["billing_periods"]
    start = sandbox.requests[-1].at.date().replace(day=1)
    assert period == {
        "start_date": f"{start}",
        "end_date": f"{(start + timedelta(days=40)).replace(day=1)}",
        "credits_used": 2.5,
        "credits_included": 2500,
    }
    assert (response["bytes_used"], response["bytes_allowed"]) == (70, 100_000_000_000)
    assert (response["private_queries"], response["private_dashboards"]) == (0, 0)


def test_a_period_ends_with_its_month(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Earlier usage stays with the month of its submission; without days, the current month is reported."""
    client.post(f"/v1/materialized-views/{NAME}/refresh")
    begin = sandbox.requests[0].at.date()
    sandbox.advance(40 * 86_400)
    [(start, _, credits)] = usage(client)
    assert (start > f"{begin}", credits) == (True, 0)
    everything = usage(client, start_date="0001-01-01", end_date="9999-12-31")
    assert everything[0][0] == f"{begin.replace(day=1)}"
    assert (everything[0][2], sum(each[2] for each in everything)) == (1, 1)
    assert usage(client, end_date="9999-12-31") == everything == usage(client, start_date="0001-01-01")
    assert usage(client, start_date=start) == everything[-1:]
    assert usage(client, end_date=f"{begin}") == everything[:1]
    assert usage(client, start_date="9999-12-31") == [] == usage(client, end_date="0001-01-01")


def test_the_included_credits_are_a_setting() -> None:
    """The credits included are an argument of the sandbox, and cannot be negative."""
    with DuneSandbox(credits_included=10) as sandbox:
        response = httpx.post(
            f"{sandbox.url}/api/v1/usage", headers={"X-Dune-Api-Key": sandbox.api_key}, trust_env=False, timeout=600
        )
        assert response.json()["billing_periods"][0]["credits_included"] == 10
    with pytest.raises(ValueError, match="credits_included"):
        DuneSandbox(credits_included=-1)


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ({"start_date": "20261101"}, "start_date must be a day like 2026-11-01, not '20261101'"),
        ({"start_date": "2026-11-31"}, "start_date must be a day like 2026-11-01, not '2026-11-31'"),
        ({"end_date": "2026-11-01T00:00:00Z"}, "end_date must be a day like"),
        ({"end_date": None}, "end_date must be a day like"),
        ({"end_date": 20261101}, "end_date must be a day like"),
        ({"start_date": "2026-11-02", "end_date": "2026-11-01"}, "end_date must not be before start_date"),
    ],
)
def test_wrong_days_are_refused(client: httpx.Client, days: dict[str, object], sentence: str) -> None:
    """A text that is no day, and an end before its beginning, are 400."""
    response = client.post("/v1/usage", json=days)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
