"""What the operators share: client and journal, failures, and what it means that a person clears or kills a task.

This module must not know what a task refreshes, nor how its journal is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dune_matviews import (
    AuthenticationError,
    BadRequestError,
    CreditLimitError,
    DuneError,
    InvalidArgumentError,
    MatviewsClient,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RefreshCanceledError,
    RefreshExpiredError,
    RefreshFailedError,
)
from dune_matviews.journal import JournalEntry, JournalState, read_journal

from . import journal as journals
from ._engine import AirflowException, AirflowFailException, BaseOperator, Context
from .hook import DuneHook, words

# A retry would be told the same.
_LASTING = (
    *(AuthenticationError, BadRequestError, InvalidArgumentError),
    *(NotFoundError, PaymentRequiredError, PermissionDeniedError),
)
_ENDED = (CreditLimitError, RefreshCanceledError, RefreshExpiredError, RefreshFailedError)
_A_PERSON_ACTED = {"restarting", "failed", "success", "skipped"}
"""The states of a task instance that has been cleared or marked while its process runs."""


class DuneOperator(BaseOperator):
    """A task with a journal in its state store.

    Args:
        dune_conn_id: the connection; templated.
        cancel_on_kill: cancel at Dune what runs when a person clears or marks the task before it has ended.
        retry_failed: let a retry start, and pay for, another refresh where Dune has failed the one before.
    """

    ui_color = "#f4603e"
    _at_work_with: journals.TaskJournal | None = None

    def __init__(
        self,
        *,
        dune_conn_id: str = DuneHook.default_conn_name,
        cancel_on_kill: bool = True,
        retry_failed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dune_conn_id, self.cancel_on_kill, self.retry_failed = dune_conn_id, cancel_on_kill, retry_failed

    @contextmanager
    def at_work(self, context: Context) -> Iterator[tuple[MatviewsClient, journals.TaskJournal]]:
        """A client and the task's journal; a failure that a retry would only repeat ends the task for good."""
        with DuneHook(self.dune_conn_id).get_conn() as dune:
            journal = self._journal(context, dune)
            self._at_work_with = journal
            try:
                yield dune, journal
            except SystemExit:
                self._at_work_with = None  # another signal must not keep the cancelling from its end
                if _has_a_person_acted(context):
                    self._cancel(dune, journal)
                raise
            except DuneError as problem:
                is_final = isinstance(problem, _LASTING if self.retry_failed else (*_LASTING, *_ENDED))
                raise (AirflowFailException if is_final else AirflowException)(problem.describe(words)) from problem
            finally:
                self._at_work_with = None

    def on_kill(self) -> None:
        """End the task's process at a signal, whoever sent it; only where a person acted, Dune is told to cancel."""
        if self._at_work_with is not None:
            self._at_work_with.interrupt(SystemExit("The task was told to end."))

    def may_cancel(self, entry: JournalEntry) -> bool:
        """Whether an execution may be cancelled: it is certainly ours, and the task is to cancel its own."""
        return self.cancel_on_kill and entry.how == "response"

    def _journal(self, context: Context, dune: MatviewsClient) -> journals.TaskJournal:
        """The task's journal: a new one once a person has cleared the task, and nothing that it started goes on."""
        journal, is_cleared = journals.current(context)
        if not is_cleared:
            return journal
        self._cancel(dune, journal)
        keep = any(
            entry.state is JournalState.IN_DOUBT or (entry.state is JournalState.STARTED and not self.may_cancel(entry))
            for entry in read_journal(journal).views.values()
        )
        return journals.renewed(context, journal, keep=keep)

    def _cancel(self, dune: MatviewsClient, journal: journals.TaskJournal) -> None:
        """Cancel at Dune what the journal has as started and not as ended, where it may be cancelled."""
        for view, entry in read_journal(journal).views.items():
            if entry.state is JournalState.STARTED and entry.execution_id and self.may_cancel(entry):
                canceled = dune.attach(entry.execution_id, view).cancel()
                self.log.info("Execution %s %s", entry.execution_id, "cancelled" if canceled else "had ended already")


def _has_a_person_acted(context: Context) -> bool:
    """Whether the task instance has been cleared or marked: otherwise the machine ends the process."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    return bool(_A_PERSON_ACTED & {str(state) for run in states.values() for state in run.values()})
