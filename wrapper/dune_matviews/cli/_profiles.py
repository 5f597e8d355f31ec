"""The configuration file: profiles, for people with more than one account.

This module must not know the client.

    [profiles.default]              # where no other is asked for
    api_key_file = "~/.dune-key"
    dune_plan = "plus"

    [profiles.work]                 # --profile work
    api_key_command = ["pass", "show", "dune/work"]
    base_url = "https://api.dune.com"
    request_timeout = "30s"
"""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click

from dune_matviews import InvalidArgumentError, Plan
from dune_matviews.plan import expand_path, parse_duration

from . import _keys

_LARGEST = 1_000_000
_DEFAULT = "default"
_KEYS = ("api_key_file", "api_key_command", "dune_plan", "base_url", "request_timeout")


class Profile(NamedTuple):
    """The settings of a profile; None for those that it leaves open."""

    api_key_file: Path | None = None
    api_key_command: tuple[str, ...] | None = None
    dune_plan: str | None = None
    base_url: str | None = None
    request_timeout: float | None = None

    def key(self) -> str | None:
        """The API key, if the profile says where it is."""
        if self.api_key_file is not None:
            return _keys.from_file(self.api_key_file)
        return None if self.api_key_command is None else _keys.from_command(self.api_key_command)


def path() -> Path:
    """Where the configuration file is: the same on every system, as Git and others have it."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dune-matviews" / "config.toml"


def read(name: str | None) -> Profile:
    """The profile of that name; None is `default`, which need not be there.

    Raises:
        click.UsageError: there is no such profile, or the file cannot be used.
    """
    file = path()
    profiles = _profiles(file)
    if name is not None and name not in profiles:
        there = f"it has {', '.join(profiles)}" if profiles else "it has none"
        raise click.UsageError(f"{file}: there is no profile {name!r}; {there}.")
    name = name or _DEFAULT
    try:
        return _profile(profiles.get(name, {}), file.parent)
    except ValueError as problem:
        raise click.UsageError(f"{file}: profiles.{name}{problem}") from problem


def _profiles(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            mode, content = os.fstat(opened.fileno()).st_mode, opened.read(_LARGEST)
        data = tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise click.UsageError(f"{file}: it cannot be read: {problem.strerror}.") from problem
    except (ValueError, RecursionError) as problem:
        raise click.UsageError(f"{file}: {problem}") from problem
    if os.name == "posix" and mode & 0o022:  # it names a command to run
        raise click.UsageError(f"{file}: others may write to it: `chmod go-w {file}` ends that.")
    profiles = data.pop("profiles", {})
    if data or not isinstance(profiles, dict):
        raise click.UsageError(f"{file}: it has tables [profiles.NAME] and nothing else.")
    return profiles


def _profile(table: Any, folder: Path) -> Profile:
    """The profile in *table*. The message of a `ValueError` continues the name of the profile."""
    if not isinstance(table, dict):
        raise ValueError(" must be a table.")
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(key, _KEYS, n=1)
            meant = f"did you mean {close[0]}?" if close else f"it may have {', '.join(_KEYS)}."
            raise ValueError(f" has no {key!r}; {meant}")
    for key in ("api_key_file", "dune_plan", "base_url", "request_timeout"):
        if not isinstance(table.get(key, ""), str):
            raise ValueError(f".{key} must be a text.")
    command = table.get("api_key_command", ["-"])
    if not isinstance(command, list) or not command or not all(isinstance(each, str) for each in command):
        raise ValueError('.api_key_command must be an array of texts, such as ["pass", "show", "dune"].')
    if "dune_plan" in table and table["dune_plan"] not in get_args(Plan):
        raise ValueError(f".dune_plan must be one of {', '.join(get_args(Plan))}.")
    timeout = table.get("request_timeout")
    try:
        return Profile(
            api_key_file=folder / expand_path(table["api_key_file"]) if "api_key_file" in table else None,
            api_key_command=tuple(command) if "api_key_command" in table else None,
            dune_plan=table.get("dune_plan"),
            base_url=table.get("base_url"),
            request_timeout=None if timeout is None else parse_duration(timeout).total_seconds(),
        )
    except InvalidArgumentError as problem:
        raise ValueError(f": {problem}.") from problem
