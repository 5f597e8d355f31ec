"""Knows the fixture `dune_sandbox`: how a test's environment comes to point at it, and which faults it must have met.
Must not import the sandbox before a test asks for it, because pytest imports this module in every run."""

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ._sandbox import DuneSandbox

# The default scenario, 5 seconds, takes 5 milliseconds.
_SPEED = 1_000.0


@pytest.fixture
def dune_sandbox(monkeypatch: pytest.MonkeyPatch) -> "Iterator[DuneSandbox]":
    """A running stand-in for Dune's API, to which the environment of this test points.

    A scenario of 5 seconds takes 5 milliseconds. Code under test that reads DUNE_API_KEY and DUNE_API_BASE_URL needs
    no change. The test fails if it ends before each fault that it rehearsed has met a request.
    """
    from ._sandbox import DuneSandbox

    with DuneSandbox(speed=_SPEED) as sandbox:
        monkeypatch.setenv("DUNE_API_KEY", sandbox.api_key)
        monkeypatch.setenv("DUNE_API_BASE_URL", sandbox.url)
        # A proxy that this machine may be configured to use does not reach the test's own loopback interface.
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        monkeypatch.setenv("no_proxy", f"127.0.0.1,{others}")
        yield sandbox


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that has passed without the faults that it rehearsed; one that has failed is left as it is."""
    yield
    sandbox = getattr(item, "funcargs", {}).get("dune_sandbox")
    if pending := getattr(sandbox, "pending_faults", None):  # a project may have another fixture of that name
        told = "\n".join(f"  dune_sandbox.fail({operation!r}, {fault!r})" for operation, fault in pending)
        pytest.fail(f"These faults met no request, so what they do was not tested:\n{told}", pytrace=False)
