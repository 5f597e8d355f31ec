"""The contenders: how each of them refreshes a view, looks at an execution, and waits for its end.

Each is a class that imports its library when it is made, so that a process holds one library only. All of them send
the same two requests with the same key in the same header. What this module must not know is how they are measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import quote

KEY = "a-key-of-thirty-two-characters-xx"
VIEW = "dune.my_team.result_daily_volume"
EXECUTION = "01JJX6M1V5Q8W7Z2K3N4P5R6S7"
"""An execution that never ends."""

MANY = 1_000_000
"""Requests a minute: a budget that is kept, and holds nobody up."""


class Contender(Protocol):
    """One library, ready to send."""

    def refresh(self) -> object:
        """Start a refresh, and read the answer."""
        ...

    def status(self) -> object:
        """Look at an execution, and read the answer."""
        ...


class Httpx:
    """What a person writes with httpx alone."""

    def __init__(self, url: str) -> None:
        import httpx

        self._client = httpx.Client(headers={"X-Dune-Api-Key": KEY}, timeout=10)
        self._url = f"{url}/api/v1"

    def refresh(self) -> object:
        url = f"{self._url}/materialized-views/{quote(VIEW, safe='')}/refresh"
        return self._client.post(url, json={"performance": "large"}).json()["execution_id"]

    def status(self) -> object:
        return self._client.get(f"{self._url}/execution/{quote(EXECUTION, safe='')}/status").json()["state"]


class Generated:
    """The generated client alone."""

    def __init__(self, url: str) -> None:
        from dune_api import AuthenticatedClient
        from dune_api.api.executions import get_execution_status
        from dune_api.api.materialized_views import refresh_materialized_view
        from dune_api.models import RefreshRequest

        client = AuthenticatedClient(f"{url}/api", token=KEY, prefix="", auth_header_name="X-Dune-Api-Key")
        self.refresh = lambda: refresh_materialized_view.sync_detailed(
            VIEW, client=client, body=RefreshRequest(performance="large")
        )
        self.status = lambda: get_execution_status.sync_detailed(EXECUTION, client=client)


class Matviews:
    """This SDK, with everything on: typing, pacing, retries, error mapping."""

    def __init__(self, url: str) -> None:
        from dune_matviews import MatviewsClient, RequestBudget

        self._client = MatviewsClient(KEY, base_url=url, plan=RequestBudget(low=MANY, high=MANY))
        self._handle = self._client.attach(EXECUTION)

    def refresh(self) -> object:
        return self._client.refresh(VIEW, performance="large").execution_id

    def status(self) -> object:
        return self._handle.status().state


class DuneClient:
    """dune-client's own calls: it knows no views, so it executes a query, which is answered alike."""

    def __init__(self, url: str) -> None:
        from dune_client.client import DuneClient
        from dune_client.query import QueryBase

        self._client = DuneClient(KEY, base_url=url)
        self._query = QueryBase(query_id=4321)

    def refresh(self) -> object:
        return self._client.execute_query(self._query, performance="large").execution_id

    def status(self) -> object:
        return self._client.get_execution_status(EXECUTION).state
