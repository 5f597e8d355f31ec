"""Recovery: find the execution that a request started whose response was lost, or prove that it started none.

This module must not know how a request is sent, nor the use made of its finding. It judges by Dune's own history of
the view, against the history before the request; clocks can only add doubt, except for time that this process has
watched pass. docs/reliability.md says the rule in plain words.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from .._api.values import Definition, ViewHistory
from .._flow.effects import Flow, Sleep
from .._flow.log import log
from ..errors import AmbiguousRefreshError, DuneError, NotFoundError
from ..models import ExecutionStatus
from ..remedies import Attach
from .intents import Intent, bare
from .journal import Journal
from .listing import full_name, is_as_sent
from .requests import TimeLimit, poll, read, time_limit
from .session import Session
from .wish import way_back

EMPTY = ViewHistory((), None)
"""The history of a view that does not exist."""

SHORT_LIST = 10
"""Executions that a view's history has at least, if there are so many: a shorter list is whole."""


class Finding(NamedTuple):
    """The end of a recovery: candidates, unless there is doubt; or a proven absence; or doubt, and why."""

    candidates: tuple[str, ...] = ()
    is_absent: bool = False
    doubt: str = ""

    @property
    def execution_id(self) -> str | None:
        """The execution, if there is no doubt which it is."""
        return self.candidates[0] if len(self.candidates) == 1 and not self.doubt else None

    def error(self, intent: Intent, failure: DuneError | None) -> AmbiguousRefreshError:
        """The error that says why the execution of *intent* is not known; *failure* has lost the response."""
        is_refresh = intent.sent is None
        lost = f" Its response was lost ({failure.problem.rstrip('.')})." if failure else ""
        found, remedy = f"It was not found, because {self.doubt}.", way_back(intent.view, is_refresh=is_refresh)
        if self.candidates:
            found, remedy = "It may be any of several executions.", Attach(self.candidates)
        what = "A refresh" if is_refresh else "An upsert"
        return AmbiguousRefreshError(
            f"{what} of {intent.view} may have been accepted, and billed.{lost} {found}",
            name=intent.view,
            baseline=intent.baseline.ids if intent.baseline else None,
            candidates=self.candidates,
            remedy=remedy,
        )


