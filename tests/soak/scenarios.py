"""What the clients go through, each scenario in a process of its own; it prints what was started, and figures.

Each refresh is of a view of its own, so that a view that is billed twice is an intent that was billed twice. A client
that hangs is told by `faulthandler`, which ends its process. This module must not know what the server does.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from dune_matviews import AsyncMatviewsClient, DuneError, MatviewsClient

KEY = "sandbox-key"
HANG = 90
"""Seconds without progress after which a client counts as dead: far more than all its timeouts."""

TIMEOUT = 1.0


class Log:
    """What was started, by its view; how often what came about; and that there is progress."""

    def __init__(self, watch: Callable[[], object]) -> None:
        self.watch = watch
        self.started: dict[str, str] = {}
        self.figures = Counter[str]()
        self._numbers = count()

    def name(self) -> str:
        """A view that nobody has refreshed."""
        return f"dune.soak.result_{os.getpid()}_{next(self._numbers)}"

    @contextmanager
    def noting(self, what: str) -> Generator[None]:
        """Count successes, and errors by their kinds."""
        try:
            yield
            self.figures[what] += 1
        except DuneError as error:
            self.figures[type(error).__name__] += 1
        self.watch()

    def refresh(self, dune: MatviewsClient) -> None:
        """Refresh a view, and poll the execution."""
        name = self.name()
        with self.noting("refreshed"):
            self.started[name] = dune.refresh(name).execution_id
            dune.attach(self.started[name]).status()

    async def refresh_async(self, dune: AsyncMatviewsClient) -> None:
        """The same for the asynchronous client."""
        name = self.name()
        with self.noting("refreshed"):
            self.started[name] = (await dune.refresh(name)).execution_id
            await dune.attach(self.started[name]).status()


def struck(log: Log, work: Callable[[], object], longest: float) -> None:
    """Do something, and be hit by Ctrl-C after a random time, if it takes so long; or by one that comes late."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, longest))
            work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        log.figures["interruptions"] += 1


def ctrl_c(log: Log, url: str, seconds: float) -> None:
    """Ctrl-C at random moments of refreshes; after each, the client has to work."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    end = time.monotonic() + seconds
    with MatviewsClient(KEY, base_url=url, plan=None, timeout=TIMEOUT) as dune:
        while time.monotonic() < end:
            struck(log, lambda: log.refresh(dune), random.choice([0.0005, 0.002, 0.01]))
            if log.figures["interruptions"] % 10 == 0:
                struck(log, lambda: log.refresh(dune), HANG)
        works(log, dune)


def threads(log: Log, url: str, seconds: float) -> None:
    """32 threads share a client, while the main one is hit by Ctrl-C again and again."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            log.refresh(dune)

    with MatviewsClient(KEY, base_url=url, plan=None, timeout=TIMEOUT) as dune, ThreadPoolExecutor(31) as pool:
        jobs = [pool.submit(work) for _ in range(31)]
        while time.monotonic() < end:
            struck(log, lambda: log.refresh(dune), 0.05)
        for job in jobs:
            job.result()
        works(log, dune)


def tasks(log: Log, url: str, seconds: float) -> None:
    """2,000 tasks share a client, in a loop that is blocked now and then for 0.7 s."""

    async def block() -> None:
        while True:
            await asyncio.sleep(random.uniform(0.5, 3))
            time.sleep(0.7)  # as code does that forgets where it runs
            log.figures["times the loop was blocked"] += 1

    async def main() -> None:
        async with AsyncMatviewsClient(KEY, base_url=url, plan=None, timeout=TIMEOUT) as dune:
            blocker = asyncio.create_task(block())
            await asyncio.gather(*(log.refresh_async(dune) for _ in range(2000)))
            blocker.cancel()
            await works_async(log, dune)

    asyncio.run(main())


def cancellations(log: Log, url: str, seconds: float) -> None:
    """1,000 tasks are cancelled at random moments."""

    async def main() -> None:
        async with AsyncMatviewsClient(KEY, base_url=url, plan=None, timeout=TIMEOUT) as dune:
            for _ in range(100):
                some = [asyncio.create_task(log.refresh_async(dune)) for _ in range(10)]
                for task in some:
                    await asyncio.sleep(random.uniform(0, 0.005))
                    task.cancel()
                outcomes = await asyncio.gather(*some, return_exceptions=True)
                log.figures["cancelled"] += sum(isinstance(each, asyncio.CancelledError) for each in outcomes)
            await works_async(log, dune)

    asyncio.run(main())


def forks(log: Log, url: str, seconds: float) -> None:
    """Processes fork while eight threads use their client; each child uses it on."""
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            log.refresh(dune)

    def child(pipe: int) -> None:
        own = Log(lambda: signal.alarm(HANG))  # the thread of faulthandler is the parent's
        own.watch()
        for _ in range(3):
            own.refresh(dune)
        os.write(pipe, json.dumps(own.started).encode() + b"\n")  # one write, which no other child breaks into

    with MatviewsClient(KEY, base_url=url, plan=None, timeout=TIMEOUT) as dune, ThreadPoolExecutor(8) as pool:
        log.refresh(dune)  # no child goes on with what another thread was importing when it was forked
        jobs = [pool.submit(work) for _ in range(8)]
        read, write = os.pipe()
        os.set_blocking(read, False)
        while time.monotonic() < end:
            children = []
            for _ in range(4):
                if not (pid := os.fork()):
                    try:
                        child(write)
                        os._exit(0)
                    except BaseException:
                        traceback.print_exc()
                        os._exit(1)
                children.append(pid)
            for pid in children:
                log.figures["children" if os.waitpid(pid, 0)[1] == 0 else "children that died"] += 1
            with suppress(BlockingIOError):  # all of them died
                for line in os.read(read, 65_536).splitlines():
                    log.started |= json.loads(line)
        for job in jobs:
            job.result()
        works(log, dune)


def works(log: Log, dune: MatviewsClient) -> None:
    """The client serves forty threads, as it did when it was new; a fault may hit some, and none for good."""
    some = list(log.started.values())[:200]
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda execution_id: dune.attach(execution_id).status(), some))
    log.figures["works"] = 1


async def works_async(log: Log, dune: AsyncMatviewsClient) -> None:
    """The same for the asynchronous client."""
    some = list(log.started.values())[:200]
    await asyncio.gather(*(dune.attach(execution_id).status() for execution_id in some))
    log.figures["works"] = 1


SCENARIOS: dict[str, tuple[Callable[[Log, str, float], None], float]] = {
    "Ctrl-C": (ctrl_c, 60),
    "32 threads": (threads, 40),
    "2,000 tasks": (tasks, 0),
    "1,000 cancellations": (cancellations, 0),
    "forks": (forks, 30),
}
"""What to do, and for how many seconds; some take as long as they take."""


def main(name: str, url: str, seed: int) -> None:
    """Go through a scenario."""
    random.seed(seed)
    log = Log(lambda: faulthandler.dump_traceback_later(HANG, exit=True))
    swallowed: Any = lambda unraisable: log.figures.update({"interruptions that were swallowed": 1})  # noqa: E731
    sys.unraisablehook = swallowed
    log.watch()
    scenario, seconds = SCENARIOS[name]
    scenario(log, url, seconds)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"started": log.started, "figures": log.figures}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
