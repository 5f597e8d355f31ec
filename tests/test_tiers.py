"""Refusals about a performance tier, and the advice in their errors."""

from __future__ import annotations

from typing import get_args

import pytest

from dune_matviews import BadRequestError, Performance, UnsupportedTierError
from dune_matviews._execution.wish import tier_explained
from dune_matviews._tiers import TIERS


def explained(words: str, tier: str | None) -> BadRequestError:
    """The error that a 400 with these words becomes, where that tier was sent."""
    with pytest.raises(BadRequestError) as caught, tier_explained(tier):
        raise BadRequestError(words, status_code=400, body="{}", request_id="r1")
    return caught.value


@pytest.mark.parametrize(
    ("words", "tier"),
    [
        ("Invalid performance tier", "medium"),
        ("Invalid performance tier", None),
        ("invalid performance", "small"),
        ("Tiers must be available on the owner's plan", "large"),
        ("'medium' is not one of the engines", "medium"),
        ("medium is not available on your plan", "medium"),
    ],
)
def test_a_400_about_a_tier(words: str, tier: str | None) -> None:
    """The error says that tiers depend on the plan, and keeps the server's message and the data for support."""
    error = explained(words, tier)
    assert type(error) is UnsupportedTierError
    assert "depends on its plan" in str(error)
    assert (error.message, error.request_id, error.body) == (words, "r1", "{}")


@pytest.mark.parametrize(
    ("words", "tier"),
    [
        ("", "small"),
        ("The result is too large", "large"),
        ("medium is not available on your plan", None),
        ("dune.my_team.result_tier_1 has no query", "medium"),
        ("name must be of at least 8 characters", "medium"),
    ],
)
def test_a_400_about_something_else(words: str, tier: str | None) -> None:
    """Where the server's words are about something else, or say nothing, the error does not guess."""
    assert type(explained(words, tier)) is BadRequestError


@pytest.mark.parametrize(
    ("words", "tier", "advice"),
    [
        (
            "Invalid performance tier",
            "medium",
            "The tier 'medium' is refused: which tiers an account may use depends on "
            "its plan. Pass another, or none, to leave it to Dune.",
        ),
        (
            "Invalid performance tier",
            None,
            "Which tiers an account may use depends on its plan. Pass one that it has.",
        ),
        (
            "performance must be one of medium, large, not 'small'",
            "small",
            "Dune names 'medium', 'large' here. Dune's published OpenAPI spec accepts the performance tier 'small'",
        ),
        ("Tier large not allowed. Available tiers: small; upgrade for medium.", "large", "Dune names 'small' here."),
    ],
)
def test_what_is_advised(words: str, tier: str | None, advice: str) -> None:
    """Tiers that Dune names are in the error; it recommends none that might be refused, too."""
    assert advice in str(explained(words, tier))


def test_the_tiers_are_listed_once() -> None:
    """The declared tiers are the checked ones."""
    assert get_args(Performance) == TIERS
