"""Starting an execution at most once for each intent: journal, adopt, baseline, claim, send, in this order.

This module must not know how an execution is polled to its end, nor the order of views.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from .._api.values import Definition, Started, ViewHistory
from .._flow.effects import Call, Flow, Sleep, T
from .._flow.log import log
from ..errors import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    DuneError,
    JournalError,
    NotFoundError,
    RequestFailedError,
)
from ..models import Retry
from ..remedies import Attach, Remedy
from ..report import Outcome
from .intents import Baseline, How, Intent, Permit, Stage, bare
from .journal import Journal
from .listing import is_as_sent
from .records import Record
from .recovery import Finding, Recovery, baseline_of, read_history, state_if_kept
from .requests import (
    TimeLimit,
    admitted,
    announce,
    is_ambiguous,
    is_safe_to_resend,
    pause_after,
    read,
    sent,
    time_limit,
)
from .running import began_in_time, find_running
from .session import Session
from .wish import Begun, PreventedError, Wish, name_explained, noting_doubt, tier_explained, way_back

_NEWS: dict[How, str] = {
    "response": "Started the refresh",
    "inferred": "Found the refresh",
    "adopted": "Following a refresh",
}

PROOFS = 3
"""Requests of one call that may be lost and proven absent, before the failure of the latest is raised."""

_RETRIED = (Outcome.FAILED, Outcome.CANCELED, Outcome.EXPIRED)


class _PermitOverError(Exception):
    """The permit was over in the moment before the request left. Never leaves this module."""


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
        self._ahead = session.wall() - session.clock()
        self._intent = Intent(wish.view, wish.tier, wish.definition, wish.not_before)

    def flow(self) -> Flow[Begun]:
        if self._journal is not None and (recorded := self._recorded(self._journal)) is not None:
            return recorded
        joined = yield from self._take_up()
        if joined is not None:
            return (yield from self._entered(joined))
        try:
            if self._journal is not None:
                found = self._recorded(self._journal) or (yield from self._settled(self._journal))
                if found is not None:
                    return found
            history = self._wish.history
            if self._wish.if_running != "start":
                running, history = yield from find_running(self._session, self._wish)
                if running is not None:
                    return (yield from self._follow(running, "adopted"))
            return (yield from self._send(history))
        except (DuneError, PreventedError) as failure:
            yield from self._certainly_unsent(failure)
            raise
        finally:
            if self._intent.stage is Stage.PREPARING:
                self._intents.close(self._intent)

    # In this client.

    def _take_up(self) -> Flow[Begun | None]:
        """Wait for intents that are in the way, and join a lost one: return its execution."""
        alone = self._journal is not None or self._wish.if_running != "start"
        waited_for: Intent | None = None
        pause = 0.05
        while (other := self._intents.begin(self._intent, alone=alone)) is not None:
            if other.stage is Stage.LOST:
                if other is waited_for and other.error is not None:
                    raise other.error
                joined = yield from self._join(other)
                if joined is not None:
                    return joined
                continue
            waited_for = other
            if self._session.clock() >= self._wish.deadline:
                raise RequestFailedError(
                    f"Another refresh of {self._wish.view} is being started, and the time is over."
                )
            yield Sleep(pause)
            pause = min(pause * 1.5, 1.0)
        if waited_for is not None and self._journal is not None:
            yield from self._journal.reread()
        return None

    def _join(self, lost: Intent) -> Flow[Begun | None]:
        """The execution of a lost intent, if it is of the same kind; None, if it is out of the way."""
        if not self._intents.take(lost):
            return None
        begun = yield from self._recover(lost, self._journal is not None or self._wish.if_lost == "resend")
        if begun is None or begun.execution_id is None or lost.sent != self._wish.definition:
            return None
        if self._wish.not_before is not None:
            _, began = yield from state_if_kept(self._session, begun.execution_id, self._limit())
            if not began_in_time(began, self._wish.not_before):
                return None
        if self._wish.if_running == "refuse":
            return (yield from self._follow(begun.execution_id, begun.how))
        return begun

    # In the journal.

    def _recorded(self, journal: Journal) -> Begun | None:
        """The execution that the journal has of this run, or its result; None if that is open, or a new one is due."""
        record = journal.records.of(self._wish.view)
        if record is None or record.is_refused or record.is_earlier or record.execution_id is None:
            return None
        result = record.result
        # Ends may be recorded in another order than they came, so where Dune tells its own times, these count.
        in_time = result and result.started_at and began_in_time(result.started_at, self._wish.not_before)
        if self._wish.is_overtaken and not in_time:
            return None
        if result and self._wish.retry_failed and result.outcome in _RETRIED:
            return None
        return Begun(record.execution_id, record.how, result=result)

    def _settled(self, journal: Journal) -> Flow[Begun | None]:
        """Settle the journal's open intent of the view; return its execution if that counts, None to send a request.

        An execution that another run has left open counts while it runs.
        """
        record = journal.records.of(self._wish.view)
        if record is None:
            return None
        self._intent.replaces = record.token
        if record.is_settled:
            return None
        begun: Begun | None = Begun(record.execution_id, record.how)
        if record.is_in_doubt:
            begun = yield from self._resumed(record)
        if begun is None or not (record.is_earlier or self._wish.is_overtaken):
            return begun
        running: list[str] = []
        for execution_id in begun.candidates or (begun.execution_id or "",):
            status, began = yield from state_if_kept(self._session, execution_id, self._limit())
            if record.is_earlier:
                counts = status is not None and not status.is_finished and began_in_time(began, self._wish.not_before)
            else:  # of this run: when it began may not be known yet
                counts = began is None or began_in_time(began, self._wish.not_before)
            if counts:
                running.append(execution_id)
        if len(running) > 1:
            return begun._replace(candidates=tuple(running))
        self._intent.begin_anew(self._wish.tier, self._wish.not_before)
        self._intent.replaces = record.token
        if running:  # an execution of another run is not this one's to cancel
            return (yield from self._follow(running[0], "adopted" if record.is_earlier else begun.how))
        joined = yield from self._take_up()
        return None if joined is None else (yield from self._entered(joined))

    def _entered(self, begun: Begun) -> Flow[Begun]:
        """Have the journal, too, know of an execution that this client has found."""
        record = self._journal.records.of(self._wish.view) if self._journal is not None else None
        if self._journal is None or begun.execution_id is None:
            return begun
        if record is not None and record.execution_id == begun.execution_id and not record.is_earlier:
            return begun
        self._intent.replaces = record.token if record is not None else None
        return (yield from self._follow(begun.execution_id, begun.how))

    def _resumed(self, record: Record) -> Flow[Begun | None]:
        """The execution of an intent that another process, or an earlier call, has left in doubt; None for none.

        That process may be alive, so only time that passes from now on, as seen by this one, can prove absence.
        """
        intent = self._intent
        intent.token, intent.tier, intent.baseline = record.token, record.tier, record.baseline
        sent_after, slack = record.baseline and record.baseline.date, timedelta(seconds=self._session.times.slack)
        if record.is_earlier or (
            sent_after is not None and not began_in_time(sent_after + slack, self._wish.not_before)
        ):
            intent.not_before = None  # its upstream has become fresh once more since it was sent
        intent.stage, intent.quiet_since = Stage.RECOVERING, self._session.clock()
        if record.ends is not None:
            intent.permit = Permit(-math.inf, -math.inf, record.ends)
        return (yield from self._recover(intent, prove=True))

    # Executions that are under way.

    def _follow(self, execution_id: str, how: How) -> Flow[Begun]:
        """Follow an execution that is under way already, or refuse to."""
        view = self._wish.view
        if self._wish.if_running == "refuse":
            message = f"A refresh of {view} is under way already (execution {execution_id}); none was started."
            raise AlreadyRunningError(message, name=view, execution_id=execution_id)
        _tell(_NEWS["adopted"], view, execution_id)
        if self._journal is not None and not (yield from self._journal.followed(self._intent, execution_id, how)):
            raise self._not_first()
        self._intents.hold(execution_id, self._intent, how)
        return Begun(execution_id, how)

    # Before the request.

    def _baseline(self, read_already: tuple[ViewHistory, float] | None) -> Flow[Baseline | None]:
        """The view's history before anything is sent. Without a journal nobody waits long for it.

        It is read when the turn of the request has come: another's start in between would be taken for this one's.
        """
        session = self._session
        if read_already is None or session.clock() - read_already[1] > session.times.slack:
            read_at = session.clock()
            if self._journal is not None:
                history = yield from read_history(session, self._wish.view, self._limit())
            else:
                try:
                    if self._wish.definition is not None and not (yield from self._exists()):
                        return Baseline((), None)
                    history = yield from self._tried_once(session.operations.history(self._intent.view))
                except NotFoundError:
                    history = ViewHistory((), None)
                except DuneError as failure:
                    if isinstance(failure, RequestFailedError) and not failure.is_transient:
                        raise
                    view = self._wish.view
                    log.info("The history of %s cannot be read: %s", view, failure, extra={"view": view})
                    return None
            read_already = history, read_at
        baseline = baseline_of(*read_already)
        if baseline is None and self._journal is not None:
            raise RequestFailedError(
                f"The history of {self._wish.view} came from a cache, or without executions, and proves nothing about "
                "what is running now; nothing was sent. Check what stands between you and Dune."
            )
        return baseline

    def _exists(self) -> Flow[bool]:
        """There is a view that an upsert would replace; its executions are listed under its full name."""
        intent = self._intent
        if bare(intent.view) != intent.view:
            return True
        page = yield from self._tried_once(self._session.operations.page(0))
        full = next((each.name for each in page.views if bare(each.name) == intent.view), None)
        if full is None and page.next_offset is not None:
            raise RequestFailedError("The account has more views than a page lists.")
        intent.view = full or intent.view
        return full is not None

    def _tried_once(self, call: Call[T]) -> Flow[T]:
        session = self._session
        now = session.clock()
        if session.pace.windows["high"].reserve(now, latest=now) is None:
            raise RequestFailedError("The plan's request budget has no room for it.")
        return (yield from sent(session, "high", call, min(session.timeout, self._wish.deadline - now)))

    def _new_permit(self) -> Permit:
        session, baseline = self._session, self._intent.baseline
        clock, wall = session.clock(), session.wall()
        ends = datetime.fromtimestamp(wall, UTC)
        if baseline is not None and baseline.date is not None:
            asleep = max(wall - clock - self._ahead, 0.0)  # seconds that a monotonic clock need not count
            ends = max(ends, baseline.date + timedelta(seconds=clock - baseline.read_at + asleep))
        return Permit(clock, wall, ends + timedelta(seconds=session.times.permit))

    def _check_permit(self) -> None:
        """In the moment before the bytes leave: this process may have been suspended since its intent was recorded."""
        session, permit = self._session, self._intent.permit
        assert permit is not None  # noqa: S101  # it was given just now
        if max(session.clock() - permit.clock, abs(session.wall() - permit.wall)) > session.times.permit:
            raise _PermitOverError

    # The request.

    def _send(self, history: tuple[ViewHistory, float] | None) -> Flow[Begun]:
        session, intent, journal = self._session, self._intent, self._journal
        call = self._call()
        limit = self._limit()
        failures = proofs = 0
        with noting_doubt(intent):
            while True:
                yield from admitted(session, "low", limit)
                self._wish.check()
                if intent.permit is None:
                    intent.baseline = yield from self._baseline(history)
                intent.permit = self._new_permit()
                if journal is not None and not (yield from journal.intended(intent)):
                    raise self._not_first()
                try:
                    return (yield from self._sent(call, limit))
                except _PermitOverError:
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
                    intent.stage = Stage.PREPARING
                    pause = pause_after(session, failure, failures)
                    left = limit.left(session.clock())
                    # One that leaves must have its full time, or we would make the very doubt that we want to avoid.
                    if not is_safe_to_resend(failure) or pause + session.timeout > left:
                        raise
                    announce(session, Retry(**call.about, attempt=failures, seconds=pause, error=failure), left)
                yield Sleep(pause)

    def _certainly_unsent(self, failure: Exception) -> Flow[None]:
        """Record that nothing was started, where an intent was recorded and that is sure."""
        journal, intent = self._journal, self._intent
        is_recorded = journal is not None and intent.permit is not None and not isinstance(failure, JournalError)
        if journal is not None and is_recorded and intent.stage is Stage.PREPARING:
            yield from journal.refused(intent, getattr(failure, "problem", None) or str(failure))

    def _sent(self, call: Call[Started], limit: TimeLimit) -> Flow[Begun]:
        """Send once. A response counts as soon as it is read, even if the flow is interrupted then."""
        session, intent = self._session, self._intent

        def check() -> None:
            self._wish.check()
            self._check_permit()
            intent.stage = Stage.SENDING

        def parse(response: object) -> Started:
            found = call.parse(response)
            self._intents.hold(found.execution_id, intent, "response")
            self._wish.on_response(found.execution_id)
            return found

        try:
            timeout = limit.deadline - session.clock()
            found = yield from sent(session, "low", call._replace(parse=parse, before=check), timeout)
            return (yield from self._known(intent, found.execution_id, "response", found.name))
        except DuneError:
            raise
        except BaseException:  # an interruption, or an error that nobody foresaw
            if intent.execution_id is None:
                if intent.stage is Stage.SENDING:
                    intent.stage, intent.quiet_since = Stage.LOST, session.clock()
            elif self._journal is not None:
                with suppress(JournalError):
                    self._journal.start(intent, intent.execution_id, "response")
            raise

    def _call(self) -> Call[Started]:
        wish, operations = self._wish, self._session.operations
        if wish.definition is not None:
            return operations.upsert(wish.definition)
        return operations.refresh(wish.view, wish.tier)

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

    # A lost response.

    def _lost(self, failure: DuneError) -> Flow[Begun | None]:
        """The execution that a request has started whose response was lost; None if it may be sent again."""
        intent = self._intent
        intent.stage, intent.quiet_since = Stage.RECOVERING, self._session.clock()
        view = intent.view
        log.info("Looking for the refresh of %s that may have started: %s", view, failure, extra={"view": view})
        resend = self._wish.if_lost == "resend" and self._wish.definition is None
        return (yield from self._recover(intent, resend, failure))

    def _recover(self, intent: Intent, prove: bool, failure: DuneError | None = None) -> Flow[Begun | None]:
        session, wish = self._session, self._wish
        try:
            recovery = Recovery(session, intent, self._journal)
            finding = yield from recovery.search(session.times.looking, prove=prove, deadline=wish.deadline)
            if finding.candidates and intent.sent is not None:
                finding = yield from self._as_sent(intent, intent.sent, finding)
            return (yield from self._concluded(intent, finding, prove, failure))
        finally:
            if intent.stage is Stage.RECOVERING:
                intent.stage = Stage.LOST

    def _as_sent(self, intent: Intent, definition: Definition, finding: Finding) -> Flow[Finding]:
        """An upsert's execution is found only if the view is as it was sent: others refresh it, too."""
        try:
            stored = yield from read(self._session, self._session.operations.stored(intent.view), self._limit())
        except DuneError as failure:
            return Finding(doubt=f"the view cannot be read ({failure.problem.rstrip('.')})")
        return finding if is_as_sent(stored, definition) else Finding(doubt="the view is not as it was to be")

    def _concluded(
        self, intent: Intent, finding: Finding, prove: bool, failure: DuneError | None
    ) -> Flow[Begun | None]:
        if len(finding.candidates) == 1 and not finding.doubt:
            record = self._journal.records.of(intent.view) if self._journal is not None else None
            if record is not None and record.token == intent.token and record.execution_id is not None:
                self._intents.close(intent)
                return Begun(record.execution_id, record.how)
            return (yield from self._known(intent, finding.candidates[0], "inferred"))
        if finding.candidates and intent is self._intent and self._wish.takes_candidates:
            return Begun(None, "inferred", candidates=finding.candidates, intent=intent)
        if (
            finding.candidates
            and intent is not self._intent
            and all(map(self._session.history.is_over, finding.candidates))
        ):
            self._intents.close(intent)  # all have ended, so its own has
            return None
        if finding.is_absent and (prove or failure is None):
            if failure is None:  # another call's: this one sends an intent of its own
                if self._journal is not None:
                    yield from self._journal.refused(intent, "it was never accepted")
                if intent is not self._intent:
                    self._intents.close(intent)
                    return None
                intent.begin_anew(self._wish.tier, self._wish.not_before)
            intent.stage = Stage.PREPARING
            return None
        raise self._ambiguous(intent, finding, failure) from failure

    def _ambiguous(self, intent: Intent, finding: Finding, failure: DuneError | None) -> AmbiguousRefreshError:
        view, is_refresh = intent.view, intent.sent is None
        lost = f" Its response was lost ({failure.problem.rstrip('.')})." if failure else ""
        remedy: Remedy = way_back(view, is_refresh=is_refresh)
        if finding.candidates:
            found, remedy = "It may be any of several executions.", Attach(finding.candidates)
        else:
            found = f"It was not found, because {finding.doubt}."
        intent.error = AmbiguousRefreshError(
            f"{'A refresh' if is_refresh else 'An upsert'} of {view} may have been accepted, and billed.{lost} {found}",
            name=view,
            baseline=intent.baseline.ids if intent.baseline else None,
            candidates=finding.candidates,
            remedy=remedy,
        )
        return intent.error

    def _not_first(self) -> JournalError:
        return JournalError(
            f"Another process has recorded a refresh of {self._wish.view} in the same journal, so this one has sent "
            "nothing. Run the same again later: it follows that refresh.",
            path=self._journal.path if self._journal else None,
        )

    def _limit(self) -> TimeLimit:
        return time_limit(self._session, self._wish.deadline)


def _tell(news: str, view: str, execution_id: str) -> None:
    fields = {"view": view, "execution_id": execution_id}
    log.info("%s of %s: execution %s", news, view, execution_id, extra=fields)
