"""OpenTelemetry spans: their names, attributes, order and times, as an exporter of the user's would have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dune_matviews import MatviewsClient, RefreshFailedError, WaitTimeoutError, otel
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.skipping import SkippedTime

KEY = "s3cret-key-of-this-test"
VIEW, BASE = "dune.my_team.result_daily", "dune.my_team.result_base"
Connect = Callable[..., Any]


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A sandbox with a key that must show nowhere."""
    with DuneSandbox(api_key=KEY) as running:
        yield running


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """The spans that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(provider)
    yield exporter
    otel.uninstrument()
    assert KEY not in "".join(span.to_json() for span in exporter.get_finished_spans())


def told(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes, without the prefix that all of them have."""
    return {name.removeprefix("dune."): value for name, value in (span.attributes or {}).items()}


def id_of(span: ReadableSpan) -> int:
    """The id by which its children name it."""
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def test_a_refresh_and_its_wait(
    exported: InMemorySpanExporter, skipped: SkippedTime, connect: Connect, sandbox: DuneSandbox
) -> None:
    """Each is a span, with view, execution and tier, the client's default included, and the outcome and its cost."""
    dune = connect(KEY, base_url=sandbox.url, performance="medium")
    refresh = dune.refresh(VIEW)
    refresh.wait()
    started, waited = exported.get_finished_spans()
    subject = {"view": VIEW, "execution_id": refresh.execution_id}
    assert (started.name, told(started)) == ("dune.refresh", subject | {"performance": "medium"})
    assert (waited.name, told(waited)) == ("dune.wait", subject | {"outcome": "succeeded", "cost_credits": 1.0})


@pytest.mark.parametrize(
    ("scenario", "error", "outcome", "cost"),
    [
        (Scenario(end="failed", credits=2.0), RefreshFailedError, "failed", 0.0),
        (Scenario(pending=1e6), WaitTimeoutError, "running", 0.0),
    ],
)
def test_a_wait_that_ends_in_an_error(
    exported: InMemorySpanExporter,
    skipped: SkippedTime,
    connect: Connect,
    sandbox: DuneSandbox,
    scenario: Scenario,
    error: type[Exception],
    outcome: str,
    cost: float,
) -> None:
    """The span has the outcome, the last known cost, and the exception."""
    sandbox.rehearse(VIEW, scenario)
    refresh = connect(KEY, base_url=sandbox.url).refresh(VIEW)
    with pytest.raises(error):
        refresh.wait(timeout=60)
    waited = exported.get_finished_spans()[-1]
    assert (told(waited)["outcome"], told(waited)["cost_credits"]) == (outcome, cost)
    assert not waited.status.is_ok
    assert [event.name for event in waited.events] == ["exception"]


def test_a_run_and_its_views(
    exported: InMemorySpanExporter, skipped: SkippedTime, connect: Connect, sandbox: DuneSandbox
) -> None:
    """A run is a span, and each of its views a child with Dune's own times, its tier, its cost and its outcome."""
    sandbox.rehearse(BASE, Scenario(end="failed"))
    dune = connect(KEY, base_url=sandbox.url)
    report = dune.refresh_all({VIEW: [BASE], BASE: [], "dune.my_team.result_other": []}, performance={BASE: "large"})
    *views, run = exported.get_finished_spans()
    assert (run.name, told(run)) == ("dune.refresh_all", {"views": 3, "outcome": "failed", "cost_credits": 1.0})
    assert {span.name for span in views} == {"dune.view"}
    assert {span.parent and span.parent.span_id for span in views} == {id_of(run)}
    found = {told(span)["view"]: told(span) for span in views}
    assert {name: each["outcome"] for name, each in found.items()} == {
        name: result.outcome.value for name, result in report.results.items()
    }
    ids = {charge.name: charge.execution_id for charge in sandbox.ledger}
    assert found[BASE].items() >= {"performance": "large", "execution_id": ids[BASE]}.items()
    assert "performance" not in found[VIEW]
    lengths = {told(span)["view"]: (span.end_time or 0) - (span.start_time or 0) for span in views}
    assert lengths[BASE] == pytest.approx(4e9, abs=1e4)
    assert lengths[VIEW] == 0


def test_an_interrupted_run_has_its_views(exported: InMemorySpanExporter, sandbox: DuneSandbox) -> None:
    """An exception that ends a run leaves the span, with the views so far."""

    def stop(name: str, result: object) -> None:
        raise KeyboardInterrupt

    with MatviewsClient(KEY, base_url=sandbox.url) as dune, pytest.raises(KeyboardInterrupt):
        dune.refresh_all([VIEW], on_update=stop)
    view, run = exported.get_finished_spans()
    assert (view.name, told(run)["outcome"], told(run)["stopped_by"]) == ("dune.view", "failed", "interrupted")
    assert told(view)["execution_id"] == sandbox.ledger[0].execution_id


def test_requests_are_made_within_the_span(
    exported: InMemorySpanExporter, connect: Connect, own_http_client: Connect, sandbox: DuneSandbox, kind: str
) -> None:
    """While httpx sends, our span is the current one, so that spans of httpx's instrumentation are its children."""
    parents: set[int] = set()

    def note(request: object) -> None:
        parents.add(trace.get_current_span().get_span_context().span_id)

    async def note_async(request: object) -> None:
        note(request)

    own = own_http_client(event_hooks={"request": [note if kind == "sync" else note_async]})
    connect(KEY, base_url=sandbox.url, http_client=own).refresh(VIEW)
    (started,) = exported.get_finished_spans()
    assert parents == {id_of(started)}


def test_instrumenting_changes_no_signature(sandbox: DuneSandbox) -> None:
    """A second call adds nothing, signatures stay, and afterwards everything is as it was."""
    before = MatviewsClient.refresh
    otel.instrument(TracerProvider())
    instrumented = MatviewsClient.refresh
    otel.instrument(TracerProvider())
    try:
        assert MatviewsClient.refresh is instrumented is not before
        assert inspect.signature(instrumented) == inspect.signature(before)
        with MatviewsClient(KEY, base_url=sandbox.url) as dune, pytest.raises(TypeError):
            dune.refresh()  # type: ignore[call-arg]
    finally:
        otel.uninstrument()
    assert MatviewsClient.refresh is before
