"""Knows how hard the properties are tried: `default` in every run, `long` where a night is free (`make test-long`).
Must not know any property.

Neither profile depends on the machine: nothing is given up for being slow, and all examples follow from one seed.
The seed is fixed, so that a run tries what the last one tried, but for the long profile, which looks for something new.
"""

from __future__ import annotations

import secrets

import pytest
from hypothesis import HealthCheck, settings

LONG = "long"
DEFAULT_SEED = "0"

for profile, examples in (("default", 50), (LONG, 1000)):
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("default")


def fewer(share: int, **more: int) -> settings:
    """The settings of a property whose examples are dear: one in *share* of the profile's."""
    return settings(max_examples=settings().max_examples // share, **more)  # type: ignore[arg-type]


def tries(usual: int) -> int:
    """How often something with chances of its own is tried: ten times as often in the long profile."""
    return usual * 10 if settings.get_current_profile_name() == LONG else usual


def choose_seed(config: pytest.Config) -> None:
    """Settle the seed before hypothesis reads it, and before the processes that share the work are told."""
    if config.option.hypothesis_seed is None:
        new = config.option.hypothesis_profile == LONG
        config.option.hypothesis_seed = str(secrets.randbits(32)) if new else DEFAULT_SEED


def repeat(config: pytest.Config) -> str:
    """How to have the same examples again."""
    profile = settings.get_current_profile_name()
    return f"to repeat: --hypothesis-profile={profile} --hypothesis-seed={config.option.hypothesis_seed}"
