"""What passes between endpoints and flows, beyond what users hold: plain, immutable data.

This module must not know how Dune spells it in JSON, nor what is done with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from .models import Matview


@attrs.frozen
class Started:
    """An execution that a request started, and the full name of its view, where the answer tells it."""

    execution_id: str
    name: str | None = None


@attrs.frozen
class ViewHistory:
    """The latest executions of a view, newest first, and when the server said so, by its own clock."""

    last_execution_ids: tuple[str, ...]
    answered_at: datetime | None


@attrs.frozen
class Page:
    """Views of the account, and where the list goes on (None: nowhere)."""

    views: tuple[Matview, ...]
    next_offset: int | None


@attrs.frozen(kw_only=True)
class Definition:
    """All that makes a view, as an upsert sends it: the bare name, and texts as Dune reads them; None is left out."""

    name: str
    query_id: int
    is_private: bool
    performance: str | None = None
    cron_expression: str | None = None
    expires_at: str | None = None


@attrs.frozen
class Stored:
    """A view as Dune has it: its full name, and its *parts* by their names in `Definition`.

    A part that Dune does not tell, or tells in a form that cannot be read, is missing: it must not be guessed.
    """

    name: str
    parts: Mapping[str, Any]


@attrs.frozen
class Node:
    """A step of a query's pipeline: a view, or (None) a plain query; and the nodes that it depends on."""

    id: int
    depends_on: tuple[int, ...]
    view: str | None
