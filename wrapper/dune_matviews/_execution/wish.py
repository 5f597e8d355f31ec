"""A wish for an execution, its terms and its outcome, and the words for its failures.

This module must not know how a wish is fulfilled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import attrs

from .. import _tiers
from .._api.values import Definition, ViewHistory
from .._validate import IfLost, IfRunning
from ..errors import BadRequestError, JournalError, NotFoundError
from ..remedies import Adopt, Advice, LookAt, Remedy
from ..report import ViewResult
from .intents import How, Intent, bare


@attrs.frozen(kw_only=True)
class Wish:
    """The execution to be started, and the terms.

    Attributes:
        view: the view's name; of an upsert the bare one, where the full one is not known.
        tier: the performance tier, None to send none.
        definition: the definition that an upsert sends; None for a refresh.
        if_running, if_lost, retry_failed: as for `MatviewsClient.refresh`.
        is_overtaken: a recorded result does not count, because an upstream view has become fresh since.
        deadline: when the call is given up, by the session's clock.
        not_before: when the last of the view's upstream views became fresh; an earlier execution does not count.
        history: the view's history, where it has just been read, and when.
        check: called before each request; may prevent it by raising `PreventedError`.
        on_response: called with the id of an execution the moment that Dune has named it.
        takes_candidates: several candidates are a result.
    """

    view: str
    tier: str | None = None
    definition: Definition | None = None
    if_running: IfRunning = "start"
    if_lost: IfLost = "raise"
    retry_failed: bool = False
    is_overtaken: bool = False
    deadline: float = math.inf
    not_before: datetime | None = None
    history: tuple[ViewHistory, float] | None = None
    check: Callable[[], object] = lambda: None
    on_response: Callable[[str], object] = lambda execution_id: None
    takes_candidates: bool = False


class PreventedError(Exception):
    """Nothing more is to be sent; the message says why. Raised by a wish's `check`, and never leaves the flows."""


class Begun(NamedTuple):
    """An execution that was started, found or recorded.

    Attributes:
        execution_id: its id; None where there are several candidates.
        how: how the id is known.
        name: the view's full name, where Dune told it.
        candidates: the executions one of which it is, where it is not known which.
        result: how it ended, where a journal has that.
        problem: why a journal could not record it.
        intent: the intent that it fulfils, where that is still open.
    """

    execution_id: str | None
    how: How
    name: str | None = None
    candidates: tuple[str, ...] = ()
    result: ViewResult | None = None
    problem: JournalError | None = None
    intent: Intent | None = None


def way_back(view: str, *, is_refresh: bool) -> Remedy:
    """How a user learns whether a request was accepted. An upsert must not be followed by a refresh of the old view."""
    return Adopt(view) if is_refresh else LookAt(view if "." in view else None)


@contextmanager
def name_explained(name: str) -> Generator[None]:
    """A refusal says more, where the name is a likely reason."""
    try:
        yield
    except NotFoundError as refusal:
        if bare(name) == name and refusal.remedy is NotFoundError.remedy:
            full = f"dune.my_team.{name}"
            refusal.remedy = Advice(f"{name!r} is a bare name; the full name of a view looks like {full!r}.")
        raise


@contextmanager
def tier_explained(tier: str | None) -> Generator[None]:
    """A refusal says more, where it is about the tier."""
    try:
        yield
    except BadRequestError as refusal:
        if not _tiers.is_about_a_tier(refusal, tier):
            raise
        raise _tiers.unsupported(refusal, tier) from refusal
