"""Figures: medians and spreads of repeated measurements, and ratios of parallel ones.

This module must not know the subject of a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

Round = Mapping[str, Mapping[str, float]]
"""The measurements of one round: figures by name, by contender."""


class Figure(NamedTuple):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    def show(self, unit: float = 1.0, digits: int = 0) -> str:
        """In multiples of *unit*."""
        low, middle, high = (f"{value / unit:,.{digits}f}" for value in (self.low, self.median, self.high))
        return middle if low == high else f"{middle} ({low} to {high})"


def figure(values: Sequence[float]) -> Figure:
    """The median of *values*, and their spread."""
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Figure(median(values), low, high)


class Rounds:
    """Contenders measured in turn, round after round, so that load on the machine affects all of them."""

    def __init__(self, names: Sequence[str], rounds: Sequence[Round]) -> None:
        self._rounds = rounds
        self._names = names

    @classmethod
    def of(cls, count: int, measured: Mapping[str, Callable[[], Mapping[str, float]]]) -> Rounds:
        """Measure each in turn, for a number of rounds; each round starts with the next one."""
        names = list(measured)
        rounds: list[Round] = []
        for number in range(count):
            shift = number % len(names)
            rounds.append({name: measured[name]() for name in (*names[shift:], *names[:shift])})
        return cls(names, rounds)

    def __add__(self, others: Rounds) -> Rounds:
        """These rounds and *others* of the same contenders."""
        return Rounds(self._names, [*self._rounds, *others._rounds])

    @property
    def contenders(self) -> list[str]:
        """The contenders."""
        return list(self._names)

    def __getitem__(self, place: tuple[str, str]) -> Figure:
        """The figure of a contender, by its name."""
        contender, name = place
        return figure([each[contender][name] for each in self._rounds])

    def ratio(self, contender: str, other: str, name: str) -> Figure:
        """The ratio of one contender's figure to the other's, round by round."""
        return figure([each[contender][name] / each[other][name] for each in self._rounds])
