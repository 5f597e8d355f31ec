"""The trigger: waits for the end of one execution, in the triggerer.

This module must not know how the execution was started, nor what follows from its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dune_matviews import AsyncMatviewsClient, DuneError

from .hook import DuneHook, settings_of, words

_Clients = dict[Hashable, tuple[AsyncMatviewsClient, int]]
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()


class ExecutionTrigger(BaseTrigger):
    """Waits until an execution has ended. What Airflow stores of it is its arguments, without the key.

    All triggers of a triggerer that have the same account share one client, and so one budget of requests.

    Args:
        execution_id: the execution.
        view: the view that it refreshes.
        dune_conn_id: the connection.
        timeout: seconds to wait; None waits as long as Dune responds.
        max_credits: cancel the execution when its running cost passes so many credits.
        cancel_on_kill: cancel the execution when a person clears the task, or marks it as failed or successful.
    """

    def __init__(
        self,
        execution_id: str,
        view: str,
        dune_conn_id: str,
        timeout: float | None,
        max_credits: float | None,
        cancel_on_kill: bool,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of Airflow's
        self.execution_id, self.view, self.dune_conn_id = execution_id, view, dune_conn_id
        self.timeout, self.max_credits, self.cancel_on_kill = timeout, max_credits, cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, for Airflow to store."""
        names = ("execution_id", "view", "dune_conn_id", "timeout", "max_credits", "cancel_on_kill")
        return f"{__name__}.ExecutionTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell the task when the execution has ended, or why the waiting has."""
        event: dict[str, Any] = {"execution_id": self.execution_id, "error": None}
        try:
            async with _client(self.dune_conn_id) as dune:
                refresh = dune.attach(self.execution_id, self.view)
                await refresh.wait(timeout=self.timeout, max_credits=self.max_credits)
        except DuneError as problem:
            event["error"] = problem.describe(words)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # of Airflow's

    async def on_kill(self) -> None:
        """Cancel the execution at Dune: a person has cleared the task, or marked it. Nothing else calls this."""
        if self.cancel_on_kill:
            async with _client(self.dune_conn_id) as dune:
                canceled = await dune.attach(self.execution_id, self.view).cancel()
            self.log.info("Execution %s %s", self.execution_id, "cancelled" if canceled else "had ended already")


@asynccontextmanager
async def _client(dune_conn_id: str) -> AsyncIterator[AsyncMatviewsClient]:
    """The one client of this event loop with these settings; the last user closes it."""
    settings = settings_of(await DuneHook.aget_connection(dune_conn_id))
    clients, key = _clients.setdefault(asyncio.get_running_loop(), {}), tuple(settings.values())
    if key not in clients:
        # In a thread, because the first client imports what would hold up all other triggers.
        made = await asyncio.to_thread(AsyncMatviewsClient, **settings)
        clients.setdefault(key, (made, 0))
    dune, users = clients[key]
    clients[key] = dune, users + 1
    try:
        yield dune
    finally:
        dune, users = clients.pop(key)
        if users > 1:
            clients[key] = dune, users - 1
        else:
            await dune.aclose()
