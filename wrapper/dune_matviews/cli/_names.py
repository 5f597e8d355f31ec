"""Bare names of views completed to full ones, where the account's list leaves no doubt.

This module must not know the command that uses a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from . import _text
from ._output import Output

if TYPE_CHECKING:
    from dune_matviews import MatviewsClient


def completed(dune: MatviewsClient, output: Output, names: Iterable[str]) -> tuple[str, ...]:
    """The names, the bare ones among them in full; one that the account's list does not have is left as it is.

    Raises:
        click.UsageError: a bare name is that of several views.
    """
    names = tuple(names)
    if all("." in name for name in names):
        return names  # the account is not asked for its list
    listed = [view.name for view in dune.list()]
    return tuple(name if "." in name else _completed(name, listed, output) for name in names)


def _completed(bare: str, listed: list[str], output: Output) -> str:
    found = [name for name in listed if name.rpartition(".")[2] == bare]
    if len(found) > 1:
        raise click.UsageError(f"{bare} may be any of {', '.join(map(_text.line, found))}: write the full name.")
    if not found:
        return bare
    output.note(f"{bare} is taken for {_text.line(found[0])}")
    return found[0]
