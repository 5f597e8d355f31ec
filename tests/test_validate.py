"""Arguments that are numbers: of any kind, and checked before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dune_matviews import InvalidArgumentError, MatviewsClient, _validate
from dune_matviews.sandbox import DuneSandbox, Scenario


class Float32:
    """A number as numpy has them: no subclass of Python's."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return float(self._value)


class Int64:
    """A whole number as numpy has them."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Array(Float32):
    """Several numbers."""

    def __float__(self) -> float:
        raise TypeError("only length-1 arrays can be converted to Python scalars")


class bool_(Float32):  # noqa: N801  # numpy's name for it
    """A truth value of numpy's, which would convert."""


class timedelta64(Float32):  # noqa: N801
    """A time of numpy's, which would convert to a number."""


@pytest.mark.parametrize(
    "value", [30, 30.0, Decimal(30), Fraction(30), Float32(30), Int64(30)], ids=lambda value: type(value).__name__
)
def test_a_number_of_any_kind_is_one(value: object) -> None:
    """Decimals, fractions and numbers of other libraries are seconds, credits and counts, and come out as Python's."""
    for check, kind in ((_validate.seconds, float), (_validate.credits, float), (_validate.count, int)):
        found = check(value, "it")
        assert found == 30
        assert type(found) is kind
    assert _validate.seconds(timedelta(seconds=30), "it") == 30


WRONG = ["30", True, None, 1j, Array(30), bool_(1), timedelta64(30), Decimal("nan"), Decimal("sNaN"), -1, [30], b"3"]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_told(value: object) -> None:
    """Texts, truth values, arrays and numbers that are none are refused, by the argument's name."""
    for check in (_validate.seconds, _validate.credits, _validate.count):
        with pytest.raises(InvalidArgumentError, match="it must be"):
            check(value, "it")


@pytest.mark.parametrize("value", [10**400, Decimal("1e400"), float("inf")], ids=["int", "Decimal", "float"])
def test_a_number_without_bounds_is_refused(value: object) -> None:
    """No limit is infinite, and an enormous one is not spelled out."""
    for check in (_validate.seconds, _validate.credits, _validate.count):
        with pytest.raises(InvalidArgumentError) as caught:
            check(value, "it")
        assert len(str(caught.value)) < 150


@pytest.mark.parametrize("value", [0, 0.5, 1.5, Decimal("2.5"), Float32(0.99)], ids=lambda value: type(value).__name__)
def test_a_count_is_whole(value: object) -> None:
    """A count of executions is a whole number, one or more."""
    with pytest.raises(InvalidArgumentError, match="a whole number, one or more"):
        _validate.count(value, "it")


def test_limits_of_any_kind_of_number_hold(dune: MatviewsClient, sandbox: DuneSandbox) -> None:
    """Both clients take them, for a run and for one wait."""
    sandbox.rehearse("dune.t.result_x", *[Scenario(pending=0, running=0)] * 2)
    limits: Any = {"max_parallel": Int64(2), "max_credits": Decimal("99.5"), "timeout": Fraction(60)}
    assert dune.refresh_all(["dune.t.result_x"], **limits).ok
    waiting: Any = {"timeout": Decimal(60), "max_credits": Float32(10)}
    dune.refresh("dune.t.result_x", timeout=limits["timeout"]).wait(**waiting)
    assert len(sandbox.ledger) == 2


@pytest.mark.parametrize("name", ["max_parallel", "max_credits", "timeout", "max_age"])
@pytest.mark.parametrize("value", [Array(3), bool_(1), "3"], ids=lambda value: type(value).__name__)
def test_a_limit_is_checked_before_the_first_request(
    name: str, value: object, dune: MatviewsClient, sandbox: DuneSandbox
) -> None:
    """A limit that cannot be one is refused before anything is sent."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(InvalidArgumentError, match=f"^{name} must be"):
        dune.refresh_all(["dune.t.result_x"], **options)
    assert sandbox.requests == ()
