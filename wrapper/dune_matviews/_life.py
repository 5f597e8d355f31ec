"""A view from its creation to its end, and what the account knows of it, as flows.

This module must not know how an execution is started or found, nor how requests travel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._api.values import Definition, Started, Stored
from ._flow.effects import Flow
from ._http.responses import printable
from ._lookup import last_part, last_success, listed, unquoted
from ._refresh import launch, name_explained, tier_explained
from ._requests import Session, maybe_accepted, read
from .errors import DuneError, InvalidArgumentError, NotFoundError, UnexpectedResponseError
from .models import Freshness, Matview, Usage

if TYPE_CHECKING:
    from ._api.operations import Operations

_log = logging.getLogger("dune_matviews")


def get(session: Session, api: Operations, name: str) -> Flow[Matview]:
    """A view as it stands."""
    with name_explained(name):
        return (yield from read(session, api.matview(name)))


def upsert(session: Session, api: Operations, view: Definition, full_name: str | None = None) -> Flow[Started]:
    """Create a view, or replace the one of that name; return the execution that this starts, and the full name."""
    name = full_name or view.name
    try:
        with tier_explained(view.performance):
            started = yield from launch(session, api, api.upsert(view), name, view=view)
    except NotFoundError as refusal:
        refusal.hint = f"Query {view.query_id} must be saved, without parameters, and owned by the key's account."
        raise
    return started._replace(name=started.name or name)


def update(
    session: Session,
    api: Operations,
    name: str,
    changes: Mapping[str, Any],
    check_tier: Callable[[str | None], object],
) -> Flow[Started]:
    """Change parts of a view, by their names in `Definition`, and send the others again as they are.

    *check_tier* raises for a tier that is not to be sent, though the view has it.
    """
    with name_explained(name):
        stored = yield from read(session, api.stored(name))
    view = _changed(stored, changes)
    check_tier(view.performance)
    # Dune may show views of others; an upsert of their bare name would make, or replace, one of the account's own.
    if (yield from listed(session, api, lambda each: unquoted(each) == unquoted(stored.name))) is None:
        raise InvalidArgumentError(
            f"{printable(stored.name)} is not among the views of the key's account: an update would create one of that "
            "bare name there, or replace it, so nothing was changed"
        )
    started = yield from upsert(session, api, view, stored.name)
    if started.name != stored.name:
        told = printable(stored.name), printable(started.name or "")
        _log.warning("Dune answers to the update of %s with a view named %s", *told)
    return started


def _changed(stored: Stored, changes: Mapping[str, Any]) -> Definition:
    parts, shown = {**stored.parts, **changes}, printable(stored.name)
    if changes.get("cron_expression", "") is None:
        parts["expires_at"] = None
    unknown = [each for each in Definition._fields if each != "name" and each not in parts]
    if unknown:
        raise UnexpectedResponseError(
            f"the answer does not tell the {' and '.join(unknown)} of {shown} in a form that can be read",
            status_code=200,
            hint=f"An update has to send it again, so nothing was changed; pass {' and '.join(unknown)} to update().",
        )
    if parts["expires_at"] is not None and parts["cron_expression"] is None:
        raise InvalidArgumentError(f"expires_at ends a schedule, and {shown} has none; pass cron_expression, too")
    return Definition(name=last_part(stored.name), **parts)


def delete(session: Session, api: Operations, name: str) -> Flow[None]:
    """Delete a view. That it is not there is fine where a lost answer may have been to its deletion."""
    perhaps_gone = False

    def note(failure: DuneError) -> None:
        nonlocal perhaps_gone
        perhaps_gone = perhaps_gone or maybe_accepted(failure)

    with name_explained(name):
        try:
            yield from read(session, api.delete(name), bucket="low", on_failure=note)
        except NotFoundError:
            if not perhaps_gone:
                raise


def freshness(session: Session, api: Operations, name: str) -> Flow[Freshness]:
    """How old a view's data is."""
    with name_explained(name):
        status, now = yield from last_success(session, api, name)
    if status is None:
        return Freshness(name=name)
    age = None
    if now is not None and status.ended_at is not None:
        age = max(now - status.ended_at, timedelta())  # the `Date` of an answer has whole seconds
    return Freshness(name=name, completed_at=status.ended_at, execution_id=status.execution_id, age=age)


def usage(session: Session, api: Operations) -> Flow[Usage]:
    """What the account has used in its present billing period."""
    return (yield from read(session, api.usage()))
