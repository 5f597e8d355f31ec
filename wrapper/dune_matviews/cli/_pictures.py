"""The lineage of a view as a picture: a tree, or a graph for Mermaid or Graphviz.

This module must not know where lineage comes from. Arrows point from a view to its readers: the order of
refreshing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dune_matviews.plan import format_plan

from . import _text

Lineage = Mapping[str, tuple[str, ...]]


def tree(lineage: Lineage, ascii: bool = False) -> str:
    """Each view with the views that it reads below it, each drawn once; views without readers are at the top."""
    read = {upstream for reads in lineage.values() for upstream in reads}
    tops = [name for name in lineage if name not in read]
    fork, corner, wall = ("|-- ", "`-- ", "|   ") if ascii else ("├── ", "└── ", "│   ")
    lines: list[str] = []
    drawn: set[str] = set()
    # The views to draw, the next one last: name, prefix of its own line, prefix of the lines below it.
    pending = [(name, "", "") for name in reversed(tops)]
    while pending:
        name, before, below = pending.pop()
        reads = lineage.get(name, ())
        again = name in drawn and bool(reads)
        lines.append(f"{before}{_text.line(name)}{' (see above)' if again else ''}")
        if again:
            continue
        drawn.add(name)
        for place, upstream in enumerate(reversed(reads)):
            last = place == 0
            pending.append((upstream, below + (corner if last else fork), below + ("    " if last else wall)))
    return "\n".join(lines)


def mermaid(lineage: Lineage) -> str:
    """A flow chart for Mermaid, which GitHub shows in Markdown."""
    labels = {name: name.translate({ord(each): f"#{ord(each)};" for each in '#"&<>`\\'}) for name in _names(lineage)}
    ids = {name: f"v{place}" for place, name in enumerate(labels)}
    nodes = [f'    {ids[name]}["{_text.line(label)}"]' for name, label in labels.items()]
    return "\n".join(["flowchart LR", *nodes, *(f"    {ids[a]} --> {ids[b]}" for a, b in _arrows(lineage))])


def dot(lineage: Lineage) -> str:
    """A graph for Graphviz."""

    def quoted(name: str) -> str:
        return '"' + _text.line(name).replace("\\", "\\\\").replace('"', '\\"') + '"'

    nodes = [f"    {quoted(name)};" for name in _names(lineage)]
    arrows = [f"    {quoted(a)} -> {quoted(b)};" for a, b in _arrows(lineage)]
    return "\n".join(["digraph lineage {", "    rankdir=LR;", "    node [shape=box];", *nodes, *arrows, "}"])


def _names(lineage: Lineage) -> dict[str, None]:
    return dict.fromkeys([*lineage, *(upstream for reads in lineage.values() for upstream in reads)])


def _arrows(lineage: Lineage) -> Iterator[tuple[str, str]]:
    for name, reads in lineage.items():
        for upstream in reads:
            yield upstream, name


FORMATS: dict[str, Callable[[Lineage], str]] = {"tree": tree, "mermaid": mermaid, "dot": dot, "toml": format_plan}
"""How lineage is drawn, by the names that people choose from."""
