"""The contenders: how each refreshes a view, polls an execution, and follows one to its end.

A refresh reads the view's executions first, except with dune-client, which has no call for views.

Each imports its library on construction, so a process holds the library of one contender only. All send the same
requests with the same key in the same header, and parse the response. This module must not know how they are measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import quote

KEY = "a-key-of-thirty-two-characters-xx"
EXECUTION = "01JJX6M1V5Q8W7Z2K3N4P5R6S7"
"""An execution that never ends."""

MANY = 1_000_000
"""Requests per minute: a budget that is enforced, but never delays a request."""

_numbers = count()


def view() -> str:
    """The name of the next view: no view is refreshed twice in a row."""
    return f"dune.my_team.result_daily_volume_{next(_numbers) % 10_000}"


class Sync(NamedTuple):
    """One library's synchronous calls: refresh a view and return its execution id, and poll `EXECUTION`."""

    refresh: Callable[[], str]
    status: Callable[[], object]
    close: Callable[[], object]


class Async(NamedTuple):
    """One library's asynchronous calls; *follow* polls an execution to its end, and returns the number of polls."""

    refresh: Callable[[], Awaitable[str]]
    status: Callable[[], Awaitable[object]]
    follow: Callable[[str], Awaitable[int]]
    close: Callable[[], Awaitable[object]]


def once_a_second(
    poll: Callable[[str], Awaitable[Any]], is_over: Callable[[Any], bool]
) -> Callable[[str], Awaitable[int]]:
    """Polls an execution once a second, to its end."""

    async def follow(execution_id: str) -> int:
        polls = 1
        while not is_over(await poll(execution_id)):
            polls += 1
            await asyncio.sleep(1)
        return polls

    return follow


def _is_finished(status: dict[str, Any]) -> bool:
    finished: bool = status["is_execution_finished"]
    return finished


def httpx_alone(url: str) -> Sync:
    """Typical code with httpx."""
    import httpx

    client = httpx.Client(headers={"X-Dune-Api-Key": KEY}, timeout=10)

    def refresh() -> str:
        path = f"{url}/api/v1/materialized-views/{quote(view(), safe='')}"
        client.get(path).json()["last_execution_ids"]
        execution_id: str = client.post(f"{path}/refresh", json={"performance": "large"}).json()["execution_id"]
        return execution_id

    def status() -> object:
        return client.get(f"{url}/api/v1/execution/{quote(EXECUTION, safe='')}/status").json()["state"]

    return Sync(refresh, status, client.close)


def httpx_alone_async(url: str) -> Async:
    """Typical code with httpx, polling once a second."""
    import httpx

    client = httpx.AsyncClient(headers={"X-Dune-Api-Key": KEY}, timeout=10)

    async def refresh() -> str:
        path = f"{url}/api/v1/materialized-views/{quote(view(), safe='')}"
        (await client.get(path)).json()["last_execution_ids"]
        response = await client.post(f"{path}/refresh", json={"performance": "large"})
        execution_id: str = response.json()["execution_id"]
        return execution_id

    async def poll(execution_id: str) -> dict[str, Any]:
        response = await client.get(f"{url}/api/v1/execution/{quote(execution_id, safe='')}/status")
        found: dict[str, Any] = response.json()
        return found

    return Async(refresh, lambda: poll(EXECUTION), once_a_second(poll, _is_finished), client.aclose)


def generated(url: str) -> Sync:
    """The generated client alone."""
    from dune_api import AuthenticatedClient
    from dune_api.api.executions import get_execution_status
    from dune_api.api.materialized_views import get_materialized_view, refresh_materialized_view
    from dune_api.models import RefreshRequest

    client = AuthenticatedClient(f"{url}/api", token=KEY, prefix="", auth_header_name="X-Dune-Api-Key")

    def refresh() -> str:
        name = view()
        get_materialized_view.sync(name, client=client)
        response: Any = refresh_materialized_view.sync(name, client=client, body=RefreshRequest(performance="large"))
        return str(response.execution_id)

    return Sync(refresh, lambda: get_execution_status.sync(EXECUTION, client=client), client.get_httpx_client().close)


