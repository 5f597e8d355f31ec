"""Knows the possible courses of an execution, and Dune's names for its states.
Must not know the time, nor any view or request."""

import math
from typing import Final

import attrs
from attrs.validators import ge, instance_of, lt, optional

PENDING: Final = "QUERY_STATE_PENDING"
EXECUTING: Final = "QUERY_STATE_EXECUTING"
FAILED: Final = "QUERY_STATE_FAILED"
SUCCEEDED: Final = frozenset({"QUERY_STATE_COMPLETED", "QUERY_STATE_COMPLETED_PARTIAL"})
CANCELED: Final = frozenset({"QUERY_STATE_CANCELED", "QUERY_STATE_CANCELLED"})
EXPIRED: Final = "QUERY_STATE_EXPIRED"

_STATES: Final = {
    "completed": "QUERY_STATE_COMPLETED",
    "completed_partial": "QUERY_STATE_COMPLETED_PARTIAL",
    "failed": FAILED,
    "canceled": "QUERY_STATE_CANCELED",
    "expired": EXPIRED,
}


@attrs.frozen
class Failure:
    """The error of an execution, as its status reports it."""

    type: str = "FAILED_TYPE_EXECUTION_FAILED"
    message: str = "The execution failed, as rehearsed."
    line: int | None = None
    column: int | None = None


def _is_an_end(scenario: "Scenario", attribute: "attrs.Attribute[str]", end: str) -> None:
    known = end in _STATES or (end.startswith("QUERY_STATE_") and end not in (PENDING, EXECUTING))
    if not known:
        words = ", ".join(_STATES)
        raise ValueError(f"an execution ends as one of {words}, or as a QUERY_STATE_ text of your own; not as {end!r}")


@attrs.frozen(kw_only=True)
class Scenario:
    """The course of one execution, from its acceptance to its end.

    *pending* and *running* are its seconds in the queue and at work, before the sandbox's speed divides them; with
    `math.inf` it stays there until it is finished or canceled from outside.
    *credits* is its cost at its end, towards which it grows evenly while it runs (not at all with `running=math.inf`).
    *billed* says whether it is billed; None decides by *end* and the sandbox's *free_ends*. An execution that is not
    billed costs 0 once it has ended.
    *end* is "completed", "completed_partial", "failed", "canceled", "expired", or any other text that starts with
    QUERY_STATE_, to rehearse states that Dune may add.
    *error* is reported with every end but a success; a failed execution always has one.
    *rows* and *bytes* are the size of the table after a success.
    """

    pending: float = attrs.field(default=1.0, validator=ge(0))
    running: float = attrs.field(default=4.0, validator=ge(0))
    credits: float = attrs.field(default=1.0, validator=[ge(0), lt(math.inf)])
    billed: bool | None = None
    end: str = attrs.field(default="completed", validator=_is_an_end)
    error: Failure | None = attrs.field(default=None, validator=optional(instance_of(Failure)))
    rows: int = attrs.field(default=1_000, validator=ge(0))
    bytes: int = attrs.field(default=50_000, validator=ge(0))

    @property
    def end_state(self) -> str:
        """The end in Dune's spelling: a text that starts with QUERY_STATE_."""
        return _STATES.get(self.end, self.end)

    @property
    def reported_error(self) -> Failure | None:
        """The error in the status of the ended execution; None where there is none."""
        if self.end_state in SUCCEEDED:
            return None
        if self.error is None and self.end_state == FAILED:
            return Failure()
        return self.error


DEFAULT_SCENARIO: Final = Scenario()
