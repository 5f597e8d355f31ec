"""One client in several processes, event loops and worlds: each has connections of its own, and gets its own ids.

Each test is a program in a process of its own, in which every warning is an error: a socket that nobody closes is one.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from dune_matviews.sandbox import DuneSandbox

VIEW = "dune.my_team.result_daily_volume"

PRELUDE = f"""
import asyncio, multiprocessing, os, sys, threading
from dune_matviews import AsyncMatviewsClient, ConfigurationError, MatviewsClient
from dune_matviews._http import transports

VIEW = {VIEW!r}
key, url = sys.argv[1:]

def tell(name, refresh):
    os.write(1, f"{{name}} {{refresh.execution_id}}\\n".encode())  # one write, which no other process breaks into

def start(client, name):
    tell(name, client.refresh(name))

async def start_async(client, name):
    tell(name, await client.refresh(name))
"""


def run(program: str, sandbox: DuneSandbox) -> list[str]:
    """Run *program*, which prints each refresh it starts; return its other output. Each start is billed once.

    It must end in order, and say nothing on stderr.
    """
    # From Python 3.12 on, a fork with threads about is warned of; that is what some of these tests are about.
    options = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *options, "-c", PRELUDE + textwrap.dedent(program), sandbox.api_key, sandbox.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    started = [line for line in lines if line.startswith(VIEW)]
    assert sorted(started) == sorted(f"{charge.name} {charge.execution_id}" for charge in sandbox.ledger)
    return [line for line in lines if line not in started]


FORKS = """
    client = MatviewsClient(key, base_url=url)
    start(client, VIEW)  # its connection is idle now
    for number in range(4):
        if not os.fork():
            with client:
                start(client, f"{VIEW}_{number}")
                start(client, f"{VIEW}_{number}")
            sys.exit()
    for _ in range(4):
        assert os.wait()[1] == 0
    start(client, f"{VIEW}_after")
    client.close()
"""


def test_forked_children_get_their_own_ids(sandbox: DuneSandbox) -> None:
    """A client that was used before a fork serves parent and children, and none reads another's response."""
    run(FORKS, sandbox)
    assert len(sandbox.ledger) == 10


def test_a_fork_while_every_connection_is_in_use(sandbox: DuneSandbox) -> None:
    """A child has connections and locks of its own, though its parent's are all taken when it forks."""
    from dune_matviews.sandbox import Fault

    sandbox.fail("status", Fault(delay=3600))
    run(
        """
        transports.CONNECTIONS = 1
        client = MatviewsClient(key, base_url=url, timeout=3600)
        start(client, VIEW)
        sent = threading.Event()
        import dune_matviews._http.exchange as exchange
        entered = exchange.Exchange.__enter__
        exchange.Exchange.__enter__ = lambda self: (sent.set(), entered(self))[1]
        threading.Thread(target=client.attach("E").status, daemon=True).start()
        sent.wait()
        if not os.fork():
            with client:
                start(client, f"{VIEW}_child")
            sys.exit()
        assert os.wait()[1] == 0
        os._exit(0)
        """,
        sandbox,
    )


def test_forked_children_of_an_asynchronous_client(sandbox: DuneSandbox) -> None:
    """Children of a process whose loop is over, or still runs, begin with connections of their own."""
    run(
        """
        client = AsyncMatviewsClient(key, base_url=url)

        def child(number):
            async def both():
                await start_async(client, f"{VIEW}_{number}")
                await start_async(client, f"{VIEW}_{number}")
            asyncio.run(both())

        async def forking():
            await start_async(client, f"{VIEW}_inner")
            children = [multiprocessing.get_context("fork").Process(target=child, args=(n,)) for n in range(2)]
            for each in children:
                each.start()
            for each in children:
                each.join()
                assert each.exitcode == 0
            await start_async(client, f"{VIEW}_inner")

        asyncio.run(start_async(client, VIEW))
        for number in range(2, 4):
            if not os.fork():
                child(number)
                sys.exit()
        for _ in range(2):
            assert os.wait()[1] == 0
        asyncio.run(forking())
        asyncio.run(client.aclose())
        """,
        sandbox,
    )
    assert len(sandbox.ledger) == 11


LOOPS = {
    "asyncio": "run = asyncio.run",
    "uvloop": "import uvloop; run = uvloop.run",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_one_client_in_loop_after_loop(sandbox: DuneSandbox, loop: str) -> None:
    """A second loop has connections of its own, and those of the first are closed with it, though the client is not."""
    run(
        loop
        + """
async def twice(name):
    await start_async(client, name)
    await asyncio.gather(start_async(client, f"{name}_left"), start_async(client, f"{name}_right"))

client = AsyncMatviewsClient(key, base_url=url)
for number in range(3):
    run(twice(f"{VIEW}_{number}"))
""",
        sandbox,
    )
    assert len(sandbox.ledger) == 9


def test_one_client_in_loops_side_by_side(sandbox: DuneSandbox) -> None:
    """Loops in several threads share a client, not its connections."""
    run(
        """
        client = AsyncMatviewsClient(key, base_url=url, plan=None)

        async def many(name):
            await asyncio.gather(*(start_async(client, f"{VIEW}_{name}_{number}") for number in range(25)))

        threads = [threading.Thread(target=lambda n=n: asyncio.run(many(n))) for n in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        """,
        sandbox,
    )
    assert len(sandbox.ledger) == 100


def test_a_synchronous_client_in_a_running_loop(sandbox: DuneSandbox) -> None:
    """The synchronous client needs no loop, and minds none."""
    run(
        """
        async def main():
            with MatviewsClient(key, base_url=url) as client:
                start(client, VIEW)

        asyncio.run(main())
        """,
        sandbox,
    )


def test_gevent(sandbox: DuneSandbox) -> None:
    """Greenlets share a synchronous client like threads, its connections included, and all of them go on."""
    run(
        """
        from gevent import monkey
        monkey.patch_all()
        import gevent
        transports.CONNECTIONS = 2
        with MatviewsClient(key, base_url=url, plan=None) as client:
            jobs = [gevent.spawn(start, client, f"{VIEW}_{number}") for number in range(20)]
            gevent.joinall(jobs, raise_error=True)
        """,
        sandbox,
    )
    assert len(sandbox.ledger) == 20


def test_trio_is_told_what_to_use(sandbox: DuneSandbox) -> None:
    """Under another library than asyncio, the asynchronous client says that it is for asyncio, and sends nothing."""
    told = run(
        """
        import trio

        async def main():
            async with AsyncMatviewsClient(key, base_url=url) as client:
                await client.refresh(VIEW)

        try:
            trio.run(main)
        except ConfigurationError as error:
            print(error)
        """,
        sandbox,
    )
    assert "asyncio only" in told[0]
    assert "trio.to_thread.run_sync" in told[0]
    assert not sandbox.requests
