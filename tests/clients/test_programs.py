"""What a program that embeds the SDK holds on to: exported types, hooks, log records, fields of errors, tracebacks."""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import logging
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dune_matviews
from dune_matviews import (
    AsyncMatviewsClient,
    AsyncRefresh,
    MatviewsClient,
    NotFoundError,
    RateLimit,
    Refresh,
    RequestFailedError,
    Retry,
    ServerError,
    UnexpectedResponseError,
)
from dune_matviews._core import Handle
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario
from tests.skipping import SkippedTime

VIEW = "dune.my_team.result_daily_volume"
STANDARD = ("datetime", "PathLike")
HTTPX = ("httpx", "Client", "AsyncClient")
FIELDS = ("view", "execution_id", "seconds", "attempt")
Connect = Callable[..., Any]


@pytest.mark.parametrize("kind", [MatviewsClient, AsyncMatviewsClient, Refresh, AsyncRefresh])
def test_every_type_in_a_signature_is_exported(kind: type) -> None:
    """Whoever wraps a method finds each type of its signature in the package itself."""
    methods: list[Any] = [each for name, each in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]
    if not issubclass(kind, Handle):
        methods.append(kind.__init__)
    assert len(methods) > 2
    annotations = " ".join(str(each) for method in methods for each in method.__annotations__.values())
    named = set(re.findall(r"[A-Za-z]\w*", annotations))
    assert named - set(dune_matviews.__all__) <= {*dir(builtins), *dir(collections.abc), *STANDARD, *HTTPX}


