"""Knows the two things that most tests of the sandbox start with: one that runs, and a client that has its key.
Must not know the SDK: the sandbox is judged without it."""

from collections.abc import Iterator

import httpx
import pytest

from dune_matviews.sandbox import DuneSandbox


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A sandbox in which any view exists, at the speed of life."""
    with DuneSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client(sandbox: DuneSandbox) -> Iterator[httpx.Client]:
    """A client with the right key, whose paths begin after /api."""
    headers = {"X-Dune-Api-Key": sandbox.api_key}
    # The environment may name a proxy, which has no way to this machine's loopback interface.
    with httpx.Client(base_url=f"{sandbox.url}/api", headers=headers, trust_env=False, timeout=600) as client:
        yield client
