"""Refresh Dune materialized views from Python, know when they are fresh, never pay twice.

    >>> from dune_matviews import MatviewsClient
    >>> with MatviewsClient() as dune:  # the key is in DUNE_API_KEY
    ...     status = dune.refresh("dune.my_team.result_base").wait(timeout=3600, max_credits=50)
    ...     report = dune.refresh_all(dune.lineage("dune.my_team.result_daily"), max_age=6 * 3600)
    >>> status.state, status.cost_credits
    (<ExecutionState.COMPLETED: 'completed'>, 1.0)
    >>> report.raise_for_failures()

- `MatviewsClient`, `AsyncMatviewsClient`: start with these. Each method's `help()` has an example.
- `Refresh`, `AsyncRefresh`: one execution, to poll, wait for or cancel.
- `RefreshReport`, `ViewResult`, `Outcome`: the outcome of a run of many views.
- `DuneError` and its subclasses: `help(dune_matviews.errors)` has the tree.
- `dune_matviews.sandbox`: a local stand-in for Dune, for tests; `dune_matviews.journal`: read and settle journals.

This module must not import httpx or the generated code: it loads names when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import (
    AlreadyRunningError,
    AmbiguousRefreshError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    CreditLimitError,
    DuneError,
    ForecastError,
    InvalidArgumentError,
    JournalError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RefreshCanceledError,
    RefreshError,
    RefreshesFailedError,
    RefreshExpiredError,
    RefreshFailedError,
    RequestFailedError,
    ServerError,
    UnexpectedResponseError,
    UnsupportedTierError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ._core import JournalLike
    from ._http.headers import RateLimit
    from ._http.rate_limits import Plan, RequestBudget
    from ._tiers import Performance, SmallTier, SmallTierWarning
    from ._validate import KEEP, IfLost, IfRunning, Keep, Seconds
    from .async_client import AsyncMatviewsClient, AsyncRefresh
    from .client import MatviewsClient, Refresh
    from .models import (
        Account,
        ErrorDetail,
        ExecutionState,
        ExecutionStatus,
        Forecast,
        Freshness,
        Matview,
        Range,
        Retry,
        Schedule,
        Usage,
        ViewForecast,
    )
    from .report import Outcome, RefreshReport, StopReason, ViewResult

__version__ = "0.1.0"

__all__ = [
    "KEEP",
    "APIError",
    "Account",
    "AlreadyRunningError",
    "AmbiguousRefreshError",
    "AsyncMatviewsClient",
    "AsyncRefresh",
    "AuthenticationError",
    "BadRequestError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "CreditLimitError",
    "DuneError",
    "ErrorDetail",
    "ExecutionState",
    "ExecutionStatus",
    "Forecast",
    "ForecastError",
    "Freshness",
    "IfLost",
    "IfRunning",
    "InvalidArgumentError",
    "JournalError",
    "JournalLike",
    "Keep",
    "Matview",
    "MatviewsClient",
    "NotFoundError",
    "Outcome",
    "PaymentRequiredError",
    "Performance",
    "PermissionDeniedError",
    "Plan",
    "Range",
    "RateLimit",
    "RateLimitError",
    "Refresh",
    "RefreshCanceledError",
    "RefreshError",
    "RefreshExpiredError",
    "RefreshFailedError",
    "RefreshReport",
    "RefreshesFailedError",
    "RequestBudget",
    "RequestFailedError",
    "Retry",
    "Schedule",
    "Seconds",
    "ServerError",
    "SmallTier",
    "SmallTierWarning",
    "StopReason",
    "UnexpectedResponseError",
    "UnsupportedTierError",
    "Usage",
    "ViewForecast",
    "ViewResult",
    "WaitTimeoutError",
]

_NAMES = {
    "_core": "JournalLike",
    "_http.headers": "RateLimit",
    "_http.rate_limits": "Plan RequestBudget",
    "_tiers": "Performance SmallTier SmallTierWarning",
    "_validate": "KEEP IfLost IfRunning Keep Seconds",
    "async_client": "AsyncMatviewsClient AsyncRefresh",
    "client": "MatviewsClient Refresh",
    "models": "Account ErrorDetail ExecutionState ExecutionStatus Forecast Freshness Matview Range Retry Schedule "
    "Usage ViewForecast",
    "report": "Outcome RefreshReport StopReason ViewResult",
}
"""The names above, except the errors, by the modules that define them: none is loaded for a name of another."""

_LAZY = {name: module for module, names in _NAMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f".{_LAZY[name]}", __name__), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
