"""Notices in the headers of responses: limits on requests, and the end of an operation, as plain data.

This module must not know what follows from a notice. Each part that is absent, malformed or contradicts another is as
if it had not been sent: `RateLimit-Policy` and `RateLimit` by the IETF's draft of them, `Deprecation` by RFC 9745,
`Sunset` by RFC 8594, `Link` by RFC 8288.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

import attrs

from .responses import http_date

LONGEST_WINDOW = 3600
"""Seconds: a quota over a longer time says nothing about the pace of requests, and nobody waits so long for one."""

_LONGEST_HEADER = 2_000
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf"(?:{_QUOTED}|[^,])+")
_POLICY = re.compile(rf"(?P<name>{_QUOTED}|[A-Za-z*][\w:/.*-]*)(?P<parameters>[^\"]*)")
_PARAMETER = re.compile(r"(?P<key>[a-z*][\w.*-]*)=(?P<value>[0-9]{1,9})")
_LINK = re.compile(r"<(?P<target>https?://[!-~]+?)>(?P<parameters>[^<]*)")
_RELATION = re.compile(r'\brel="?(?P<relations>[\w -]+)')


@attrs.frozen
class RateLimit:
    """A limit on requests, as a response announced it.

    Attributes:
        policy: Dune's name for it.
        quota: requests in each window; 0 where that is not told.
        seconds: the length of the window; 0 where that is not told.
        spent_for: seconds for which no further request is allowed; 0 where one is.
    """

    policy: str
    quota: int = 0
    seconds: int = 0
    spent_for: int = 0


@attrs.frozen
class Retirement:
    """That an operation will go.

    Attributes:
        since: from when on it is deprecated; None where that is not told.
        until: when it goes; None where that is not told.
        link: where there is more about it; None where that is not told.
    """

    since: datetime | None
    until: datetime | None
    link: str | None


def limits(headers: Mapping[str, str]) -> tuple[RateLimit, ...]:
    """The limits that a response announces."""
    policies, state = headers.get("ratelimit-policy", ""), headers.get("ratelimit", "")
    quotas = _policies(policies)
    states = _policies(state) if "r=0" in state else {}  # nothing else that it says counts
    return tuple(_limit(name, quotas.get(name, {}), states.get(name, {})) for name in {**quotas, **states})


def _limit(name: str, policy: Mapping[str, int], state: Mapping[str, int]) -> RateLimit:
    quota, seconds = policy.get("q", 0), policy.get("w", 0)
    is_whole = quota > 0 and 0 < seconds <= LONGEST_WINDOW
    reset = state.get("t", 0) if state.get("r") == 0 else 0
    if reset > (seconds if is_whole else LONGEST_WINDOW):
        reset = 0
    return RateLimit(name, quota, seconds, reset) if is_whole else RateLimit(name, spent_for=reset)


@lru_cache(maxsize=16)  # of quotas every response says the same
def _policies(header: str) -> Mapping[str, Mapping[str, int]]:
    """The members of a list, by name, each with its parameters that are numbers."""
    found: dict[str, dict[str, int]] = {}
    refused = set[str]()
    for member in _MEMBER.findall(header[:_LONGEST_HEADER]):
        match = _POLICY.fullmatch(member.strip())
        if match is None:
            continue
        name, parameters = match["name"].strip('"'), _parameters(match["parameters"])
        if found.setdefault(name, parameters) != parameters:
            refused.add(name)
    return {name: parameters for name, parameters in found.items() if name not in refused}


def _parameters(text: str) -> dict[str, int]:
    matches = (_PARAMETER.fullmatch(each.strip()) for each in text.split(";"))
    return {match["key"]: int(match["value"]) for match in matches if match}


def retirement(headers: Mapping[str, str]) -> Retirement | None:
    """That the operation of a response will go; None where it stays."""
    since, is_deprecated = _deprecation(headers.get("deprecation", "").strip())
    until = http_date(headers.get("sunset", ""))
    if not is_deprecated and until is None:
        return None
    return Retirement(since, until, _link(headers.get("link", "")))


def _deprecation(text: str) -> tuple[datetime | None, bool]:
    """Since when, and whether at all."""
    if re.fullmatch(r"@-?[0-9]{1,11}", text):
        return datetime.fromtimestamp(int(text[1:]), UTC), True
    since = http_date(text)  # of earlier drafts, as is `true`
    return since, since is not None or text in ("true", "?1")


def _link(header: str) -> str | None:
    links = {
        relation: match["target"]
        for match in _LINK.finditer(header[:_LONGEST_HEADER])
        if (found := _RELATION.search(match["parameters"]))
        for relation in found["relations"].split()
    }
    return next((links[each] for each in ("deprecation", "sunset", "successor-version") if each in links), None)
