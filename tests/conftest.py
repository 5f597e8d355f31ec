"""Fixtures for tests of the clients: both clients with one interface, and a sandbox."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest

from dune_matviews import AsyncMatviewsClient, AsyncRefresh, MatviewsClient
from dune_matviews.sandbox import DuneSandbox
from tests import profiles
from tests.skipping import SkippedTime

pytest_plugins = ["pytester"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fix the seed of the properties' examples."""
    profiles.choose_seed(config)


def pytest_report_header(config: pytest.Config) -> str:
    """Print, above any failure, the way to repeat the same examples."""
    return f"hypothesis {profiles.repeat(config)}"


class Awaited:
    """An asynchronous client or handle with the interface of its synchronous twin: results are awaited."""

    def __init__(self, runner: asyncio.Runner, inner: object) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if not inspect.ismethod(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self._one_by_one(result)
            if inspect.iscoroutine(result):
                result = self._runner.run(result)
            return Awaited(self._runner, result) if isinstance(result, AsyncRefresh) else result

        return call

    def _one_by_one(self, items: Any) -> Iterator[Any]:
        while (item := self._runner.run(anext(items, None))) is not None:
            yield item

    def close(self) -> None:
        """The twin of `close`."""
        self._runner.run(cast(AsyncMatviewsClient, self._inner).aclose())

    def __repr__(self) -> str:
        return repr(self._inner)


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A local Dune at the speed of life; see `skipped`."""
    with DuneSandbox() as running:
        yield running


@pytest.fixture
def skipped(sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> SkippedTime:
    """Clients made from now on skip their pauses, and the sandbox lets as much time pass."""
    time = SkippedTime(sandbox.advance)
    time.install(monkeypatch)
    return time


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients a test is about; it runs for both."""
    return str(request.param)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of a test's asynchronous clients."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def connect(kind: str, runner: asyncio.Runner) -> Iterator[Callable[..., MatviewsClient]]:
    """Makes clients, synchronous or asynchronous, that are closed when the test is over."""
    clients: list[Any] = []

    def make(*args: Any, **kwargs: Any) -> Any:
        client: Any = (MatviewsClient if kind == "sync" else AsyncMatviewsClient)(*args, **kwargs)
        clients.append(client if kind == "sync" else Awaited(runner, client))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def own_http_client(kind: str, runner: asyncio.Runner) -> Iterator[Callable[..., Any]]:
    """Makes httpx clients of the user's own, of the kind that the test's clients send through."""
    clients: list[httpx.Client | httpx.AsyncClient] = []

    def make(**options: Any) -> Any:
        clients.append((httpx.Client if kind == "sync" else httpx.AsyncClient)(**options))
        return clients[-1]

    yield make
    for client in clients:
        if isinstance(client, httpx.Client):
            client.close()
        else:
            runner.run(client.aclose())


@pytest.fixture
def dune(connect: Callable[..., MatviewsClient], sandbox: DuneSandbox) -> MatviewsClient:
    """A client of the sandbox, of either kind."""
    return connect(sandbox.api_key, base_url=sandbox.url)
