"""Performance tiers, and the one place that knows that Dune disagrees with itself over the tier `small`.

This module must not know how a refresh is sent.

Dune's page for the refresh operation has two halves. Its OpenAPI block accepts `small`, `medium` and `large`, and
lets the default follow the engine of the source query; its prose knows `medium` and `large`, with `medium` as the
default. So `small` is sent with a warning unless the caller decides otherwise, and where no tier is given the field
is left out. Should the block change, `make check` fails, and says
what to do here: tools/contract.py has the sentence.
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

from ._arguments import choice
from .errors import BadRequestError, InvalidArgumentError, UnsupportedTierError

Performance = Literal["small", "medium", "large"]
SmallTier = Literal["warn", "allow", "forbid"]
_TIERS: tuple[str, ...] = get_args(Performance)
_POLICIES: tuple[str, ...] = get_args(SmallTier)

DISAGREEMENT = (
    "Dune's published OpenAPI spec accepts the performance tier 'small' for a refresh, the text of the same page "
    "lists only 'medium' and 'large'"
)
"""The mismatch in one sentence, for messages."""


class SmallTierWarning(UserWarning):
    """A refresh asks for the tier `small`, on which Dune's page disagrees with itself."""


class Tiers:
    """Checks the tier of each refresh of one client: its default, and its policy for `small`."""

    def __init__(self, default: Performance | None, small: SmallTier) -> None:
        self._small = choice(small, "small_tier", _POLICIES)
        self._warned = False
        self._default = self._known(default)

    def _known(self, performance: str | None) -> str | None:
        if performance is None:
            return None
        tier = choice(performance, "performance", _TIERS)
        self.check(tier)
        return tier

    def check(self, tier: str | None) -> None:
        """Refuse `small` where that is the policy, also where it was not asked for now, but is a view's own."""
        if tier == "small" and self._small == "forbid":
            raise InvalidArgumentError(f"performance='small' is refused, as small_tier='forbid' asks: {DISAGREEMENT}.")

    def choose(self, performance: str | None, *, stacklevel: int, by_default: bool = True) -> str | None:
        """The tier to send, None to send none; *stacklevel* says whom a warning is about, 1 being who calls this.

        *by_default*: without one, the client's default is taken.
        """
        tier = self._known(performance) or (self._default if by_default else None)
        if tier == "small" and self._small == "warn" and not self._warned:
            warnings.warn(
                f"{DISAGREEMENT}. It is sent as asked; small_tier='allow' silences this, small_tier='forbid' refuses.",
                SmallTierWarning,
                stacklevel=stacklevel + 1,
            )
            self._warned = True
        return tier


def unsupported(refusal: BadRequestError) -> UnsupportedTierError:
    """The error for a 400 to a refresh that asked for the tier `small`."""
    return UnsupportedTierError(
        refusal.message,
        status_code=refusal.status_code,
        body=refusal.body,
        request_id=refusal.request_id,
        hint=f"The refresh asked for the tier 'small': {DISAGREEMENT}. Ask for 'medium' or 'large', or for none.",
    )
