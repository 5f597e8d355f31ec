"""Knows how an answer leaves through a socket: at once and whole, or as a fault makes it.
Must not know what the answer says, nor why there is a fault."""

import socket
import struct
import sys
from collections.abc import Callable
from threading import TIMEOUT_MAX, Event
from typing import Final

import attrs

from ._faults import NO_FAULT, Fault
from ._http import Answer, write_head

# The option that makes closing a reset: lingering is on, for zero seconds.
_RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def _note_nothing() -> None:
    """For answers of which no record is kept."""


@attrs.frozen
class Reply:
    """What becomes of one request: its answer, None for none, and how that travels.

    *on_departure* is called before the first byte leaves, so that a client which has the answer finds it on record.
    """

    answer: Answer | None
    fault: Fault = NO_FAULT
    on_departure: Callable[[], None] = _note_nothing


def deliver(
    reply: Reply, connection: socket.socket, closing: Event, *, keep_alive: bool, with_body: bool = True
) -> bool:
    """Sends *reply*; says whether another may follow on the connection.

    Raises OSError where the client is gone, or where *closing* is set while a fault takes its time.
    """
    answer, fault = reply.answer, reply.fault
    _pause(fault.delay, closing)
    if answer is not None:
        reply.on_departure()
        head = write_head(answer, keep_alive=keep_alive)
        body = answer.body[: fault.cut] if with_body else b""
        if fault.head_drip or fault.drip:
            _drip(head, fault.head_drip, connection, closing)
            _drip(body, fault.drip, connection, closing)
        else:
            connection.sendall(head + body)  # in one packet
    if fault.reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return keep_alive and not fault.ends_connection


def _drip(data: bytes, seconds: float, connection: socket.socket, closing: Event) -> None:
    if not seconds:
        connection.sendall(data)
        return
    for byte in data:
        _pause(seconds, closing)
        connection.sendall(bytes([byte]))


def _pause(seconds: float, closing: Event) -> None:
    if seconds and closing.wait(min(seconds, TIMEOUT_MAX)):
        raise ConnectionAbortedError("the sandbox closes")
