"""Faults met through a caller's own httpx client whose transport is not httpx's: each is billed as often as it says.

These transports give resets the names that httpx has for connections which were never made. Each test begins with
another request, so that the refresh meets its fault on a connection that was used before.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from curl_cffi import CurlOpt
from httpx_aiohttp import AiohttpTransport
from httpx_curl_cffi import AsyncCurlTransport, CurlTransport
from pyreqwest.client import ClientBuilder, SyncClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport, SyncHttpxTransport

from dune_matviews import (
    AmbiguousRefreshError,
    BadRequestError,
    MatviewsClient,
    RequestFailedError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.skipping import SkippedTime

VIEW = "dune.my_team.result_daily_volume"
BROKEN_GZIP = {"Content-Encoding": "gzip"}


def curl(kind: str) -> Any:
    """As the documentation asks for it: libcurl itself sends again on a connection that it has used before."""
    never_again = {CurlOpt.FORBID_REUSE: 1}
    return CurlTransport(curl_options=never_again) if kind == "sync" else AsyncCurlTransport(curl_options=never_again)


def reqwest(kind: str) -> Any:
    """As the documentation asks for it: by default it follows redirects, with the key."""
    if kind == "sync":
        return SyncHttpxTransport(SyncClientBuilder().follow_redirects(False).build())
    return HttpxTransport(ClientBuilder().follow_redirects(False).build())


AIOHTTP = pytest.param("async", lambda kind: AiohttpTransport(), id="httpx-aiohttp")
REQWEST_SYNC, REQWEST_ASYNC = (pytest.param(kind, reqwest, id=f"pyreqwest-{kind}") for kind in ("sync", "async"))
CURL_SYNC, CURL_ASYNC = (pytest.param(kind, curl, id=f"httpx-curl-cffi-{kind}") for kind in ("sync", "async"))
FOREIGN = pytest.mark.parametrize(("kind", "transport"), [AIOHTTP, REQWEST_SYNC, REQWEST_ASYNC, CURL_SYNC, CURL_ASYNC])

FOUND_AGAIN = {
    "closed": Fault(lost=True, accepted=True),
    "reset": Fault(lost=True, reset=True, accepted=True),
    "cut before the body": Fault(cut=0),
    "cut in the body": Fault(cut=7),
    "reset in the body": Fault(cut=7, reset=True),
    "502": Fault(status=502, body=b"<h1>Bad gateway</h1>", accepted=True),
    "empty": Fault(body=b"", accepted=True),
    "no gzip": Fault(body=b"no gzip", headers=BROKEN_GZIP, accepted=True),
    "cut gzip": Fault(body=gzip.compress(b"{}" * 100)[:-9], headers=BROKEN_GZIP, accepted=True),
    "large gzip": Fault(body=gzip.compress(b"x" * 11_000_000), headers=BROKEN_GZIP, accepted=True),
    "303": Fault(status=303, headers={"Location": "/done"}, accepted=True),
}


@pytest.fixture
def through(
    kind: str,
    transport: Callable[[str], Any],
    sandbox: DuneSandbox,
    connect: Callable[..., MatviewsClient],
    own_http_client: Callable[..., Any],
    skipped: SkippedTime,
) -> Callable[..., MatviewsClient]:
    """Makes a client that sends through the transport, with options for httpx, and that has done so once."""

    def make(**options: Any) -> MatviewsClient:
        own = own_http_client(transport=transport(kind), **options)
        dune = connect(sandbox.api_key, base_url=sandbox.url, http_client=own)
        dune.usage()
        return dune

    return make


@pytest.fixture
def dune(through: Callable[..., MatviewsClient]) -> MatviewsClient:
    """A client that sends through the transport, and has done so once."""
    return through()


def refreshes(sandbox: DuneSandbox) -> int:
    """How many refreshes arrived."""
    return sum(request.operation == "refresh" for request in sandbox.requests)


@FOREIGN
@pytest.mark.parametrize("fault", FOUND_AGAIN.values(), ids=FOUND_AGAIN)
def test_an_accepted_refresh_is_billed_once(dune: MatviewsClient, sandbox: DuneSandbox, fault: Fault) -> None:
    """However a transport reports the loss of an accepted refresh, it is sent once, and found."""
    sandbox.fail("refresh", fault)
    refresh = dune.refresh(VIEW)
    assert [charge.execution_id for charge in sandbox.ledger] == [refresh.execution_id]
    assert refreshes(sandbox) == 1


NEVER, HEAD_DRIP, DRIP = Fault(delay=3600), Fault(head_drip=0.005), Fault(drip=0.005)


@pytest.mark.parametrize(
    ("kind", "transport", "fault"),
    [
        pytest.param(*each.values, fault, id=f"{each.id}-{name}")
        for each, faults in (
            (AIOHTTP, {"never": NEVER}),
            # It alone bounds a whole response. A drip is within the time of the others, which count from byte to byte.
            (REQWEST_SYNC, {"never": NEVER, "head drip": HEAD_DRIP, "drip": DRIP}),
            (REQWEST_ASYNC, {"never": NEVER, "head drip": HEAD_DRIP, "drip": DRIP}),
            (CURL_SYNC, {"never": NEVER}),  # which libcurl notices after three seconds, from either kind
        )
        for name, fault in faults.items()
    ],
)
def test_an_accepted_refresh_that_is_given_up_is_billed_once(
    kind: str, through: Callable[..., MatviewsClient], sandbox: DuneSandbox, fault: Fault
) -> None:
    """However a transport counts its time and reports its end, nothing is resent, and the execution is found."""

    def hurry(request: httpx.Request) -> None:
        if request.url.path.endswith("/refresh"):  # and not what looks for it
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 0.1)

    async def hurry_async(request: httpx.Request) -> None:
        hurry(request)

    dune = through(event_hooks={"request": [hurry if kind == "sync" else hurry_async]})
    sandbox.fail("refresh", fault)
    refresh = dune.refresh(VIEW)
    assert [charge.execution_id for charge in sandbox.ledger] == [refresh.execution_id]
    assert [each.operation for each in sandbox.requests] == ["usage", "get", "refresh", "get", "status"]


@FOREIGN
@pytest.mark.parametrize("reset", [False, True])
def test_a_refresh_that_was_not_accepted_is_not_sent_again(
    dune: MatviewsClient, sandbox: DuneSandbox, reset: bool
) -> None:
    """A refresh that may have been accepted is left to its caller, though it was not."""
    sandbox.fail("refresh", Fault(lost=True, reset=reset))
    with pytest.raises(AmbiguousRefreshError):
        dune.refresh(VIEW)
    assert (refreshes(sandbox), len(sandbox.ledger)) == (1, 0)


@FOREIGN
def test_a_refusal_is_read_and_no_redirect_followed(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """A refusal is an error with its words, and a redirect one that says where it leads."""
    sandbox.fail("refresh", Fault(status=400, body=json.dumps({"error": "in words"}).encode()))
    with pytest.raises(BadRequestError, match="in words"):
        dune.refresh(VIEW)
    sandbox.fail("refresh", Fault(status=307, headers={"Location": "https://evil.example/"}))
    with pytest.raises(UnexpectedResponseError, match="redirect"):
        dune.refresh(VIEW)
    assert (refreshes(sandbox), len(sandbox.ledger)) == (2, 0)


@FOREIGN
def test_a_wait_goes_on_through_faults(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Reads are free, so a wait retries, even a request that the transport reports as never sent."""
    refresh = dune.refresh(VIEW)
    sandbox.fail("status", Fault(lost=True, reset=True), Fault(cut=7, reset=True), Fault(status=502))
    assert refresh.wait(timeout=600).succeeded
    assert len(sandbox.ledger) == 1


