"""Lineage: the views that a view reads, directly or not, in the order in which they have to be refreshed.

This module must not know refreshes, nor how requests travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from .._api.values import Node
from .._flow.effects import Flow
from .._http.redaction import printable
from ..errors import UnexpectedResponseError
from ..remedies import Advice
from .intents import bare, unquoted
from .requests import read
from .session import Session
from .wish import name_explained

Lineage = Mapping[str, tuple[str, ...]]


def lineage(session: Session, name: str) -> Flow[Lineage]:
    """The view and everything that it reads, each with the views that it reads directly, upstream first."""
    with name_explained(name):
        view = yield from read(session, session.operations.matview(name))
    if view.query_id is None:
        raise _unclear(f"the query behind {view.name} is not told")
    return views_of(view.name, (yield from read(session, session.operations.pipeline(view.query_id))))


def views_of(name: str, nodes: tuple[Node, ...]) -> Lineage:
    """The views that each view in *nodes*, the pipeline of the view *name*, reads directly or through plain queries."""
    if not nodes:
        raise _unclear("it has no nodes, not even for the view's own query")
    by_id = {node.id: node for node in nodes}
    if len(by_id) < len(nodes) or any(each not in by_id for node in nodes for each in node.depends_on):
        raise _unclear("two nodes have one id, or a node depends on one that is not there")
    try:
        order = list(TopologicalSorter({node.id: node.depends_on for node in nodes}).static_order())
    except CycleError as circle:
        raise _unclear(f"its nodes depend on each other in a circle, {circle.args[1]}") from None
    # One view under two names would be refreshed, and paid, twice.
    spelled = {unquoted(name): name, bare(name): name}
    views = {node.id: node.view and spelled.setdefault(unquoted(node.view), node.view) for node in nodes}
    # The views met first on the way up from a node: the node itself, or, through a query, its dependencies.
    met: dict[int, dict[str, None]] = {}
    reads: dict[str, dict[str, None]] = {}
    for number in order:
        own = views[number]
        upstream = {view: None for each in by_id[number].depends_on for view in met[each]}
        if own is not None:
            reads.setdefault(own, {}).update(upstream)
        met[number] = upstream if own is None else {own: None}
    # A node that nothing else in the pipeline depends on is read by the view itself.
    inner = {each for node in nodes for each in node.depends_on}
    ends = {view: None for number in order if number not in inner for view in met[number] if view != name}
    reads.setdefault(name, {}).update(ends)
    return _in_order(reads)


def _in_order(reads: Mapping[str, Mapping[str, None]]) -> Lineage:
    """*reads*, upstream first; two nodes of one view may make a circle where their nodes make none."""
    try:
        order = list(TopologicalSorter(reads).static_order())
    except CycleError as circle:
        raise _unclear(f"views read each other in a circle, {' reads '.join(reversed(circle.args[1]))}") from None
    return {name: tuple(reads[name]) for name in order}


def _unclear(problem: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        printable(f"no order of refreshing follows from the response: {problem}"),
        status_code=200,
        remedy=Advice("Write down yourself what each view reads: in a plan file, or in a mapping for refresh_all."),
    )
