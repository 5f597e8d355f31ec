"""What the operators share: client and journal, failures, and what it means that a person clears or kills a task.

This module must not know what a task refreshes, nor how its journal is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dune_matviews import (
    AuthenticationError,
    BadRequestError,
    InvalidArgumentError,
    MatviewsClient,
    NotFoundError,
    Outcome,
    PaymentRequiredError,
    PermissionDeniedError,
    RefreshError,
    RefreshesFailedError,
    StopReason,
    WaitTimeoutError,
)
from dune_matviews.journal import JournalState, read_journal

from . import journal as journals
from ._engine import AirflowFailException, BaseOperator, Context
from .hook import DuneHook

# A retry would be told the same.
_LASTING = (
    *(AuthenticationError, BadRequestError, InvalidArgumentError),
    *(NotFoundError, PaymentRequiredError, PermissionDeniedError),
)
_GOES_ON = {Outcome.AMBIGUOUS, Outcome.RUNNING}
_A_PERSON_ACTED = {"restarting", "failed", "success", "skipped"}
"""The states of a task instance that has been cleared or marked while its process runs."""


class DuneOperator(BaseOperator):
    """A task with a journal in its state store."""

    dune_conn_id: str
    cancel_on_kill: bool
    retry_failed: bool
    _is_at_work = False

    @contextmanager
    def at_work(self, context: Context) -> Iterator[tuple[MatviewsClient, journals.TaskJournal]]:
        """A client and the task's journal; a failure that a retry would only repeat ends the task for good."""
        with DuneHook(self.dune_conn_id).get_conn() as dune:
            journal = self._journal(context, dune)
            self._is_at_work = True
            try:
                yield dune, journal
            except SystemExit:
                self._is_at_work = False  # another signal must not keep the cancelling from its end
                if self.cancel_on_kill and _has_a_person_acted(context):
                    self._cancel(dune, journal)
                raise
            except _LASTING as problem:
                raise AirflowFailException(str(problem)) from problem
            except (RefreshError, RefreshesFailedError) as problem:
                if self.retry_failed or _may_go_on(problem):
                    raise
                raise AirflowFailException(str(problem)) from problem
            finally:
                self._is_at_work = False

    def on_kill(self) -> None:
        """End the task's process at a signal, whoever sent it; only where a person acted, Dune is told to cancel."""
        if self._is_at_work:
            raise SystemExit("The task was told to end.")

    def _journal(self, context: Context, dune: MatviewsClient) -> journals.TaskJournal:
        """The task's journal: a new one once a person has cleared the task and what it had started is settled."""
        journal, is_cleared = journals.current(context)
        if not is_cleared:
            return journal
        states = {entry.state for entry in read_journal(journal).views.values()}
        keep = JournalState.IN_DOUBT in states or (JournalState.STARTED in states and not self.cancel_on_kill)
        if not keep:
            self._cancel(dune, journal)
        return journals.renewed(context, journal, keep=keep)

    def _cancel(self, dune: MatviewsClient, journal: journals.TaskJournal) -> None:
        """Cancel at Dune what the journal has as started, where it still runs and is certainly ours."""
        for view, entry in read_journal(journal).views.items():
            if entry.state is JournalState.STARTED and entry.execution_id and entry.how == "response":
                canceled = dune.attach(entry.execution_id, view).cancel()
                self.log.info("Execution %s %s", entry.execution_id, "cancelled" if canceled else "had ended already")


def _may_go_on(problem: RefreshError | RefreshesFailedError) -> bool:
    """Something may still run, or was not started yet: a retry goes on with it."""
    if isinstance(problem, RefreshesFailedError):
        report = problem.report
        outcomes = {result.outcome for result in report.results.values()}
        return bool(outcomes & _GOES_ON) or report.stopped_by in (StopReason.TIMEOUT, StopReason.JOURNAL)
    return isinstance(problem, WaitTimeoutError)


def _has_a_person_acted(context: Context) -> bool:
    """Whether the task instance has been cleared or marked: otherwise the machine ends the process."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    return bool(_A_PERSON_ACTED & {str(state) for run in states.values() for state in run.values()})
