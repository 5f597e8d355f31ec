"""The elements of HTML that a report's page and a notebook's displays share.

This module must not know reports. All foreign text goes through `text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape

from .timing import Span

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


def text(given: str) -> str:
    """Foreign text, without anything that a browser would act on."""
    return escape("".join(each if each.isprintable() else " " for each in given))


def value(given: object) -> str:
    """A value in a form for people; empty for None."""
    if given is None:
        return ""
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, datetime):
        return text(f"{given:%Y-%m-%d %H:%M:%S %Z}")
    return text(f"{given:,.2f}" if isinstance(given, float) else f"{given:,}" if isinstance(given, int) else str(given))


def reason(given: str | None) -> str:
    """A reason, to stand below the other content of a cell."""
    return f'<div class="why">{text(given)}</div>' if given else ""


def table(heads: Iterable[str], rows: Iterable[str]) -> str:
    """A table; each row is its cells."""
    head = "".join(f'<th scope="col">{each}' for each in heads)
    return f"<table><thead><tr>{head}<tbody>{''.join(f'<tr>{row}' for row in rows)}</table>"


def facts(given: Mapping[str, object]) -> str:
    """A table of names and values, without those that are None."""
    rows = (f'<tr><th scope="row">{name}<td>{value(each)}' for name, each in given.items() if each is not None)
    return f"<table><tbody>{''.join(rows)}</table>"


def bar(span: Span | None, whole: float, is_critical: bool) -> str:
    """A bar of a Gantt chart that is *whole* seconds wide; nothing if that is no time at all."""
    if span is None or not whole:
        return ""
    left, width = 100 * span.start / whole, 100 * (span.end - span.start) / whole
    told = f"from {span.start:,.1f} s to {span.end:,.1f} s"
    style, color = f"margin-left:{min(left, 99):.2f}%;width:{width:.2f}%", "path" if is_critical else ""
    return f'<i role="img" aria-label="{told}" title="{told}" class="{color}" style="{style}"></i>'
