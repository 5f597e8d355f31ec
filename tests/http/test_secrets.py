"""The key appears nowhere: neither after an interruption nor in a server's echo."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import pickle
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb
from typing import Any
from weakref import ref

import pytest

from dune_matviews import AmbiguousRefreshError, AsyncMatviewsClient, MatviewsClient, RequestFailedError
from dune_matviews._api.operations import Operations
from dune_matviews._flow.drivers import completed
from dune_matviews._http.connections import Connection
from dune_matviews.sandbox import DuneSandbox, Fault
from tests.http.servers import Server, hold, serving, wait_for
from tests.http.test_interruptions import CancelledAt, CtrlC, wrapped
from tests.skipping import SkippedTime

Connect = Callable[..., MatviewsClient]

VIEW = "dune.my_team.result_daily_volume"
KEY = "s3cret-key-of-this-test"
TESTS = str(Path(__file__).parents[1])


def left_behind(error: BaseException | None) -> Generator[str]:
    """The data that an error tracker may record of *error*: every local variable of every frame, and its contents."""
    seen = set[int]()
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        ahead += [each.__cause__, each.__context__]
        yield repr(each)
        for frame, _ in walk_tb(each.__traceback__):
            if not frame.f_code.co_filename.startswith(TESTS):
                for name, value in frame.f_locals.items():
                    with suppress(AttributeError):  # what is not quite made has no repr
                        yield f"{frame.f_code.co_qualname}: {name} = {value!r}, {getattr(value, '__dict__', '')!r}"


def assert_keyless(error: BaseException) -> None:
    """Nothing that is left behind shows the key."""
    assert [text for text in left_behind(error) if KEY in text] == []


def silent(server: Server, connection: Any) -> None:
    """A script that accepts a request, and never responds."""
    server.request(connection)
    hold(server, connection)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_task_that_is_cancelled_in_mid_send_leaves_no_key(how: str) -> None:
    """Neither a cancelled task nor one that `asyncio.timeout` ends has the key in its traceback's variables."""

    async def main(server: Server) -> BaseException:
        async with AsyncMatviewsClient(KEY, base_url=f"http://127.0.0.1:{server.port}") as dune:

            async def refresh() -> None:
                async with asyncio.timeout(None) as limit:
                    limits.append(limit)
                    await dune.refresh(VIEW)

            limits: list[asyncio.Timeout] = []
            task = asyncio.create_task(refresh())
            await asyncio.to_thread(wait_for, lambda: bool(server.requests))
            if how == "cancel":
                task.cancel()
            else:
                limits[0].reschedule(0)
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(outcome, BaseException)
            return outcome

    with serving(silent) as server:
        error = asyncio.run(main(server))
        assert KEY.encode() in server.requests[0]
        assert isinstance(error, asyncio.CancelledError if how == "cancel" else TimeoutError)
        assert_keyless(error)


def test_a_cancellation_at_any_pause_leaves_no_key(sandbox: DuneSandbox) -> None:
    """Wherever an exchange is cancelled, the traceback's variables do not have the key."""

    async def main() -> int:
        for pause in range(1000):
            async with AsyncMatviewsClient(KEY, base_url=sandbox.url) as dune:
                cancelled = CancelledAt(dune._transport.send(Operations().usage()), pause, is_over=False)
                outcome: object = (await asyncio.gather(wrapped(cancelled), return_exceptions=True))[0]
                if not cancelled.has_struck:
                    return pause
                assert isinstance(outcome, asyncio.CancelledError)
                assert_keyless(outcome)
        raise AssertionError("a request that never ends")

    assert asyncio.run(main()) > 2


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_ctrl_c_at_any_line_leaves_no_key(sandbox: DuneSandbox) -> None:
    """Wherever Ctrl-C strikes in a request, the traceback's variables do not have the key."""
    line = 0
    with MatviewsClient(KEY, base_url=sandbox.url) as dune:
        while True:
            line += 1 + line // 100
            sys.settrace(CtrlC(line))
            try:
                completed(dune._transport.send(Operations().usage()))
            except KeyboardInterrupt as interruption:
                sys.settrace(None)
                assert_keyless(interruption)
            except Exception:
                break
            finally:
                sys.settrace(None)
        gc.collect()
    assert line > 300


