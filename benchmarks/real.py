"""Measurements with real sockets and real clocks: starts, single calls, many waits, memory.

This module must not know the format of the figures, nor their targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add

from .contenders import CONTENDERS
from .figures import Rounds
from .processes import DUNE_CLIENTS, OURS, Worker, fresh, python_of, serving, told, workers

CALLS = 100
"""Calls in a row, in one round."""

SETS = 8
"""Repetitions of the measurement of calls, each in new processes."""

WAITS = 200
WAIT = 10.0
"""Executions followed at once, and the length of each in seconds."""

HANDLES = 1_000
"""Executions in flight for the measurement of memory."""

ASYNC = [name for name in CONTENDERS if name.endswith("_async")]

IMPORTS = {
    "import dune_matviews": OURS,
    "from dune_matviews import MatviewsClient": OURS,
    "import httpx": OURS,
    "from dune_client.client import DuneClient": DUNE_CLIENTS,
}


def imports(rounds: int) -> Rounds:
    """Seconds, and modules, that each import takes in a new process."""
    code = (
        "import json, sys, time; modules = len(sys.modules); wall, cpu = time.perf_counter(), time.process_time(); {}; "
        "print(json.dumps(dict(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall, "
        "modules=len(sys.modules) - modules)))"
    )
    return Rounds.of(rounds, {each: partial(told, code.format(each), python) for each, python in IMPORTS.items()})


CERTIFICATES = """
import ssl, certifi
ssl.create_default_context(cafile=certifi.where())
"""
"""The set-up for https, which httpx always does. The other contenders do it too, for a fair comparison."""

STARTS = {
    "python": "pass",
    "httpx_alone": """
import httpx
client = httpx.Client(headers={"X-Dune-Api-Key": "key"}, timeout=10)
client.post(URL + "/api/v1/materialized-views/dune.my_team.result_x/refresh", json={}).json()["execution_id"]
""",
    "generated": """
from dune_api import AuthenticatedClient
from dune_api.api.materialized_views import refresh_materialized_view
from dune_api.models import RefreshRequest
client = AuthenticatedClient(URL + "/api", token="key", prefix="", auth_header_name="X-Dune-Api-Key")
refresh_materialized_view.sync("dune.my_team.result_x", client=client, body=RefreshRequest()).execution_id
""",
    "matviews": CERTIFICATES
    + """
from dune_matviews import MatviewsClient
MatviewsClient("key", base_url=URL).refresh("dune.my_team.result_x").execution_id
""",
    "dune_client": CERTIFICATES
    + """
from dune_client.client import DuneClient
from dune_client.query import QueryBase
DuneClient("key", base_url=URL).execute_query(QueryBase(1)).execution_id
""",
    "httpx_alone_async": """
import asyncio
import httpx
async def main():
    client = httpx.AsyncClient(headers={"X-Dune-Api-Key": "key"}, timeout=10)
    response = await client.post(URL + "/api/v1/materialized-views/dune.my_team.result_x/refresh", json={})
    response.json()["execution_id"]
    await client.aclose()
asyncio.run(main())
""",
    "matviews_async": CERTIFICATES
    + """
import asyncio
from dune_matviews import AsyncMatviewsClient
async def main():
    async with AsyncMatviewsClient("key", base_url=URL) as dune:
        (await dune.refresh("dune.my_team.result_x")).execution_id
asyncio.run(main())
""",
    "dune_client_async": """
import asyncio
from dune_client.client_async import AsyncDuneClient
from dune_client.query import QueryBase
async def main():
    async with AsyncDuneClient("key", base_url=URL) as dune:
        (await dune.execute_query(QueryBase(1))).execution_id
asyncio.run(main())
""",
}
"""Programs that refresh once; the first does nothing."""


def starts(rounds: int) -> Rounds:
    """Seconds of a new process for its own start, the import, a client and its first refresh."""
    with serving() as url:
        return Rounds.of(
            rounds,
            {name: partial(fresh, f"URL = {url!r}\n{code}", python_of(name)) for name, code in STARTS.items()},
        )


def calls(rounds: int) -> dict[str, Rounds]:
    """CPU and wall-clock seconds of one call, by kind of call.

    Each set of rounds uses new processes, because an accidental memory layout can make one process faster than another.
    """
    sets = [_calls(rounds // SETS) for _ in range(SETS)]
    return {what: reduce(add, (each[what] for each in sets)) for what in ("refresh", "status")}


def _calls(rounds: int) -> dict[str, Rounds]:
    with serving() as url, workers(list(CONTENDERS), url) as contenders:
        for worker in contenders.values():
            for what in ("refresh", "status"):
                worker.ask(what, CALLS)
        return {what: Rounds.of(rounds, _each(contenders, what, CALLS)) for what in ("refresh", "status")}


def waits(rounds: int) -> Rounds:
    """The cost of starting many executions at once and following them to their ends."""
    with serving(WAIT) as url, workers(ASYNC, url) as contenders:
        return Rounds.of(rounds, _each(contenders, "follow", WAITS))


def memory() -> Rounds:
    """Bytes per execution when many are followed at once."""
    with serving(3600.0) as url, workers(ASYNC, url) as contenders:
        return Rounds.of(1, _each(contenders, "memory", HANDLES))


def _each(contenders: Mapping[str, Worker], what: str, times: int) -> dict[str, Callable[[], dict[str, float]]]:
    return {name: partial(worker.ask, what, times) for name, worker in contenders.items()}


def versions() -> dict[str, str]:
    """The libraries that were measured, and their versions."""
    code = "import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {!r}}}))"
    ours = ["dune-matviews", "httpx", "httpcore", "h11", "anyio", "attrs"]
    theirs = ["dune-client", "requests", "urllib3", "aiohttp"]
    found = told(code.format(ours)) | told(code.format(theirs), DUNE_CLIENTS)
    return {name: str(version) for name, version in found.items()}
