"""Nothing is imported after money has been spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario
from tests import hurried

PAGE = b"<html><head><title>502 Bad&nbsp;Gateway</title></head><body><h1>Bad gateway</h1></body></html>"

COMMON = (
    hurried.HURRIED
    + """
import json
import httpx
import dune_matviews
from dune_matviews import *

class Gone:
    "An upgrade in place has moved away whatever is not loaded yet."
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        raise ModuleNotFoundError(name)

def vanish(request):
    if request.method == "POST" and not any(isinstance(each, Gone) for each in sys.meta_path):
        sys.meta_path.insert(0, Gone())

views, journal = json.loads(sys.argv[1]), sys.argv[2]
options = dict(journal=journal, max_credits=50, max_age=3600, max_parallel=2, if_running="adopt")
"""
)

PROGRAMS = {
    "sync": COMMON
    + """
own = httpx.Client(event_hooks={"request": [vanish]})
with own, MatviewsClient(plan=None, http_client=own) as dune:
    report = dune.refresh_all(views, **options)
    again = dune.refresh(next(iter(views)), journal=journal, run="another")
    again.cancel()
    try:
        again.wait(max_credits=1)
    except RefreshError:
        pass
""",
    "async": COMMON
    + """
import asyncio

async def main():
    async def vanish_too(request):
        vanish(request)

    async with httpx.AsyncClient(event_hooks={"request": [vanish_too]}) as own:
        async with AsyncMatviewsClient(plan=None, http_client=own) as dune:
            report = await dune.refresh_all(views, **options)
            again = await dune.refresh(next(iter(views)), journal=journal, run="another")
            await again.cancel()
            try:
                await again.wait(max_credits=1)
            except RefreshError:
                pass
            return report

report = asyncio.run(main())
""",
}
END = """
try:
    report.raise_for_failures()
except RefreshesFailedError as failure:
    print(failure, report, file=sys.stderr)
print(json.dumps([report.to_dict(), Gone.asked]))
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_is_imported_after_the_first_billed_request(kind: str, tmp_path: Path) -> None:
    """However a run ends, all that it comes to was loaded before its first billed request left."""
    views = {"dune.t.result_slow": ["dune.t.result_ok"], "dune.t.result_bad": [], "dune.t.result_lost": []}
    with DuneSandbox(speed=hurried.SPEED) as sandbox:
        failure = Failure("syntax_error", "mismatched input", line=1, column=2)
        sandbox.rehearse("dune.t.result_bad", Scenario(end="failed", error=failure))
        sandbox.rehearse("dune.t.result_slow", Scenario(running=500, credits=100))
        sandbox.fail("refresh", Fault(status=429), Fault(status=502, body=PAGE, accepted=True), Fault(status=400))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAMS[kind] + END, json.dumps(views), tmp_path / "refresh.jsonl"],
            env={
                **os.environ,
                "DUNE_API_KEY": sandbox.api_key,
                "DUNE_API_BASE_URL": sandbox.url,
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    report, asked = json.loads(done.stdout)

    assert asked == []
    assert {view["outcome"] for view in report["views"].values()} >= {"succeeded", "failed"}
