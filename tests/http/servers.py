"""Servers that do to each connection what a script says, with or without TLS, and a proxy to reach them through.

They know sockets, and must not know what is asked of Dune.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

STEP = 0.01
"""Seconds from one drop to the next."""

GUARD = 6000
"""Drops after which a client that holds on is taken to do so for ever: a minute."""


class Server:
    """The bytes that a server received.

    Attributes:
        port: where it listens, on the loopback interface.
        connections: how many were accepted.
        requests: the heads and bodies of the requests, as they came.
        hang_ups: connections that the client closed while it waited for more.
        closing: set when the test is over.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.requests: list[bytes] = []
        self.hang_ups = 0
        self.closing = threading.Event()

    def request(self, connection: socket.socket) -> bytes:
        """The next request, body included; nothing where the client has hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            received = connection.recv(65_536)
            if not received:
                return b""
            data += received
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65_536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def drip(self, connection: socket.socket, drop: bytes) -> None:
        """Send *drop* again and again, until the client hangs up."""
        for _ in range(GUARD):
            try:
                connection.sendall(drop)
            except OSError:
                self.hang_ups += 1
                return
            if self.closing.wait(STEP):
                return


Script = Callable[[Server, socket.socket], object]


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that carries out *script* on each connection, which is closed after; in TLS if there is a context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])
        open_ones: list[socket.socket] = []

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is None:
                    script(server, connection)
                    return
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    open_ones.append(wrapped)
                    script(server, wrapped)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: the test is over
                    return
                server.connections += 1
                open_ones.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

        threads = [threading.Thread(target=accept, daemon=True)]
        threads[0].start()
        try:
            yield server
        finally:
            server.closing.set()
            for each in [listener, *open_ones]:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def tunnel(target: int) -> Script:
    """A script for a proxy: it accepts CONNECT, and forwards to a port of this machine."""

    def relay(server: Server, connection: socket.socket) -> None:
        if not server.request(connection).startswith(b"CONNECT "):
            return
        with socket.create_connection(("127.0.0.1", target)) as onward, selectors.DefaultSelector() as both:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            both.register(connection, selectors.EVENT_READ, onward)
            both.register(onward, selectors.EVENT_READ, connection)
            while True:
                for ready, _ in both.select():
                    source: Any = ready.fileobj
                    data = source.recv(65_536)
                    while isinstance(source, ssl.SSLSocket) and source.pending():
                        data += source.recv(65_536)
                    if not data:
                        return
                    ready.data.sendall(data)

    return relay


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A response, byte by byte."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another thread has seen an event."""
    idle = threading.Event()
    for _ in range(GUARD):
        if condition():
            return
        idle.wait(STEP)
    raise AssertionError("what was waited for has not come about within a minute")


def hold(server: Server, connection: socket.socket) -> None:
    """Say nothing until the client hangs up, or a minute is over."""
    connection.settimeout(GUARD * STEP)
    with suppress(TimeoutError):
        while connection.recv(65_536):
            pass
        server.hang_ups += 1
