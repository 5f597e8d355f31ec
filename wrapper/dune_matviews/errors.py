"""The exceptions of the SDK.

This module must not know how requests are made, nor which HTTP library makes them.

    DuneError
    ├── ConfigurationError              the environment lacks a setting, or has an invalid one
    ├── InvalidArgumentError            an argument is invalid; nothing was sent (also a ValueError)
    ├── ClientClosedError               the client was used after close()
    ├── APIError                        Dune responded, but not with a success
    │   ├── BadRequestError             400
    │   │   └── UnsupportedTierError    400 over the performance tier
    │   ├── AuthenticationError         401
    │   ├── PaymentRequiredError        402
    │   ├── PermissionDeniedError       403
    │   ├── NotFoundError               404
    │   ├── ConflictError               409
    │   ├── RateLimitError              429
    │   ├── ServerError                 5xx
    │   └── UnexpectedResponseError     a status, redirect or body that cannot be understood
    ├── RequestFailedError              no usable response; a refresh was certainly not accepted
    ├── AmbiguousRefreshError           a refresh may have been accepted, and was not found
    ├── AlreadyRunningError             refresh(if_running="refuse") found an execution under way
    ├── RefreshError                    the refresh did not make the view fresh
    │   ├── RefreshFailedError          the execution failed
    │   ├── RefreshCanceledError        the execution was cancelled
    │   ├── RefreshExpiredError         the execution expired
    │   ├── CreditLimitError            cancelled, because its running cost passed `max_credits`
    │   └── WaitTimeoutError            the timeout is over; the refresh goes on (also a TimeoutError)
    ├── JournalError                    the journal cannot be used
    ├── ForecastError                   refresh_all() started nothing: its forecast exceeds max_forecast
    └── RefreshesFailedError            refresh_all() left views that are not fresh
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .remedies import Advice, Attach, ChangeSetting, Remedy, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from ._http.headers import RateLimit
    from .models import ExecutionStatus, Forecast
    from .report import RefreshReport


class DuneError(Exception):
    """The base class of all errors of this SDK. `str()` has the problem and the next step, in Python's terms.

    Attributes:
        remedy: the next step, as data; None if there is none.
        execution_id: the execution concerned, or None if unknown.
        view: the view concerned, or None if unknown.
    """

    execution_id: str | None = None
    view: str | None = None
    remedy: Remedy | None = None

    def __init__(self, problem: str = "", *, remedy: Remedy | None = None) -> None:
        super().__init__(problem)
        if remedy is not None:
            self.remedy = remedy

    @property
    def problem(self) -> str:
        """The message without the next step."""
        return str(self.args[0]) if self.args else ""

    def describe(self, words: Callable[[Remedy], str] = str) -> str:
        """Return the whole message; *words* puts the remedy into words for its readers."""
        text = self.problem
        if self.view is not None and self.view not in text:
            text = f"{text.rstrip('.')} (view {self.view})."
        if self.remedy is None:
            return text
        return f"{text}{'' if text.endswith('.') else '.'} {words(self.remedy)}"

    def __str__(self) -> str:
        return self.describe()

    def __reduce__(self) -> tuple[Any, ...]:
        # By default exceptions are rebuilt from their positional arguments alone; ours have keyword arguments.
        return _new, (type(self),), {**vars(self), "args": self.args}


def _new(cls: type[DuneError]) -> DuneError:
    return cls.__new__(cls)


class ConfigurationError(DuneError):
    """The environment lacks a setting that a client needs, or has an invalid one."""


class InvalidArgumentError(DuneError, ValueError):
    """An argument is invalid; nothing was sent.

    Attributes:
        argument: the name of the argument, if `problem` begins with it.
    """

    def __init__(self, problem: str, *, argument: str | None = None, remedy: Remedy | None = None) -> None:
        super().__init__(problem if argument is None else f"{argument} {problem}", remedy=remedy)
        self.argument = argument


class ClientClosedError(DuneError):
    """The client was used after it had been closed."""


class APIError(DuneError):
    """Dune responded, but not with a success.

    Attributes:
        status_code: the HTTP status.
        message: the server's own words, shortened if they are long; empty if there are none.
        body: the response as text, cut after 20,000 characters.
        request_id: the id by which Dune's support can find the request, if the response has one.
        retry_after: the seconds that the server asked the client to wait, or None.
        limits: the request limits that the response announced, as a tuple of `RateLimit`.
        reached_dune: False if the edge in front of Dune says that it could not connect to Dune.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        reached_dune: bool = True,
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.message = message
        self.status_code = status_code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after
        self.limits: tuple[RateLimit, ...] = ()
        self.reached_dune = reached_dune

    @property
    def problem(self) -> str:
        """The status, the server's own words, and the id of the request."""
        said = f"Dune responded with {self.status_code}" + (f": {self.message.rstrip('.')}" if self.message else "")
        return f"{said} (request {self.request_id})." if self.request_id else f"{said}."


class BadRequestError(APIError):
    """400: the request itself is wrong; sending it again will not help."""

    remedy = Advice("The request itself is wrong; sending it again will not help.")


class UnsupportedTierError(BadRequestError):
    """400 over the performance tier: which tiers an account may use depends on its plan."""


