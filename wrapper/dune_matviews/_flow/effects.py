"""The effects that a flow may yield, as plain data.

This module must not know who carries them out, nor how.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Call(NamedTuple, Generic[T]):
    """An effect: a request that is sent once. The flow receives the result of *parse*, or has the failure thrown in.

    Attributes:
        request: the request, as plain data; only the sender looks into it.
        parse: reads the response.
        timeout: seconds that it may take; the sender may have a lower limit of its own.
        before: called in the moment before the request leaves; by raising it prevents the request.
        about: the subject of the request, for logs and hooks.
    """

    request: Any
    parse: Callable[[Any], T]
    timeout: float = math.inf
    before: Callable[[], object] | None = None
    about: Mapping[str, Any] = MappingProxyType({})

    def within(self, timeout: float) -> Flow[T]:
        """The flow that is this call alone, in at most *timeout* seconds."""
        return cast(T, (yield self._replace(timeout=min(timeout, self.timeout))))


class Work(NamedTuple, Generic[T]):
    """An effect: *function* is called where it may block, as reading and writing files does."""

    function: Callable[[], T]

    def done(self) -> Flow[T]:
        """The flow that is this work alone."""
        return cast(T, (yield self))


class Sleep(NamedTuple):
    """An effect: nothing happens for so many seconds."""

    seconds: float


class Result(NamedTuple, Generic[T]):
    """How a call, or a flow, has ended: with its result, or with the failure that ended it."""

    result: T | None = None
    failure: Exception | None = None

    def resume(self, flow: Flow[Any]) -> Effect:
        """Let *flow* go on with this."""
        return flow.throw(self.failure) if self.failure else flow.send(self.result)


class Overlap(NamedTuple):
    """An effect: calls and work side by side, until at least one of them has ended or *seconds* are over.

    Each goes on from one `Overlap` to the next under the same key. One that ended is in *results*, which the flow owns:
    it has them also where an interruption is thrown into the flow in place of a normal return.
    """

    tasks: Mapping[Any, Call[Any] | Work[Any]]
    results: MutableMapping[Any, Result[Any]]
    seconds: float = math.inf


Effect = Call[Any] | Work[Any] | Sleep | Overlap
Flow = Generator[Effect, Any, T]


@contextmanager
def noting(note: Callable[[], str | None]) -> Generator[None]:
    """Ctrl-C or a task's cancellation passes on unchanged, with a note (PEP 678) if it leaves something behind."""
    try:
        yield
    except Exception:
        raise
    except BaseException as interruption:
        if (text := note()) is not None:
            interruption.add_note(text)
        raise
