"""The block with an account's key, and the clients that the tasks of a process share.

This module must not know flows, tasks or journals.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from dune_matviews import MatviewsClient, Plan


class DuneCredentials(Block):
    """The API key of a Dune account, and how to reach it. Tasks take the block's name, so no task run has the key."""

    _block_type_name = "Dune Credentials"
    _block_type_slug = "dune-credentials"

    api_key: SecretStr = Field(description="Dune's API key, from https://dune.com/apis?tab=keys.")
    base_url: str | None = Field(default=None, description="Where the API is; empty for https://api.dune.com.")
    plan: Plan = Field(default="auto", description="The account's plan, which sets the request limits to begin with.")

    def get_client(self) -> MatviewsClient:
        """A client of the account, for the caller to close.

        Raises:
            ConfigurationError, InvalidArgumentError: as from `MatviewsClient`.
        """
        return MatviewsClient(self.api_key.get_secret_value(), base_url=self.base_url, plan=self.plan)


_clients: dict[str | None, MatviewsClient] = {}
_users: dict[str | None, int] = {}
_lock = threading.Lock()


@contextmanager
def shared_client(name: str | None) -> Iterator[MatviewsClient]:
    """The client of the block *name*, or of the environment where that is None, closed after its last user.

    Tasks that run side by side in threads thus share its connections, and above all its request limits.
    """
    with _lock:
        if name not in _clients:
            _clients[name] = MatviewsClient() if name is None else _load(name).get_client()
        dune = _clients[name]
        _users[name] = _users.get(name, 0) + 1
    try:
        yield dune
    finally:
        with _lock:
            _users[name] -= 1
            if not _users[name]:
                _clients.pop(name).close()


def _load(name: str) -> DuneCredentials:
    block = DuneCredentials.load(name, _sync=True)  # type: ignore[call-arg]  # a task may run in an event loop's thread
    if not isinstance(block, DuneCredentials):
        raise TypeError(f"The block {name!r} has no credentials for Dune.")
    return block