class AuthenticationError(APIError):
    """401: the key is missing, wrong or revoked."""

    remedy = ChangeSetting("Check {}: the key is wrong or revoked.", (Setting("api_key", variable="DUNE_API_KEY"),))


class PaymentRequiredError(APIError):
    """402: the account has reached its limit of credits for the billing cycle."""

    remedy = Advice(
        "The account has reached its credit limit for this billing cycle; raise the limit, or wait for the next."
    )


class PermissionDeniedError(APIError):
    """403: the key's account may not do this."""

    remedy = Advice("The key's account must own the view, and the view's query must be saved and not archived.")


class NotFoundError(APIError):
    """404: no such view or execution."""

    remedy = Advice("Check the spelling of the name or id, and that the key belongs to the account that owns it.")


class ConflictError(APIError):
    """409: the request conflicts with one that Dune is processing."""

    remedy = Advice("Look at what the view is doing already before you ask again.")


class RateLimitError(APIError):
    """429: more requests a minute than the account's plan allows."""

    remedy = ChangeSetting(
        "Too many requests a minute for the account: check that {} is its plan, and who else uses its keys.",
        (Setting("plan", variable="DUNE_PLAN"),),
    )


class ServerError(APIError):
    """5xx: Dune, or something between, failed."""

    remedy = Advice("The fault is on the server's side; try again later.")


class UnexpectedResponseError(APIError):
    """A response that cannot be understood: an unknown status, a redirect, an unexpected body."""

    remedy = ChangeSetting(
        "Check {}, and what stands between you and Dune.", (Setting("base_url", variable="DUNE_API_BASE_URL"),)
    )


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
}


def error_class(status_code: int) -> type[APIError]:
    """The class for the status of an unsuccessful response."""
    if status_code in _BY_STATUS:
        return _BY_STATUS[status_code]
    if 400 <= status_code < 500:
        return APIError
    return ServerError if status_code >= 500 else UnexpectedResponseError


class RequestFailedError(DuneError):
    """No usable response came. If a refresh raises this, it was certainly not accepted.

    Attributes:
        sent: whether the request may have reached Dune; a refresh was not accepted even then.
        is_transient: whether a later attempt may succeed; False for an untrusted certificate, or a proxy that refuses.
    """

    def __init__(
        self, message: str, *, sent: bool = False, is_transient: bool = True, remedy: Remedy | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.sent = sent
        self.is_transient = is_transient


class AmbiguousRefreshError(DuneError):
    """A refresh may have been accepted, and billed, but its execution was not found.

    The cause (`__cause__`) is the failure that left the question open. The client remembers it: the next refresh of the
    view searches again before it sends anything.

    Attributes:
        name: the view.
        baseline: the executions that the view had before the request; None if they could not be read.
        candidates: the executions that may be the one, if there are several.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str,
        baseline: tuple[str, ...] | None = None,
        candidates: tuple[str, ...] = (),
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy or (Attach(candidates) if candidates else None))
        self.name = self.view = name
        self.baseline = baseline
        self.candidates = candidates


class AlreadyRunningError(DuneError):
    """`refresh(if_running="refuse")` found an execution of the view under way, and started none.

    Attributes:
        name: the view.
        execution_id: the execution under way.
    """

    def __init__(self, message: str, *, name: str, execution_id: str) -> None:
        super().__init__(message, remedy=Attach((execution_id,)))
        self.name = self.view = name
        self.execution_id = execution_id


class RefreshError(DuneError):
    """The refresh did not make the view fresh, or is not known to have done so.

    This class itself is raised for a final state that this version of the SDK does not know.

    Attributes:
        execution_id: the execution.
        status: its last known status; None if no poll succeeded.
    """

    def __init__(
        self, message: str, *, execution_id: str, status: ExecutionStatus | None, remedy: Remedy | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        # Never None here, so that it can be passed to attach() as it is.
        self.execution_id: str = execution_id  # pyright: ignore[reportIncompatibleVariableOverride]
        self.status = status


class RefreshFailedError(RefreshError):
    """The execution failed. `status.error` has Dune's reason."""


class RefreshCanceledError(RefreshError):
    """The execution was cancelled."""


class RefreshExpiredError(RefreshError):
    """The execution expired."""


class CreditLimitError(RefreshError):
    """The execution was cancelled, because its running cost passed `max_credits`."""


class WaitTimeoutError(RefreshError, TimeoutError):
    """The timeout is over, or Dune did not respond for too long; the refresh goes on.

    The cause (`__cause__`) is the failure of the last poll, if that failed.
    """


class ForecastError(DuneError):
    """The run is forecast to cost more than `max_forecast`, or its cost cannot be forecast; nothing was started.

    Attributes:
        forecast: the `Forecast`.
    """

    def __init__(self, message: str, *, forecast: Forecast) -> None:
        super().__init__(message)
        self.forecast = forecast


class JournalError(DuneError):
    """A journal cannot be used: it is damaged, foreign, of other views, in use by another run, or not writable.

    Attributes:
        path: the file; None if the journal is an object.
    """

    def __init__(self, message: str, *, path: Path | None = None, remedy: Remedy | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.path = path


class RefreshesFailedError(DuneError):
    """A run of `refresh_all` left views that are not known to be fresh; `str()` names them all.

    Attributes:
        report: the result of each view.
    """

    def __init__(self, message: str, *, report: RefreshReport) -> None:
        super().__init__(message)
        self.report = report
