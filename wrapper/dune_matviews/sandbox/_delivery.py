"""Knows how a response leaves through a socket: at once and whole, or as a fault distorts it.
Must not know the content of responses, nor the reason of a fault."""

import socket
import struct
import sys
from collections.abc import Callable
from threading import TIMEOUT_MAX, Event
from typing import Final

import attrs

from ._faults import NO_FAULT, Fault
from ._http import Response, head_of

# The option that makes closing a reset: lingering is on, for zero seconds.
_RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@attrs.frozen
class Delivery:
    """A response, None for none, and the fault that it meets on its way.

    *on_departure* is called before the first byte leaves, so that a client which has the response finds it on record.
    """

    response: Response | None
    fault: Fault = NO_FAULT
    on_departure: Callable[[], None] = lambda: None


def deliver(
    delivery: Delivery, connection: socket.socket, closing: Event, *, keep_alive: bool, with_body: bool = True
) -> bool:
    """Send the response; return whether another may follow on the connection.

    Raises OSError where the client is gone, or where *closing* is set while a fault takes its time.
    """
    response, fault = delivery.response, delivery.fault
    _pause(fault.delay, closing)
    if response is not None:
        delivery.on_departure()
        head = head_of(response, keep_alive=keep_alive)
        body = response.body[: fault.cut] if with_body else b""
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
