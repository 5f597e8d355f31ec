"""Describes one change of a spec: the users it breaks, and its importance to a maintainer of this project.
Must not know how changes are found, nor where they are reported."""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tools.telling import code

# Names by which a server would recognize a repeated request: `Idempotency-Key`, `client_request_token`, `dedupe_id`.
KEY = re.compile(r"idempot|dedup|(request|client|unique)[-_ ]?(id|key|token)$|client[-_ ]?request", re.IGNORECASE)
_MONEY, _LIMIT = r"(credit|cost|spend|charge|price)", r"(max|cap\b|cap[-_]|limit|ceiling|budget|quota)"
# Names of a limit on the cost of an execution: `max_credits`, `cost_cap`, `budget`.
CAP = re.compile(rf"{_MONEY}.*{_LIMIT}|{_LIMIT}.*{_MONEY}|budget", re.IGNORECASE)
# Words in a description about idempotency or deprecation.
WORDS = re.compile(r"idempoten|deprecat|sunset|retired?\b", re.IGNORECASE)


class Effect(StrEnum):
    """The users that a change breaks."""

    BREAKING = "breaking"
    GENERATED = "breaking for users of dune_api alone"
    NONE = "not breaking"


class Rank(IntEnum):
    """The importance of a change to this project, highest first."""

    LOOK = 0  # it touches the wrapper
    GAIN = 1  # an addition to something the wrapper uses
    NEW = 2  # an addition elsewhere that may be of use
    REST = 3


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        effect: the users it breaks.
        subject: the operation, schema or part of the document that differs, by its name in the spec.
        what: the difference in Markdown, with text from the spec in code spans.
        rank: its importance.
    """

    effect: Effect
    subject: str
    what: str
    rank: Rank = Rank.REST

    def __str__(self) -> str:
        effect = "" if self.effect is Effect.NONE else f"**{self.effect}**: "
        return f"- {effect}{code(self.subject)}: {self.what}"


def change(
    subject: str, what: str, *, hurts: bool = False, used: bool = False, rank: Rank = Rank.REST, look: bool = False
) -> Change:
    """Return the change *what* of *subject*.

    Args:
        hurts: whether it breaks users of the subject.
        used: whether the wrapper is one of them.
        rank: its importance, if it does not break the wrapper.
        look: whether a maintainer has to look at it, whatever its rank.
    """
    effect = Effect.NONE if not hurts else Effect.BREAKING if used else Effect.GENERATED
    return Change(effect, subject, what, Rank.LOOK if look or effect is Effect.BREAKING else rank)


def gain(touched: bool) -> Rank:
    """Return the rank of an addition, by whether the wrapper *touched* its subject."""
    return Rank.GAIN if touched else Rank.REST


def matters(name: str) -> bool:
    """Whether a parameter or property of this name may be an idempotency key or a spending cap."""
    return bool(KEY.search(name) or CAP.search(name))


def announces(old: str, new: str) -> bool:
    """Whether the text *new* mentions an idempotency key or a deprecation, and *old* did not."""
    return bool({each.lower() for each in WORDS.findall(new)} - {each.lower() for each in WORDS.findall(old)})