def test_every_log_record_has_the_same_fields(
    skipped: SkippedTime, connect: Connect, sandbox: DuneSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A structured log finds view, execution, seconds and attempt on each record, with None where they do not apply."""
    caplog.set_level(logging.DEBUG, "dune_matviews")
    sandbox.fail("refresh", Fault(status=429))
    sandbox.fail("status", Fault(status=502))
    refresh = connect(sandbox.api_key, base_url=sandbox.url).refresh(VIEW)
    refresh.wait()
    ours = [record for record in caplog.records if record.name == "dune_matviews"]
    assert all(hasattr(record, name) for record in ours for name in FIELDS)
    told = [tuple(getattr(each, name) for name in FIELDS) for each in ours if each.levelno == logging.INFO]
    again, other = (pause for pause in skipped.pauses if pause in {each[2] for each in told})
    assert told == [
        (VIEW, None, again, 1),
        (VIEW, refresh.execution_id, None, None),
        (VIEW, refresh.execution_id, other, 1),
        (VIEW, refresh.execution_id, None, None),
    ]


def test_a_hook_is_told_of_each_retry(skipped: SkippedTime, connect: Connect, sandbox: DuneSandbox) -> None:
    """Before the pause, `on_retry` has the request's kind, its subject, the failure, and how often and how long."""
    told: list[Retry] = []
    dune = connect(sandbox.api_key, base_url=sandbox.url, on_retry=told.append)
    sandbox.fail("refresh", Fault(status=429), Fault(status=429))
    sandbox.fail("status", Fault(status=502))
    refresh = dune.refresh(VIEW)
    refresh.status()
    assert [(each.operation, each.view, each.execution_id, each.attempt) for each in told] == [
        ("refresh", VIEW, None, 1),
        ("refresh", VIEW, None, 2),
        ("status", VIEW, refresh.execution_id, 1),
    ]
    assert [each.seconds for each in told] == skipped.pauses
    assert isinstance(told[-1].error, ServerError)


def test_a_hook_that_raises_ends_the_call(skipped: SkippedTime, connect: Connect, sandbox: DuneSandbox) -> None:
    """An exception of the hook's passes on, nothing is billed, and the next call starts afresh."""

    def give_up(retry: Retry) -> None:
        raise ZeroDivisionError

    dune = connect(sandbox.api_key, base_url=sandbox.url, on_retry=give_up)
    sandbox.fail("refresh", Fault(status=429))
    with pytest.raises(ZeroDivisionError):
        dune.refresh(VIEW)
    started = dune.refresh(VIEW)
    assert [each.execution_id for each in sandbox.ledger] == [started.execution_id]


def test_an_error_has_the_request_and_the_limits(skipped: SkippedTime, connect: Connect) -> None:
    """A refusal has the id of its request and the limits that came with it; an unreadable success has the id."""
    with DuneSandbox([], plan="free") as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        with pytest.raises(NotFoundError) as refused:
            dune.get(VIEW)
        assert refused.value.request_id == sandbox.requests[0].id
        assert refused.value.limits == (RateLimit("ip", 1000, 1), RateLimit("read", 40, 60))
        sandbox.fail("usage", *[Fault(body=b"{}")] * 100)
        with pytest.raises(UnexpectedResponseError) as unread:
            dune.usage()
        assert unread.value.request_id == sandbox.requests[-1].id


def test_a_limit_shows_no_key(connect: Connect) -> None:
    """A header that echoes the key does not bring it into an error's fields."""
    with DuneSandbox(api_key="s3cret-key-of-this-test") as sandbox:
        dune = connect(sandbox.api_key, base_url=sandbox.url)
        echo = {"RateLimit-Policy": f'"{sandbox.api_key}";q=5;w=60', "X-Request-Id": sandbox.api_key}
        sandbox.fail("get", Fault(status=404, headers=dict(echo)), Fault(headers=dict(echo)))
        with pytest.raises(NotFoundError) as refused:
            dune.get(VIEW)
        assert [each.quota for each in refused.value.limits] == [5]
        assert sandbox.api_key not in f"{refused.value!r} {vars(refused.value)} {dune.get(VIEW)!r}"


def test_a_status_and_a_view_have_their_request(connect: Connect, sandbox: DuneSandbox) -> None:
    """Returned values have the id of the request that they came with, which does not make two of them different."""
    dune = connect(sandbox.api_key, base_url=sandbox.url)
    view, same = dune.get(VIEW), dune.get(VIEW)
    status = dune.refresh(VIEW).status()
    ids = [each.id for each in sandbox.requests if each.operation in ("get", "status")]
    assert [view.request_id, same.request_id, status.request_id] == [*ids[:2], ids[-1]]
    assert view == same


def test_tracebacks_of_mistakes_are_short(sandbox: DuneSandbox, tmp_path: Path) -> None:
    """A wrong argument, key, name, journal or query leads from the user's line to the call, not through our flows."""
    with (
        MatviewsClient("wrong", base_url=sandbox.url) as stranger,
        MatviewsClient("sandbox-key", base_url=sandbox.url) as dune,
    ):
        sandbox.fail("get", Fault(status=404))
        sandbox.rehearse(VIEW, Scenario(pending=0, running=0, end="failed"))
        mistakes: list[Callable[[], object]] = [
            lambda: dune.get(VIEW),
            lambda: stranger.get(VIEW),
            lambda: stranger.refresh(VIEW),
            lambda: dune.refresh(VIEW, if_running="maybe"),  # type: ignore[arg-type]
            lambda: dune.refresh(VIEW, journal=tmp_path / "nowhere" / "journal.jsonl"),
            lambda: dune.refresh(VIEW).wait(),
        ]
        for mistake in mistakes:
            with pytest.raises(dune_matviews.DuneError) as caught:
                mistake()
            frames = [each.name for each in traceback.extract_tb(caught.value.__traceback__)]
            assert len(frames[frames.index("<lambda>") + 1 :]) <= 4


def test_other_errors_keep_their_way(connect: Connect) -> None:
    """An error of the network still leads to the place that noticed it."""
    with DuneSandbox() as gone:
        dune = MatviewsClient("k", base_url=gone.url, timeout=0.01)
    with dune, pytest.raises(RequestFailedError) as caught:
        dune.get(VIEW)
    assert len(traceback.extract_tb(caught.value.__traceback__)) > 4
