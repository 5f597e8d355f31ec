"""Values that pass between operations and flows, beyond those that users hold: plain, immutable data.

This module must not know how Dune spells it in JSON, nor what is done with it.
Named tuples, because each class of attrs would cost every start half a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..models import Matview


class Started(NamedTuple):
    """An execution that a request started, and the full name of its view, where the answer tells it."""

    execution_id: str
    name: str | None = None


class ViewHistory(NamedTuple):
    """The latest executions of a view, newest first, and when the server said so, by its own clock."""

    last_execution_ids: tuple[str, ...]
    answered_at: datetime | None


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


class Node(NamedTuple):
    """A step of a query's pipeline: a view, or (None) a plain query; and the nodes that it depends on."""

    id: int
    depends_on: tuple[int, ...]
    view: str | None
