"""Knows the possible faults, and the request that meets each of them.
Must not use a socket."""

import math
from functools import partial
from typing import Any

import pytest

from dune_matviews.sandbox import Fault
from dune_matviews.sandbox._faults import NO_FAULT, FaultQueue, LateWork, response_under
from dune_matviews.sandbox._http import Response, raw_response

TRUTH = raw_response(200, b"true")


def meet(fault: Fault) -> tuple[Response | None, int]:
    """The response to a request that meets *fault*, and how often the work was done."""
    work: list[None] = []

    def handle() -> Response:
        work.append(None)
        return TRUTH

    return response_under(fault, handle), len(work)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(),
        Fault(accepted=True),
        Fault(headers={"Date": None}),
        Fault(delay=math.inf),
        Fault(cut=0, accepted=True),
        Fault(reset=True, drip=1, head_drip=1),
    ],
    ids=str,
)
def test_a_fault_on_the_way_leaves_the_work_alone(fault: Fault) -> None:
    """A fault that only shapes the response leaves the work done, and the response is Dune's own."""
    assert meet(fault) == (TRUTH, 1)


@pytest.mark.parametrize("accepted", [None, False, True])
@pytest.mark.parametrize(
    ("fault", "response"),
    [
        ({"status": 502, "body": b"<html>"}, raw_response(502, b"<html>")),
        ({"status": 520}, raw_response(520, b"")),
        ({"body": b"[]"}, raw_response(200, b"[]")),
        ({"body": b""}, raw_response(200, b"")),
        ({"lost": True, "delay": 1, "reset": True}, None),
    ],
)
def test_another_response_or_none_takes_its_place(
    fault: dict[str, Any], response: Response | None, accepted: bool | None
) -> None:
    """Where Dune's own response is replaced or lost, the work is done only if the fault says so."""
    assert meet(Fault(**fault, accepted=accepted)) == (response, 1 if accepted else 0)


@pytest.mark.parametrize("fault", [{"status": 502}, {"body": b"{}"}, {"lost": True}], ids=str)
def test_late_work_is_not_done_with_the_response(fault: dict[str, Any]) -> None:
    """Where the work is to be done late, the response in its place does not wait for it."""
    early, late = meet(Fault(**fault, accepted=True)), meet(Fault(**fault, accepted=True, late=1))
    assert (early[0], [early[1], late[1]]) == (late[0], [1, 0])


def test_late_work_is_done_once_in_its_order() -> None:
    """Work that is due is done once, the earliest first; the rest waits."""
    done: list[str] = []
    late = LateWork()
    for name, due in (("c", 3), ("a", 1), ("b", 2), ("d", 4)):
        late.add(due, partial(done.append, name))
    sights = []
    for now in (0, 3, 3, 4):
        late.catch_up(now)
        sights.append("".join(done))
    assert sights == ["", "abc", "abc", "abcd"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"accepted": False}, "needs another response"),
        ({"accepted": False, "cut": 0}, "needs another response"),
        *(
            ({"lost": True, **shape}, "a lost response")
            for shape in (
                {"status": 502},
                {"body": b""},
                {"headers": {"Date": None}},
                {"cut": 0},
                {"drip": 1},
                {"head_drip": 1},
            )
        ),
        *(({"late": 1, **rest}, "late needs") for rest in ({}, {"status": 502}, {"accepted": True}, {"cut": 0})),
        ({"status": 502, "accepted": True, "late": -1}, "late"),
        ({"status": 502, "accepted": True, "late": math.inf}, "late"),
        ({"status": 100}, "status"),
        ({"status": 1000}, "status"),
        ({"cut": -1}, "cut"),
        *(({name: wrong}, name) for name in ("delay", "drip", "head_drip") for wrong in (-1, math.nan)),
        ({"drip": math.inf}, "drip"),
        ({"head_drip": math.inf}, "head_drip"),
        ({"headers": {"": "x"}}, "header"),
        ({"headers": {"Retry After": "1"}}, "header"),
        ({"headers": {"Location": "/\r\nSet-Cookie: x"}}, "header"),
        ({"headers": {"Location": "/€"}}, "header"),
    ],
    ids=str,
)
def test_nonsense_is_refused(fault: dict[str, Any], sentence: str) -> None:
    """An impossible or contradictory fault is refused when it is made, not when a request meets it."""
    with pytest.raises(ValueError, match=sentence):
        Fault(**fault)


@pytest.mark.parametrize("fault", [{"body": "text"}, {"status": "502"}, {"cut": 0.5}], ids=str)
def test_wrong_types_are_refused(fault: dict[str, Any]) -> None:
    """A body is bytes, a status and a cut are whole numbers."""
    with pytest.raises(TypeError):
        Fault(**fault)


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Fault(), False),
        (Fault(status=502, delay=1, drip=1), False),
        (Fault(headers={"content-length": "7", "Date": None}), False),
        (Fault(headers={"content-length": None}), True),
        (Fault(cut=1_000), True),
        (Fault(reset=True), True),
        (Fault(lost=True), True),
    ],
    ids=str,
)
def test_some_faults_end_the_connection(fault: Fault, ends: bool) -> None:
    """A cut, a reset, a lost response and one without a length are the last on their connection."""
    assert fault.ends_connection is ends


def test_each_request_meets_one_fault_in_order() -> None:
    """Faults are used up one by one, those of the operation itself first, and then there is none."""
    [first, second, third, fourth] = faults = [Fault(status=status) for status in (501, 502, 503, 504)]
    queue = FaultQueue(["refresh", "status"])
    queue.add(None, [third])
    queue.add("refresh", [first])
    queue.add("refresh", [second])
    queue.add("status", [fourth])
    assert [queue.take("refresh") for _ in range(4)] == [*faults[:3], NO_FAULT]
    assert [queue.take("status") for _ in range(2)] == [fourth, NO_FAULT]


def test_a_fault_needs_an_operation_that_exists() -> None:
    """A misspelled operation is refused, with the words there are."""
    with pytest.raises(ValueError, match="refresh, status, or None for any of them, not 'refesh'"):
        FaultQueue(["refresh", "status"]).add("refesh", [Fault()])
