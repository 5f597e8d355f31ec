"""What a client is told: its arguments, then the environment, then defaults; each checked before anything is sent.

This module must not know how requests are made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Literal, NoReturn, Self

import attrs

from ._arguments import Seconds, seconds
from ._pacing import PLANS, RequestBudget
from .errors import ConfigurationError, DuneError, InvalidArgumentError

Plan = Literal["free", "plus", "enterprise"]

DEFAULT_BASE_URL = "https://api.dune.com"
DEFAULT_TIMEOUT = 10.0
KEY_HELP = "Create one at https://dune.com/apis?tab=keys, and set DUNE_API_KEY or pass api_key=."

# One strict grammar, so that no two parsers of URLs can see two different hosts: no user, no query, no fragment.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(/[A-Za-z0-9_./~%-]*)?)"
)


class ApiKey:
    """Dune's API key, which shows itself in no repr, dict or pickle."""

    __slots__ = ("_reveal",)

    def __init__(self, key: str) -> None:
        # A closure, because whatever looks through attributes (dicts, serializers, debuggers) looks no further.
        self._reveal: Callable[[], str] = lambda: key

    def reveal(self) -> str:
        """The key itself."""
        return self._reveal()

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled; create the client where it is used")


@attrs.frozen(kw_only=True)
class Settings:
    """One client's settings, ready for use: seconds, a base URL that ends in `/api`, a budget or None."""

    api_key: ApiKey
    base_url: str
    timeout: float
    budget: RequestBudget | None

    @classmethod
    def gather(
        cls,
        api_key: str | None,
        base_url: str | None,
        timeout: Seconds | None,
        plan: Plan | RequestBudget | None,
    ) -> Self:
        """Check what was passed, and take from the environment what was not."""
        return cls(
            api_key=_api_key(api_key),
            base_url=_base_url(base_url),
            timeout=_timeout(timeout),
            budget=_budget(plan),
        )

    @property
    def is_plaintext(self) -> bool:
        """The base URL is http, which only loopback may be."""
        return self.base_url.startswith("http:")


def _api_key(argument: str | None) -> ApiKey:
    given, source, error = _given(argument, "api_key", "DUNE_API_KEY")
    if not isinstance(given, str | None):
        raise error(f"{source} must be a str, not {type(given).__name__}")
    key = (given or "").strip()
    if not key:
        raise ConfigurationError(f"No Dune API key: {source} is {'not set' if given is None else 'blank'}. {KEY_HELP}")
    if not all(0x20 <= ord(character) < 0x7F for character in key):
        raise error(f"{source} cannot be sent as a header: it has characters other than printable ASCII. {KEY_HELP}")
    return ApiKey(key)


def _base_url(argument: str | None) -> str:
    given, source, error = _given(argument, "base_url", "DUNE_API_BASE_URL")
    given = DEFAULT_BASE_URL if given is None else given
    match = _URL.fullmatch(given) if isinstance(given, str) else None
    if match is None or int(match["port"] or 0) > 65535:
        raise error(f"{source} must be an http(s) URL such as {DEFAULT_BASE_URL!r}, without user or query")
    if match["scheme"] == "http" and not _is_loopback(match["host"]):
        raise error(f"{source} would send the API key unencrypted to {match['host']}; use https, except to loopback")
    if re.search(r"/\.{1,2}(/|$)|//", match["path"]):
        raise error(f"{source} has an empty or dotted step in its path; write the path out")
    return match[0].rstrip("/").removesuffix("/api") + "/api"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    from ipaddress import ip_address  # only the few who use http need it

    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _timeout(argument: Seconds | None) -> float:
    given, source, error = _given(argument, "timeout", "DUNE_API_REQUEST_TIMEOUT")
    if given is None:
        return DEFAULT_TIMEOUT
    try:
        return seconds(float(given) if isinstance(given, str) and argument is None else given, source)
    except ValueError as problem:
        raise error(f"{source} must be a number of seconds above zero, not {given!r}") from problem


def _budget(plan: Plan | RequestBudget | None) -> RequestBudget | None:
    if plan is None:
        return None
    budget = plan if isinstance(plan, RequestBudget) else PLANS.get(plan) if isinstance(plan, str) else None
    if budget is None:
        known = ", ".join(map(repr, PLANS))
        raise InvalidArgumentError(f"plan must be one of {known}, a RequestBudget, or None for no pacing, not {plan!r}")
    if any(isinstance(limit, bool) or not isinstance(limit, int) or limit < 1 for limit in (budget.low, budget.high)):
        raise InvalidArgumentError(f"plan must allow at least one request a minute of each kind, not {budget!r}")
    return budget


def _given(argument: object, name: str, variable: str) -> tuple[object, str, type[DuneError]]:
    """What was given, the name of where it was given, and whose mistake it is if it is wrong."""
    if argument is not None:
        return argument, name, InvalidArgumentError
    # An empty variable counts as unset: that is how shells and CI systems pass on what they do not have.
    return os.environ.get(variable) or None, f"the environment variable {variable}", ConfigurationError
