"""One execution from its start to its end, as flows: start it, watch it, cancel it.

This module must not know how requests travel, nor who drives the flows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from . import _tiers
from ._api.values import Definition, Started
from ._flow.effects import Call, Flow, Sleep, noting
from ._http.responses import printable
from ._lookup import about, find_again, find_running, last_part, way_back
from ._requests import LAST_LOOK, MaybeAcceptedError, Patience, Session, may_pass, read, submit
from .errors import (
    AlreadyRunningError,
    APIError,
    BadRequestError,
    CreditLimitError,
    DuneError,
    NotFoundError,
    RefreshCanceledError,
    RefreshError,
    RefreshExpiredError,
    RefreshFailedError,
    WaitTimeoutError,
)
from .models import ExecutionState, ExecutionStatus

if TYPE_CHECKING:
    from ._api.operations import Operations

_log = logging.getLogger("dune_matviews")

IfRunning = Literal["start", "adopt", "refuse"]
IF_RUNNING: tuple[IfRunning, ...] = get_args(IfRunning)
OnUpdate = Callable[[ExecutionStatus], object]

SILENCE = 15 * 60.0
"""Seconds without a successful look after which waiting ends, if it has no timeout of its own."""


def start(
    session: Session,
    api: Operations,
    name: str,
    tier: str | None,
    if_running: IfRunning,
    before: Callable[[], object] | None = None,
) -> Flow[str]:
    """Start a refresh, and return its execution id; never started twice.

    With *if_running* "adopt", return the id of an execution that is under way already; with "refuse", raise.
    *before* is called right before the request is sent, and may prevent it by raising.
    """
    with name_explained(name), tier_explained(tier):
        if if_running != "start":
            running = yield from find_running(session, api, name)
            if running is not None:
                return _under_way(name, running, if_running)
        return (yield from launch(session, api, api.refresh(name, tier), name, before)).execution_id


def launch(
    session: Session,
    api: Operations,
    call: Call[Started],
    name: str,
    before: Callable[[], object] | None = None,
    view: Definition | None = None,
) -> Flow[Started]:
    """Send the request that starts an execution of a view, never twice, and find that execution if its answer is lost.

    *before* is called right before the request is sent, and may prevent it by raising. *view* is what an upsert sends;
    *name* is then the bare one, where the full one is not known.
    """
    sent = False

    def before_sending() -> None:
        nonlocal sent
        if before is not None:
            before()
        sent = True

    def note() -> str | None:
        return f"A refresh of {name} may have started; {way_back(name, view)}." if sent else None

    with noting(note):
        try:
            started = yield from submit(session, call, last_part(name), before_sending)
        except MaybeAcceptedError as unclear:
            started = yield from find_again(session, api, name, unclear, view)
        _log.info("Refresh of %s started: execution %s", name, started.execution_id)
        return started


def _under_way(name: str, execution_id: str, if_running: IfRunning) -> str:
    """What to do about an execution that runs already."""
    if if_running == "refuse":
        message = f"A refresh of {name} is under way already (execution {execution_id}); none was started."
        raise AlreadyRunningError(message, name=name, execution_id=execution_id)
    _log.info("Following the refresh of %s that is under way: execution %s", name, execution_id)
    return execution_id


def watch(
    session: Session,
    api: Operations,
    execution_id: str,
    *,
    since: float,
    timeout: float = math.inf,
    allowance: Callable[[], float] = lambda: math.inf,
    pause: Callable[[float, float], float] | None = None,
    on_update: OnUpdate | None = None,
) -> Flow[ExecutionStatus]:
    """Look at an execution until it has ended, and return its status if the view is fresh.

    *since* is when it began, by the session's clock; *timeout* is in seconds from now. A running cost beyond its
    *allowance* has it cancelled. *pause* says how long to rest between looks, of now and *since*; None keeps to the
    cadence of one execution. `RefreshError` and its kinds say how it ended otherwise.
    """
    pause = pause or session.pace.pause
    deadline = session.clock() + timeout
    silence = SILENCE if timeout == math.inf else timeout
    status: ExecutionStatus | None = None
    exceeded: float | None = None
    refusal: APIError | None = None
    with session.pace.watching(since), noting(lambda: f"The refresh goes on; attach({execution_id!r}) follows it."):
        while True:
            looked_at = session.clock()
            patience = Patience(looked_at + silence, deadline)
            with _waiting(execution_id, status):
                status = yield from read(session, api.status(execution_id), patience)
            if on_update is not None:
                on_update(status)
            if status.is_finished:
                _log.info("Execution %s ended: %s, %s credits", execution_id, status.state, status.cost_credits)
                return _concluded(status, exceeded)
            if refusal is not None:  # and it runs on all the same
                raise refusal
            if exceeded is None and (status.cost_credits or 0.0) > (allowed := allowance()):
                _log.info("Cancelling execution %s at %s credits", execution_id, status.cost_credits)
                since = looked_at  # its end is near, so look often again
                try:
                    with _waiting(execution_id, status):
                        if (yield from read(session, api.cancel(execution_id), patience)):
                            exceeded = allowed
                except APIError as failure:
                    refusal = failure  # it may have ended meanwhile: the next look decides
            due = _next_look(looked_at, looked_at + pause(looked_at, since), deadline, timeout)
            yield Sleep(max(due - session.clock(), 0.0))
            if deadline - session.clock() < 0.001:
                raise _out_of_time(execution_id, status, f"its {timeout:g} s are")


def cancel(session: Session, api: Operations, execution_id: str) -> Flow[bool]:
    """Cancel an execution; False where Dune says that there was nothing to cancel."""
    with about(execution_id):
        return (yield from read(session, api.cancel(execution_id)))


def _next_look(looked_at: float, due: float, deadline: float, timeout: float) -> float:
    """When to look again: the last look is shortly before the deadline, and after it the time runs out."""
    if due < deadline:
        return due
    last_look = deadline - min(LAST_LOOK, timeout / 10)
    return last_look if looked_at < last_look else deadline


def _concluded(status: ExecutionStatus, exceeded: float | None) -> ExecutionStatus:
    """The status of an execution that has ended, if the view is fresh; *exceeded* is the cap it was cancelled for."""
    if status.succeeded:
        return status
    execution = f"execution {status.execution_id}"
    if status.state is ExecutionState.CANCELED and exceeded is not None:
        message = (
            f"The refresh was cancelled at {status.cost_credits} credits, over max_credits={exceeded:g} ({execution})."
        )
        raise CreditLimitError(message, execution_id=status.execution_id, status=status)
    unknown = (RefreshError, f"ended in a state unknown here, {printable(repr(status.raw.get('state')))}")
    kind, end = _ENDS.get(status.state, unknown)
    why = f": {printable(status.error.message or status.error.type or 'no reason given')}" if status.error else ""
    raise kind(f"The refresh {end} ({execution}){why}", execution_id=status.execution_id, status=status)


_ENDS: dict[ExecutionState, tuple[type[RefreshError], str]] = {
    ExecutionState.FAILED: (RefreshFailedError, "failed"),
    ExecutionState.CANCELED: (RefreshCanceledError, "was cancelled"),
    ExecutionState.EXPIRED: (RefreshExpiredError, "expired"),
}


def _out_of_time(execution_id: str, status: ExecutionStatus | None, why: str) -> WaitTimeoutError:
    seen = f"last seen {status.state}" if status else "not seen yet"
    message = f"The wait is over, because {why}; the refresh goes on, {seen}. attach({execution_id!r}) follows it."
    return WaitTimeoutError(message, execution_id=execution_id, status=status)


@contextmanager
def _waiting(execution_id: str, status: ExecutionStatus | None) -> Generator[None]:
    """A failure that outlasted all patience ends the waiting, not the refresh."""
    with about(execution_id):
        try:
            yield
        except DuneError as failure:
            if not may_pass(failure):
                raise
            raise _out_of_time(execution_id, status, f"its state is not known ({failure})") from failure


@contextmanager
def name_explained(name: str) -> Generator[None]:
    """A refusal says more, where the name is a likely reason."""
    try:
        yield
    except NotFoundError as refusal:
        if "." not in name:
            refusal.hint = f"{name!r} is a bare name; the full name of a view looks like 'dune.my_team.{name}'."
        raise


@contextmanager
def tier_explained(tier: str | None) -> Generator[None]:
    """A refusal says more, where the tier is a likely reason."""
    try:
        yield
    except BadRequestError as refusal:
        if tier != "small":
            raise
        raise _tiers.unsupported(refusal) from refusal