def test_an_error_that_was_handled_before_keeps_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption clears the frames that it has ended, not those of an error that its caller was handling."""

    def fail() -> None:
        evidence = "what went wrong"
        raise ValueError(evidence)

    def strike(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    try:
        fail()
    except ValueError as error:
        monkeypatch.setattr(Connection, "connect_tcp", strike)
        with MatviewsClient(KEY) as dune, pytest.raises(KeyboardInterrupt) as caught:
            completed(dune._transport.send(Operations().usage()))
        assert caught.value.__context__ is error
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_next is not None
        assert error.__traceback__.tb_next.tb_frame.f_locals == {"evidence": "what went wrong"}


def test_a_key_that_is_echoed_as_the_date_shows_nowhere(
    connect: Connect, sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The date of a response is read as the server wrote it, and never shown."""
    SkippedTime(lambda _: None).install(monkeypatch)
    for operation in ("refresh", "get", "status"):
        sandbox.fail(operation, *[Fault(status=503, headers={"Date": KEY, "Retry-After": KEY})] * 2)
    sandbox.fail("get", *[Fault(headers={"Date": KEY})] * 99)
    with pytest.raises(AmbiguousRefreshError) as caught:
        connect(sandbox.api_key, base_url=sandbox.url, timeout=1).refresh(VIEW)
    assert_keyless(caught.value)


def test_a_client_that_becomes_garbage_while_somebody_logs_waits_for_nobody(kind: str) -> None:
    """A client is forgotten without a lock, so that garbage collection within a log's handler cannot wait for one."""

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gc.collect()

    def forget_and_log() -> None:
        client: Any = (MatviewsClient if kind == "sync" else AsyncMatviewsClient)(KEY)
        client.itself = client
        forgotten.append(ref(client))
        del client
        made.set()
        locked.wait()
        handler.handle(logging.makeLogRecord({}))

    handler = Collecting()
    made, locked = threading.Event(), threading.Event()
    forgotten: list[ref[object]] = []
    gc.disable()
    try:
        thread = threading.Thread(target=forget_and_log, daemon=True)
        thread.start()
        made.wait()
        with getattr(logging, "_lock"):  # noqa: B009  # no stub knows it
            locked.set()
            thread.join(60)
            assert not thread.is_alive()
        assert forgotten[0]() is None
    finally:
        gc.enable()


def test_a_key_within_another_leaves_nothing_of_it_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Where two clients are open and one key is a part of the other, logs show nothing of either."""
    with MatviewsClient("key"), MatviewsClient(KEY), caplog.at_level(logging.DEBUG, "httpcore.http11"):
        logging.getLogger("httpcore.http11").debug("headers: %s", KEY)
    assert caplog.messages == ["headers: ***"]


@pytest.mark.parametrize(("size", "is_accepted"), [(900_000, True), (1_100_000, False)])
def test_a_response_is_no_larger_than_a_megabyte(
    connect: Connect, sandbox: DuneSandbox, send: Callable[..., Any], size: int, is_accepted: bool
) -> None:
    """A response of more than 1 MB is given up."""
    sandbox.fail("status", Fault(body=json.dumps({"state": "QUERY_STATE_PENDING", "x": "x" * size}).encode()))
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    if is_accepted:
        assert len(send(dune).raw["x"]) == size
    else:
        with pytest.raises(RequestFailedError, match="larger than 1 MB") as caught:
            send(dune)
        assert caught.value.sent


@pytest.mark.parametrize(("size", "is_accepted"), [(9_000_000, True), (10_100_000, False)])
def test_a_page_of_the_list_may_have_ten_megabytes(
    connect: Connect, sandbox: DuneSandbox, send: Callable[..., Any], size: int, is_accepted: bool
) -> None:
    """A page of the list of views may have 10 MB, and no more."""
    sandbox.fail("list", Fault(body=json.dumps({"materialized_views": [], "x": "x" * size}).encode()))
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    if is_accepted:
        assert send(dune, Operations().page(0)).views == ()
    else:
        with pytest.raises(RequestFailedError, match="larger than 10 MB"):
            send(dune, Operations().page(0))


def test_clients_and_handles_that_are_pickled_say_what_to_pass_on(kind: str) -> None:
    """A client or a handle cannot be pickled or copied, and the error names the alternative."""
    client: Any = (MatviewsClient if kind == "sync" else AsyncMatviewsClient)(KEY)
    for dump in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make one where it is used, from the same settings"):
            dump(client)
        with pytest.raises(TypeError, match=r"pass on its execution_id, 'E', for attach\(\)"):
            dump(client.attach("E"))
