"""Headers of responses as plain data: limits on requests, pauses, dates, the end of an operation.

This module must not know the decisions that follow. A part that is absent, malformed or contradicts another
counts as not sent: `RateLimit-Policy` and `RateLimit` by the IETF's draft of them, `Deprecation` by RFC 9745, `Sunset`
by RFC 8594, `Link` by RFC 8288.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import lru_cache
from typing import NamedTuple

LONGEST_WINDOW = 3600
"""Seconds: a quota over a longer time says nothing about the pace of requests, and nobody waits so long for one."""

_LONGEST_HEADER = 2_000
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEMBER = rf"(?:{_QUOTED}|[^,])+"
_POLICY = rf"(?P<name>{_QUOTED}|[A-Za-z*][\w:/.*-]*)(?P<parameters>[^\"]*)"
_PARAMETER = r"(?P<key>[a-z*][\w.*-]*)=(?P<value>[0-9]{1,9})"


class RateLimit(NamedTuple):
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


class Retirement(NamedTuple):
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
    for member in re.findall(_MEMBER, header[:_LONGEST_HEADER]):
        match = re.fullmatch(_POLICY, member.strip())
        if match is None:
            continue
        name, parameters = match["name"].strip('"'), _parameters(match["parameters"])
        if found.setdefault(name, parameters) != parameters:
            refused.add(name)
    return {name: parameters for name, parameters in found.items() if name not in refused}


def _parameters(text: str) -> dict[str, int]:
    matches = (re.fullmatch(_PARAMETER, each.strip()) for each in text.split(";"))
    return {match["key"]: int(match["value"]) for match in matches if match}


def retirement(headers: Mapping[str, str]) -> Retirement | None:
    """That the operation of a response will go; None where it stays."""
    deprecation = headers.get("deprecation", "").strip()
    timestamp = re.fullmatch(r"@(-?[0-9]{1,11})", deprecation)
    # Earlier drafts had a date, or no more than `true`.
    since = datetime.fromtimestamp(int(timestamp[1]), UTC) if timestamp else http_date(deprecation)
    until = http_date(headers.get("sunset", ""))
    if since is None and until is None and deprecation not in ("true", "?1"):
        return None
    return Retirement(since, until, _link(headers.get("link", "")))


def _link(header: str) -> str | None:
    import httpx  # parses links; an import of this module alone is spared it

    links = httpx.Response(200, headers={"link": header[:_LONGEST_HEADER]}).links
    for relation in ("deprecation", "sunset", "successor-version"):
        if (link := links.get(relation)) and re.fullmatch(r"https?://[!-~]+", link["url"]):
            return link["url"]
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, as a number or a date; None where it is absent or nonsense."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until = http_date(value)
        # The server's own clock tells how far off its date is; ours may be wrong.
        seconds = (
            (until - (http_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds() if until else math.nan
        )
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def http_date(value: str) -> datetime | None:
    """The moment that a header such as `Date` names; None where it names none, or an end of the calendar."""
    from email.utils import parsedate_to_datetime  # 20 modules that httpx loads, too: not before it has to

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError, IndexError):
        return None
    if not MINYEAR < moment.year < MAXYEAR:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
