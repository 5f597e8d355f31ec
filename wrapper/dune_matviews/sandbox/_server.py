"""Knows sockets and threads, one that accepts and one for each connection, and how to stop them at once.
Must not know the content of requests and responses."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread, current_thread
from typing import Final

import h11

from ._delivery import Delivery, deliver
from ._http import MAX_HEAD, Request, RequestReader, error_response

HOST: Final = "127.0.0.1"


class Server:
    """Serves *respond* on *port* of the loopback interface (0: any free one) until it is closed.

    Many threads call *respond* at once.
    """

    def __init__(self, respond: Callable[[Request], Delivery], port: int) -> None:
        self._respond = respond
        self._listener = socket.create_server((HOST, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._closing = Event()
        self._lock = Lock()
        self._connections: dict[Thread, socket.socket] = {}
        # Daemons, so that a sandbox which nobody closes does not keep the process alive.
        self._acceptor = Thread(target=self._accept, name=f"sandbox:{self.port}", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """End every connection, and return once all threads have ended. Closing twice is fine."""
        if self._closing.is_set():
            return
        self._closing.set()
        # Closing a socket does not wake a thread that waits in accept(), on some systems; a last connection does.
        socket.create_connection((HOST, self.port)).close()
        self._acceptor.join()
        with self._lock:
            remaining = dict(self._connections)
        for connection in remaining.values():
            with suppress(OSError):  # the client, or the connection's own thread, was faster
                connection.shutdown(socket.SHUT_RDWR)
        for thread in remaining:
            thread.join()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    connection, (_, port) = self._listener.accept()
                except ConnectionAbortedError:  # on some systems, a client that left before its turn
                    continue
                if self._closing.is_set():
                    connection.close()
                    return
                name = f"sandbox:{self.port} client:{port}"
                thread = Thread(target=self._serve, args=(connection,), name=name, daemon=True)
                with self._lock:
                    self._connections[thread] = connection
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client is gone, or the sandbox closes
            # Otherwise a response may wait for the client's delayed acknowledgement of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = RequestReader(partial(connection.recv, MAX_HEAD))
            while self._exchange(connection, reader):
                pass
        with self._lock:
            del self._connections[current_thread()]

    def _exchange(self, connection: socket.socket, reader: RequestReader) -> bool:
        """Respond to one request; return whether another may follow."""
        try:
            request = reader.read()
        except h11.RemoteProtocolError as error:
            last = Delivery(error_response(error.error_status_hint, f"this is no HTTP request: {error}"))
            return deliver(last, connection, self._closing, keep_alive=False)
        if request is None:
            return False
        delivery, with_body = self._respond(request), request.method != "HEAD"
        return deliver(delivery, connection, self._closing, keep_alive=request.keep_alive, with_body=with_body)
