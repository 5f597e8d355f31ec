"""A run of `refresh_all` beside the step, in a thread with an event loop of its own, so that it can be stopped.

This module must not know assets, nor what Dagster is told of a result.

Dagster interrupts a step by an exception in its main thread, which may come between any two instructions. In the code
of an event loop it would be lost, and a synchronous client could only be stopped at its next poll.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

import dagster as dg

from dune_matviews import AsyncMatviewsClient, DuneError, ExecutionStatus, MatviewsClient, RefreshReport, ViewResult
from dune_matviews.journal import JournalState, read_journal

from ._journal import EventLogJournal, is_terminated

# Seconds. Kubernetes kills a process 30 s after it was asked to end.
_TO_STOP = 25.0
_TO_LOOK = 1.0


class Fresh(NamedTuple):
    """A view that is fresh, with its result, and the last status of its execution as far as Dune tells it."""

    view: str
    result: ViewResult
    status: ExecutionStatus | None


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
        self._fresh: SimpleQueue[Fresh | None] = SimpleQueue()
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._task = self._loop.create_task(self._refresh())
        self._owner = threading.current_thread()
        self._thread = threading.Thread(target=self._run, name="dune-matviews")
        self._thread.start()

    def fresh(self) -> Iterator[Fresh]:
        """Each view as soon as it is fresh, until all is over."""
        while (fresh := self._fresh.get()) is not None:
            yield fresh

    def report(self) -> RefreshReport:
        """The report, once all is over; or the exception that has ended the run."""
        self._thread.join()
        return self._task.result()

    def stop(self) -> None:
        """Send nothing more but cancellations, if a person has terminated the run, and wait for the end."""
        with suppress(RuntimeError):  # it is over already
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(_TO_STOP)

    def _run(self) -> None:
        try:
            with self._runner:  # which ends whatever is left in the loop
                self._runner.run(self._ended())
            if is_terminated(self._context.instance, self._context.run.run_id):
                self._cancel()
        finally:
            self._fresh.put(None)

    async def _ended(self) -> None:
        """Wait for the end. A step may have ended before, where it was interrupted in Dagster's own code."""
        while not self._task.done():
            if not self._owner.is_alive():
                self._task.cancel()
            await asyncio.wait([self._task], timeout=_TO_LOOK)

    async def _refresh(self) -> RefreshReport:
        instance, parent = self._context.instance, self._context.run.parent_run_id
        tellings: list[asyncio.Task[None]] = []

        def on_update(view: str, result: ViewResult) -> None:
            if result.outcome.is_fresh:
                tellings.append(self._loop.create_task(self._tell(dune, view, result)))

        async with AsyncMatviewsClient(**self._client) as dune:
            if parent is not None and is_terminated(instance, parent):
                await self._settle(dune)
            report = await dune.refresh_all(self._reads, journal=self._journal, on_update=on_update, **self._options)
            await asyncio.gather(*tellings)
            return report

    async def _tell(self, dune: AsyncMatviewsClient, view: str, result: ViewResult) -> None:
        """Say that a view is fresh. No journal has its size and its query: Dune is asked for them, free of charge."""
        status = result.status
        if result.execution_id is not None and (status is None or status.query_id is None):
            with suppress(DuneError):
                status = await dune.attach(result.execution_id, view).status()
        self._fresh.put(Fresh(view, result, status))

    async def _settle(self, dune: AsyncMatviewsClient) -> None:
        """Record the end of what was cancelled with the run before, so that it can be tried again."""
        for view in self._started(how=None):
            await (await dune.refresh(view, journal=self._journal)).status()  # sends no refresh: one is recorded

    def _cancel(self) -> None:
        """Cancel what this run, or one that it goes on with, has certainly started itself.

        By the synchronous client: while a process ends, nothing runs in a thread pool, where names are looked up.
        """
        log = self._context.log
        with MatviewsClient(**self._client) as dune:
            for view, execution_id in self._started(how="response").items():
                log.warning(f"The run was terminated: cancelling execution {execution_id} of {view}.")
                try:
                    dune.attach(execution_id, view).cancel()
                except DuneError as failure:
                    log.error(f"Execution {execution_id} of {view} goes on, and is billed: {failure}")

    def _started(self, how: str | None) -> dict[str, str]:
        """The executions, by view, whose end is not recorded."""
        recorded = read_journal(EventLogJournal(self._context, self._reads)).views
        return {
            view: entry.execution_id
            for view, entry in recorded.items()
            if entry.state is JournalState.STARTED and entry.execution_id and how in (None, entry.how)
        }
