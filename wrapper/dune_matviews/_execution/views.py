"""A view from its creation to its end, and its freshness, as flows.

This module must not know how an execution is started or found, nor how requests travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .._api.values import Definition, Stored, ViewHistory
from .._flow.effects import Flow
from .._flow.log import log
from .._http.redaction import printable
from ..errors import DuneError, InvalidArgumentError, NotFoundError, UnexpectedResponseError
from ..models import Account, ExecutionStatus, Freshness, Matview, Usage
from ..remedies import Advice, ChangeSetting, Setting
from .history import KEPT
from .intents import bare, unquoted
from .listing import full_name, is_same
from .recovery import newest_first
from .requests import TimeLimit, is_ambiguous, poll, read
from .session import Session
from .starting import start
from .wish import Begun, Wish, name_explained


def get(session: Session, name: str) -> Flow[Matview]:
    """A view as it stands."""
    with name_explained(name):
        return (yield from read(session, session.operations.matview(name)))


def upsert(session: Session, wish: Wish) -> Flow[Begun]:
    """Create a view, or replace the one of that name."""
    try:
        return (yield from start(session, wish))
    except NotFoundError as refusal:
        number = wish.definition.query_id if wish.definition else None
        refusal.remedy = Advice(f"Query {number} must be saved, without parameters, and owned by the key's account.")
        raise


def update(
    session: Session, name: str, changes: Mapping[str, Any], check_tier: Callable[[str | None], object]
) -> Flow[Begun]:
    """Change parts of a view, by their names in `Definition`, and send the others again as they are.

    *check_tier* raises for a tier that is not to be sent, though the view has it.
    """
    read_at = session.clock()
    with name_explained(name):
        stored = yield from read(session, session.operations.stored(name))
    view = _changed(stored, changes)
    check_tier(view.performance)
    # Dune may show views of others; an upsert of their bare name would make, or replace, one of the account's own.
    if (yield from full_name(session, lambda each: unquoted(each) == unquoted(stored.name))) is None:
        raise InvalidArgumentError(
            f"{printable(stored.name)} is not among the views of the key's account: an update would create one of that "
            "bare name there, or replace it, so nothing was changed"
        )
    history = stored.history and (stored.history, read_at)
    wish = Wish(view=stored.name, tier=view.performance, definition=view, history=history)
    begun = yield from upsert(session, wish)
    if begun.name != stored.name:
        told = printable(stored.name), printable(begun.name or "")
        log.warning("Dune responds to the update of %s with a view named %s", *told, extra={"view": stored.name})
    return begun


def _changed(stored: Stored, changes: Mapping[str, Any]) -> Definition:
    parts, shown = {**stored.parts, **changes}, printable(stored.name)
    if changes.get("cron_expression", "") is None:
        parts["expires_at"] = None
    unknown = [each for each in Definition._fields if each != "name" and each not in parts]
    if unknown:
        raise UnexpectedResponseError(
            f"the response does not tell the {' and '.join(unknown)} of {shown} in a form that can be read",
            status_code=200,
            remedy=ChangeSetting(
                f"An update has to send it again, so nothing was changed; pass {' and '.join(['{}'] * len(unknown))}.",
                tuple(map(Setting, unknown)),
            ),
        )
    if parts["expires_at"] is not None and parts["cron_expression"] is None:
        remedy = ChangeSetting("Pass {}, too.", (Setting("cron_expression"),))
        raise InvalidArgumentError(f"ends a schedule, and {shown} has none", argument="expires_at", remedy=remedy)
    if all(each in stored.parts and is_same(each, stored.parts[each], parts[each]) for each in changes):
        raise InvalidArgumentError(f"{shown} already is as asked for, and an update would be billed; nothing was sent")
    return Definition(name=bare(stored.name), **parts)


def delete(session: Session, name: str) -> Flow[None]:
    """Delete a view. That it is not there is fine where a lost response may have been to its deletion."""
    perhaps_gone = False

    def note(failure: DuneError) -> None:
        nonlocal perhaps_gone
        perhaps_gone = perhaps_gone or is_ambiguous(failure)

    with name_explained(name):
        try:
            yield from read(session, session.operations.delete(name), bucket="low", on_failure=note)
        except NotFoundError:
            if not perhaps_gone:
                raise


class Success(NamedTuple):
    """A view's latest success, if it has one, and its history, read at that moment of the session's clock."""

    status: ExecutionStatus | None
    history: ViewHistory
    read_at: float

    def age(self) -> timedelta | None:
        """How long ago it ended, by Dune's clock; None where Dune does not tell."""
        if self.status is None or self.status.ended_at is None or self.history.date is None:
            return None
        return max(self.history.date - self.status.ended_at, timedelta())  # a `Date` header has whole seconds

    def is_fresh(self, max_age: timedelta, upstream: Iterable[datetime]) -> bool:
        """It is no older than *max_age*, and began after its upstream views became fresh, at those moments."""
        age = self.age()
        if self.status is None or age is None or age > max_age:
            return False
        began = self.status.submitted_at or self.status.started_at
        return all(began is not None and began >= each for each in upstream)


def refreshed_at(ended_at: datetime) -> str:
    """Why a view is left alone, for people."""
    return f"refreshed at {ended_at:%Y-%m-%d %H:%M} UTC"


def last_success(session: Session, name: str, limit: TimeLimit | None = None) -> Flow[Success]:
    """The view's latest successful execution."""
    read_at = session.clock()
    history = yield from read(session, session.operations.history(name), limit)
    for execution_id in newest_first(history.ids):
        status = session.history.seen(execution_id)
        if status is None:
            try:
                status = yield from poll(session, execution_id, name, limit)
            except NotFoundError:  # Dune keeps it no longer, or not yet
                continue
        if status.succeeded:
            return Success(status, history, read_at)
    return Success(None, history, read_at)


def past(session: Session, name: str, enough: int) -> Flow[Success]:
    """Its latest success, too; and have the client know so many past executions, if there are as many."""
    with name_explained(name):
        success = yield from last_success(session, name)
    for execution_id in newest_first(success.history.ids):
        if len(session.history.of(name)) >= enough:
            break
        if execution_id not in session.history:
            try:
                yield from poll(session, execution_id, name)
            except NotFoundError:  # Dune keeps it no longer
                continue
    return success


def history(session: Session, name: str) -> Flow[tuple[ExecutionStatus, ...]]:
    """The past executions of a view, the latest first."""
    yield from past(session, name, KEPT)
    yield from session.history.saved()
    return tuple(session.history.of(name))


def freshness(session: Session, name: str) -> Flow[Freshness]:
    """How old a view's data is."""
    with name_explained(name):
        success = yield from last_success(session, name)
    if success.status is None:
        return Freshness(name=name)
    return Freshness(
        name=name,
        completed_at=success.status.ended_at,
        execution_id=success.status.execution_id,
        age=success.age(),
    )


def usage(session: Session) -> Flow[Usage]:
    """The account's usage in its current billing period."""
    return (yield from read(session, session.operations.usage()))


def whoami(session: Session) -> Flow[Account]:
    """Whose the key is."""
    return (yield from read(session, session.operations.whoami()))
