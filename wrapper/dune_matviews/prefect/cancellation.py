"""What a person's cancellation of a flow run means to Dune: the executions that its tasks have started are cancelled.

This module must not know how refreshes are started. A crash is no cancellation, and leaves executions running.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.logging.loggers import LoggingAdapter, flow_run_logger

from dune_matviews import DuneError, MatviewsClient
from dune_matviews.journal import JournalState, read_journal

from .credentials import shared_client
from .journal import Lines, ancestry, journals_of


def cancel_refreshes(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel at Dune what a cancelled flow run has started: a hook, for `@flow(on_cancellation=[cancel_refreshes])`.

    It finds the executions in the journals of the run, so that the process of the run may be dead by then. Executions
    that were under way already, and were adopted, go on.
    """
    with get_client(sync_client=True) as api:
        cancel_started(api, flow_run.id)


def follow_cancellation(api: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Cancel at Dune if it is a person's cancellation that ends a task. No failure of that replaces what ends it."""
    try:
        states = [each.state for each in ancestry(api, flow_run_id)]
        if any(state is not None and (state.is_cancelling() or state.is_cancelled()) for state in states):
            cancel_started(api, flow_run_id)
    except Exception:
        get_logger().exception("What flow run %s has started at Dune was not cancelled.", flow_run_id)


def cancel_started(api: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Cancel what tasks of the flow run, and of its subflows, have started and not seen end."""
    root = ancestry(api, flow_run_id)[-1]
    logger = flow_run_logger(root)
    for writer, lines in journals_of(api, root.id):
        if any(each.id == flow_run_id for each in ancestry(api, writer.flow_run_id)):
            try:
                with shared_client(writer.credentials) as dune:
                    _cancel(dune, lines, logger)
            except Exception:  # the other journals may be of other accounts
                logger.exception("What the flow run has started with %r was not cancelled.", writer.credentials)


def _cancel(dune: MatviewsClient, lines: Lines, logger: LoggingAdapter) -> None:
    for view, entry in read_journal(lines).views.items():
        if entry.state is JournalState.IN_DOUBT:
            logger.warning("%s may be running at Dune; its execution is not known.", view)
        if entry.state is not JournalState.STARTED or entry.how == "adopted" or entry.execution_id is None:
            continue
        try:
            dune.attach(entry.execution_id, view).cancel()
        except DuneError as error:
            logger.error("%s was not cancelled: %s", view, error)
        else:
            logger.info("%s is cancelled at Dune (execution %s).", view, entry.execution_id)
