"""A run of `refresh_all` beside the step, in a thread with an event loop of its own, so that it can be stopped.

This module must not know assets, nor what Dagster is told of a result.

Dagster interrupts a step by an exception in its main thread, which may come between any two instructions. In the code
of an event loop it would be lost, and a synchronous client could only be stopped at its next poll.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import dagster as dg

from dune_matviews import AsyncMatviewsClient, DuneError, RefreshReport, ViewResult
from dune_matviews.journal import JournalState, read_journal

from ._journal import EventLogJournal, is_terminated

# Seconds. Kubernetes kills a process 30 s after it was asked to end.
_TO_CANCEL = 20.0
_TO_STOP = 25.0


class Worker:
    """Refreshes views in the background, from its creation on.

    Args:
        context: the step's.
        client: the arguments of the client.
        reads: the views, and what each reads.
        options: the other arguments of `refresh_all`.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        client: Mapping[str, Any],
        reads: Mapping[str, Sequence[str]],
        options: Mapping[str, Any],
    ) -> None:
        self._context = context
        self._client = client
        self._reads = reads
        self._options = options
        self._journal = EventLogJournal(context, reads)
        self._updates: SimpleQueue[tuple[str, ViewResult] | None] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._refresh())
        self._thread = threading.Thread(target=self._run, name="dune-matviews", daemon=True)
        self._thread.start()

    def updates(self) -> Iterator[tuple[str, ViewResult]]:
        """Each view with its result, at each step, until all is over."""
        while (update := self._updates.get()) is not None:
            yield update

    def report(self) -> RefreshReport:
        """The report, once all is over; or the exception that has ended the run."""
        self._thread.join()
        return self._task.result()

    def stop(self) -> None:
        """Send nothing more but cancellations, if a person has terminated the run, and wait for the end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(_TO_STOP)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(asyncio.wait([self._task]))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
            self._updates.put(None)

    async def _refresh(self) -> RefreshReport:
        async with AsyncMatviewsClient(**self._client) as dune:
            try:
                parent = self._context.run.parent_run_id
                if parent is not None and is_terminated(self._context.instance, parent):
                    await self._settle(dune)
                return await dune.refresh_all(self._reads, journal=self._journal, on_update=self._tell, **self._options)
            except asyncio.CancelledError:
                if is_terminated(self._context.instance, self._context.run.run_id):
                    self._task.uncancel()
                    await self._cancel(dune)
                raise

    def _tell(self, view: str, result: ViewResult) -> None:
        self._updates.put((view, result))

    async def _settle(self, dune: AsyncMatviewsClient) -> None:
        """Record the end of what was cancelled with the run before, so that it can be tried again."""
        for view in self._started(how=None):
            await (await dune.refresh(view, journal=self._journal)).status()  # sends no refresh: one is recorded

    async def _cancel(self, dune: AsyncMatviewsClient) -> None:
        """Cancel what this run, or one that it goes on with, has certainly started itself."""
        log = self._context.log
        try:
            async with asyncio.timeout(_TO_CANCEL):
                for view, execution_id in self._started(how="response").items():
                    log.warning(f"The run was terminated: cancelling execution {execution_id} of {view}.")
                    await dune.attach(execution_id, view).cancel()
        except (DuneError, TimeoutError) as failure:
            log.error(f"Not everything could be cancelled, and goes on at Dune: {failure}")

    def _started(self, how: str | None) -> dict[str, str]:
        """The executions, by view, whose end is not recorded."""
        recorded = read_journal(EventLogJournal(self._context, self._reads)).views
        return {
            view: entry.execution_id
            for view, entry in recorded.items()
            if entry.state is JournalState.STARTED and entry.execution_id and how in (None, entry.how)
        }
