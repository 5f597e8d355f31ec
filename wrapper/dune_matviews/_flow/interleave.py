"""Flows side by side within one flow: each goes on when its own pause is over or its own call has ended.

This module must not know the purpose of the flows, nor when a new one is to be started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

import attrs

from .effects import Call, Effect, Flow, Overlap, Result, Sleep, T, Work

K = TypeVar("K", bound=Hashable)


@attrs.define
class _Member:
    flow: Flow[Any]
    due: float  # when its pause is over; infinite while it waits for a task
    task: Call[Any] | Work[Any] | None = None


class Interleave(Generic[K, T]):
    """Flows that are under way, each under a key of the caller's. Every step goes through all of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._members: dict[K, _Member] = {}  # those that wait for a task in the order of their tasks
        self._arrived: dict[K, Result[Any]] = {}
        self._ended: list[tuple[K, Result[T]]] = []

    def __len__(self) -> int:
        return len(self._members)

    def add(self, key: K, flow: Flow[T]) -> None:
        """Start *flow*."""
        self._resume(key, flow, Result())

    def __iter__(self) -> Iterator[K]:
        return iter(self._members)

    def close(self) -> list[tuple[K, Result[T]]]:
        """End every flow where it stands, or where the response that has arrived for it leads; return what ended there.

        Nothing more is sent, but what a flow wants to have written is.
        """
        for key in [key for key in self._members if key in self._arrived]:
            result: Result[Any] | None = self._arrived.pop(key)
            while result is not None:
                self._resume(key, self._members.pop(key).flow, result)
                member = self._members.get(key)
                result = _done(member.task) if member is not None and isinstance(member.task, Work) else None
        for member in self._members.values():
            member.flow.close()
        self._members.clear()
        ended, self._ended = self._ended, []
        return ended

    def step(self, until: float = math.inf) -> Flow[list[tuple[K, Result[T]]]]:
        """Let flows go on whose pause is over or whose call has ended; return those flows that ended.

        Where there is none, wait for one, or until it is *until*, to which the time of every call is limited.
        """
        self._go_on()
        if not self._ended:
            now = self._clock()
            seconds = max(min(min((each.due for each in self._members.values()), default=until), until) - now, 0.0)
            tasks = {key: _within(each.task, until - now) for key, each in self._members.items() if each.task}
            yield Overlap(tasks, self._arrived, seconds) if tasks else Sleep(seconds)
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
            if isinstance(effect, Sleep):
                self._members[key] = _Member(flow, self._clock() + effect.seconds)
            else:
                self._members[key] = _Member(flow, math.inf, effect)


def _within(task: Call[Any] | Work[Any], seconds: float) -> Call[Any] | Work[Any]:
    return task._replace(timeout=min(task.timeout, seconds)) if isinstance(task, Call) else task


def _done(work: Work[Any]) -> Result[Any]:
    try:
        return Result(work.function())
    except Exception as failure:
        return Result(failure=failure)