@FOREIGN
def test_nobody_listens(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """If nothing listens behind a foreign transport, that is no proof: a refresh is ambiguous, a wait times out."""
    refresh = dune.refresh(VIEW)
    sandbox.close()
    with pytest.raises(AmbiguousRefreshError):
        dune.refresh(VIEW)
    with pytest.raises(WaitTimeoutError) as caught:
        refresh.wait(timeout=60)
    assert isinstance(caught.value.__cause__, RequestFailedError)
    assert caught.value.__cause__.sent


@pytest.mark.parametrize(("kind", "transport"), [("async", lambda kind: AsyncCurlTransport())])
def test_why_libcurl_must_not_use_a_connection_again(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """With its own settings, libcurl sends a lost POST again where the connection was used before: billed twice."""
    sandbox.fail("refresh", Fault(lost=True, reset=True, accepted=True))
    dune.refresh(VIEW)
    assert (refreshes(sandbox), len(sandbox.ledger)) == (2, 2)


@pytest.mark.parametrize(
    ("kind", "transport"), [("sync", lambda kind: SyncHttpxTransport()), ("async", lambda kind: HttpxTransport())]
)
def test_why_reqwest_must_not_follow_redirects(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """With its own settings, pyreqwest carries the key wherever a redirect leads."""
    with DuneSandbox(api_key=sandbox.api_key) as elsewhere:
        target = f"{elsewhere.url}/api/v1/materialized-views/{VIEW}/refresh"
        sandbox.fail("refresh", Fault(status=307, headers={"Location": target}))
        dune.refresh(VIEW)
        assert len(elsewhere.ledger) == 1
