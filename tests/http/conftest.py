"""Fixtures for tests of the transports: single exchanges, and certificates trusted only by the test's client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from dune_matviews import MatviewsClient
from dune_matviews._api.operations import Operations
from dune_matviews._flow.drivers import completed
from dune_matviews._flow.effects import Call

CA = trustme.CA()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ssl.SSLContext:
    """A server's context for `localhost`, whose authority the environment trusts."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return server_context(CA)


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context for `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def send(runner: asyncio.Runner) -> Callable[..., Any]:
    """Sends one request through a client of either kind, without the flows: a poll of an execution, or a given call."""

    def once(dune: Any, call: Call[Any] | None = None) -> Any:
        call = call or Operations().status("E")
        if isinstance(dune, MatviewsClient):
            return completed(dune._transport.send(call))
        return runner.run(dune._inner._transport.send(call))

    return once


@pytest.fixture
def send_together(kind: str, runner: asyncio.Runner) -> Callable[..., list[Any]]:
    """Polls an execution through each of the clients at the same time, and returns each result or failure."""

    def in_a_thread(dune: Any) -> Any:
        try:
            return completed(dune._transport.send(Operations().status("E")))
        except Exception as failure:
            return failure

    async def in_tasks(clients: Iterable[Any]) -> list[Any]:
        sent = (dune._inner._transport.send(Operations().status("E")) for dune in clients)
        return await asyncio.gather(*sent, return_exceptions=True)

    def all_of(clients: Collection[Any]) -> list[Any]:
        if kind == "async":
            return runner.run(in_tasks(clients))
        with ThreadPoolExecutor(len(clients)) as threads:
            return list(threads.map(in_a_thread, clients))

    return all_of
