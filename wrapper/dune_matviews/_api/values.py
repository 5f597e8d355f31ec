"""Values that pass between operations and flows, beyond those that users hold: plain, immutable data.

This module must not know how Dune spells it in JSON, nor its use.
Named tuples, because each class of attrs would cost every start half a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..models import Matview


class Started(NamedTuple):
    """An execution that a request started, and the full name of its view, where the response tells it."""

    execution_id: str
    name: str | None = None


class ViewHistory(NamedTuple):
    """The latest executions of a view.

    Attributes:
        ids: their ids, usually newest first.
        date: when Dune said so, by its own clock.
        is_stated: Dune said it; a response without the list proves no absence.
        is_cached: a cache said it, and it may be old.
    """

    ids: tuple[str, ...]
    date: datetime | None
    is_stated: bool = True
    is_cached: bool = False


class Page(NamedTuple):
    """Views of the account, and where the list goes on (None: nowhere)."""

    views: tuple[Matview, ...]
    next_offset: int | None


class Definition(NamedTuple):
    """All that makes a view, as an upsert sends it: the bare name, and texts as Dune reads them; None is left out."""

    name: str
    query_id: int
    is_private: bool
    performance: str | None = None
    cron_expression: str | None = None
    expires_at: str | None = None


class Stored(NamedTuple):
    """A view as Dune has it: its full name, and its *parts* by their names in `Definition`.

    A part that Dune does not tell, or tells in a form that cannot be read, is missing: it must not be guessed.
    """

    name: str
    parts: Mapping[str, Any]
    history: ViewHistory | None = None


class Node(NamedTuple):
    """A step of a query's pipeline: a view, or (None) a plain query; and the nodes that it depends on."""

    id: int
    depends_on: tuple[int, ...]
    view: str | None
