"""A report as one self-contained page of HTML: outcomes, costs, failures, a Gantt chart and the lineage.

This module must not know how a report is made. All text of others goes through `text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from .timing import Span

if TYPE_CHECKING:
    from ..report import RefreshReport, ViewResult

STYLE = """
.dune{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--line:#d9dce0;
--good:#2b7a4b;--bad:#b3261e;--idle:#8a6d1a;--path:#3b5bdb}
@media(prefers-color-scheme:dark){.dune{--ink:#edeef0;--soft:#a5a9b0;--line:#3a3d42;
--good:#58b47c;--bad:#ff8a80;--idle:#e0b84c;--path:#91a7ff}}
.dune{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:Canvas;max-width:70rem;margin:auto;padding:1rem}
.dune h1{font-size:1.3rem;margin:0 0 .3rem}.dune h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
.dune table{border-collapse:collapse;width:100%}.dune p,.dune details{overflow-wrap:anywhere}
.dune th,.dune td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.dune .n{text-align:right;white-space:nowrap}.dune .v{overflow-wrap:anywhere;width:30%}
.dune .why{color:var(--soft);overflow-wrap:anywhere}
.dune .good{color:var(--good)}.dune .bad{color:var(--bad)}.dune .idle{color:var(--idle)}
.dune .lane{width:34%}.dune i{display:block;height:.8rem;border-radius:2px;background:var(--soft);min-width:2px}
.dune i.path{background:var(--path)}
@media(max-width:40rem){.dune thead{position:absolute;clip-path:inset(50%)}
.dune tr{display:flex;flex-wrap:wrap;border-bottom:1px solid var(--line)}.dune td{border:0}
.dune .v,.dune .lane{width:100%}}
"""


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
    path, spans = report.critical_path, report.spans
    if path:
        spent = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in report.time_spent.items())
        yield f"<details{' open' if len(path) < 6 else ''}><summary>Critical path of {len(path)}: {spent}</summary>"
        yield f"{' → '.join(map(text, path))}</details>"
    whole = max((span.end for span in spans.values()), default=0.0)
    yield '<table><thead><tr><th scope="col">View<th scope="col">Outcome<th scope="col">Time'
    yield '<th scope="col">Credits<th scope="col">Gantt chart, critical path in blue<tbody>'
    for name in sorted(report.results, key=lambda each: spans.get(each, Span(whole, whole)).start):
        yield from _row(name, report.results[name], spans.get(name), whole, name in path)
    yield "</table>"
    if any(report.reads.values()):
        yield '<h2>Lineage</h2><table><thead><tr><th scope="col">View<th scope="col">Reads<tbody>'
        for name, reads in report.reads.items():
            if reads:
                yield f'<tr><td class="v">{_named(name, report)}<td class="v">'
                yield ", ".join(_named(each, report) for each in reads)
        yield "</table>"
    yield "</main>"


def _row(name: str, result: ViewResult, span: Span | None, whole: float, is_critical: bool) -> Iterator[str]:
    cost = "" if result.cost_credits is None else f"{result.cost_credits:,.2f}"
    yield f'<tr><td class="v">{text(name)}<td><span class="{kind(result)}">{text(result.outcome.value)}</span>'
    if result.reason:
        yield f'<div class="why">{text(result.reason)}</div>'
    took = "" if span is None else f"{span.end - span.start:,.1f} s"
    yield f'<td class="n">{took}<td class="n">{cost}<td class="lane">'
    if span is not None:
        yield bar(span, whole, is_critical)


def bar(span: Span, whole: float, is_critical: bool) -> str:
    """A bar of a Gantt chart that is *whole* seconds wide; nothing if that is no time at all."""
    if not whole:
        return ""
    left, width = 100 * span.start / whole, 100 * (span.end - span.start) / whole
    told = f"from {span.start:,.1f} s to {span.end:,.1f} s"
    style, color = f"margin-left:{min(left, 99):.2f}%;width:{width:.2f}%", "path" if is_critical else ""
    return f'<i role="img" aria-label="{told}" title="{told}" class="{color}" style="{style}"></i>'


def _named(name: str, report: RefreshReport) -> str:
    result = report.results.get(name)
    return f'<span class="{kind(result) if result else ""}">{text(name)}</span>'


def kind(result: ViewResult) -> str:
    """The class of its outcome in the style."""
    if result.outcome.is_fresh:
        return "good"
    return "idle" if result.outcome.value in ("skipped", "not_started", "running") else "bad"


def text(given: str) -> str:
    """Text of others, without anything that a browser would act on."""
    return escape("".join(each if each.isprintable() else " " for each in given))
