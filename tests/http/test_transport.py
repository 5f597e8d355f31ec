"""The transport beyond the table of faults: unsent requests, secrets, and rejected responses.

Over real sockets where the bytes matter, through a caller's own httpx client where only its part in it does.
"""

from __future__ import annotations

import copy
import gc
import gzip
import json
import logging
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import (
    APIError,
    BadRequestError,
    ConfigurationError,
    DuneError,
    InvalidArgumentError,
    MatviewsClient,
    PaymentRequiredError,
    RateLimitError,
    RequestFailedError,
    ServerError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from dune_matviews._http.redaction import ApiKey, printable, redact_record
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.skipping import SkippedTime

VIEW = "dune.my_team.result_daily_volume"
KEY = "s3cret/key+of=this_test"
TIMEOUT = 10.0

Connect = Callable[..., MatviewsClient]


@pytest.fixture(autouse=True)
def skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses cost no time."""
    time = SkippedTime(lambda _: None)
    time.install(monkeypatch)
    time.install_timeouts(monkeypatch, TIMEOUT)


@pytest.fixture
def connect_through(kind: str, connect: Connect, own_http_client: Callable[..., Any]) -> Connect:
    """Makes clients that send through this function, as a transport of the caller's own."""

    def make(respond: Callable[[httpx.Request], httpx.Response], key: str = KEY, **options: Any) -> MatviewsClient:
        own = own_http_client(transport=httpx.MockTransport(respond), **options)
        return connect(key, base_url="https://dune.example", timeout=TIMEOUT, http_client=own)

    return make


@contextmanager
def responding(*responses: bytes) -> Iterator[str]:
    """A server with one of these responses per connection, the last one repeatedly; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            left = list(responses)
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: the test is over
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def raw(status: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A response, byte by byte."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def shown(error: BaseException) -> str:
    """All that anybody gets to see of an error: texts, attributes, traceback, variables but for this file's."""
    parts = [repr(error), repr(vars(error)), repr(pickle.dumps(error)), *traceback.format_exception(error)]
    ahead: list[traceback.TracebackException | None] = [
        traceback.TracebackException.from_exception(error, capture_locals=True)
    ]
    while ahead:
        if (link := ahead.pop()) is not None:
            parts += [repr(frame.locals) for frame in link.stack if frame.filename != __file__]
            ahead += [link.__cause__, link.__context__]
    return "\n".join(parts)


# What counts as sent.


@pytest.mark.parametrize("named", [True, False])
def test_a_hook_that_meets_no_connection_is_no_proof_that_nothing_was_sent(
    kind: str, connect: Connect, own_http_client: Callable[..., Any], sandbox: DuneSandbox, named: bool
) -> None:
    """A failure to connect that belongs to another request, or to none, leaves open whether Dune has accepted."""
    elsewhere = httpx.Request("POST", "http://127.0.0.1:9/metrics") if named else None

    def report(response: httpx.Response) -> None:
        if response.request.method == "POST":
            raise httpx.ConnectError("the collector is down", request=elsewhere)

    async def report_async(response: httpx.Response) -> None:
        report(response)

    own = own_http_client(event_hooks={"response": [report if kind == "sync" else report_async]})
    refresh = connect(sandbox.api_key, base_url=sandbox.url, http_client=own).refresh(VIEW)
    assert [charge.execution_id for charge in sandbox.ledger] == [refresh.execution_id]


def test_a_connection_refused_is_proof_that_nothing_was_sent(connect: Connect) -> None:
    """Where the failure to connect is that of the request itself, nothing was sent."""
    with DuneSandbox() as gone:
        pass
    with pytest.raises(RequestFailedError) as caught:
        connect(KEY, base_url=gone.url, timeout=TIMEOUT).refresh(VIEW)
    assert not caught.value.sent


def test_a_failure_within_a_response_is_no_proof_that_nothing_was_sent(kind: str, connect_through: Connect) -> None:
    """Once a response has begun, any failure of the caller's transport means that the request was sent."""

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            raise httpx.ConnectError("the cache is down")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in self:
                yield part

    with pytest.raises(RequestFailedError) as caught:
        connect_through(lambda _: httpx.Response(200, stream=Body())).attach("E").status()
    assert caught.value.sent


BROKEN = [
    Fault(status=402, body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    Fault(status=402, body=b"x", headers={"Content-Encoding": "gzip, gzip"}),
    Fault(status=402, body=b'{"error": "no credits left"}', cut=9),
    Fault(status=402, body=b'{"error": "no credits left"}', drip=1),
    Fault(status=402, body=b"x" * 11_000_000),
]


@pytest.mark.parametrize("fault", BROKEN, ids=["no gzip", "gzip twice", "cut", "drips", "too large"])
def test_a_refusal_is_one_however_its_body_arrives(connect: Connect, sandbox: DuneSandbox, fault: Fault) -> None:
    """Status and headers determine the response, even with an unreadable body."""
    sandbox.fail("refresh", fault)
    with pytest.raises(PaymentRequiredError) as caught:
        connect(sandbox.api_key, base_url=sandbox.url, timeout=TIMEOUT).refresh(VIEW)
    assert fault.body is not None
    assert fault.body.startswith(caught.value.body.encode())
    assert [each.operation for each in sandbox.requests] == ["get", "refresh"]
    assert not sandbox.ledger


def test_a_pause_is_kept_though_the_body_is_broken(connect: Connect, sandbox: DuneSandbox) -> None:
    """The `Retry-After` of a 429 counts, for any body."""
    headers = {"Retry-After": "86400", "Content-Encoding": "gzip"}
    sandbox.fail("refresh", Fault(status=429, body=b"no gzip", headers=headers))
    with pytest.raises(RateLimitError) as caught:
        connect(sandbox.api_key, base_url=sandbox.url).refresh(VIEW)
    assert caught.value.retry_after == 86400


def test_what_is_compressed_twice_is_not_unpacked(connect: Connect, sandbox: DuneSandbox) -> None:
    """Kilobytes can become gigabytes when they are unpacked twice: gzip is asked for, once, and nothing else taken."""
    bomb = gzip.compress(gzip.compress(b'{"state": "QUERY_STATE_COMPLETED"}'))
    dune = connect(sandbox.api_key, base_url=sandbox.url, timeout=TIMEOUT)
    sandbox.fail("status", *[Fault(body=bomb, headers={"Content-Encoding": "gzip, gzip"})] * 99)
    with pytest.raises(RequestFailedError, match="another way than gzip") as caught:
        dune.attach("E").status()
    assert caught.value.sent
    assert {request.headers["accept-encoding"] for request in sandbox.requests} == {"gzip"}


# What is kept secret.

SPELLINGS = {
    "plain": KEY.encode(),
    "JSON": json.dumps({"error": f"no: {KEY}"}).encode(),
    "JSON with escapes": json.dumps({"error": f"no: {KEY}"}).replace("/", "\\/").replace("=", "\\u003d").encode(),
    "UTF-16": json.dumps({"error": f"no: {KEY}"}).encode("utf-16"),
    "UTF-32": json.dumps({"error": f"no: {KEY}"}).encode("utf-32-be"),
    "HTML": b"<p>s3cret&#47;key&#x2B;of=this_test</p>",
    "percent": b"<a href='/?key=s3cret%2Fkey%2bof%3Dthis_test'>",
    "percent twice": b"s3cret%252Fkey%252Bof%253Dthis_test",
    "repr": repr(repr({"key": KEY})).encode(),
    "half of it": KEY[:12].encode(),
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("status", [400, 200])
def test_an_echo_is_redacted_however_it_is_spelled(connect_through: Connect, status: int, body: bytes) -> None:
    """In whatever form a server or proxy echoes the key, no part of an error shows it."""
    dune = connect_through(lambda _: httpx.Response(status, content=body if status == 400 else b"," + body))
    with pytest.raises(APIError) as caught:
        dune.attach("E").status()
    assert "***" in caught.value.body
    assert KEY[:12] not in shown(caught.value)
    assert "this_test" not in shown(caught.value).replace("\\x00", "").replace("\0", "")


@pytest.mark.parametrize("location", ["https://x.example/?k=s3cret%2Fkey%2Bof%3Dthis_test", f"https://x.example/{KEY}"])
def test_a_redirect_shows_no_key(connect: Connect, location: str) -> None:
    """The target of a redirect is reported without the key, and so is the request that httpx prepared."""
    with responding(raw("307 Elsewhere", headers={"Location": location, "Set-Cookie": f"k={KEY}"})) as url:
        dune: Any = connect(KEY, base_url=url, timeout=TIMEOUT)
        with pytest.raises(UnexpectedResponseError, match=r"redirect to https://x\.example/.*\*\*\*") as caught:
            dune.attach("E").status()
    assert "this_test" not in shown(caught.value)


def test_a_redirect_that_httpx_prepared_has_no_key(connect_through: Connect) -> None:
    """The request that httpx would send to the target of a redirect lies about with the response, without the key."""
    seen: list[httpx.Response] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Dune-Api-Key"] == KEY
        seen.append(httpx.Response(307, headers={"Location": "/elsewhere"}))
        return seen[-1]

    with pytest.raises(UnexpectedResponseError):
        connect_through(redirect).attach("E").status()
    assert seen[0].next_request is not None
    assert not {"x-dune-api-key"} & {*seen[0].next_request.headers, *seen[0].request.headers}


MALFORMED = {
    "header": b"HTTP/1.1 200 OK\r\nbad header %s\r\n\r\n",
    "status line": b"%s\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
    "reason": b"HTTP/1.1 400 bad key %s\r\nContent-Length: 0\r\n\r\n",
    "headers": b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nX-Echo: %s\r\nX-Request-Id: %s\r\n\r\n",
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("key", [KEY, "s3cret\\key'of\"this_test"])
def test_what_libraries_quote_shows_no_key(
    connect: Connect, caplog: pytest.LogCaptureFixture, key: str, malformed: bytes
) -> None:
    """Malformed lines that libraries quote reach neither a traceback nor a log, which only the key is taken from."""
    caplog.set_level(logging.DEBUG)
    with responding(malformed.replace(b"%s", key.encode())) as url, pytest.raises(DuneError) as caught:
        connect(key, base_url=url, timeout=TIMEOUT).attach("E").status()
    assert "this_test" not in shown(caught.value) + caplog.text
    assert "httpcore.http11" in {record.name for record in caplog.records}


def test_a_harmless_cause_is_kept(connect: Connect) -> None:
    """The underlying failure is the cause, with its traceback, unless it shows the key."""
    with responding(b"") as url, pytest.raises(RequestFailedError) as caught:
        connect(KEY, base_url=url, timeout=TIMEOUT).attach("E").status()
    assert isinstance(caught.value.__cause__, httpcore.RemoteProtocolError)
    assert caught.value.__cause__.__traceback__ is not None


def test_logs_of_libraries_are_redacted(kind: str, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Records of libraries show the key of no client, in the message or in its arguments."""
    caplog.set_level(logging.DEBUG)
    connect(KEY)
    connect("another-key")
    caplog.clear()  # some versions of httpx tell how they set themselves up
    logging.getLogger("httpx").info("%s and %d", f"{KEY} and another-key", 7)
    logging.getLogger("httpcore.http2").debug("headers=[%r]", KEY.encode())
    logging.getLogger("hpack.hpack").debug("Adding %s", KEY.encode())
    logging.getLogger("httpx").info("harmless %s", 7)
    said = [(record.msg, record.args) for record in caplog.records if record.name != "asyncio"]
    assert said == [
        ("*** and *** and 7", ()),
        ("headers=[b'***']", ()),
        ("harmless %s", (7,)),
    ]
    assert redact_record(logging.makeLogRecord({"name": "httpx", "msg": "malformed %s %s", "args": (7,)}))


def test_a_forgotten_client_is_no_longer_redacted_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    """The key of an unclosed client is forgotten with the client."""
    MatviewsClient(KEY)
    gc.collect()
    logging.getLogger("httpx").warning("%s", KEY)
    assert caplog.messages == [KEY]


@pytest.mark.parametrize("key", ["test", "state", "id", "dune", "E"])
def test_a_key_that_is_a_common_word_damages_nothing(connect_through: Connect, key: str) -> None:
    """Ids, property names and states stay as they came, and only texts for people are redacted."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"execution_id": "test-1"})
        error = {"message": f"no {key} here"}
        return httpx.Response(200, json={"state": "QUERY_STATE_FAILED", "error": error, "query_id": 7})

    refresh = connect_through(respond, key).refresh(VIEW)
    assert refresh.execution_id == "test-1"
    status = refresh.status()
    assert (status.state, status.query_id) == ("failed", 7)
    assert status.error is not None
    assert status.error.message == "no *** here"
    assert status.raw["error"]["message"] == status.error.message


def test_an_echo_in_a_success_is_redacted(connect_through: Connect) -> None:
    """The texts of a status are redacted wherever they stand, its `raw` included."""
    odd = {"state": KEY, "notes": [{"deep": f"a {KEY}"}], "error": {"message": KEY, "metadata": {"line": 3}}}
    status = connect_through(lambda _: httpx.Response(200, json=odd)).attach("E").status()
    assert KEY not in repr(status)
    assert status.raw["notes"] == [{"deep": "a ***"}]
    assert status.error is not None
    assert (status.error.message, status.error.line) == ("***", 3)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_success_is_read_as_utf_8_only(connect_through: Connect, encoding: str) -> None:
    """JSON is UTF-8, with or without a byte order mark; anything else is a body that cannot be read."""
    text = '{"state": "QUERY_STATE_COMPLETED"}'
    assert connect_through(lambda _: httpx.Response(200, content=text.encode("utf-8-sig"))).attach("E").wait().succeeded
    with pytest.raises(UnexpectedResponseError):
        connect_through(lambda _: httpx.Response(200, content=text.encode(encoding))).attach("E").status()


@pytest.mark.parametrize("text", ["\\" * 100_000, "%" * 100_000, "&#0" * 50_000, KEY[:-1] * 5_000, "\\" + KEY * 5_000])
def test_the_key_is_found_in_any_text(text: str) -> None:
    """No text is so long or so odd that the key is not redacted in it."""
    assert KEY not in ApiKey(KEY).redact(text)


def test_a_million_texts_that_may_be_escapes_are_searched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response of many texts with a `%` costs one search, not one for each text."""
    monkeypatch.setattr(ApiKey, "redact", lambda key, text: pytest.fail("a text was searched by itself"))
    assert ApiKey(KEY).redact_json(json.dumps(["%"] * 100_000).encode()) == ["%"] * 100_000


def test_a_key_that_names_a_property_is_redacted(connect_through: Connect) -> None:
    """A server that echoes the key as the name of a JSON property shows it nowhere."""
    status = connect_through(lambda _: httpx.Response(200, json={"state": "X", KEY: {KEY: 1}})).attach("E").status()
    assert status.raw["***"] == {"***": 1}
    assert KEY not in repr(status.raw)


@given(
    st.text("aA\\%&;=/u0026x", min_size=1, max_size=12).map(lambda text: f"k{text}"),
    st.lists(st.text("kaA\\%&;=/u0026x", max_size=12), max_size=3),
    st.integers(0, 13),
    st.booleans(),
)
def test_a_json_text_that_is_not_gone_through_has_nothing_to_redact(
    key: str, parts: list[str], length: int, ascii_only: bool
) -> None:
    """A JSON text, whole or cut off, in which the quick search finds nothing, has nothing for the thorough one."""
    secret = ApiKey(key)
    value = {"message": "".join([*parts, key[:length]]), "notes": [{"deep": key.join(parts)}]}
    found = secret.redact_json(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert found == secret._redacted(value)


# What is refused, and how that is said.


@pytest.mark.parametrize(
    "url",
    [
        "https://[1]",
        "https://[:::]",
        "https://999.1.1.1",
        "https://1.2.3",
        "https://a..b",
        "https://.",
        f"https://{'a' * 64}.example",
        f"https://{'a.' * 127}a",
        f"https://x.example/{'a' * 70_000}",
    ],
)
def test_hosts_that_nobody_can_have(connect: Connect, url: str) -> None:
    """A base URL that no connection can be made to is an argument's mistake, not one of each request."""
    with pytest.raises(InvalidArgumentError, match="base_url"):
        connect(KEY, base_url=url)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "foo://x"},
        {"HTTPS_PROXY": "http://x:port"},
        {"SSL_CERT_FILE": "/nonexistent.pem"},
        {"SSL_CERT_FILE": __file__},
    ],
    ids=str,
)
def test_an_environment_that_httpx_cannot_use(
    kind: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """Proxies and certificates that cannot be used are the environment's mistake, and its variables are named."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=r"HTTPS_PROXY.*NO_PROXY.*SSL_CERT_FILE") as caught:
        connect(KEY)
    assert caught.value.__cause__ is not None


def test_a_socks_proxy_without_its_package_says_how_to_install_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SOCKS proxy takes a package that httpx does not bring along, and the error says how to install it."""
    monkeypatch.setenv("ALL_PROXY", "socks5://x:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'httpx\[socks\]'"):
        connect(KEY)


def test_an_http_client_of_the_wrong_kind_is_refused(kind: str, connect: Connect) -> None:
    """The asynchronous client sends through an asynchronous httpx client, the other through the other."""
    wrong = httpx.AsyncClient() if kind == "sync" else httpx.Client()
    with pytest.raises(InvalidArgumentError, match="http_client"):
        connect(KEY, http_client=wrong)


def test_a_client_that_was_never_made_has_a_repr(kind: str) -> None:
    """A debugger can show a client whose `__init__` has failed."""
    assert repr(MatviewsClient.__new__(MatviewsClient)) == "<MatviewsClient, never opened>"


@pytest.mark.parametrize("timeout", [86_401, 1e10, 10**400, 10**5000, -(10**5000), timedelta.max, "1e10"], ids=range(7))
def test_a_request_takes_no_more_than_a_day(connect: Connect, timeout: Any) -> None:
    """Sockets cannot count much further, and would say so only when a request is under way."""
    with pytest.raises(InvalidArgumentError, match="timeout"):
        connect(KEY, timeout=timeout)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 10**400}, {"timeout": 1e300}, {"timeout": timedelta.max}, {"max_credits": 10**400}],
    ids=str,
)
def test_a_wait_for_ever_is_refused(connect: Connect, options: Any) -> None:
    """Numbers that no clock or account can count to are refused as any other wrong argument."""
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        connect(KEY).attach("E").wait(**options)


