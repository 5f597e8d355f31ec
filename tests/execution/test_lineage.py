"""The views a view reads, from the nodes of its query's pipeline: pure logic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import UnexpectedResponseError
from dune_matviews._api.values import Node
from dune_matviews._batch.graph import reads
from dune_matviews._execution.lineage import views_of

ROOT = "dune.t.result_root"


def view(number: int, name: str, *depends_on: int) -> Node:
    """A node that refreshes a view."""
    return Node(number, depends_on, name)


def query(number: int, *depends_on: int) -> Node:
    """A node that executes a plain query."""
    return Node(number, depends_on, None)


def test_a_view_that_reads_nothing_stands_alone() -> None:
    """A pipeline of the view's own query alone has one view, with nothing upstream."""
    assert dict(views_of(ROOT, (query(1),))) == {ROOT: ()}


def test_plain_queries_are_passed_through() -> None:
    """Sources of an intermediate query are read by its readers, through any number of queries."""
    nodes = (view(1, "a"), query(2, 1), query(3, 2), view(4, "b", 3), query(5, 4, 2))
    assert dict(views_of(ROOT, nodes)) == {"a": (), "b": ("a",), ROOT: ("b", "a")}


def test_the_view_may_have_a_node_of_its_own() -> None:
    """Whether Dune ends a pipeline with the query, with the view or with both, the lineage is the same."""
    base = view(1, "a")
    expected = {"a": (), ROOT: ("a",)}
    for ends in ([query(2, 1)], [view(2, ROOT, 1)], [view(2, ROOT, 1), query(3, 2)], []):
        assert dict(views_of(ROOT, (base, *ends))) == expected


def test_two_nodes_of_one_view_are_one_view() -> None:
    """A view named twice in a pipeline reads the sources of both nodes."""
    nodes = (view(1, "a"), view(2, "b"), view(3, "c", 1), view(4, "c", 2), query(5, 3, 4))
    assert dict(views_of(ROOT, nodes))["c"] == ("a", "b")


def test_a_view_is_one_with_its_quotes_or_without() -> None:
    """A view that is spelled in two ways would be refreshed, and paid, twice; the asked-for one keeps its own."""
    root = 'dune."21co".result_x'
    nodes = (
        view(1, "dune.21co.result_base"),
        view(2, 'dune."21co".result_mid', 1),
        view(3, 'dune."21co".result_base'),
        view(4, "dune.21co.result_x", 2, 3),
    )
    assert dict(views_of(root, nodes)) == {
        "dune.21co.result_base": (),
        'dune."21co".result_mid': ("dune.21co.result_base",),
        root: ('dune."21co".result_mid', "dune.21co.result_base"),
    }


def test_the_view_itself_may_be_named_by_its_bare_name() -> None:
    """The view is not taken for another one, and refreshed twice, because its pipeline leaves out whose it is."""
    assert dict(views_of(ROOT, (view(1, "a"), view(2, "result_root", 1)))) == {"a": (), ROOT: ("a",)}


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ((), "no nodes"),
        ((query(1, 2), query(2, 1)), r"circle, \[1, 2, 1\]|circle, \[2, 1, 2\]"),
        ((view(1, "a"), view(2, "b", 1), view(3, "a", 2)), "circle, (a reads b reads a|b reads a reads b)"),
        ((view(1, ROOT), view(2, "a", 1), query(3, 2)), "circle"),
        ((view(1, "a"), view(1, "b")), "one id"),
        ((view(1, "a", 9),), "not there"),
    ],
)
def test_no_order_is_better_than_a_wrong_one(nodes: tuple[Node, ...], problem: str) -> None:
    """Circles, duplicate ids and missing dependencies are errors, which say how to proceed."""
    with pytest.raises(UnexpectedResponseError, match=problem) as caught:
        views_of(ROOT, nodes)
    assert "Write down yourself what each view reads" in str(caught.value)


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[Node, ...]:
    """Nodes that depend on earlier ones only; some are views, some plain queries, in any sequence."""
    nodes = []
    for number in range(1, draw(st.integers(2, 12))):
        depends_on = draw(st.sets(st.integers(1, number - 1), max_size=3)) if number > 1 else set[int]()
        nodes.append(Node(number, tuple(depends_on), f"v{number}" if draw(st.booleans()) else None))
    return tuple(draw(st.permutations(nodes)))


@given(pipelines())
def test_each_view_reads_what_leads_to_it_without_another_view_between(nodes: tuple[Node, ...]) -> None:
    """A view reads another if and only if nothing but plain queries lies between them; the root reads whatever ends."""
    by_id = {node.id: node for node in nodes}

    def read_by(numbers: tuple[int, ...]) -> set[str]:
        found: set[str] = set()
        for each in numbers:
            name = by_id[each].view
            found |= {name} if name is not None else read_by(by_id[each].depends_on)
        return found

    inner = {each for node in nodes for each in node.depends_on}
    expected = {node.view: read_by(node.depends_on) for node in nodes if node.view is not None}
    expected[ROOT] = read_by(tuple(node.id for node in nodes if node.id not in inner))
    found = views_of(ROOT, nodes)
    assert {name: set(upstream) for name, upstream in found.items()} == expected
    met: set[str] = set()
    for name, upstream in found.items():
        assert met.issuperset(upstream), "upstream first"
        met.add(name)
    assert list(found)[-1] == ROOT
    assert reads(found) == dict(found), "refresh_all takes it as it is"
