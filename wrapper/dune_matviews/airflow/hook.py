"""The hook: clients with the settings of an Airflow connection.

This module must not know what is refreshed with them.
"""

from __future__ import annotations

from typing import Any

from dune_matviews import DuneError, MatviewsClient
from dune_matviews.remedies import Adopt, Attach, ChangeSetting, Remedy

from ._engine import BaseHook, Connection

_OF_THE_CONNECTION = {"api_key": "the connection's password", "base_url": "its host", "plan": "its plan"}


class DuneHook(BaseHook):
    """Clients of Dune with the settings of a connection of type `dune`.

    The connection's password is the API key, its host the base URL, and `plan` in its extra the account's plan. What it
    leaves out is read from the environment of the process, as `MatviewsClient` does.

    Args:
        dune_conn_id: the connection.
    """

    conn_name_attr = "dune_conn_id"
    default_conn_name = "dune_default"
    conn_type = "dune"
    hook_name = "Dune"

    def __init__(self, dune_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.dune_conn_id = dune_conn_id

    def get_conn(self) -> MatviewsClient:
        """A client, for the caller to close."""
        return MatviewsClient(**settings_of(self.get_connection(self.dune_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Whether Dune accepts the key, and whose it is; free of charge."""
        try:
            with self.get_conn() as dune:
                account = dune.whoami()
        except DuneError as problem:
            return False, problem.describe(words)
        return True, f"The key is {account.handle or account.customer_id}'s."


def settings_of(connection: Connection) -> dict[str, Any]:
    """The arguments of a client that a connection stands for."""
    host = connection.host or None
    return {
        "api_key": connection.password or None,
        "base_url": f"https://{host}" if host and "://" not in host else host,
        "plan": connection.extra_dejson.get("plan") or "auto",
    }


def words(remedy: Remedy) -> str:
    """What to do about an error, for users of Airflow: settings are the connection's, and a retry follows by itself."""
    match remedy:
        case Attach() | Adopt():
            return "A retry of the task follows it."
        case ChangeSetting(sentence, settings):
            return sentence.format(*(_OF_THE_CONNECTION.get(each.argument or "", str(each)) for each in settings))
    return str(remedy)
