"""What is measured with real sockets and real clocks: starts, single calls, many waits, memory.

This module must not know how the figures are shown, nor where they should be.
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
"""Times that calls are measured anew, in new processes."""

WAITS = 200
WAIT = 10.0
"""Executions that are followed at once, and the seconds that each of them lasts."""

HANDLES = 1_000
"""Executions in flight, of which the memory is measured."""

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
"""What https takes and plain http does not. httpx does it for either, so that the others have to, too."""

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
    answer = await client.post(URL + "/api/v1/materialized-views/dune.my_team.result_x/refresh", json={})
    answer.json()["execution_id"]
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
    """Seconds that a new process takes for the import, a client and its first refresh, its own start included."""
    with serving() as url:
        return Rounds.of(
            rounds,
            {name: partial(fresh, f"URL = {url!r}\n{code}", python_of(name)) for name, code in STARTS.items()},
        )


def calls(rounds: int) -> dict[str, Rounds]:
    """Seconds of CPU and on the clock that one call takes, by what is called.

    Each set of rounds has new processes: how memory happens to be laid out makes one faster than its twin.
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
    """What it takes to start many executions at once, and to follow them to their ends."""
    with serving(WAIT) as url, workers(ASYNC, url) as contenders:
        return Rounds.of(rounds, _each(contenders, "follow", WAITS))


def memory() -> Rounds:
    """Bytes that each of many executions that are followed at once takes."""
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
