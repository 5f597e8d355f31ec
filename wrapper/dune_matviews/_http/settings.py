"""Settings of a client: its arguments, then the environment, then defaults; each checked before anything is sent.

This module must not know how requests are made.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, Self

from .._validate import Seconds, brief, seconds
from ..errors import ConfigurationError, DuneError, InvalidArgumentError
from ..remedies import ChangeSetting, Setting
from .rate_limits import PLANS, Plan, RequestBudget
from .redaction import ApiKey

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

DEFAULT_BASE_URL = "https://api.dune.com"
DEFAULT_TIMEOUT = 10.0
LONGEST_TIMEOUT = 24 * 3600.0
LONGEST_URL = 2_000
KEY_HELP = ChangeSetting(
    "Create one at https://dune.com/apis?tab=keys, and set {}.", (Setting("api_key", variable="DUNE_API_KEY"),)
)

# One strict grammar, so that no two parsers of URLs can see two different hosts: no user, no query, no fragment.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(/[A-Za-z0-9_./~%-]*)?)"
)


class Settings(NamedTuple):
    """One client's settings, ready for use: seconds, a base URL that ends in `/api`, a budget or None.

    *learns* says that the budget is that of a plan, which Dune may know better.
    """

    api_key: ApiKey
    base_url: str
    timeout: float
    budget: RequestBudget | None
    learns: bool

    @classmethod
    def gather(
        cls,
        api_key: str | None,
        base_url: str | None,
        timeout: Seconds | None,
        plan: Plan | RequestBudget | None,
    ) -> Self:
        """Check the arguments, and take missing ones from the environment."""
        return cls(
            api_key=_api_key(api_key),
            base_url=_base_url(base_url),
            timeout=_timeout(timeout),
            budget=_budget(plan),
            learns=isinstance(plan, str),
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
        blank = "not set" if given is None else "blank"
        raise ConfigurationError(f"No Dune API key: {source} is {blank}.", remedy=KEY_HELP)
    if not all(0x20 <= ord(character) < 0x7F for character in key):
        problem = f"{source} cannot be sent as a header: it has characters other than printable ASCII."
        raise error(problem, remedy=KEY_HELP)
    return ApiKey(key)


def _base_url(argument: str | None) -> str:
    given, source, error = _given(argument, "base_url", "DUNE_API_BASE_URL")
    given = DEFAULT_BASE_URL if given is None else given
    match = _URL.fullmatch(given) if isinstance(given, str) and len(given) <= LONGEST_URL else None
    if match is None or int(match["port"] or 0) > 65535 or not _is_host(match["host"]):
        raise error(f"{source} must be an http(s) URL such as {DEFAULT_BASE_URL!r}, without user or query")
    if match["scheme"] == "http" and not _is_loopback(match["host"]):
        raise error(f"{source} would send the API key unencrypted to {match['host']}; use https, except to loopback")
    if re.search(r"/\.{1,2}(/|$)|//", match["path"]):
        raise error(f"{source} has an empty or dotted step in its path; write the path out")
    return match[0].rstrip("/").removesuffix("/api") + "/api"


def _is_host(host: str) -> bool:
    """The host is an address, or else a name that can be looked up."""
    if host.startswith("[") or not host.strip("0123456789."):
        return _address(host) is not None
    return len(host) <= 253 and all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import IPv4Address, IPv6Address  # only the few who do without a name need it

    try:
        return IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except ValueError:
        return None


def _timeout(argument: Seconds | None) -> float:
    given, source, error = _given(argument, "timeout", "DUNE_API_REQUEST_TIMEOUT")
    if given is None:
        return DEFAULT_TIMEOUT
    try:
        number = float(given) if isinstance(given, str) and argument is None else given
        return seconds(number, source, most=LONGEST_TIMEOUT)
    except ValueError as problem:
        raise error(f"{source} must be a number of seconds above zero, a day at most, not {brief(given)}") from problem


def _budget(plan: Plan | RequestBudget | None) -> RequestBudget | None:
    if plan is None:
        return None
    known = ", ".join(map(repr, PLANS))
    if plan == "auto":
        name, source, error = _given(None, "plan", "DUNE_PLAN")
        budget = PLANS.get(str(name or "free"))
        if budget is None:
            raise error(f"{source} must be one of {known}, not {brief(name)}")
        return budget
    budget = plan if isinstance(plan, RequestBudget) else PLANS.get(plan) if isinstance(plan, str) else None
    if budget is None:
        raise InvalidArgumentError(
            f"plan must be 'auto', one of {known}, a RequestBudget, or None for no pacing, not {plan!r}"
        )
    if any(isinstance(limit, bool) or not isinstance(limit, int) or limit < 1 for limit in (budget.low, budget.high)):
        raise InvalidArgumentError(f"plan must allow at least one request a minute of each kind, not {budget!r}")
    return budget


def _given(argument: object, name: str, variable: str) -> tuple[object, str, type[DuneError]]:
    """The value that was given, the name of its source, and the error for a wrong one."""
    if argument is not None:
        return argument, name, InvalidArgumentError
    # An empty variable counts as unset: shells and CI systems pass on missing values like that.
    return os.environ.get(variable) or None, f"the environment variable {variable}", ConfigurationError