class Recovery:
    """One look-up, for one intent. *journal* may hear of the execution from another process."""

    def __init__(self, session: Session, intent: Intent, journal: Journal | None = None) -> None:
        self._session = session
        self._intent = intent
        self._journal = journal
        self._began: dict[str, datetime | None] = {}

    def search(self, seconds: float, *, prove: bool, deadline: float) -> Flow[Finding]:
        """Poll the view's history for so many seconds, and if it is to be proven, until absence is; in no case longer.

        One candidate ends it at once; of several, more may be listed until its time is over.
        A pause is a second, or a tenth of the time that the search has taken if that is longer.
        """
        session, intent = self._session, self._intent
        if intent.baseline is None:
            return Finding(doubt="the view's executions before the request are not known")
        began = session.clock()
        until = began + seconds
        if prove:
            until = max(until, intent.quiet_since + session.times.proof + 1.0)
        until = min(until, deadline)
        while True:
            looked_at = session.clock()
            finding = yield from self._look(until, deadline)
            if finding.candidates:
                until = min(until, began + seconds)
            is_over = looked_at >= until or session.clock() >= deadline
            if finding.is_absent or finding.execution_id is not None or is_over:
                break
            now = session.clock()
            yield Sleep(max(min(max(1.0, (now - began) / 10), until - now), 0.0))
        if finding.candidates and intent.sent is not None:
            return (yield from self._as_sent(finding, intent.sent, deadline))
        return finding

    def _look(self, until: float, deadline: float) -> Flow[Finding]:
        session, intent = self._session, self._intent
        if self._journal is not None:
            yield from self._journal.reread()
            record = self._journal.record_of(intent)
            if record is not None and record.is_refused:  # so says who has sent it
                return Finding(is_absent=True)
            if record is not None and record.execution_id is not None:
                return Finding((record.execution_id,))
        limit = TimeLimit(max(until, session.clock() + session.timeout), deadline)
        looked_at = session.clock()
        try:
            history = yield from self._history(limit)
        except DuneError as failure:
            return Finding(doubt=f"its history cannot be read ({failure.problem.rstrip('.')})")
        new = self._new(history)
        for execution_id in new:
            if execution_id not in self._began:
                _, self._began[execution_id] = yield from state_if_kept(session, execution_id, limit)
        candidates = tuple(each for each in new if self._may_be_its(self._began[each]))
        if candidates:
            others = "another request of this client for the same view is under way, or in doubt as well"
            return Finding(candidates, doubt=others if session.intents.has_others(intent) else "")
        if new or not self._is_whole(history):
            return Finding(doubt="the history of the view does not tell")
        return Finding(is_absent=self._is_proven(history, looked_at), doubt="its execution is not listed")

    def _as_sent(self, finding: Finding, definition: Definition, deadline: float) -> Flow[Finding]:
        """An upsert's execution is found only if the view is as it was sent: others refresh it, too."""
        session = self._session
        try:
            call = session.operations.stored(self._intent.view)
            stored = yield from read(session, call, time_limit(session, deadline))
        except DuneError as failure:
            return Finding(doubt=f"the view cannot be read ({failure.problem.rstrip('.')})")
        return finding if is_as_sent(stored, definition) else Finding(doubt="the view is not as it was to be")

    def _history(self, limit: TimeLimit) -> Flow[ViewHistory]:
        session, intent = self._session, self._intent
        if intent.sent is not None and bare(intent.view) == intent.view:  # listed under its full name, in time
            full = yield from full_name(session, lambda name: bare(name) == intent.view, limit)
            if full is None:
                return EMPTY
            intent.view = full
        return (yield from read_history(session, intent.view, limit))

    def _new(self, history: ViewHistory) -> list[str]:
        """Executions that the baseline does not have, and that are not another intent's by its own response."""
        intent, client, journal = self._intent, self._session.intents, self._journal
        known = set(intent.baseline.ids if intent.baseline else ())
        own = {None, intent.token}
        new = [each for each in history.ids if each not in known and client.owner(each) in own]
        return [each for each in new if journal is None or journal.owner(each) in own]

    def _may_be_its(self, began: datetime | None) -> bool:
        """An execution that began then did not begin before the request can have been sent."""
        intent, slack = self._intent, timedelta(seconds=self._session.times.slack)
        sent_after = intent.baseline and intent.baseline.date
        earliest = sent_after and sent_after - slack
        return began is None or (began_in_time(began, earliest) and began_in_time(began, intent.not_before))

    def _is_whole(self, history: ViewHistory) -> bool:
        """No execution that is newer than the baseline can be missing in this list."""
        baseline = self._intent.baseline
        if baseline is None or history.is_cached or not history.is_stated:
            return False
        if baseline.ids:
            return newest_first(baseline.ids)[0] in history.ids
        return len(history.ids) < SHORT_LIST

    def _is_proven(self, history: ViewHistory, looked_at: float) -> bool:
        """Any accepted request had time to be listed before Dune was asked: a response may take long to arrive."""
        session, intent = self._session, self._intent
        watched = looked_at - intent.quiet_since
        if watched >= session.times.proof:
            return True
        if history.date is None or intent.ends is None or watched < session.times.least_proof:
            return False
        return history.date >= intent.ends + timedelta(seconds=session.times.proof)


def read_history(session: Session, view: str, limit: TimeLimit) -> Flow[ViewHistory]:
    """The view's history; that of a view that does not exist is empty."""
    try:
        return (yield from read(session, session.operations.history(view), limit))
    except NotFoundError:
        return EMPTY


def state_if_kept(
    session: Session, execution_id: str, limit: TimeLimit
) -> Flow[tuple[ExecutionStatus | None, datetime | None]]:
    """The status of a listed execution, None where it cannot be read; and when it began, by that or by its id."""
    status: ExecutionStatus | None = None
    try:
        status = yield from poll(session, execution_id, limit=limit)
    except DuneError as failure:
        log.info("Execution %s cannot be read: %s", execution_id, failure, extra={"execution_id": execution_id})
    return status, (status and status.submitted_at) or ulid_moment(execution_id)


def began_in_time(began: datetime | None, not_before: datetime | None) -> bool:
    """An execution that began then has read all that was fresh at *not_before*."""
    return not_before is None or (began is not None and began >= not_before)


def newest_first(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Executions in the order of their ids, where those are ULIDs, else as they are listed."""
    return tuple(sorted(ids, reverse=True)) if all(map(ulid_moment, ids)) else ids


_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid_moment(execution_id: str) -> datetime | None:
    """When an id was made, if it is a ULID."""
    if len(execution_id) != 26 or not set(execution_id.upper()) <= set(_ULID) or execution_id[0] > "7":
        return None
    milliseconds = 0
    for character in execution_id[:10].upper():
        milliseconds = milliseconds * 32 + _ULID.index(character)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
