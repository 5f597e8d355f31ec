"""Flows side by side within one flow: each goes on when its own pause is over or its own call has ended.

This module must not know the purpose of the flows, nor when a new one is to be started.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Generator, Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

import attrs

from .effects import Call, Effect, Flow, Overlap, Result, Sleep, T, Work

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Start(NamedTuple):
    """An effect of a lead: start *flows*, each under its key, and wait until it is *until*, the limit of every call.

    The wait is over before that when a flow has ended, or there is more room. The lead receives the number of flows
    that may be started now.
    """

    flows: Mapping[Any, Flow[Any]]
    until: float = math.inf


Lead = Generator[Effect | Start, Any, R]
"""A flow that starts others."""


@attrs.define
class _Member:
    flow: Flow[Any]
    due: float  # when its pause is over; infinite while it waits for a task
    task: Call[Any] | Work[Any] | None = None


class Interleave(Generic[K, T]):
    """Flows side by side, and the lead that starts them. The flows go on while the lead waits.

    Attributes:
        keys: those of the flows that are under way.
        ended: the flows that have ended, in this order, for the lead to take out.
    """

    def __init__(self, clock: Callable[[], float], limit: int, resting: Callable[[Collection[K]], int]) -> None:
        """*resting* tells how many of the flows under way do not count towards *limit*."""
        self._clock = clock
        self._limit = limit
        self._resting = resting
        self._members: dict[K, _Member] = {}  # those that wait for a task in the order of their tasks
        self._arrived: dict[K, Result[Any]] = {}
        self.keys: Collection[K] = self._members.keys()
        self.ended: deque[tuple[K, Result[T]]] = deque()

    def led_by(self, lead: Lead[R]) -> Flow[R]:
        """Carry out *lead* and the flows that it starts, and return its result. No flow outlives it."""
        try:
            effect = next(lead)
            while True:
                try:
                    result = (yield from self._wait(effect)) if isinstance(effect, Start) else (yield effect)
                except BaseException as failure:
                    effect = lead.throw(failure)
                else:
                    effect = lead.send(result)
        except StopIteration as stop:
            return cast(R, stop.value)
        finally:
            self.close()

    def close(self) -> None:
        """End every flow where it stands, or where the response that has arrived for it leads.

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

    def _wait(self, start: Start) -> Flow[int]:
        for key, flow in start.flows.items():
            self._resume(key, flow, Result())
        room = self._room()
        while not self.ended and self._room() <= room and (now := self._clock()) < start.until:
            due = min((each.due for each in self._members.values()), default=math.inf)
            seconds = max(min(due, start.until) - now, 0.0)
            tasks = {key: _within(each.task, start.until - now) for key, each in self._members.items() if each.task}
            yield Overlap(tasks, self._arrived, seconds) if tasks else Sleep(seconds)
            self._go_on()
        return self._room()

    def _room(self) -> int:
        return self._limit - len(self._members) + self._resting(self.keys)

    def _go_on(self) -> None:
        now = self._clock()
        for key in [key for key, each in self._members.items() if each.due <= now or key in self._arrived]:
            self._resume(key, self._members.pop(key).flow, self._arrived.pop(key, Result()))

    def _resume(self, key: K, flow: Flow[T], result: Result[Any]) -> None:
        try:
            effect: Effect = result.resume(flow)
        except StopIteration as stop:
            self.ended.append((key, Result(stop.value)))
        except Exception as failure:
            self.ended.append((key, Result(failure=failure)))
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
