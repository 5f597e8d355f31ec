"""Limits and deprecations in the headers of responses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._http.headers import LONGEST_WINDOW, RateLimit, Retirement, limits, retirement

POLICY = '"ip";q=1000;w=1, "write";q=350;w=60'
STATE = '"ip";r=998;t=1, "write";r=0;t=2'


def told(policy: str = "", state: str = "") -> tuple[RateLimit, ...]:
    """The limits that two headers announce."""
    return limits({"ratelimit-policy": policy, "ratelimit": state})


def test_each_policy_is_told_with_its_quota_and_whether_it_is_spent() -> None:
    """Two headers that fit together say how many requests are allowed in which time, and until when none is."""
    assert told(POLICY, STATE) == (RateLimit("ip", 1000, 1), RateLimit("write", 350, 60, spent_for=2))


@pytest.mark.parametrize(
    ("policy", "state", "expected"),
    [
        ("", "", ()),
        (POLICY, "", (RateLimit("ip", 1000, 1), RateLimit("write", 350, 60))),
        ("", '"write";r=0;t=2', (RateLimit("write", spent_for=2),)),
        ("write;w=60;q=350", "", (RateLimit("write", 350, 60),)),
        ('"write" ; q=350 ; w=60 ; pk=:YWJj:', '"write"; t=2; r=0', (RateLimit("write", 350, 60, 2),)),
        ('"a, b; c";q=5;w=60', "", (RateLimit("a, b; c", 5, 60),)),
    ],
)
def test_parts_that_stand_alone(policy: str, state: str, expected: tuple[RateLimit, ...]) -> None:
    """Order, spaces, other parameters and the absence of one header change nothing about the rest."""
    assert told(policy, state) == expected


@pytest.mark.parametrize(
    "policy",
    [
        '"write"',
        '"write";q=350',
        '"write";w=60',
        '"write";q=0;w=60',
        '"write";q=350;w=0',
        '"write";q=-350;w=60',
        '"write";q=3.5;w=60',
        '"write";q="350";w=60',
        '"write";q=350x;w=60',
        '"write";q=99999999999;w=60',
        f'"write";q=350;w={LONGEST_WINDOW + 1}',
        "350;w=60",
        "limit=350, remaining=0, reset=2",
        '"write;q=350;w=60',
        '"write";q=350;w=60, "write";q=15;w=60',
        ";q=350;w=60",
        "\x00\xff",
    ],
)
def test_a_quota_that_cannot_be_used_is_none(policy: str) -> None:
    """A malformed, missing, endless or contradictory part announces no quota; its neighbours count."""
    assert [limit for limit in told(policy) if limit.quota] == []
    assert RateLimit("ip", 1000, 1) in told(f'"ip";q=1000;w=1, {policy}')


@pytest.mark.parametrize(
    "state",
    [
        '"write";r=1;t=2',
        '"write";r=0',
        '"write";t=2',
        '"write";r=0;t=0',
        '"write";r=0;t=-2',
        '"write";r=0;t=61',
        '"write";r=0;t=soon',
        '"write";r=0;t=2, "write";r=9;t=2',
        "0, 2",
    ],
)
def test_what_remains_is_no_promise_and_no_pause(state: str) -> None:
    """A policy closes nothing while it has room, or if its end is missing or beyond its window."""
    assert told('"write";q=350;w=60', state) == (RateLimit("write", 350, 60),)


@given(st.text(), st.text())
def test_any_header_can_be_read(policy: str, state: str) -> None:
    """For all headers, no quota is zero, and no pause is longer than an hour."""
    for limit in told(policy, state):
        assert (limit.quota > 0) == (limit.seconds > 0)
        assert 0 <= limit.spent_for <= LONGEST_WINDOW
    retirement({"deprecation": policy, "sunset": state, "link": policy})


SINCE = datetime(2026, 5, 1, tzinfo=UTC)
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = "https://docs.dune.com/changes"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"link": f'<{PAGE}>; rel="deprecation"'}, None),
        ({"deprecation": "false"}, None),
        ({"deprecation": "?0", "sunset": "soon"}, None),
        ({"deprecation": "true"}, Retirement(None, None, None)),
        ({"deprecation": "@1777593600"}, Retirement(SINCE, None, None)),
        ({"deprecation": "Fri, 01 May 2026 00:00:00 GMT"}, Retirement(SINCE, None, None)),
        ({"sunset": "Sun, 01 Nov 2026 00:00:00 GMT"}, Retirement(None, UNTIL, None)),
        (
            {
                "deprecation": "@1777593600",
                "sunset": "Sun, 01 Nov 2026 00:00:00 GMT",
                "link": f'</v2>; rel="successor-version", <{PAGE}>; type="text/html"; rel="deprecation"',
            },
            Retirement(SINCE, UNTIL, PAGE),
        ),
        ({"deprecation": "true", "link": f"<{PAGE}>; rel=sunset"}, Retirement(None, None, PAGE)),
        (
            {"deprecation": "true", "link": "<javascript:x>; rel=sunset, <https://x y>; rel=sunset"},
            Retirement(None, None, None),
        ),
    ],
)
def test_an_operation_that_will_go(headers: dict[str, str], expected: Retirement | None) -> None:
    """`Deprecation` in each of its forms, or a `Sunset`, says that an operation will go, and a link more."""
    assert retirement(headers) == expected
