"""Knows the fixture `dune_sandbox`: the environment that it sets, and the check that every rehearsed fault was met.
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
    """A running stand-in for Dune's API. The environment of the test points to it.

    A scenario of 5 seconds takes 5 milliseconds. Code under test that reads DUNE_API_KEY and DUNE_API_BASE_URL needs
    no change. A test that passes although one of its faults met no request fails.
    """
    from ._sandbox import DuneSandbox

    with DuneSandbox(speed=_SPEED) as sandbox:
        monkeypatch.setenv("DUNE_API_KEY", sandbox.api_key)
        monkeypatch.setenv("DUNE_API_BASE_URL", sandbox.url)
        # The proxy of this machine, if it has one, cannot reach the loopback interface.
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        monkeypatch.setenv("no_proxy", f"127.0.0.1,{others}")
        yield sandbox


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that passed although some of its faults met no request. A test that failed is left alone."""
    yield
    sandbox = getattr(item, "funcargs", {}).get("dune_sandbox")
    if pending := getattr(sandbox, "pending_faults", None):  # a project may have another fixture of that name
        lines = "\n".join(f"  dune_sandbox.fail({operation!r}, {fault!r})" for operation, fault in pending)
        pytest.fail(f"These faults met no request, so the test does not cover them:\n{lines}", pytrace=False)
