"""Shared by the flows of one client: operations, clocks, budgets, and the open intents.

This module must not know the decisions of any flow.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

import attrs

from .history import History
from .intents import Intents
from .pacing import Pace

if TYPE_CHECKING:
    from .._api.operations import Operations
    from ..models import Retry


class Times(NamedTuple):
    """How long evidence takes, in seconds.

    Attributes:
        permit: for how long a recorded intent permits its request to leave.
        proof: for how long nothing may be found before a request counts as never accepted.
        least_proof: the same where Dune's own clock says that *proof* is over.
        looking: for how long a live call looks for an execution whose response was lost.
        not_yet: for how long a 404 to an execution that is certainly new means "not yet".
        slack: by how much two clocks of Dune's may differ.
    """

    permit: float = 30.0
    proof: float = 180.0
    least_proof: float = 30.0
    looking: float = 60.0
    not_yet: float = 60.0
    slack: float = 5.0


TIMES = Times()


@attrs.define(eq=False)
class Session:
    """The state that the flows of one client share. Thread-safe.

    Attributes:
        operations: Dune's operations.
        pace: the budgets of requests.
        timeout: seconds that one request may take.
        clock: a monotonic clock, in seconds.
        wall: the wall clock, in seconds since 1970.
        jitter: a random number in [0, 1), to spread retries.
        on_retry: told of each retry before its pause.
        times: how long evidence takes.
        intents: the open intents.
        history: the executions that have ended.
    """

    operations: Operations
    pace: Pace
    timeout: float
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random
    on_retry: Callable[[Retry], object] | None = None
    times: Times = TIMES
    intents: Intents = attrs.field(factory=Intents, init=False)
    history: History = attrs.field(factory=History, init=False)

    def __attrs_post_init__(self) -> None:
        _sessions.add(self)

    def now(self) -> datetime:
        """The moment that the wall clock shows."""
        return datetime.fromtimestamp(self.wall(), UTC)

    def under_way(self, view: str) -> list[str]:
        """Executions of the view that this client has started or found and not seen end, latest first."""
        return [each for each in self.intents.held(view) if not self.history.is_over(each)]

    def start_over(self) -> None:
        """In a forked child."""
        self.intents.start_over(self.clock())
        self.pace.start_over()


_sessions: WeakSet[Session] = WeakSet()


def _after_fork() -> None:
    for session in list(_sessions):
        session.start_over()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
