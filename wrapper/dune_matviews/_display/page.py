"""A report as one self-contained page of HTML: outcomes, costs, failures, a Gantt chart and the lineage.

This module must not know how a report is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .elements import STYLE, bar, reason, table, text, value
from .timing import Span

if TYPE_CHECKING:
    from ..report import RefreshReport, ViewResult


def page(report: RefreshReport, totals: str) -> str:
    """The whole page."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<title>Refresh report</title><style>:root{color-scheme:light dark}body{margin:0}</style>"
        f"{section(report, totals)}</html>"
    )


def section(report: RefreshReport, totals: str) -> str:
    """The part of the page that a notebook shows, too."""
    return "".join(_section(report, totals))


def _section(report: RefreshReport, totals: str) -> Iterator[str]:
    verdict = '<span class="good">all views are fresh</span>' if report.ok else '<span class="bad">not all fresh</span>'
    yield f'<style>{STYLE}</style><main class="dune"><h1>Refresh report: {verdict}</h1>'
    yield f"<p>{text(totals)}, from {report.started_at:%Y-%m-%d %H:%M:%S %Z}"
    yield f"; stopped by {text(report.stopped_by.value)}.</p>" if report.stopped_by else ".</p>"
    if path := report.critical_path:
        spent = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in report.time_spent.items())
        yield f"<details{' open' if len(path) < 6 else ''}><summary>Critical path of {len(path)}: {spent}</summary>"
        yield f"{' → '.join(map(text, path))}</details>"
    yield table(("View", "Outcome", "Time", "Credits", "Gantt chart, critical path in blue"), _rows(report))
    if any(report.reads.values()):
        named = {name: f'<span class="{kind(each)}">{text(name)}</span>' for name, each in report.results.items()}
        read = {named[name]: ", ".join(map(named.__getitem__, reads)) for name, reads in report.reads.items() if reads}
        yield "<h2>Lineage</h2>"
        yield table(("View", "Reads"), (f'<td class="v">{view}<td class="v">{reads}' for view, reads in read.items()))
    yield "</main>"


def _rows(report: RefreshReport) -> Iterator[str]:
    spans, path = report.spans, report.critical_path
    whole = max((span.end for span in spans.values()), default=0.0)
    for name in sorted(report.results, key=lambda each: spans.get(each, Span(whole, whole)).start):
        result, span = report.results[name], spans.get(name)
        took = "" if span is None else f"{span.end - span.start:,.1f} s"
        yield (
            f'<td class="v">{text(name)}<td><span class="{kind(result)}">{text(result.outcome.value)}</span>'
            f'{reason(result.reason)}<td class="n">{took}<td class="n">{value(result.cost_credits)}'
            f'<td class="lane">{bar(span, whole, name in path)}'
        )


def kind(result: ViewResult) -> str:
    """The class of its outcome in the style."""
    if result.outcome.is_fresh:
        return "good"
    return "idle" if result.outcome.value in ("skipped", "not_started", "running") else "bad"
