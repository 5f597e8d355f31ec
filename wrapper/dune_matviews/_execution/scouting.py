"""Reading the past of views from Dune, one request at a time, in the small part of the budget that is for it.

This module must not know what the past is good for.
"""

from __future__ import annotations

from contextlib import suppress

from .._flow.effects import Flow
from ..errors import DuneError
from .recovery import newest_first
from .requests import TimeLimit, poll, read
from .session import Session

LAZY = 10.0
"""Seconds for which nobody reads the past: what is over by then needs no foresight."""

ENOUGH = 5
"""Past executions of a view that say enough."""


def is_wanted(session: Session, view: str, enough: int = ENOUGH) -> bool:
    """More of the view's past is worth reading, and may be there."""
    history = session.history
    return history.unread.get(view) != [] and len(history.of(view)) < enough


def read_one(session: Session, view: str, deadline: float) -> Flow[None]:
    """Read one more past execution of the view, or which there are, if the budget allows it now."""
    history = session.history
    unread = history.unread.get(view)
    if not session.pace.may_look_back(session.clock()):
        return
    history.unread[view] = []  # whatever fails is not tried again
    limit = TimeLimit(deadline, deadline)
    with suppress(DuneError):
        if unread is None:
            found = yield from read(session, session.operations.history(view), limit)
            under_way = session.under_way(view)
            left = [each for each in newest_first(found.ids) if each not in under_way]
            history.unread[view] = [each for each in left if each not in history][: ENOUGH + 1]
        elif unread:
            yield from poll(session, unread[0], view, limit)
            history.unread[view] = unread[1:]
