"""At most so many exchanges at once, first come, first served, without a lock that an interruption could leave locked.

This module must not know the purpose of the slots.
"""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from weakref import ref

NAP = 0.5
"""Seconds after which a thread that waits looks for itself: Ctrl-C may keep another from calling it."""


class Slot:
    """A place in the queue, and near enough to the front the right to one exchange. It is given back by dropping it."""

    def __init__(self) -> None:
        self.calls = SimpleQueue[None]()


class Slots:
    """The queue of the threads of one process.

    What holds a slot is a local variable, so that it is given back wherever an interruption ends the function. Nothing
    of ours runs then: code in a `__del__` would be interrupted in its turn, and Python would drop that interruption.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: list[ref[Slot]] = []

    def acquire(self, timeout: float) -> Slot | None:
        """A slot, as soon as one is free; None where that takes more seconds than these."""
        end = time.monotonic() + timeout
        slot = Slot()
        self._queue.append(ref(slot, self._queue.remove))
        while not any(each() is slot for each in self._queue[: self._most]):
            left = end - time.monotonic()
            if left <= 0:
                return None
            with suppress(Empty):
                slot.calls.get(timeout=min(left, NAP))
        return slot

    def call_next(self) -> None:
        """Wake the threads whose turn it is, after a slot was dropped."""
        if len(self._queue) >= self._most:
            for each in self._queue[: self._most]:
                if (slot := each()) is not None and slot.calls.empty():
                    slot.calls.put(None)
