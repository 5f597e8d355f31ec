"""What tests of the clients share: both clients with one interface, and a sandbox."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from dune_matviews import AsyncMatviewsClient, AsyncRefresh, MatviewsClient
from dune_matviews.sandbox import DuneSandbox

pytest_plugins = ["pytester"]


class Awaited:
    """An asynchronous client or handle with the interface of its synchronous twin: what it returns is awaited."""

    def __init__(self, runner: asyncio.Runner, inner: object) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if not inspect.ismethod(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = self._runner.run(result)
            return Awaited(self._runner, result) if isinstance(result, AsyncRefresh) else result

        return call

    def close(self) -> None:
        """The twin of `close`."""
        self._runner.run(cast(AsyncMatviewsClient, self._inner).aclose())

    def __repr__(self) -> str:
        return repr(self._inner)


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A local Dune in which executions take milliseconds."""
    with DuneSandbox(speed=1000) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., MatviewsClient]]:
    """Makes clients, synchronous or asynchronous, that are closed when the test is over."""
    clients: list[Any] = []
    with asyncio.Runner() as runner:

        def make(*args: Any, **kwargs: Any) -> Any:
            made = MatviewsClient if request.param == "sync" else AsyncMatviewsClient
            client: Any = made(*args, **kwargs)
            clients.append(client if request.param == "sync" else Awaited(runner, client))
            return clients[-1]

        yield make
        for client in clients:
            client.close()


@pytest.fixture
def dune(connect: Callable[..., MatviewsClient], sandbox: DuneSandbox) -> MatviewsClient:
    """A client of the sandbox, of either kind."""
    return connect(sandbox.api_key, base_url=sandbox.url)
