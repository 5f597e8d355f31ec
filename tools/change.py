"""Knows what a change of a spec is: whom it breaks, and how much it matters to whoever maintains this project.
Must not know how changes are found, nor where they are told."""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tools.telling import code

# By which a server would know a request that is sent twice: `Idempotency-Key`, `client_request_token`, `dedupe_id`.
KEY = re.compile(r"idempot|dedup|(request|client|unique)[-_ ]?(id|key|token)$|client[-_ ]?request", re.IGNORECASE)
_MONEY, _LIMIT = r"(credit|cost|spend|charge|price)", r"(max|cap\b|cap[-_]|limit|ceiling|budget|quota)"
# By which a server would stop an execution that costs too much: `max_credits`, `cost_cap`, `budget`.
CAP = re.compile(rf"{_MONEY}.*{_LIMIT}|{_LIMIT}.*{_MONEY}|budget", re.IGNORECASE)
# What a text says of such a thing, or of one that will go.
WORDS = re.compile(r"idempoten|deprecat|sunset|retired?\b", re.IGNORECASE)


class Effect(StrEnum):
    """Whom a change breaks."""

    BREAKING = "breaking"
    GENERATED = "breaking for users of dune_api alone"
    NONE = "not breaking"


class Rank(IntEnum):
    """How much a change matters here, the most first."""

    LOOK = 0  # it touches what the wrapper does
    GAIN = 1  # it is new in what the wrapper uses
    NEW = 2  # it is new elsewhere, and may be of use
    REST = 3


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        effect: whom it breaks.
        subject: the operation, the schema or the part of the document that differs, as the spec calls it.
        what: the difference in Markdown, with whatever comes from the spec in code spans.
        rank: how much it matters.
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
        hurts: whether it breaks whoever uses the subject.
        used: whether the wrapper does.
        rank: how much it matters, if it does not break the wrapper.
        look: whether a maintainer has to look at it, whatever its rank.
    """
    effect = Effect.NONE if not hurts else Effect.BREAKING if used else Effect.GENERATED
    return Change(effect, subject, what, Rank.LOOK if look or effect is Effect.BREAKING else rank)


def gain(touched: bool) -> Rank:
    """Return the rank of something new that is *touched* by the wrapper, or not."""
    return Rank.GAIN if touched else Rank.REST


def matters(name: str) -> bool:
    """Whether a parameter or a property of this name may be an idempotency key or a cap on what is spent."""
    return bool(KEY.search(name) or CAP.search(name))


def announces(old: str, new: str) -> bool:
    """Whether the text *new* speaks of an idempotency key or of an end, where *old* did not."""
    return bool({each.lower() for each in WORDS.findall(new)} - {each.lower() for each in WORDS.findall(old)})