def matviews(url: str) -> Sync:
    """This SDK with everything on: typing, pacing, retries, mapping of errors."""
    from dune_matviews import MatviewsClient, RequestBudget

    client = MatviewsClient(KEY, base_url=url, plan=RequestBudget(low=MANY, high=MANY))
    handle = client.attach(EXECUTION)
    return Sync(lambda: client.refresh(view(), performance="large").execution_id, handle.status, client.close)


def matviews_async(url: str) -> Async:
    """This SDK with everything on: typing, pacing, retries, mapping of errors."""
    from dune_matviews import AsyncMatviewsClient, RequestBudget

    client = AsyncMatviewsClient(KEY, base_url=url, plan=RequestBudget(low=MANY, high=MANY))

    async def refresh() -> str:
        return (await client.refresh(view(), performance="large")).execution_id

    async def follow(execution_id: str) -> int:
        polls: list[object] = []
        await client.attach(execution_id).wait(on_update=polls.append)
        return len(polls)

    return Async(refresh, client.attach(EXECUTION).status, follow, client.aclose)


def dune_client(url: str) -> Sync:
    """dune-client's own calls: it has none for views, so it executes a query, which gets the same response."""
    query: Any = import_module("dune_client.query").QueryBase
    client: Any = import_module("dune_client.client").DuneClient(KEY, base_url=url)

    def refresh() -> str:
        return str(client.execute_query(query(next(_numbers)), performance="large").execution_id)

    return Sync(refresh, lambda: client.get_execution_status(EXECUTION), client.http.close)


def dune_client_async(url: str) -> Async:
    """dune-client's own calls, polling once a second: its default of five seconds would be late."""
    query: Any = import_module("dune_client.query").QueryBase
    ends = import_module("dune_client.models").ExecutionState.terminal_states()
    client: Any = import_module("dune_client.client_async").AsyncDuneClient(KEY, base_url=url)

    async def connected() -> Any:
        if client._session is None:
            await client.connect()  # needs a running loop
        return client

    async def refresh() -> str:
        execution = await (await connected()).execute_query(query(next(_numbers)), performance="large")
        return str(execution.execution_id)

    async def poll(execution_id: str) -> Any:
        return await (await connected()).get_execution_status(execution_id)

    return Async(
        refresh, lambda: poll(EXECUTION), once_a_second(poll, lambda found: found.state in ends), client.disconnect
    )


def aiohttp_alone_async(url: str) -> Async:
    """Typical code with aiohttp, polling once a second."""
    aiohttp: Any = import_module("aiohttp")
    session: Any = None

    def connected() -> Any:
        nonlocal session
        if session is None:  # needs a running loop
            session = aiohttp.ClientSession(headers={"X-Dune-Api-Key": KEY}, timeout=aiohttp.ClientTimeout(total=10))
        return session

    async def get(path: str) -> Any:
        async with connected().get(f"{url}/api/v1/{path}") as response:
            return await response.json()

    async def refresh() -> str:
        path = f"materialized-views/{quote(view(), safe='')}"
        (await get(path))["last_execution_ids"]
        async with connected().post(f"{url}/api/v1/{path}/refresh", json={"performance": "large"}) as response:
            return str((await response.json())["execution_id"])

    async def poll(execution_id: str) -> Any:
        return await get(f"execution/{quote(execution_id, safe='')}/status")

    return Async(refresh, lambda: poll(EXECUTION), once_a_second(poll, _is_finished), lambda: connected().close())


def dune_client_version_once_async(url: str) -> Async:
    """dune-client, but its version is read once, and not from the disk for every request."""
    base: Any = import_module("dune_client.api.base")
    base.get_package_version = cache(base.get_package_version)
    return dune_client_async(url)


CONTENDERS: dict[str, Callable[[str], Sync | Async]] = {
    each.__name__: each
    for each in (
        httpx_alone,
        generated,
        matviews,
        dune_client,
        httpx_alone_async,
        matviews_async,
        aiohttp_alone_async,
        dune_client_async,
        dune_client_version_once_async,
    )
}