def test_a_name_that_fits_no_url_is_refused(connect: Connect, sandbox: DuneSandbox) -> None:
    """A value too long to send is rejected before the request; a long but real one is sent."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    with pytest.raises(InvalidArgumentError, match="1,001 characters"):
        dune.refresh("x" * 1_001)
    with pytest.raises(InvalidArgumentError, match="70,000 characters"):
        dune.attach("x" * 70_000)
    dune.refresh("\U0001f4a9" * 1_000)
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    "error", [WaitTimeoutError("over", execution_id="E", status=None), ServerError("no", status_code=500)]
)
def test_an_error_says_the_same_when_copied(error: DuneError) -> None:
    """Copies and pickles of an error have its words, also where one of Python's own classes is a base."""
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.args, vars(twin)) == (type(error), str(error), error.args, vars(error))


def test_what_the_server_says_is_cut_and_printable(connect_through: Connect) -> None:
    """No text of the server's floods a message or steers a terminal."""
    identity = "B" * 60_000
    with pytest.raises(BadRequestError) as caught:
        connect_through(lambda _: httpx.Response(400, headers={"X-Request-Id": identity})).attach("E").status()
    assert caught.value.request_id == "B" * 299 + "…"
    assert printable("a\x1b[31m\n\tb\u202ec") == "a [31m b c"


def test_a_transport_keeps_no_cookies(sandbox: DuneSandbox, connect: Connect) -> None:
    """Cookies are not kept, and so none is sent back."""
    sandbox.fail("get", *[Fault(headers={"Set-Cookie": "a=b; Path=/"})] * 3)
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    dune.refresh(VIEW, if_running="adopt")
    dune.refresh(VIEW, if_running="adopt")
    assert not any("cookie" in request.headers for request in sandbox.requests)
