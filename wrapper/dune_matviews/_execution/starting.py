"""Starting an execution at most once for each intent: journal, adopt, baseline, claim, send, in this order.

This module must not know how an execution is polled to its end, nor the order of views.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import attrs

from .._flow.effects import Flow, Sleep
from .._flow.log import log
from ..errors import AlreadyRunningError, DuneError, JournalError, RequestFailedError
from ..models import Retry
from ..remedies import Attach, Note
from ..report import Outcome
from .intents import How, Intent, Stage
from .journal import Journal
from .records import Record
from .recovery import Recovery, began_in_time, state_if_kept
from .requests import TimeLimit, announce, is_ambiguous, is_safe_to_resend, pause_after, time_limit
from .running import find_running
from .sending import PermitOverError, Sending
from .session import Session
from .wish import Begun, PreventedError, Wish, name_explained, tier_explained, way_back

_NEWS: dict[How, str] = {
    "response": "Started the refresh",
    "inferred": "Found the refresh",
    "adopted": "Following a refresh",
}

PROOFS = 3
"""Requests of one call that may be lost and proven absent, before the failure of the latest is raised."""

_RETRIED = (Outcome.FAILED, Outcome.CANCELED, Outcome.EXPIRED)


def start(session: Session, wish: Wish, journal: Journal | None = None) -> Flow[Begun]:
    """Start an execution, or follow the one that the wish already has; never start two."""
    with name_explained(wish.view), tier_explained(wish.tier):
        return (yield from _Start(session, wish, journal).flow())


class _Start:
    """One call that starts an execution."""

    def __init__(self, session: Session, wish: Wish, journal: Journal | None) -> None:
        self._session = session
        self._intents = session.intents
        self._wish = wish
        self._journal = journal
        self._history = wish.history
        self._intent = Intent(wish.view, wish.tier, wish.definition, wish.not_before)

    def flow(self) -> Flow[Begun]:
        intent, journal = self._intent, self._journal
        try:
            return (yield from self._existing()) or (yield from self._under_way()) or (yield from self._send())
        except (DuneError, PreventedError) as failure:
            is_unsent = intent.stage is Stage.UNSENT and not isinstance(failure, JournalError)
            if journal is not None and intent.ends is not None and is_unsent:
                yield from journal.refused(intent, getattr(failure, "problem", None) or str(failure))
            raise
        except BaseException as interruption:  # or an error that nobody foresaw
            self._interrupted(interruption)
            raise
        finally:
            if intent.stage is Stage.UNSENT:
                self._intents.close(intent)

    # The execution that the wish already has.

    def _existing(self) -> Flow[Begun | None]:
        """The execution that this intent, or one in its way, has; None once nothing is in its way."""
        wish, journal = self._wish, self._journal
        alone = journal is not None or wish.if_running != "start"
        waited_for: Intent | None = None
        pause = 0.05
        while True:
            if (recorded := self._recorded()) is not None:
                return recorded
            other = self._intents.begin(self._intent, alone=alone, left=self._left_behind())
            if other is None:
                if journal is not None:  # which another call of this client may have written to before this one began
                    yield from journal.reread()
                if self._recorded() is None and self._left_behind() is None:
                    return None
                self._intents.close(self._intent)
                continue
            if other.stage is Stage.LOST:
                if other is waited_for and other.error is not None:
                    raise other.error
                if (begun := (yield from self._join(other))) is not None:
                    return begun
                continue
            waited_for = other
            if self._session.clock() >= wish.deadline:
                raise RequestFailedError(f"Another refresh of {wish.view} is being started, and the time is over.")
            yield Sleep(pause)
            pause = min(pause * 1.5, 1.0)

    @property
    def _record(self) -> Record | None:
        """The journal's record of the view."""
        return None if self._journal is None else self._journal.records.of(self._wish.view)

    def _recorded(self) -> Begun | None:
        """The execution that the journal has for this run, or its result, if that counts."""
        record, wish = self._record, self._wish
        if record is None or record.is_earlier or record.execution_id is None:
            return None
        result = record.result
        # Ends may be recorded in another order than they came, so where Dune tells its own times, these count.
        in_time = result and result.started_at and began_in_time(result.started_at, wish.not_before)
        if wish.is_overtaken and not in_time:
            return None
        if result and wish.retry_failed and result.outcome in _RETRIED:
            return None
        return Begun(record.execution_id, record.how, result=result)

    def _left_behind(self) -> Intent | None:
        """The lost intent that the journal has in doubt, and that another process, or an earlier call, has left.

        That process may be alive, so only time that passes from now on, as seen by this one, can prove absence.
        """
        record = self._record
        if record is None or not record.is_in_doubt or record.token == self._intent.replaces:
            return None
        not_before, sent_after = self._wish.not_before, record.baseline and record.baseline.date
        slack = timedelta(seconds=self._session.times.slack)
        if record.is_earlier or (sent_after is not None and not began_in_time(sent_after + slack, not_before)):
            not_before = None  # its upstream has become fresh once more since it was sent
        now = self._session.clock()
        return attrs.evolve(record, view=self._wish.view, not_before=not_before, quiet_since=now)

    def _join(self, lost: Intent) -> Flow[Begun | None]:
        """Find the execution of a lost intent: return it if it counts, or None once the intent is out of the way."""
        if not self._intents.take(lost):
            return None
        wish, record = self._wish, self._record
        begun = yield from self._recover(lost, self._journal is not None or wish.if_lost == "resend")
        if begun is None:
            return None
        if record is not None and record.token == lost.token:
            if not (record.is_earlier or wish.is_overtaken):
                return begun
            self._intents.close(lost)
            return (yield from self._taken_over(begun, record))
        execution_id = begun.execution_id or ""
        if lost.sent != wish.definition or not (yield from self._counts(execution_id, None)):
            return None
        if self._journal is None and wish.if_running != "refuse":
            return begun
        self._intent.replaces = None if record is None else record.token
        return (yield from self._follow(execution_id, begun.how))

    def _under_way(self) -> Flow[Begun | None]:
        """An execution that was not started for this wish, and serves it all the same."""
        record = self._record
        if record is not None and record.token != self._intent.replaces:
            self._intent.replaces = record.token
            if not record.is_settled:
                begun = yield from self._taken_over(Begun(record.execution_id, record.how), record)
                if begun is not None:
                    return begun
        if self._wish.if_running == "start":
            return None
        running, self._history = yield from find_running(self._session, self._wish)
        return None if running is None else (yield from self._follow(running, "adopted"))

    def _taken_over(self, begun: Begun, record: Record) -> Flow[Begun | None]:
        """The recorded execution of another run, or of before an upstream view became fresh once more, if it counts."""
        counting: tuple[str, ...] = ()
        for execution_id in begun.candidates or (begun.execution_id or "",):
            counts = yield from self._counts(execution_id, record)
            counting += (execution_id,) * counts
        if len(counting) > 1:
            return begun._replace(candidates=counting)
        self._intent.replaces = record.token
        if not counting:
            return None  # an execution of another run is not this one's to cancel
        return (yield from self._follow(counting[0], "adopted" if record.is_earlier else begun.how))

    def _counts(self, execution_id: str, record: Record | None) -> Flow[bool]:
        """The execution has read all that the view reads, and if *record* says that it is another run's, still runs."""
        not_before = self._wish.not_before
        if record is None and not_before is None:
            return True
        status, began = yield from state_if_kept(self._session, execution_id, self._limit())
        if record is not None and record.is_earlier:
            return status is not None and not status.is_finished and began_in_time(began, not_before)
        if record is not None and began is None:  # of this run: when it began may not be known yet
            return True
        return began_in_time(began, not_before)

    def _follow(self, execution_id: str, how: How) -> Flow[Begun]:
        """Follow an execution that is under way already, or refuse to."""
        view = self._wish.view
        if self._wish.if_running == "refuse":
            message = f"A refresh of {view} is under way already (execution {execution_id}); none was started."
            raise AlreadyRunningError(message, name=view, execution_id=execution_id)
        _tell(_NEWS["adopted"], view, execution_id)
        if self._journal is not None:
            yield from self._journal.followed(self._intent, execution_id, how)
        self._intents.hold(execution_id, self._intent, how)
        return Begun(execution_id, how)

    # A request of its own.

    def _send(self) -> Flow[Begun]:
        session, intent = self._session, self._intent
        sending = Sending(session, self._wish, intent, self._journal)
        limit = self._limit()
        failures = proofs = 0
        while True:
            yield from sending.permitted(self._history, limit)
            try:
                found = yield from sending.sent(limit)
                return (yield from self._known(intent, found.execution_id, "response", found.name))
            except PermitOverError:
                continue
            except DuneError as failure:
                failures += 1
                if is_ambiguous(failure):
                    begun = yield from self._lost(failure)
                    if begun is not None:
                        return begun
                    proofs += 1  # it was never accepted
                    if proofs < PROOFS:
                        limit = self._limit()
                        continue
                intent.stage = Stage.UNSENT
                pause = pause_after(session, failure, failures)
                left = limit.left(session.clock())
                # One that leaves must have its full time, or we would make the very doubt that we want to avoid.
                if not is_safe_to_resend(failure) or pause + session.timeout > left:
                    raise
                announce(session, Retry(**sending.call.about, attempt=failures, seconds=pause, error=failure), left)
            yield Sleep(pause)

    def _known(self, intent: Intent, execution_id: str, how: How, name: str | None = None) -> Flow[Begun]:
        """The execution of *intent* is known."""
        self._intents.hold(execution_id, intent, how)
        _tell(_NEWS[how], intent.view, execution_id)
        begun = Begun(execution_id, how, name or (intent.view if intent.sent else None))
        if self._journal is not None:
            try:
                yield from self._journal.started(intent, execution_id, how)
            except JournalError as problem:
                fields = {"view": intent.view, "execution_id": execution_id}
                log.warning("Execution %s of %s is not recorded: %s", execution_id, intent.view, problem, extra=fields)
                return begun._replace(problem=problem)
        return begun

    def _interrupted(self, interruption: BaseException) -> None:
        """Keep what is known, and let an interruption pass on with a note (PEP 678) on the refresh that it leaves."""
        intent = self._intent
        if intent.execution_id is not None:
            if self._journal is not None:
                with suppress(JournalError):
                    self._journal.start(intent, intent.execution_id, intent.how)
            interruption.add_note(Note("The refresh goes on.", Attach((intent.execution_id,))))
        elif intent.is_in_doubt:
            if intent.stage is Stage.SENDING:
                intent.stage, intent.quiet_since = Stage.LOST, self._session.clock()
            way = way_back(intent.view, is_refresh=intent.sent is None)
            interruption.add_note(Note(f"A refresh of {intent.view} may have started.", way))

    # A lost response.

    def _lost(self, failure: DuneError) -> Flow[Begun | None]:
        """The execution that a request has started whose response was lost; None if it may be sent again."""
        intent, view = self._intent, self._intent.view
        intent.stage, intent.quiet_since = Stage.RECOVERING, self._session.clock()
        log.info("Looking for the refresh of %s that may have started: %s", view, failure, extra={"view": view})
        resend = self._wish.if_lost == "resend" and intent.sent is None
        return (yield from self._recover(intent, resend, failure))

    def _recover(self, intent: Intent, prove: bool, failure: DuneError | None = None) -> Flow[Begun | None]:
        """The execution of a lost intent; None where there certainly is none that goes on.

        *failure* is that of this call's own request. Any other intent is over once its execution is proven absent.
        """
        session, intents, wish = self._session, self._intents, self._wish
        try:
            recovery = Recovery(session, intent, self._journal)
            finding = yield from recovery.search(session.times.looking, prove=prove, deadline=wish.deadline)
            record = None if self._journal is None else self._journal.record_of(intent)
            if record is not None and record.execution_id is not None:  # another process has found it
                intents.close(intent)
                return Begun(record.execution_id, record.how)
            if finding.execution_id is not None:
                return (yield from self._known(intent, finding.execution_id, "inferred"))
            is_own = intent is self._intent or record is not None
            if is_own and finding.candidates and wish.takes_candidates:
                return Begun(None, "inferred", candidates=finding.candidates, intent=intent)
            if not is_own and finding.candidates and all(map(session.history.is_over, finding.candidates)):
                intents.close(intent)  # all have ended, so its own has
                return None
            if finding.is_absent and failure is None:
                if record is not None and self._journal is not None:
                    yield from self._journal.refused(intent, "it was never accepted")
                intents.close(intent)
                return None
            if finding.is_absent and prove:
                intent.stage = Stage.UNSENT
                return None
            intent.error = finding.error(intent, failure)
            raise intent.error from failure
        finally:
            if intent.stage is Stage.RECOVERING:
                intent.stage = Stage.LOST

    def _limit(self) -> TimeLimit:
        return time_limit(self._session, self._wish.deadline)


def _tell(news: str, view: str, execution_id: str) -> None:
    fields = {"view": view, "execution_id": execution_id}
    log.info("%s of %s: execution %s", news, view, execution_id, extra=fields)
