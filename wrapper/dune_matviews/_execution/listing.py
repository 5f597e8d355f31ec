"""The account's views: page by page, and one of them by its name; and whether a view is as an upsert sent it.

This module must not know why it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from .._api.values import Definition, Page, Stored
from .._flow.effects import Flow
from .._flow.log import log
from .requests import TimeLimit, read
from .session import Session


def next_page(session: Session, offset: int, listed: set[str], limit: TimeLimit | None = None) -> Flow[Page]:
    """The page of the account's views that begins at *offset*. One that goes back or lists nothing new is the last.

    *listed* are the names on the pages before, and on this one afterwards.
    """
    page = yield from read(session, session.operations.page(offset), limit)
    is_new = not listed.issuperset(view.name for view in page.views)
    listed.update(view.name for view in page.views)
    if page.next_offset is None or (page.next_offset > offset and is_new):
        return page
    log.warning("The list of views ends at %d, because Dune names %d as its next page", offset, page.next_offset)
    return page._replace(next_offset=None)


def full_name(session: Session, matches: Callable[[str], bool], limit: TimeLimit | None = None) -> Flow[str | None]:
    """The full name of the first of the account's views whose name matches."""
    offset: int | None = 0
    listed: set[str] = set()
    while offset is not None:
        page = yield from next_page(session, offset, listed, limit)
        for view in page.views:
            if matches(view.name):
                return view.name
        offset = page.next_offset
    return None


def is_as_sent(stored: Stored, sent: Definition) -> bool:
    """The view is as an upsert has sent it; a part that Dune does not tell speaks for nothing else."""
    told = {**sent._asdict(), **stored.parts}
    return (
        (told["query_id"], told["is_private"]) == (sent.query_id, sent.is_private)
        and all(is_same(name, told[name], getattr(sent, name)) for name in ("cron_expression", "expires_at"))
        and (sent.performance is None or told["performance"] in (None, sent.performance))
    )


def is_same(part: str, one: Any, other: Any) -> bool:
    """Two spellings of a part of a view, by its name in `Definition`, mean the same."""
    match part:
        case "cron_expression":
            return (one or "").split() == (other or "").split()
        case "expires_at":
            return _second(one) == _second(other)
        case _:
            return bool(one == other)


def _second(text: str | None) -> datetime | None:
    """Dune may keep no fractions of a second."""
    from .._api.parsing import moment  # the generated code, which the first client has loaded

    found = moment(text)
    return found and found.replace(microsecond=0)
