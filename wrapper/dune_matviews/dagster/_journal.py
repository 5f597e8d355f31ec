"""The journal of a run: observations in Dagster's event log, which outlive the process that wrote them.

This module must not know Dune, nor what a line of a journal says, but for the view that it is about.

The lines are observations of one asset of their own, `dune_matviews/journal`, because Dagster numbers all events of one
asset in the order in which they are stored, whichever run they are of. A line's partition is the run that the journal
began with, and the view: so a step reads the lines of its own views, those of earlier runs included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import dagster as dg

_KEY = dg.AssetKey(["dune_matviews", "journal"])
_LINE = "dune/line"
_PAGE = 1_000  # records at once: the most that Dagster returns

# How Dagster marks a run that it has launched by itself because another one failed. A person's has no such tag.
_AUTOMATIC = "dagster/retry_number"


class EventLogJournal:
    """The lines of some views: of this run, and of those that it goes on with."""

    def __init__(self, context: dg.AssetExecutionContext, views: Iterable[str]) -> None:
        self._context = context
        self._instance: dg.DagsterInstance = context.instance
        self._origin = _origin(self._instance, context.run)
        self._partitions = [self._origin, *map(self._partition, views)]
        self._lines: list[str] = []
        self._cursor: str | None = None

    def __repr__(self) -> str:
        return f"of run {self._context.run.run_id}"

    def read(self) -> Sequence[str]:
        """Every line, in the order in which Dagster has stored them."""
        has_more = True
        while has_more:
            wanted = dg.AssetRecordsFilter(_KEY, asset_partitions=self._partitions)
            found = self._instance.fetch_observations(wanted, _PAGE, cursor=self._cursor, ascending=True)
            self._lines += [_line(record) for record in found.records]
            self._cursor, has_more = found.cursor, found.has_more
        return self._lines

    def append(self, line: str) -> None:
        """Store a line. A run that is over writes nothing more: another one may go on in its place by now."""
        run = self._instance.get_run_by_id(self._context.run.run_id)
        if run is None or run.is_finished:
            raise RuntimeError("for Dagster, the run is over")
        partition = self._partition(json.loads(line).get("view"))
        self._context.log_event(dg.AssetObservation(_KEY, partition=partition, metadata={_LINE: line}))

    def _partition(self, view: str | None) -> str:
        return self._origin if view is None else f"{self._origin} {view}"


def is_asked_to_retry(context: dg.AssetExecutionContext) -> bool:
    """A person re-executes a run, and so wants what has failed to be tried again; Dagster's own retries do not."""
    return context.run.parent_run_id is not None and _AUTOMATIC not in context.run.tags and not context.retry_number


def is_terminated(instance: dg.DagsterInstance, run_id: str) -> bool:
    """A person has terminated a run. Dagster notes that before it interrupts the process; others interrupt it, too."""
    return bool(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_CANCELING))


def _origin(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The run whose journal this is: the first of those that are re-executed. After a success, another one begins."""
    while run.parent_run_id is not None:
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            raise dg.Failure(
                f"Run {run.parent_run_id}, which is re-executed, has been deleted, and its journal with it. Launch a "
                "new run instead: it refreshes every view that is selected.",
                allow_retries=False,
            )
        if parent.status is dg.DagsterRunStatus.SUCCESS:
            break
        run = parent
    return run.run_id


def _line(record: dg.EventLogRecord) -> str:
    observation = record.asset_observation
    value = observation.metadata[_LINE].value if observation is not None else None
    if not isinstance(value, str):
        raise TypeError(f"event {record.storage_id} of {_KEY.to_user_string()} is no line of a journal")
    return value
