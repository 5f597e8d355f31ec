"""Each fault of a network or a server, met by `refresh` and by `wait` of both clients, over real sockets.

What users see and what is billed stands in `docs/reliability.md`; the last test compares the two.
"""

from __future__ import annotations

import gzip
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from dune_matviews import (
    AmbiguousRefreshError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DuneError,
    MatviewsClient,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestFailedError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario
from tests.skipping import SkippedTime

BARE = "result_daily_volume"
VIEW = f"dune.my_team.{BARE}"
KEY = "s3cret-key-of-this-test"
TIMEOUT = 10.0
DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
PAGE = f"<html><title>Oops</title><p>{KEY}</p></html>".encode()
SERVER_ERRORS = (500, 502, 503, 504, 520, 521, 522, 523, 524)


@attrs.frozen
class Row:
    """One row of the table: faults that are alike to a user, and their effects on a refresh and on a wait."""

    what: str
    faults: list[Fault]
    refresh: type[DuneError] | str
    billed: int
    wait: type[DuneError] | str = "goes on"


def refusal(status: int) -> Fault:
    """A refusal with a message that shows the key."""
    return Fault(status=status, body=json.dumps({"error": f"no, {KEY}"}).encode())


def limited(retry_after: str | None) -> Fault:
    """A 429 that asks for that pause."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Fault(status=429, body=b'{"error": "Too Many Requests"}', headers=headers)


IN_A_MINUTE = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
UNREADABLE = [
    b"",
    PAGE,
    b"[]",
    b"null",
    b'"text"',
    b"{",
    b'{"execution_id": "01HZ065JVE23C23FM2HK',
    b'{"execution_id": "\xff\xfe"}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
]
NO_ID: list[Any] = [
    {},
    {"execution_id": None},
    {"execution_id": 7},
    {"execution_id": ""},
    {"execution_id": ["E"]},
    {"execution_id": ".."},
]
BROKEN_GZIP = {"Content-Encoding": "gzip"}

ROWS = [
    Row("no connection", [], RequestFailedError, 0, WaitTimeoutError),
    Row(
        "connection closed or reset before a response; Dune had not accepted",
        [Fault(lost=True), Fault(lost=True, reset=True)],
        AmbiguousRefreshError,
        0,
    ),
    Row(
        "connection closed or reset before a response; Dune had accepted",
        [Fault(lost=True, accepted=True), Fault(lost=True, reset=True, accepted=True)],
        "found again",
        1,
    ),
    Row(
        "connection closed or reset within the response",
        [Fault(cut=0), Fault(cut=7), Fault(cut=7, reset=True)],
        "found again",
        1,
    ),
    Row(
        "no response in time; Dune had not accepted",
        [Fault(lost=True, delay=30)],
        AmbiguousRefreshError,
        0,
    ),
    Row("a response that comes too late, or drips in", [Fault(delay=30), Fault(drip=1)], "found again", 1),
    Row("400", [refusal(400)], BadRequestError, 0, BadRequestError),
    Row("401", [refusal(401)], AuthenticationError, 0, AuthenticationError),
    Row("402", [refusal(402)], PaymentRequiredError, 0, PaymentRequiredError),
    Row("403", [refusal(403)], PermissionDeniedError, 0, PermissionDeniedError),
    Row("404", [refusal(404)], NotFoundError, 0, NotFoundError),
    Row("409", [refusal(409)], ConflictError, 0, ConflictError),
    Row("any other 4xx", [refusal(418), refusal(451)], APIError, 0, APIError),
    Row(
        "429, with `Retry-After` in seconds, as a date, malformed, or missing",
        [limited(after) for after in ("1", "0.3", IN_A_MINUTE, None, "soon", "-5", "nan", "")],
        "sent again",
        1,
    ),
    Row(
        "429, with a `Retry-After` longer than the call may wait",
        [limited("86400")],
        RateLimitError,
        0,
        WaitTimeoutError,
    ),
    Row(
        "500, 502, 503, 504, 520–524; Dune had not accepted",
        [Fault(status=status, body=PAGE) for status in SERVER_ERRORS],
        AmbiguousRefreshError,
        0,
    ),
    Row(
        "500, 502, 503, 504, 520–524; Dune had accepted",
        [Fault(status=status, body=PAGE, accepted=True) for status in SERVER_ERRORS],
        "found again",
        1,
    ),
    Row(
        "200 with an unreadable body: empty, HTML, not an object, cut short, not UTF-8, nested too deep",
        [Fault(body=body, accepted=True) for body in UNREADABLE],
        "found again",
        1,
    ),
    Row(
        "200 with broken gzip, or larger than 10 MB before or after unpacking",
        [
            Fault(body=b"no gzip", headers=BROKEN_GZIP, accepted=True),
            Fault(body=gzip.compress(PAGE)[:-9], headers=BROKEN_GZIP, accepted=True),
            Fault(body=b"x" * 11_000_000, accepted=True),
            Fault(body=gzip.compress(b"x" * 11_000_000), headers=BROKEN_GZIP, accepted=True),
        ],
        "found again",
        1,
    ),
    Row(
        "200 without a usable execution id (in `wait`: without a state)",
        [Fault(body=json.dumps(response).encode(), accepted=True) for response in NO_ID],
        "found again",
        1,
    ),
    Row(
        "another 2xx",
        [Fault(status=202, body=b'{"execution_id": "E"}', accepted=True), Fault(status=204, accepted=True)],
        "found again",
        1,
    ),
    Row(
        "303, which says that the work is done",
        [Fault(status=303, headers={"Location": "/done"}, accepted=True)],
        "found again",
        1,
        UnexpectedResponseError,
    ),
    Row("408; Dune had not accepted", [refusal(408)], AmbiguousRefreshError, 0),
    Row(
        "any other redirect",
        [Fault(status=status, headers={"Location": f"https://evil.example/?{KEY}"}) for status in (301, 302, 307, 308)],
        UnexpectedResponseError,
        0,
        UnexpectedResponseError,
    ),
]
CASES = [
    pytest.param(row, fault, id=f"{row.what[:40]}-{place}") for row in ROWS for place, fault in enumerate(row.faults)
]


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A sandbox whose executions take their time, which is skipped."""
    with DuneSandbox(api_key=KEY) as running:
        yield running


@pytest.fixture
def skipped(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> SkippedTime:
    """Neither pauses nor missing responses take any time."""
    time = SkippedTime(sandbox.advance)
    time.install(monkeypatch)
    time.install_timeouts(monkeypatch, TIMEOUT)
    return time


@pytest.fixture
def dune(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient], sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> MatviewsClient:
    """A client with every log at its most talkative."""
    caplog.set_level(logging.DEBUG)
    return connect(KEY, base_url=sandbox.url, timeout=TIMEOUT)


def check_secrecy(error: BaseException) -> None:
    """The key is in nothing that a user might print, log or store."""
    pickled = pickle.dumps(error)
    assert type(pickle.loads(pickled)) is type(error)
    shown = ["".join(traceback.format_exception(error)), repr(error), repr(vars(error)), repr(pickled)]
    assert not any(KEY in text for text in shown)


def arrived(sandbox: DuneSandbox, operation: str) -> int:
    """The number of requests for an operation that arrived."""
    return sum(request.operation == operation for request in sandbox.requests)


@pytest.mark.parametrize("way", ["refresh", "upsert"])
@pytest.mark.parametrize(("row", "fault"), CASES)
def test_a_refresh_that_meets_a_fault(
    row: Row,
    fault: Fault,
    way: str,
    dune: MatviewsClient,
    sandbox: DuneSandbox,
    skipped: SkippedTime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The outcome and the bill are those of the table, and the key appears nowhere."""
    sandbox.fail(way, fault)
    start = partial(dune.refresh, VIEW) if way == "refresh" else partial(dune.upsert, BARE, 4711)
    if isinstance(row.refresh, str):
        refresh = start()
        assert [charge.execution_id for charge in sandbox.ledger] == [refresh.execution_id]
        assert refresh.name == VIEW
        assert arrived(sandbox, way) == (2 if row.refresh == "sent again" else 1)
    else:
        with pytest.raises(row.refresh) as caught:
            start()
        assert type(caught.value) is row.refresh
        check_secrecy(caught.value)
        assert arrived(sandbox, way) == 1
    assert len(sandbox.ledger) == row.billed
    assert KEY not in caplog.text or "Location" in str(fault.headers)
    assert skipped.total < 17 * TIMEOUT


@pytest.mark.parametrize(("row", "fault"), CASES)
def test_a_wait_that_meets_a_fault(
    row: Row,
    fault: Fault,
    dune: MatviewsClient,
    sandbox: DuneSandbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wait survives transient failures, three times in a row, and ends at once on permanent ones."""
    refresh = dune.refresh(VIEW)
    sandbox.fail("status", Fault(), *[fault] * 3)
    if isinstance(row.wait, str):
        assert refresh.wait(timeout=600).succeeded
    else:
        with pytest.raises(row.wait) as caught:
            refresh.wait(timeout=600)
        assert type(caught.value) is row.wait
        assert caught.value.execution_id == refresh.execution_id
        check_secrecy(caught.value)
        assert sum(request.operation == "status" for request in sandbox.requests) == 2
    assert len(sandbox.ledger) == 1
    assert KEY not in caplog.text or "Location" in str(fault.headers)


def test_a_refresh_without_a_connection(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient], sandbox: DuneSandbox
) -> None:
    """If nothing listens, a refresh is retried for ten request timeouts, and is certainly not accepted."""
    with DuneSandbox() as gone:
        pass
    dune = connect(KEY, base_url=gone.url, timeout=10)
    with pytest.raises(RequestFailedError) as caught:
        dune.refresh(VIEW)
    assert caught.value.sent is False
    assert 50 < skipped.total <= 100
    check_secrecy(caught.value)


def test_a_wait_without_a_connection(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient], sandbox: DuneSandbox
) -> None:
    """If Dune disappears during a wait, polls go on for 15 minutes; the last failure is the cause."""
    with DuneSandbox(api_key=KEY) as gone:
        refresh = connect(KEY, base_url=gone.url).refresh(VIEW)
    with pytest.raises(WaitTimeoutError) as caught:
        refresh.wait()
    assert isinstance(caught.value.__cause__, RequestFailedError)
    assert 14 * 60 < skipped.total <= 15 * 60
    check_secrecy(caught.value)


@pytest.mark.parametrize("state", ["QUERY_STATE_SPILLING", None, 7, {}])
def test_a_state_that_nobody_knows_goes_on_or_ends_as_dune_says(
    dune: MatviewsClient, sandbox: DuneSandbox, state: object
) -> None:
    """An unknown state is polled while Dune reports no end, and is an error if it is one."""
    refresh = dune.refresh(VIEW)
    odd = [
        Fault(body=json.dumps({"state": state, "is_execution_finished": finished}).encode())
        for finished in (False, None, "yes", True)
    ]
    sandbox.fail("status", *odd)
    with pytest.raises(DuneError, match="an unknown state") as caught:
        refresh.wait()
    assert caught.value.execution_id == refresh.execution_id
    assert sum(request.operation == "status" for request in sandbox.requests) == 4


@pytest.mark.parametrize(
    "detail",
    [
        {"error": None},
        {"error": "text"},
        {"error": 7},
        {"error": []},
        {"error": {"message": 7, "type": None, "metadata": "?"}},
        {"error": {"metadata": {"line": "x", "column": 1e400}}},
        {"result_metadata": None},
        {"result_metadata": [1]},
        {"result_metadata": {"total_row_count": "many"}},
        {"submitted_at": 7, "execution_started_at": "yesterday", "execution_ended_at": "2024-13-45T99:00:00Z"},
        {"submitted_at": "2024-12-20 11:04:18.724 UTC", "expires_at": "2024" * 1000, "cancelled_at": ""},
        {"execution_cost_credits": "NaN", "queue_position": 1.5, "query_id": True},
        {"execution_cost_credits": 10**400, "queue_position": -(10**400), "query_id": None},
        {"execution_id": 7},
        {"unheard_of": {"deep": [1, {"er": None}]}},
    ],
)
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_a_detail_that_cannot_be_read_hides_no_end(
    dune: MatviewsClient, sandbox: DuneSandbox, state: str, detail: dict[str, Any]
) -> None:
    """For all other faults of a response, an end is an end, and unreadable parts are None."""
    refresh = dune.refresh(VIEW)
    sandbox.fail("status", Fault(body=json.dumps({"state": f"QUERY_STATE_{state}", **detail}).encode()))
    if state == "COMPLETED":
        status = refresh.wait()
        assert status.succeeded
        assert status.raw.keys() == {"state", *detail}
    else:
        with pytest.raises(DuneError, match="failed"):
            refresh.wait()
    assert sum(request.operation == "status" for request in sandbox.requests) == 1


def test_an_odd_timestamp_is_read_where_it_can_be(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Timestamps come with nanoseconds, with another spelling of UTC, or without a zone, which is UTC."""
    moment = datetime(2024, 12, 20, 11, 4, 18, 724000, UTC)
    spellings = {
        "submitted_at": "2024-12-20T11:04:18.724000237Z",
        "execution_started_at": "2024-12-20 11:04:18.724 UTC",
        "execution_ended_at": "2024-12-20T11:04:18.724",
        "expires_at": "2024-12-20T12:04:18.724+01:00",
    }
    refresh = dune.refresh(VIEW)
    sandbox.fail("status", Fault(body=json.dumps({"state": "QUERY_STATE_COMPLETED", **spellings}).encode()))
    status = refresh.status()
    assert [status.submitted_at, status.started_at, status.ended_at, status.expires_at] == [moment] * 4


def test_failures_of_the_recovery_itself_are_outlasted(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient], sandbox: DuneSandbox
) -> None:
    """During a recovery, failures of the recovery's own requests are retried."""
    dune = connect(KEY, base_url=sandbox.url)
    sandbox.fail("refresh", Fault(lost=True, accepted=True))
    sandbox.fail("get", Fault(), Fault(status=502), limited("0.1"), Fault(lost=True))
    sandbox.fail("status", Fault(status=503))
    assert dune.refresh(VIEW).execution_id == sandbox.ledger[0].execution_id
    assert (arrived(sandbox, "refresh"), len(sandbox.ledger)) == (1, 1)


@pytest.mark.parametrize(
    "response",
    [
        {"last_execution_ids": "E1"},
        {"last_execution_ids": {"0": "E1"}},
        {"last_execution_ids": [{"id": "E1"}]},
        {"last_execution_ids": None},
        {"error": "temporarily unavailable"},
        {},
    ],
)
def test_executions_that_cannot_be_read_are_not_none(
    dune: MatviewsClient, sandbox: DuneSandbox, response: dict[str, Any]
) -> None:
    """If the running executions cannot be read, `if_running="refuse"` starts nothing."""
    sandbox.fail("get", *[Fault(body=json.dumps(response).encode())] * 30)
    with pytest.raises(UnexpectedResponseError):
        dune.refresh(VIEW, if_running="refuse")
    assert sandbox.ledger == ()


@pytest.mark.parametrize("date", [None, "nonsense"])
def test_recovery_needs_no_date_of_the_servers(dune: MatviewsClient, sandbox: DuneSandbox, date: str | None) -> None:
    """A lost refresh is distinguished from older executions by the baseline, for any `Date` header."""
    sandbox.fail("refresh", Fault(lost=True, accepted=True))
    sandbox.fail("get", *[Fault(headers={"Date": date})] * 2)
    assert dune.refresh(VIEW).execution_id == sandbox.ledger[0].execution_id
    assert (arrived(sandbox, "refresh"), len(sandbox.ledger)) == (1, 1)


def test_a_long_text_of_the_server_is_cut(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A message stays readable for any output of the server; the body has more of it."""
    sandbox.fail("refresh", Fault(status=400, body=b"<p>" + b"so wrong \x00\x1b " * 100_000))
    with pytest.raises(BadRequestError) as caught:
        dune.refresh(VIEW)
    assert len(caught.value.message) == 300
    assert caught.value.message.isprintable()
    assert len(caught.value.body) == 20_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "in words"}', "in words"),
        (b'{"error": {"message": "in an object"}}', "in an object"),
        (b'{"message": "elsewhere"}', "elsewhere"),
        (b'{"error": {"message": 7}}', "Bad Request"),
        (b'{"error": ["x"]}', "Bad Request"),
        (b"[]", "Bad Request"),
        (b"", "Bad Request"),
        (b"plain text", "plain text"),
        (b"<html><style>p {}</style><script>alert(1)</script><h1>A &amp; B</h1></html>", "A & B"),
    ],
)
def test_the_servers_words_are_in_the_message(
    dune: MatviewsClient, sandbox: DuneSandbox, body: bytes, message: str
) -> None:
    """A refusal's message reaches the user in every known form."""
    sandbox.fail("refresh", Fault(status=400, body=body))
    with pytest.raises(BadRequestError) as caught:
        dune.refresh(VIEW)
    assert caught.value.message == message
    assert message in str(caught.value)


def test_logs_say_what_happened_and_keep_the_key(
    dune: MatviewsClient, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """INFO reports a refresh's start and end; DEBUG each request, with method, path, status and milliseconds."""
    execution_id = dune.refresh(VIEW).wait().execution_id
    ours = [record for record in caplog.records if record.name == "dune_matviews"]
    told = [record.getMessage() for record in ours if record.levelno == logging.INFO]
    assert told == [
        f"Started the refresh of {VIEW}: execution {execution_id}",
        f"Execution {execution_id} ended: completed, 1.0 credits",
    ]
    requests = [record.getMessage() for record in ours if record.levelno == logging.DEBUG]
    assert re.fullmatch(rf"POST /api/v1/materialized-views/{VIEW}/refresh: 200 in \d+ ms", requests[1])
    assert len(requests) == len(sandbox.requests)
    assert KEY not in caplog.text


def test_waiting_on_the_smallest_plan_earns_no_429(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient]
) -> None:
    """A server that counts requests like Dune never refuses one during a long wait."""
    with DuneSandbox(plan="free", default=Scenario(running=3000)) as sandbox:
        skipped.advance = sandbox.advance
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        assert dune.refresh(VIEW).wait().succeeded
        assert {request.status for request in sandbox.requests} == {200}
        assert len(sandbox.requests) > 50


def test_bursts_of_refreshes_keep_to_the_smallest_plan(
    skipped: SkippedTime, connect: Callable[..., MatviewsClient]
) -> None:
    """Forty refreshes in a row are three minutes' worth on the Free plan: none is refused, and all are billed once."""
    with DuneSandbox(plan="free") as sandbox:
        skipped.advance = sandbox.advance
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        for number in range(40):
            dune.refresh(f"dune.my_team.result_{number}")
        assert {request.status for request in sandbox.requests} == {200}
        assert len(sandbox.ledger) == 40
        assert 120 < skipped.total < 125


def told(outcome: type[DuneError] | str) -> str:
    """An outcome as the document writes it."""
    return outcome if isinstance(outcome, str) else f"`{outcome.__name__}`"


def test_the_document_says_what_this_suite_proves() -> None:
    """The table of `docs/reliability.md` has these rows, in this order, and no others."""
    table = re.search(r"\| fault \|.*?\n\n", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].strip().splitlines()[2:]]
    assert lines == [[row.what, told(row.refresh), str(row.billed), told(row.wait)] for row in ROWS]
