"""Programs in processes of their own whose pauses take a thousandth of their time.

It knows where clients sleep and read their clocks. It must not know why they pause, and imports nothing that such a
program does not import anyway.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from dune_matviews import _core
from dune_matviews._execution.session import Session
from dune_matviews._flow.drivers import run, run_async

SPEED = 1000

HURRIED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests import hurried
hurried.install()
"""
"""The beginning of such a program."""


def install() -> None:
    """Hurry the clients made from now on, which count each pause in full."""
    ahead = 0.0

    def sleep(seconds: float) -> None:
        nonlocal ahead
        time.sleep(seconds / SPEED)
        ahead += seconds - seconds / SPEED

    async def sleep_async(seconds: float) -> None:
        import asyncio

        nonlocal ahead
        await asyncio.sleep(seconds / SPEED)
        ahead += seconds - seconds / SPEED

    patched: Any = _core
    patched.run = partial(run, sleep=sleep)
    patched.run_async = partial(run_async, sleep=sleep_async)
    patched.Session = partial(Session, clock=lambda: time.monotonic() + ahead, wall=lambda: time.time() + ahead)


def write_command(path: Path) -> None:
    """Write a hurried command `dune-matviews`."""
    path.write_text(f"#!{sys.executable}{HURRIED}from dune_matviews.cli import main\nsys.exit(main())\n")
    path.chmod(0o755)
