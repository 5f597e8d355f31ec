"""The types of arguments: times, credits, names and paths as people write them.

This module must not know the options of which they are the types.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dune_matviews import InvalidArgumentError
from dune_matviews.plan import expand_path, parse_duration

if TYPE_CHECKING:
    from datetime import timedelta


class FilePath(click.Path):
    """The path of a file, with `~` and variables in it, which a shell leaves as they are after `--journal=`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path as people mean it."""
        try:
            return expand_path(os.fspath(value))
        except InvalidArgumentError as problem:
            self.fail(f"{problem}.", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A length of time, such as `90s` or `1h30m`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time as a `timedelta`."""
        try:
            return parse_duration(value)
        except InvalidArgumentError as problem:
            self.fail(f"{problem}.", param, ctx)


class Credits(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """An amount of credits, zero or more; checked before anything is started that it is to limit."""

    name = "credits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The amount as a number."""
        try:
            amount = float(value)
        except ValueError:
            amount = math.nan
        if not 0 <= amount < math.inf:
            self.fail(f"{value!r} is no amount of credits: write it like 50 or 0.5, zero or more.", param, ctx)
        return amount


class Number(click.IntRange):
    """A whole number, which click would call an integer range."""

    name = "whole number"


class Name(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """The name of a view, or the id of an execution."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, unchanged; an impossible name is refused before anything is sent."""
        if not value.strip():
            self.fail("it is empty.", param, ctx)
        if not value.isprintable():
            self.fail(f"{value!r} has characters that are not printable.", param, ctx)
        return str(value)
