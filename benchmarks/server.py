"""A process that responds like Dune, on loopback, in the same way to every contender, and as fast as Python can.

It knows three responses and ignores keys, names and budgets, and bills nothing. The package's sandbox does all of that,
and would dominate the measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from email.utils import formatdate
from itertools import count

VIEW = '{"sql_id": "dune.my_team.result_daily_volume", "query_id": 4321, "last_execution_ids": []}'
STARTED = '{"execution_id": "%s", "state": "QUERY_STATE_PENDING", "sql_id": "dune.my_team.result_daily_volume"}'
RUNNING = (
    '{"execution_id": "%s", "query_id": 4321, "is_execution_finished": false, "state": "QUERY_STATE_EXECUTING", '
    '"submitted_at": "2026-01-31T06:00:00.123456789Z", "execution_started_at": "2026-01-31T06:00:02.123456789Z", '
    '"execution_cost_credits": 1.25}'
)
ENDED = (
    '{"execution_id": "%s", "query_id": 4321, "is_execution_finished": true, "state": "QUERY_STATE_COMPLETED", '
    '"submitted_at": "2026-01-31T06:00:00.123456789Z", "execution_started_at": "2026-01-31T06:00:02.123456789Z", '
    '"execution_ended_at": "2026-01-31T06:01:00.123456789Z", "expires_at": "2026-05-01T06:01:00.123456789Z", '
    '"execution_cost_credits": 2.5, "result_metadata": {"column_names": ["day", "volume"], '
    '"column_types": ["date", "double"], "row_count": 365, "total_row_count": 365, "result_set_bytes": 5840, '
    '"total_result_set_bytes": 5840, "datapoint_count": 730, "pending_time_millis": 2000, '
    '"execution_time_millis": 58000}}'
)


class Executions:
    """The executions and their starts. Each has the same length; an unknown execution never ends."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._ends: dict[str, float] = {}
        self._numbers = count(1)

    def start(self) -> str:
        """A new execution's id, which looks like one of Dune's."""
        execution_id = f"01{next(self._numbers):024}"
        self._ends[execution_id] = time.monotonic() + self._length
        return STARTED % execution_id

    def status(self, execution_id: str) -> str:
        """Its status."""
        return (ENDED if time.monotonic() >= self._ends.get(execution_id, float("inf")) else RUNNING) % execution_id


class Connection(asyncio.Protocol):
    """Responds to one request at a time; a request may arrive in several pieces, but never two in one."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # over TCP it is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank_line, body = self._received.partition(b"\r\n\r\n")
        if blank_line and len(body) >= _content_length(head):
            self._received = b""
            self._respond(head.split(b" ", 2)[1].decode())

    def _respond(self, path: str) -> None:
        steps = path.split("/")
        if steps[-1] == "status":
            body = self._executions.status(steps[-2])
        elif steps[-2] == "materialized-views":
            body = VIEW
        else:
            body = self._executions.start()
        self._transport.write(
            f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )


def _content_length(head: bytes) -> int:
    _, name, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if name else 0


async def serve(length: float) -> None:
    """Print the port, and serve forever."""
    executions = Executions(length)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(executions), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--length", type=float, default=1.0, help="seconds that each execution lasts")
    asyncio.run(serve(parser.parse_args().length))
