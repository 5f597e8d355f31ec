"""Sending a request that is billed: its turn, the history before it, its claim in the journal, its permit to leave.

This module must not know which requests are resent, nor how the execution of a lost one is found.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from .._api.values import Started, ViewHistory
from .._flow.effects import Call, Flow, T
from .._flow.log import log
from ..errors import DuneError, NotFoundError, RequestFailedError
from .intents import Baseline, Intent, Stage, bare
from .journal import Journal
from .recovery import EMPTY, read_history
from .requests import TimeLimit, admitted, sent, time_limit
from .session import Session
from .wish import Wish


class PermitOverError(Exception):
    """The permit was over in the moment before the request left. It never leaves the flow that starts an execution."""


class Sending:
    """The requests for one intent, one after the other.

    Attributes:
        call: the request.
    """

    def __init__(self, session: Session, wish: Wish, intent: Intent, journal: Journal | None) -> None:
        operations = session.operations
        self.call = operations.upsert(wish.definition) if wish.definition else operations.refresh(wish.view, wish.tier)
        self._session = session
        self._wish = wish
        self._intent = intent
        self._journal = journal
        self._ahead = session.wall() - session.clock()
        self._permitted_at = -math.inf, -math.inf  # by the monotonic and the wall clock

    def permitted(self, recent: tuple[ViewHistory, float] | None, limit: TimeLimit) -> Flow[None]:
        """Wait for the request's turn, and permit it to leave, for so many seconds by either clock: on record.

        *recent* is the view's history where it has been read before, and when.
        """
        session, intent, journal = self._session, self._intent, self._journal
        yield from admitted(session, "low", limit)
        self._wish.check()
        if intent.ends is None:
            intent.baseline = yield from self._baseline(recent)
        self._permitted_at = clock, wall = session.clock(), session.wall()
        ends, baseline = datetime.fromtimestamp(wall, UTC), intent.baseline
        if baseline is not None and baseline.date is not None:
            elapsed = max(clock, wall - self._ahead) - baseline.read_at  # a monotonic clock need not count sleep
            ends = max(ends, baseline.date + timedelta(seconds=elapsed))
        intent.ends = ends + timedelta(seconds=session.times.permit)
        if journal is not None:
            yield from journal.intended(intent)

    def sent(self, limit: TimeLimit) -> Flow[Started]:
        """Send once. A response counts as soon as it is read, even if the flow is interrupted then."""
        session, intent = self._session, self._intent

        def check() -> None:
            self._wish.check()
            clock, wall = self._permitted_at  # this process may have been suspended since
            if max(session.clock() - clock, abs(session.wall() - wall)) > session.times.permit:
                raise PermitOverError
            intent.stage = Stage.SENDING

        def parse(response: object) -> Started:
            found = self.call.parse(response)
            session.intents.hold(found.execution_id, intent, "response")
            self._wish.on_response(found.execution_id)
            return found

        timeout = limit.deadline - session.clock()
        return (yield from sent(session, "low", self.call._replace(parse=parse, before=check), timeout))

    def _baseline(self, recent: tuple[ViewHistory, float] | None) -> Flow[Baseline | None]:
        """The view's history before anything is sent; None where it is not known, and no journal needs it.

        It is read when the turn of the request has come: another's start in between would be taken for this one's.
        """
        session, wish, is_needed = self._session, self._wish, self._journal is not None
        if recent is None or session.clock() - recent[1] > session.times.slack:
            read_at = session.clock()
            limit = time_limit(session, wish.deadline)
            flow = read_history(session, wish.view, limit) if is_needed else self._read_once()
            recent = (yield from flow), read_at
        history, read_at = recent
        if history.is_stated and not history.is_cached:
            return Baseline(history.ids, history.date, read_at)
        if is_needed:
            raise RequestFailedError(
                f"The history of {wish.view} came from a cache, or without executions, and proves nothing about what "
                "is running now; nothing was sent. Check what stands between you and Dune."
            )
        return None

    def _read_once(self) -> Flow[ViewHistory]:
        """The view's history; one that states nothing where it cannot be read at once: nobody waits long for it."""
        view = self._wish.view
        try:
            if self._wish.definition is not None and not (yield from self._exists()):
                return EMPTY
            return (yield from self._sent_once(self._session.operations.history(self._intent.view)))
        except NotFoundError:
            return EMPTY
        except DuneError as failure:
            if isinstance(failure, RequestFailedError) and not failure.is_transient:
                raise
            log.info("The history of %s cannot be read: %s", view, failure, extra={"view": view})
            return EMPTY._replace(is_stated=False)

    def _exists(self) -> Flow[bool]:
        """There is a view that an upsert would replace; its executions are listed under its full name."""
        intent = self._intent
        if bare(intent.view) != intent.view:
            return True
        page = yield from self._sent_once(self._session.operations.page(0))
        full = next((each.name for each in page.views if bare(each.name) == intent.view), None)
        if full is None and page.next_offset is not None:
            raise RequestFailedError("The account has more views than a page lists.")
        intent.view = full or intent.view
        return full is not None

    def _sent_once(self, call: Call[T]) -> Flow[T]:
        session = self._session
        now = session.clock()
        if session.pace.windows["high"].reserve(now, latest=now) is None:
            raise RequestFailedError("The plan's request budget has no room for it.")
        return (yield from sent(session, "high", call, min(session.timeout, self._wish.deadline - now)))
