"""Knows sockets and threads, one that accepts and one for each connection, and how to stop them at once.
Must not know what is asked or answered."""

import socket
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from threading import Event, Lock, Thread, current_thread
from typing import Final

from ._delivery import Reply, deliver
from ._http import MalformedRequestError, Request, read_request, refusal

HOST: Final = "127.0.0.1"


class Server:
    """Serves *respond* on *port* of the loopback interface (0: any free one) until it is closed.

    *respond* is called by many threads at once.
    """

    def __init__(self, respond: Callable[[Request], Reply], port: int) -> None:
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
        """Ends every connection, and returns once all threads have ended. Closing twice is fine."""
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
        with connection, suppress(EOFError, OSError):  # the client is gone, or the sandbox closes
            # Otherwise an answer may wait for the client's delayed acknowledgement of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        with self._lock:
            del self._connections[current_thread()]

    def _exchange(self, connection: socket.socket, stream: BufferedReader) -> bool:
        """Answers one request; says whether another may follow."""
        try:
            request = read_request(stream)
        except MalformedRequestError as error:
            last = Reply(refusal(400, f"this is no HTTP request: {error}"))
            return deliver(last, connection, self._closing, keep_alive=False)
        reply = self._respond(request)
        with_body = request.method != "HEAD"
        return deliver(reply, connection, self._closing, keep_alive=request.keep_alive, with_body=with_body)
