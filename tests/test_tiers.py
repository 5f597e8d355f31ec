"""The tier `small`: what our special case rests on is still so."""

from __future__ import annotations

from pathlib import Path

import yaml

from dune_matviews._tiers import SPEC_SENTENCE

ROOT = Path(__file__).parents[1]


def test_the_spec_still_says_what_the_special_case_rests_on() -> None:
    """The vendored spec accepts `small` in words, and has no enum; otherwise `_tiers` would have to change."""
    schemas = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))["components"]["schemas"]
    performance = schemas["matviews.MatviewsRefreshRequest"]["properties"]["performance"]
    told = " ".join(performance["description"].split())
    assert SPEC_SENTENCE in told, (
        f"openapi.yaml no longer says {SPEC_SENTENCE!r} of the refresh's `performance`, but: {told!r}. Look whether "
        "Dune's page still disagrees with itself over `small`; if it does not, take the special case out of "
        "wrapper/dune_matviews/_tiers.py, README.md and the sandbox."
    )
    assert "enum" not in performance, "`performance` has an enum now: let wrapper/dune_matviews/_tiers.py follow it."
