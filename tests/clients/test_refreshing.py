"""Both clients against the sandbox over real sockets: calls, requests and bills."""

from __future__ import annotations

import asyncio
import json
import math
import re
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dune_matviews import (
    AlreadyRunningError,
    AsyncMatviewsClient,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    CreditLimitError,
    ExecutionState,
    ExecutionStatus,
    InvalidArgumentError,
    MatviewsClient,
    NotFoundError,
    RefreshCanceledError,
    RefreshError,
    RefreshExpiredError,
    RefreshFailedError,
    RequestFailedError,
    SmallTierWarning,
    UnexpectedResponseError,
    UnsupportedTierError,
    WaitTimeoutError,
    __version__,
)
from dune_matviews.sandbox import DuneSandbox, Failure, Scenario

pytestmark = pytest.mark.usefixtures("skipped")

VIEW = "dune.my_team.result_daily_volume"
Connect = Callable[..., MatviewsClient]


def sent_bodies(sandbox: DuneSandbox) -> list[Any]:
    """The JSON of every refresh that arrived."""
    return [json.loads(request.body) for request in sandbox.requests if request.path.endswith("/refresh")]


# Refreshing


def test_a_refresh_from_start_to_end(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """One request starts it, its handle follows it, and the final status says when and for how much."""
    refresh = dune.refresh(VIEW, performance="large")
    status = refresh.wait(timeout=60, max_credits=50)
    (charge,) = sandbox.ledger
    assert (charge.execution_id, charge.name, charge.performance) == (refresh.execution_id, VIEW, "large")
    assert (refresh.name, status.execution_id) == (VIEW, refresh.execution_id)
    assert (status.state, status.succeeded, status.is_finished) == (ExecutionState.COMPLETED, True, True)
    assert status.cost_credits == charge.credits == 1.0
    assert status.submitted_at == charge.submitted_at
    assert status.started_at is not None
    assert status.ended_at is not None
    assert charge.submitted_at <= status.started_at <= status.ended_at
    assert (status.row_count, status.size_bytes, status.error) == (1000, 50_000, None)
    assert status.raw["state"] == "QUERY_STATE_COMPLETED"


def test_requests_say_who_asks_and_carry_the_key_in_a_header(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Every request names the SDK, sends JSON, and has the key in its header and nowhere else."""
    dune.refresh(VIEW).wait()
    for request in sandbox.requests:
        assert request.headers["user-agent"] == f"dune-matviews/{__version__}"
        assert request.headers["x-dune-api-key"] == sandbox.api_key
        assert sandbox.api_key not in request.path + request.query
    assert sandbox.requests[1].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("performance", "body"),
    [(None, {}), ("medium", {"performance": "medium"}), ("large", {"performance": "large"})],
)
def test_the_tier_is_sent_as_asked(dune: MatviewsClient, sandbox: DuneSandbox, performance: Any, body: object) -> None:
    """Without a tier an empty object is sent, so that Dune's own default applies."""
    dune.refresh(VIEW, performance=performance)
    assert sent_bodies(sandbox) == [body]


def test_the_client_has_a_default_tier(connect: Connect, sandbox: DuneSandbox) -> None:
    """The default holds for each refresh that does not say otherwise."""
    dune = connect(sandbox.api_key, base_url=sandbox.url, performance="medium")
    dune.refresh(VIEW)
    dune.refresh(VIEW, performance="large")
    assert [charge.performance for charge in sandbox.ledger] == ["medium", "large"]


@pytest.mark.parametrize(
    "name",
    [
        VIEW,
        "my_matview",
        'dune."21co".result_x',
        "a/b?c#d e%2F",
        "dune.team.результат",
        "...",
        "%2e%2e",
        " padded ",
    ],
)
def test_a_name_reaches_the_server_as_one_segment(dune: MatviewsClient, sandbox: DuneSandbox, name: str) -> None:
    """For all characters in a name, the server sees exactly that name."""
    dune.refresh(name)
    assert [charge.name for charge in sandbox.ledger] == [name]
    assert [request.path.count("/") for request in sandbox.requests] == [4, 5]


def test_updates_show_the_states_passed_through(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`on_update` is called with every status, including the final one."""
    sandbox.rehearse(VIEW, Scenario(pending=math.inf))
    refresh = dune.refresh(VIEW)
    seen: list[ExecutionStatus] = []

    def finish_after_the_first(status: ExecutionStatus) -> None:
        if not seen:
            sandbox.finish(refresh.execution_id)
        seen.append(status)

    final = refresh.wait(on_update=finish_after_the_first)
    assert [status.state for status in seen] == [ExecutionState.PENDING, ExecutionState.COMPLETED]
    assert seen[0].queue_position == 1
    assert seen[-1] is final


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("failed", RefreshFailedError),
        ("canceled", RefreshCanceledError),
        ("QUERY_STATE_CANCELLED", RefreshCanceledError),
        ("expired", RefreshExpiredError),
        ("QUERY_STATE_ABANDONED", RefreshError),
    ],
)
def test_other_ends_are_errors(dune: MatviewsClient, sandbox: DuneSandbox, end: str, error: type[RefreshError]) -> None:
    """An end without a fresh view is raised, and billed all the same, unless it failed."""
    sandbox.rehearse(VIEW, Scenario(end=end, error=Failure(message="Column 'x' cannot be resolved", line=3, column=7)))
    refresh = dune.refresh(VIEW)
    with pytest.raises(error, match="Column 'x' cannot be resolved") as caught:
        refresh.wait()
    assert type(caught.value) is error
    assert caught.value.execution_id == refresh.execution_id
    assert caught.value.status is not None
    assert caught.value.status.error is not None
    assert (caught.value.status.error.line, caught.value.status.error.column) == (3, 7)
    assert sandbox.ledger[0].credits == (0.0 if end == "failed" else 1.0)


def test_an_unknown_end_names_its_state(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """The text of a state that the SDK does not know is in the message and in `raw`."""
    sandbox.rehearse(VIEW, Scenario(end="QUERY_STATE_ABANDONED"))
    with pytest.raises(RefreshError, match="QUERY_STATE_ABANDONED") as caught:
        dune.refresh(VIEW).wait()
    assert caught.value.status is not None
    assert caught.value.status.state is ExecutionState.UNKNOWN
    assert caught.value.status.raw["state"] == "QUERY_STATE_ABANDONED"


def test_a_result_cut_short_is_a_fresh_view(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`COMPLETED_PARTIAL` is a success."""
    sandbox.rehearse(VIEW, Scenario(end="completed_partial"))
    assert dune.refresh(VIEW).wait().state is ExecutionState.COMPLETED_PARTIAL


def test_cancelling(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`cancel` says whether there was something to cancel."""
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    refresh = dune.refresh(VIEW)
    assert refresh.cancel() is True
    assert refresh.cancel() is False
    assert refresh.status().state is ExecutionState.CANCELED


def test_a_cap_on_credits(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A running cost over the cap cancels the execution at the server."""
    sandbox.rehearse(VIEW, Scenario(pending=0, running=1e6, credits=1000.0))
    refresh = dune.refresh(VIEW)
    sandbox.advance(100)
    with pytest.raises(CreditLimitError) as caught:
        refresh.wait(max_credits=50)
    assert sandbox.ledger[0].state == "QUERY_STATE_CANCELED"
    assert caught.value.status is not None
    assert caught.value.status.cost_credits == pytest.approx(sandbox.ledger[0].credits)


def test_attaching_sends_nothing(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A handle is made of an id alone, and then follows the execution as if it had started it."""
    execution_id = dune.refresh(VIEW).execution_id
    before = len(sandbox.requests)
    refresh = dune.attach(execution_id)
    assert (refresh.execution_id, refresh.name, len(sandbox.requests)) == (execution_id, None, before)
    assert refresh.wait().succeeded


def test_a_wait_that_is_over_leaves_the_refresh_running(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """The timeout ends the waiting; nothing is cancelled."""
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    refresh = dune.refresh(VIEW)
    with pytest.raises(WaitTimeoutError):
        refresh.wait(timeout=timedelta(milliseconds=50))
    assert sandbox.ledger[0].state in ("QUERY_STATE_PENDING", "QUERY_STATE_EXECUTING")


def test_what_is_under_way_is_adopted_or_refused(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """`if_running` follows, or refuses beside, an execution that runs; neither is billed again."""
    sandbox.rehearse(VIEW, Scenario(running=math.inf))
    first = dune.refresh(VIEW)
    assert dune.refresh(VIEW, if_running="adopt").execution_id == first.execution_id
    with pytest.raises(AlreadyRunningError, match=first.execution_id):
        dune.refresh(VIEW, if_running="refuse")
    assert len(sandbox.ledger) == 1


# Refusals


def test_a_wrong_key_is_refused(connect: Connect, sandbox: DuneSandbox) -> None:
    """A 401 names the setting to check, with the server's message and the request's id."""
    dune = connect("wrong-key", base_url=sandbox.url)
    with pytest.raises(AuthenticationError, match="DUNE_API_KEY") as caught:
        dune.refresh(VIEW)
    assert (caught.value.status_code, caught.value.message) == (401, "Invalid API Key")
    assert caught.value.request_id == sandbox.requests[-1].id
    assert sandbox.ledger == ()


@pytest.mark.parametrize(("name", "hint"), [("my_matview", "dune.my_team.my_matview"), (VIEW, "spelling")])
def test_an_unknown_view(connect: Connect, name: str, hint: str) -> None:
    """A 404 names the setting to check, and for a bare name the form of a full one."""
    with DuneSandbox(views=["dune.my_team.result_other"]) as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        with pytest.raises(NotFoundError, match=hint) as caught:
            dune.refresh(name)
        assert caught.value.message == "Object not found"


def test_an_unknown_execution(dune: MatviewsClient) -> None:
    """A wrong id is an error at once, also of a wait, and the error names it."""
    refresh = dune.attach("01HZ065JVE23C23FM2HKWQP2RT")
    for method in (refresh.status, refresh.wait, refresh.cancel):
        with pytest.raises(NotFoundError) as caught:
            method()
        assert caught.value.execution_id == "01HZ065JVE23C23FM2HKWQP2RT"


def test_a_refused_small_tier_names_the_disagreement(connect: Connect) -> None:
    """Where Dune goes by the text of its page, the error says that its spec says otherwise."""
    with DuneSandbox(small=False) as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url, small_tier="allow")
        with pytest.raises(UnsupportedTierError, match="lists only 'medium' and 'large'"):
            dune.refresh(VIEW, performance="small")
        assert sandbox.ledger == ()


# The tier `small`


def test_small_is_sent_with_one_warning(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """By default `small` is sent as asked, and the first time is warned about, where it is called."""
    with pytest.warns(SmallTierWarning, match="'small'"):
        dune.refresh(VIEW, performance="small")
    dune.refresh(VIEW, performance="small")
    assert [charge.performance for charge in sandbox.ledger] == ["small", "small"]


def test_the_warning_points_at_the_callers_line(sandbox: DuneSandbox) -> None:
    """The warning is about the line that asks for the tier, not about one of the SDK."""

    async def refresh() -> None:
        async with AsyncMatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
            await dune.refresh(VIEW, performance="small")

    with pytest.warns(SmallTierWarning) as caught:
        with MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
            dune.refresh(VIEW, performance="small")
        asyncio.run(refresh())
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_small_allowed(connect: Connect, sandbox: DuneSandbox) -> None:
    """`allow` sends without a word."""
    dune = connect(sandbox.api_key, base_url=sandbox.url, small_tier="allow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dune.refresh(VIEW, performance="small")
    assert [charge.performance for charge in sandbox.ledger] == ["small"]


def test_small_forbidden(connect: Connect, sandbox: DuneSandbox) -> None:
    """`forbid` refuses before anything is sent, also as a client's default."""
    dune = connect(sandbox.api_key, base_url=sandbox.url, small_tier="forbid")
    with pytest.raises(InvalidArgumentError, match="small_tier='allow' would send it"):
        dune.refresh(VIEW, performance="small")
    assert sandbox.requests == ()
    with pytest.raises(InvalidArgumentError, match="small_tier='allow' would send it"):
        connect(sandbox.api_key, base_url=sandbox.url, performance="small", small_tier="forbid")


# Bad input


@pytest.mark.parametrize(
    "call",
    [
        lambda dune: dune.refresh(""),
        lambda dune: dune.refresh(" \t"),
        lambda dune: dune.refresh("."),
        lambda dune: dune.refresh(".."),
        lambda dune: dune.refresh("dune.a\nb"),
        lambda dune: dune.refresh("dune.a\x00"),
        lambda dune: dune.refresh("dune.\ud800"),
        lambda dune: dune.refresh(None),
        lambda dune: dune.refresh(7),
        lambda dune: dune.refresh(VIEW, performance="Large"),
        lambda dune: dune.refresh(VIEW, performance="xl"),
        lambda dune: dune.refresh(VIEW, performance=""),
        lambda dune: dune.refresh(VIEW, performance=["large"]),
        lambda dune: dune.refresh(VIEW, if_running="stop"),
        lambda dune: dune.attach(""),
        lambda dune: dune.attach(".."),
        lambda dune: dune.attach(None),
        *(
            lambda dune, timeout=timeout: dune.attach("E").wait(timeout=timeout)
            for timeout in (0, -1, math.nan, math.inf, timedelta(0), "10", True)
        ),
        *(lambda dune, cap=cap: dune.attach("E").wait(max_credits=cap) for cap in (-1, math.nan, math.inf, "50", True)),
        lambda dune: dune.attach("E").wait(on_update="print"),
    ],
)
def test_a_bad_argument_sends_nothing(dune: MatviewsClient, sandbox: DuneSandbox, call: Callable[[Any], None]) -> None:
    """An invalid argument raises our `ValueError`, before anything is sent."""
    with pytest.raises(InvalidArgumentError):
        call(dune)
    assert sandbox.requests == ()


def test_a_coroutine_function_is_no_callback(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A callback that would have to be awaited is refused, rather than never awaited."""

    async def update(status: ExecutionStatus) -> None:
        raise AssertionError

    with pytest.raises(InvalidArgumentError, match="plain function"):
        dune.attach("E").wait(on_update=update)
    assert sandbox.requests == ()


# Closing, and the caller's own HTTP client


def test_a_closed_client_is_of_no_use(connect: Connect, sandbox: DuneSandbox) -> None:
    """After closing, every call that needs Dune says that the client is closed; closing twice is fine."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    refresh = dune.refresh(VIEW)
    dune.close()
    calls: list[Callable[[], object]] = [lambda: dune.refresh(VIEW), lambda: dune.attach("E")]
    for call in calls:
        with pytest.raises(ClientClosedError):
            call()
    for method in (refresh.status, refresh.wait, refresh.cancel):
        with pytest.raises(ClientClosedError):
            method()
    assert len(sandbox.requests) == 2
    assert "closed" in repr(dune)


def test_requests_go_through_the_callers_own_client(
    connect: Connect, own_http_client: Callable[..., Any], sandbox: DuneSandbox, kind: str
) -> None:
    """The caller's auth and hooks apply; base URL, key, agent and redirects stay ours; closing leaves it open."""
    hooked: list[str] = []

    def hook(request: httpx.Request) -> None:
        hooked.append(request.method)

    async def hook_async(request: httpx.Request) -> None:
        hook(request)

    def authorize(request: httpx.Request) -> httpx.Request:
        request.headers["X-Corporate"] = "yes"
        return request

    own = own_http_client(
        auth=authorize,
        base_url="http://elsewhere.invalid",
        headers={"User-Agent": "theirs"},
        follow_redirects=True,
        event_hooks={"request": [hook if kind == "sync" else hook_async]},
    )
    dune = connect(sandbox.api_key, base_url=sandbox.url, http_client=own)
    dune.refresh(VIEW)
    dune.close()
    assert not own.is_closed
    _, request = sandbox.requests
    assert hooked == ["GET", "POST"]
    assert request.headers["x-corporate"] == "yes"
    assert request.headers["x-dune-api-key"] == sandbox.api_key
    assert request.headers["user-agent"].startswith("dune-matviews/")


def test_the_wrong_kind_of_http_client_is_refused() -> None:
    """A synchronous client does not send through an asynchronous one."""
    with pytest.raises(InvalidArgumentError, match=r"httpx\.Client, not AsyncClient"):
        MatviewsClient("key", http_client=httpx.AsyncClient())  # type: ignore[arg-type]


def test_no_server_is_an_error_in_time(connect: Connect) -> None:
    """If nothing listens, a refresh is retried for ten request timeouts, and is certainly not accepted."""
    with DuneSandbox() as gone:
        url = gone.url
    dune = connect("key", base_url=url)
    with pytest.raises(RequestFailedError) as caught:
        dune.refresh(VIEW)
    assert caught.value.sent is False


def test_a_server_that_is_not_dune(connect: Connect, own_http_client: Callable[..., Any]) -> None:
    """A response with a foreign page is an error that quotes it and names the setting to check."""
    page = b"<html><head><title>Welcome</title></head><body>It works!</body></html>"
    dune = connect(
        "key", base_url="https://example.invalid", http_client=own_http_client(transport=responding(404, page))
    )
    with pytest.raises(NotFoundError, match="Welcome It works!"):
        dune.refresh(VIEW)


def responding(status: int, body: bytes, **headers: str) -> httpx.MockTransport:
    """A transport with a fixed response."""
    return httpx.MockTransport(lambda request: httpx.Response(status, content=body, headers=headers))


def test_redirects_are_not_followed(connect: Connect, own_http_client: Callable[..., Any]) -> None:
    """A redirect is reported as one: the key goes only to the base URL."""
    own = own_http_client(transport=responding(307, b"", location="https://evil.example/"))
    dune = connect("key", base_url="https://example.invalid", http_client=own)
    with pytest.raises(UnexpectedResponseError, match=re.escape("https://evil.example/")):
        dune.refresh(VIEW)


def test_a_missing_key_says_where_to_get_one(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key no client is made."""
    monkeypatch.delenv("DUNE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"https://dune\.com/"):
        connect()
