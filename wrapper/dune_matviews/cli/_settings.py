"""The values of the common options, and the client that they describe.

This module must not know the work of a command.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from . import _keys, _profiles
from ._output import Output

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient


class Settings:
    """The values of the common options; each option may stand before the command or after it."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.plan: Any = "auto"
        self.plan_of_file: str | None = None
        self.api_key_file: Path | None = None
        self.profile: str | None = None
        self.small_tier: Any = "warn"

    @contextmanager
    def client(self) -> Generator[MatviewsClient]:
        """A client of the account that the options, the environment and the configuration name.

        A profile that was asked for counts more than the environment, so that nobody pays with another account's key.
        """
        profile = _profiles.read(self.profile)
        asked_for = profile.dune_plan if self.profile is not None else None
        wanted: dict[str, Any] = {
            "api_key": None if self.api_key_file is None else _keys.from_file(self.api_key_file),
            "base_url": None,
            "timeout": None,
            "plan": (asked_for or self.plan_of_file) if self.plan == "auto" else self.plan,
        }
        for argument, variable, found in (
            ("api_key", "DUNE_API_KEY", profile.key),
            ("base_url", "DUNE_API_BASE_URL", lambda: profile.base_url),
            ("timeout", "DUNE_API_REQUEST_TIMEOUT", lambda: profile.request_timeout),
            ("plan", "DUNE_PLAN", lambda: profile.dune_plan),
        ):
            if wanted[argument] is None and (self.profile is not None or not os.environ.get(variable)):
                wanted[argument] = found()
        if wanted["api_key"] is None and self.profile is not None:
            raise click.UsageError(f"The profile {self.profile!r} has no key: give it an api_key_file.")
        wanted["plan"] = wanted["plan"] or "auto"
        from dune_matviews import MatviewsClient

        from . import _logs

        _logs.tell(self.output)
        history = _history_file(wanted["base_url"] or os.environ.get("DUNE_API_BASE_URL"))
        with MatviewsClient(small_tier=self.small_tier, history=history, **wanted) as dune:
            yield dune


def _history_file(base_url: str | None) -> Path:
    """The past executions of views, in the user's cache folder; each sandbox has a file of its own, by its port."""
    import platformdirs

    try:
        host = urlsplit(base_url or "").netloc.rpartition("@")[2] or "api.dune.com"
    except ValueError:  # the client explains it
        host = "unknown"
    return platformdirs.user_cache_path("dune-matviews") / f"history-{host.replace(':', '-')}.jsonl"
