"""Flows side by side within one flow: each goes on when its own pause is over, and calls that are due go together.

This module must not know what the flows do, nor when a new one is to be started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

from ._flow import Call, Effect, Flow, Result, Sleep, T, Together

K = TypeVar("K", bound=Hashable)


@attrs.define
class _Strand:
    flow: Flow[Any]
    due: float
    call: Call[Any] | None = None  # what it waits for; None where it merely rests


class Strands(Generic[K, T]):
    """Flows that are under way, each under a key of the caller's.

    A handful at a time: every step looks at all of them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._strands: dict[K, _Strand] = {}
        self._ended: list[tuple[K, Result[T]]] = []

    def __len__(self) -> int:
        return len(self._strands)

    def add(self, key: K, flow: Flow[T]) -> None:
        """Start *flow*."""
        strand = self._strands[key] = _Strand(flow, self._clock())
        self._go_on(key, strand, Result())

    def close(self) -> None:
        """End every flow where it stands."""
        for strand in self._strands.values():
            strand.flow.close()
        self._strands.clear()

    def step(self, until: float = math.inf) -> Flow[list[tuple[K, Result[T]]]]:
        """Let flows go on whose time has come, or rest until one's has or it is *until*; return those that ended."""
        now = self._clock()
        due = [(key, strand) for key, strand in self._strands.items() if strand.due <= now]
        if not due and not self._ended:
            rest = min((strand.due for strand in self._strands.values()), default=until)
            yield Sleep(max(min(rest, until) - now, 0.0))
        calls = tuple(strand.call for _, strand in due if strand.call)
        results = iter((yield Together(calls)) if calls else ())
        for key, strand in due:
            self._go_on(key, strand, next(results) if strand.call else Result())
        ended, self._ended = self._ended, []
        return ended

    def _go_on(self, key: K, strand: _Strand, result: Result[Any]) -> None:
        try:
            effect: Effect = result.resume(strand.flow)
        except StopIteration as stop:
            self._end(key, Result(stop.value))
        except Exception as failure:
            self._end(key, Result(failure=failure))
        else:
            assert not isinstance(effect, Together), "strands are not woven twice"  # noqa: S101  # a slip of ours
            strand.due = self._clock() + (effect.seconds if isinstance(effect, Sleep) else 0.0)
            strand.call = effect if isinstance(effect, Call) else None

    def _end(self, key: K, result: Result[T]) -> None:
        del self._strands[key]
        self._ended.append((key, result))
