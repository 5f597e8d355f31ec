"""Performance tiers, and the policy for the tier `small`, on which Dune's page disagrees with itself.

This module must not know how a refresh is sent.

Dune's page for the refresh operation has two halves. Its OpenAPI block accepts `small`, `medium` and `large`, and
lets the default follow the engine of the source query. Its prose lists `medium` and `large`, with `medium` as the
default. So `small` is sent with a warning unless the caller decides otherwise, and without a tier the field is left
out. If the block changes, `make check` fails and names the edit needed here: tools/contract.py has the sentence.
The tiers that an account may use depend on its plan, and Dune reveals them only by refusing a refresh.
"""

from __future__ import annotations

import re
import warnings
from typing import Literal, get_args

from ._validate import choice
from .errors import BadRequestError, InvalidArgumentError, UnsupportedTierError
from .remedies import Advice, ChangeSetting, Setting

Performance = Literal["small", "medium", "large"]
SmallTier = Literal["warn", "allow", "forbid"]
TIERS: tuple[str, ...] = get_args(Performance)
_POLICIES: tuple[str, ...] = get_args(SmallTier)

DISAGREEMENT = (
    "Dune's published OpenAPI spec accepts the performance tier 'small' for a refresh, the text of the same page "
    "lists only 'medium' and 'large'"
)
"""The mismatch in one sentence, for messages."""


class SmallTierWarning(UserWarning):
    """A refresh asks for the tier `small`, on which Dune's page disagrees with itself.

    Attributes:
        problem: the mismatch.
        remedy: the next step.
    """

    problem = f"{DISAGREEMENT}. It is sent as asked."
    remedy = ChangeSetting(
        "{} silences this, {} refuses it.", (Setting("small_tier", "allow"), Setting("small_tier", "forbid"))
    )

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class Tiers:
    """Checks the tier of each refresh of a client, by the client's default and its policy for `small`."""

    def __init__(self, default: Performance | None, small: SmallTier) -> None:
        self._small = choice(small, "small_tier", _POLICIES)
        self._warned = False
        self.default = self._known(default)

    def _known(self, performance: str | None) -> str | None:
        if performance is None:
            return None
        tier = choice(performance, "performance", TIERS)
        self.check(tier)
        return tier

    def check(self, tier: str | None) -> None:
        """Refuse `small` if that is the policy, even if it is not requested now but stored with the view."""
        if tier == "small" and self._small == "forbid":
            remedy = ChangeSetting("{} would send it.", (Setting("small_tier", "allow"),))
            raise InvalidArgumentError(f"The tier 'small' is refused, as was asked for: {DISAGREEMENT}.", remedy=remedy)

    def choose(self, performance: str | None, *, stacklevel: int, by_default: bool = True) -> str | None:
        """The tier to send, or None to send none. *stacklevel* locates a warning, 1 being the caller of this method.

        With *by_default*, the client's default replaces a missing tier.
        """
        tier = self._known(performance) or (self.default if by_default else None)
        if tier == "small" and self._small == "warn" and not self._warned:
            warnings.warn(SmallTierWarning(), stacklevel=stacklevel + 1)
            self._warned = True
        return tier


_ABOUT_A_TIER = re.compile(r"\b(performance|tiers?)\b", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:one of|available|allowed|supported|valid)\b(?P<names>[^.;]*)", re.IGNORECASE)


def is_about_a_tier(refusal: BadRequestError, tier: str | None) -> bool:
    """True if the server's message is about the tier. *tier* is the one that was sent, or None."""
    words = refusal.message
    if _ABOUT_A_TIER.search(words):
        return True
    # A message may use these words otherwise: a result too large, a name too small.
    return (
        tier is not None
        and re.search(rf"[\"'`]{re.escape(tier)}[\"'`]|\b{re.escape(tier)}\b.*\bplan\b", words) is not None
    )


def unsupported(refusal: BadRequestError, tier: str | None) -> UnsupportedTierError:
    """The error for a 400 about a tier."""
    asked = f"The tier '{tier}' is refused: which tiers" if tier else "Which tiers"
    named = [each for each in TIERS if each != tier and _is_named(each, refusal.message)]
    other = "Pass another, or none, to leave it to Dune" if tier else "Pass one that it has"
    advice = f"Dune names {', '.join(map(repr, named))} here" if named else other
    disagreement = f" {DISAGREEMENT}." if tier == "small" else ""
    return UnsupportedTierError(
        refusal.message,
        status_code=refusal.status_code,
        body=refusal.body,
        request_id=refusal.request_id,
        remedy=Advice(f"{asked} an account may use depends on its plan. {advice}.{disagreement}"),
    )


def _is_named(tier: str, words: str) -> bool:
    return any(re.search(rf"\b{tier}\b", found["names"]) for found in _NAMED.finditer(words))
