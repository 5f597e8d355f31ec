"""The graph of a run: its views, the views each reads, and the views that may go next."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dune_matviews import InvalidArgumentError
from dune_matviews._batch.graph import Order, reads


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("dune.a", "not 'dune.a'"),
        (7, "not 7"),
        ([""], "empty"),
        ([".."], "not the name of a view"),
        ([None], "must be a str"),
        ({"a": "b"}, "list of names"),
        ({"a": None}, "list of names"),
        ({"a": ["a"]}, "a reads a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "in a circle"),
    ],
)
def test_views_that_are_refused(views: object, message: str) -> None:
    """Invalid views are rejected before anything is sent, and the error names a circle."""
    with pytest.raises(InvalidArgumentError, match=message):
        reads(views)


def test_a_circle_is_told_in_the_order_of_reading() -> None:
    """The error names a circle in the right direction."""
    with pytest.raises(InvalidArgumentError) as caught:
        reads({"a": ["b"], "b": ["c"], "c": ["a"]})
    told = str(caught.value).split(": ")[1].split(" reads ")
    circle = {"a": "b", "b": "c", "c": "a"}
    assert all(circle[reader] == read for reader, read in pairwise(told))


@pytest.mark.parametrize(
    ("views", "pair"),
    [
        (['dune."21co".result_x', "dune.21co.result_x"], ["dune.21co.result_x", 'dune."21co".result_x']),
        (["dune.my_team.result_x", "result_x"], ["dune.my_team.result_x", "result_x"]),
        ({"dune.my_team.result_y": ["result_x"], "dune.my_team.result_x": []}, ["result_x", "dune.my_team.result_x"]),
        (['"dune"."my_team"."result_x"', "result_x"], ["result_x", "result_x"]),
    ],
)
def test_one_view_under_two_names_is_refused(views: object, pair: list[str]) -> None:
    """One view in two spellings would be paid twice: the error names both."""
    with pytest.raises(InvalidArgumentError, match="one view under two names") as caught:
        reads(views)
    assert all(each in str(caught.value) for each in pair)


def test_views_of_one_bare_name_may_differ() -> None:
    """Two full names with the same last part are two views, and one name twice is one view."""
    assert len(reads(["dune.one.result_x", "dune.other.result_x", "dune.one.result_x"])) == 2


def test_many_failures_block_each_view_once() -> None:
    """Views blocked by a thousand failures in common are visited once."""
    size = 500
    bottom = {f"b{place}": list[str]() for place in range(size)}
    order = Order({**reads(bottom), "t0": tuple(bottom)} | {f"t{n}": (f"t{n - 1}",) for n in range(1, size)})
    blocked = [order.block(name) for name in bottom]
    assert sorted(map(len, blocked), reverse=True) == [size, *[0] * (size - 1)]
