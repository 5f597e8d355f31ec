"""Flows side by side within one flow: each goes on when its own pause is over or its own call has ended.

This module must not know what the flows do, nor when a new one is to be started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

from .effects import Call, Effect, Flow, Overlap, Result, Sleep, T

K = TypeVar("K", bound=Hashable)


@attrs.define
class _Member:
    flow: Flow[Any]
    due: float  # when its pause is over; infinite while it waits for a call
    call: Call[Any] | None = None


class Interleave(Generic[K, T]):
    """Flows that are under way, each under a key of the caller's. Every step looks at all of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._members: dict[K, _Member] = {}  # those that wait for a call in the order of their calls
        self._arrived: dict[K, Result[Any]] = {}
        self._ended: list[tuple[K, Result[T]]] = []

    def __len__(self) -> int:
        return len(self._members)

    def add(self, key: K, flow: Flow[T]) -> None:
        """Start *flow*."""
        self._resume(key, flow, Result())

    def close(self) -> None:
        """End every flow where it stands."""
        for member in self._members.values():
            member.flow.close()
        self._members.clear()

    def step(self, until: float = math.inf) -> Flow[list[tuple[K, Result[T]]]]:
        """Let flows go on whose pause is over or whose call has ended; return those flows that ended.

        Where there is none, wait for one, or until it is *until*, to which the time of every call is limited.
        """
        self._go_on()
        if not self._ended:
            now = self._clock()
            seconds = max(min(min((each.due for each in self._members.values()), default=until), until) - now, 0.0)
            calls = {
                key: each.call._replace(timeout=min(each.call.timeout, until - now))
                for key, each in self._members.items()
                if each.call
            }
            yield Overlap(calls, self._arrived, seconds) if calls else Sleep(seconds)
            self._go_on()
        ended, self._ended = self._ended, []
        return ended

    def _go_on(self) -> None:
        now = self._clock()
        for key in [key for key, each in self._members.items() if each.due <= now or key in self._arrived]:
            self._resume(key, self._members.pop(key).flow, self._arrived.pop(key, Result()))

    def _resume(self, key: K, flow: Flow[T], result: Result[Any]) -> None:
        try:
            effect: Effect = result.resume(flow)
        except StopIteration as stop:
            self._ended.append((key, Result(stop.value)))
        except Exception as failure:
            self._ended.append((key, Result(failure=failure)))
        else:
            assert not isinstance(effect, Overlap), "flows are not interleaved twice"  # noqa: S101  # a slip of ours
            if isinstance(effect, Call):
                self._members[key] = _Member(flow, math.inf, effect)
            else:
                self._members[key] = _Member(flow, self._clock() + effect.seconds)
