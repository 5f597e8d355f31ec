"""OpenTelemetry spans for refreshes and runs (extra `otel`). Spans of httpx's own instrumentation are their children.

    >>> from dune_matviews import otel
    >>> otel.instrument()

| span | covers | attributes `dune.…`, where known |
| --- | --- | --- |
| `dune.refresh` | a call of `refresh()` | `view`, `performance`, `execution_id` |
| `dune.wait` | a call of `Refresh.wait()` | `view`, `execution_id`, `outcome`, `cost_credits` |
| `dune.refresh_all` | a call of `refresh_all()` | `views` (their number), `outcome`, `stopped_by`, `cost_credits` |
| `dune.view` | a view of a run, by Dune's times | all of `dune.refresh` and `dune.wait`, `reason` |

Outcomes are those of `Outcome`; that of a run is `succeeded` if every view is fresh, else `failed`.

This module must not know how a view is refreshed: it wraps the public methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode, Tracer, TracerProvider

import dune_matviews as sdk
from dune_matviews import Outcome, RefreshReport

__all__ = ["instrument", "uninstrument"]

_OUTCOMES: dict[type[BaseException], Outcome] = {
    sdk.AmbiguousRefreshError: Outcome.AMBIGUOUS,
    sdk.CreditLimitError: Outcome.CANCELED,
    sdk.RefreshCanceledError: Outcome.CANCELED,
    sdk.RefreshExpiredError: Outcome.EXPIRED,
    sdk.WaitTimeoutError: Outcome.RUNNING,
}
_originals: dict[tuple[type, str], Callable[..., Any]] = {}


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Trace all clients of this process from now on. A second call does nothing.

    Args:
        tracer_provider: the provider of the tracer; None takes OpenTelemetry's global one.
    """
    if _originals:
        return
    tracer = trace.get_tracer("dune_matviews", tracer_provider=tracer_provider)
    for kind, wrap, *names in (
        (sdk.MatviewsClient, _sync, "refresh", "refresh_all"),
        (sdk.AsyncMatviewsClient, _async, "refresh", "refresh_all"),
        (sdk.Refresh, _sync, "wait"),
        (sdk.AsyncRefresh, _async, "wait"),
    ):
        for name in names:
            original = _originals[kind, name] = getattr(kind, name)
            setattr(kind, name, functools.wraps(original)(wrap(original, functools.partial(_call, tracer, name))))


def uninstrument() -> None:
    """Stop tracing."""
    while _originals:
        (kind, name), original = _originals.popitem()
        setattr(kind, name, original)


def _sync(original: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    def traced(self: object, *args: Any, **options: Any) -> Any:
        with call(self, args, options) as tell:
            result = original(self, *args, **options)
            tell(result)
            return result

    return traced


def _async(original: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    async def traced(self: object, *args: Any, **options: Any) -> Any:
        with call(self, args, options) as tell:
            result = await original(self, *args, **options)
            tell(result)
            return result

    return traced


@contextmanager
def _call(
    tracer: Tracer, method: str, subject: Any, args: tuple[Any, ...], options: Mapping[str, Any]
) -> Generator[Callable[[Any], None]]:
    """The span of one call of *method*. The caller passes its result to the function that this yields."""
    asked, default = options.get("performance"), subject._core.tiers.default

    def tier_of(view: str) -> Any:
        return (asked.get(view) if isinstance(asked, Mapping) else asked) or default

    with tracer.start_as_current_span(f"dune.{method}") as span:

        def tell(result: Any) -> None:
            if method == "wait":
                _set(span, outcome=Outcome.SUCCEEDED, cost_credits=result.cost_credits)
            elif method == "refresh":
                _set(span, execution_id=result.execution_id)
            else:
                _tell_run(tracer, span, result, tier_of)

        if method == "wait":
            _set(span, view=subject.name, execution_id=subject.execution_id)
        elif method == "refresh":
            view = args[0] if args else options.get("name", "")
            _set(span, view=view, performance=tier_of(view))
        try:
            yield tell
        except BaseException as error:
            status, report = getattr(error, "status", None), getattr(error, "report", None)
            _set(span, execution_id=getattr(error, "execution_id", None), cost_credits=status and status.cost_credits)
            _set(span, outcome=_OUTCOMES.get(type(error), Outcome.FAILED))
            if report is not None:
                _tell_run(tracer, span, report, tier_of)
            raise


def _tell_run(tracer: Tracer, span: Span, report: RefreshReport, tier_of: Callable[[str], Any]) -> None:
    _set(span, views=len(report.results), cost_credits=report.cost_credits, stopped_by=report.stopped_by)
    _set(span, outcome=Outcome.SUCCEEDED if report.ok else Outcome.FAILED)
    if not report.ok:
        span.set_status(Status(StatusCode.ERROR, str(report.stopped_by or "views are not fresh")))
    for name, result in report.results.items():
        child = tracer.start_span("dune.view", start_time=_nanoseconds(result.started_at or report.ended_at))
        _set(child, view=name, performance=tier_of(name), execution_id=result.execution_id)
        _set(child, outcome=result.outcome, reason=result.reason, cost_credits=result.cost_credits)
        if not result.outcome.is_fresh:
            child.set_status(Status(StatusCode.ERROR, result.reason))
        child.end(_nanoseconds(result.ended_at or report.ended_at))


def _set(span: Span, **values: object) -> None:
    """Set the attributes that are known."""
    known = {f"dune.{name}": value for name, value in values.items() if isinstance(value, str | int | float)}
    span.set_attributes({name: str(value) if isinstance(value, str) else value for name, value in known.items()})


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
