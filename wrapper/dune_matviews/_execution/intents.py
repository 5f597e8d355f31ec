"""Intents: each is the wish for one refresh or upsert of one view. This client remembers those that are open, and a
journal's records are intents as well.

This module must not know requests or files. It is memory, shared by the threads and event loops of one client. None of
them waits for another here: they check again a moment later.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum, auto
from threading import RLock
from typing import Literal, NamedTuple

import attrs

from .._api.values import Definition
from ..errors import AmbiguousRefreshError

How = Literal["response", "inferred", "adopted"]
"""How the id of an execution is known: by Dune's response to our request, by its history of the view, or it was there
before us. Only the first is certainly ours."""

REMEMBERED = 4096
"""Executions that a client remembers as its own: far more than it can start while a lost one is looked for."""


class Baseline(NamedTuple):
    """The executions that a view had before anything was sent.

    Attributes:
        ids: their ids.
        date: when Dune said so, by its own clock.
        read_at: the same by the monotonic clock.
    """

    ids: tuple[str, ...]
    date: datetime | None
    read_at: float = 0.0


def new_token() -> str:
    """A token that no other intent has, of any process."""
    return os.urandom(8).hex()


class Stage(Enum):
    """How far an intent has come, as a client or a journal knows it."""

    UNSENT = auto()
    """No request has been sent, or none was accepted for certain."""
    SENDING = auto()
    """A response is outstanding."""
    RECOVERING = auto()
    """A response was lost, and recovery is under way."""
    LOST = auto()
    """A request may have been accepted, and nobody is looking for its execution."""
    KNOWN = auto()
    """Its execution is known."""
    ENDED = auto()
    """The result of its execution is known as well."""


@attrs.define(eq=False)
class Intent:
    """The wish for one refresh or upsert of one view.

    Attributes:
        view: the view's name.
        tier: the performance tier that is asked for.
        sent: the definition, where this is an upsert.
        not_before: when the last of the view's upstream views became fresh; an earlier execution does not count.
        token: tells this intent, and each of its requests that a journal permits, from all others.
        replaces: the token of the claim in a journal whose place it takes.
        baseline: the view's history before the first request; None where it could not be read.
        ends: the moment after which nothing is sent for it; None before it is claimed.
        stage: how far it has come.
        quiet_since: the moment since which no request for it can have left, by this process's monotonic clock.
        error: the failure of its latest recovery.
        execution_id, how: the execution that fulfils it, None while it is open, and how that is known.
    """

    view: str
    tier: str | None = None
    sent: Definition | None = None
    not_before: datetime | None = None
    token: str = attrs.field(factory=new_token)
    replaces: str | None = None
    baseline: Baseline | None = None
    ends: datetime | None = None
    stage: Stage = Stage.UNSENT
    quiet_since: float = 0.0
    error: AmbiguousRefreshError | None = None
    execution_id: str | None = None
    how: How = "response"

    @property
    def is_in_doubt(self) -> bool:
        """A request may have been accepted, and its execution is not known."""
        return self.stage in (Stage.SENDING, Stage.RECOVERING, Stage.LOST)


class Intents:
    """The open intents of one client, and the executions that it has started. Thread-safe."""

    def __init__(self) -> None:
        self._open: list[Intent] = []
        self._held: OrderedDict[str, tuple[str, str | None]] = OrderedDict()  # id: view, and token if by response
        self._lock = RLock()

    def start_over(self, now: float) -> None:
        """In a forked child: locks may be held for ever, and requests in flight are the parent's, so lost here."""
        self._lock = RLock()
        self._open = [each for each in self._open if each.stage is not Stage.UNSENT]  # the parent may still send it
        for intent in self._open:
            intent.stage, intent.quiet_since = Stage.LOST, now

    def begin(self, intent: Intent, *, alone: bool, left: Intent | None = None) -> Intent | None:
        """Open *intent*, or return another intent of its view that is in the way.

        A lost one always is, as is the one that others have *left* behind, which is open from now on; one in flight is
        in the way of an intent that has to be *alone*.
        """
        with self._lock:
            for other in self._of(intent.view):
                if other is not intent and (alone or other.stage in (Stage.RECOVERING, Stage.LOST)):
                    return other
            self._open.append(left or intent)
            return left

    def take(self, intent: Intent) -> bool:
        """Begin the recovery of a lost intent; False if another caller has begun it already."""
        with self._lock:
            if intent.stage is not Stage.LOST:
                return False
            intent.stage = Stage.RECOVERING
            return True

    def has_others(self, intent: Intent) -> bool:
        """Another intent of the view is open, whose execution could be mistaken for this one's."""
        with self._lock:
            return any(each is not intent for each in self._of(intent.view))

    def recovering(self, views: Iterable[str]) -> int:
        """How many of these views have a recovery under way."""
        with self._lock:
            doubtful = [each.view for each in self._open if each.stage is Stage.RECOVERING]
        return sum(any(same_view(each, view) for each in doubtful) for view in views) if doubtful else 0

    def is_lost(self, view: str) -> bool:
        """A request for the view may have been accepted, and its execution is unknown."""
        with self._lock:
            return any(each.stage is Stage.LOST for each in self._of(view))

    def close(self, intent: Intent) -> None:
        """The intent is over."""
        with self._lock:
            if intent in self._open:
                self._open.remove(intent)

    def hold(self, execution_id: str, intent: Intent, how: How) -> None:
        """The intent is over, and this is its execution."""
        with self._lock:
            intent.stage, intent.execution_id, intent.how = Stage.KNOWN, execution_id, how
            self.close(intent)
            if how == "response" or execution_id not in self._held:
                self._held[execution_id] = intent.view, intent.token if how == "response" else None
                if len(self._held) > REMEMBERED:
                    self._held.popitem(last=False)

    def owner(self, execution_id: str) -> str | None:
        """The token of the intent whose response named this execution."""
        return self._held.get(execution_id, ("", None))[1]

    def held(self, view: str) -> list[str]:
        """Executions of the view that this client has started or found, latest first."""
        with self._lock:
            return [each for each, (name, _) in reversed(self._held.items()) if same_view(name, view)]

    def _of(self, view: str) -> Iterator[Intent]:
        return (each for each in self._open if same_view(each.view, view))


def same_view(one: str, other: str) -> bool:
    """Two names are of one view: SQL quotes parts that begin with a digit, and a bare name may stand for a full one."""
    one, other = unquoted(one), unquoted(other)
    return one == other or (bare(one) == bare(other) and (bare(one) == one or bare(other) == other))


def unquoted(name: str) -> str:
    """A view's name without the quotes of SQL, which are not a part of it."""
    return name.replace('"', "")


def bare(name: str) -> str:
    """The last part of a view's name, by which it was created."""
    return name.rpartition(".")[2]
