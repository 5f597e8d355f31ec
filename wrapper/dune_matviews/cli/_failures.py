"""Errors, in one line with the next step, as data, and as an exit code.

This module must not know where it is printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from dune_matviews import APIError, DuneError, InvalidArgumentError, RefreshError, SmallTierWarning
from dune_matviews.remedies import Note, to_dict

from . import _data, _exits, _remedies, _text
from ._exits import Exit


class PlanError(click.ClickException):
    """A plan file cannot be used. The text has a line for each mistake, with file and line."""


class Failure(NamedTuple):
    """The failure of a command."""

    code: Exit
    message: str
    document: Mapping[str, Any]
    hints: tuple[str, ...] = ()


def failure(error: BaseException) -> Failure:
    """The failure that *error* means for the user."""
    if isinstance(error, DuneError):
        return Failure(_exits.of_error(error), said(error), _of_dune(error))
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _interruption(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "dune-matviews"
        return _plain(Exit.USAGE, error, _text.line(f"{error.format_message()} See '{path} --help'."))
    if isinstance(error, click.ClickException):
        return _plain(Exit.USAGE, error, error.format_message())
    what = _text.line(f"{type(error).__name__}: {error}")
    if isinstance(error, OSError):
        return _plain(Exit.FAILED, error, what)
    return _plain(Exit.FAILED, error, f"{what}. This is a bug of dune-matviews; --debug shows where.")


def said(error: DuneError) -> str:
    """An error of the SDK, on one line and in the words of the command."""
    text = error.describe(_remedies.words)
    argument = error.argument if isinstance(error, InvalidArgumentError) else None
    return _text.line(text if argument is None else _remedies.option(argument) + text.removeprefix(argument))


def warned(warning: Warning | str) -> str:
    """A warning, on one line and in the words of the command."""
    if isinstance(warning, SmallTierWarning):
        return _text.line(f"{warning.problem} {_remedies.words(warning.remedy)}")
    return _text.line(str(warning))


def _of_dune(error: DuneError) -> dict[str, Any]:
    """An error of the SDK as data: the problem, the view, the execution and the remedy."""
    remedy = None if error.remedy is None else to_dict(error.remedy)
    found: dict[str, Any] = {"type": type(error).__name__, "message": said(error), "remedy": remedy}
    if isinstance(error, APIError):
        found |= {"status_code": error.status_code, "request_id": error.request_id}
    document: dict[str, Any] = {"error": found, "view": error.view, "execution_id": error.execution_id}
    if isinstance(error, RefreshError) and error.status is not None:
        document["execution"] = _data.plain(error.status)
    return document


def _plain(code: Exit, error: BaseException, message: str) -> Failure:
    return Failure(code, message, {"error": {"type": type(error).__name__, "message": message}})


def _interruption(error: BaseException) -> Failure:
    """Ctrl-C or SIGTERM; click turns Ctrl-C into an `Abort` with the interruption as its cause."""
    notes = getattr(error.__cause__ or error, "__notes__", [])
    hints = tuple(_text.line(_noted(note)) for note in notes)
    return Failure(
        Exit.INTERRUPTED, "interrupted", {"error": {"type": "Interrupted", "message": " ".join(hints)}}, hints
    )


def _noted(note: str) -> str:
    return f"{note.problem} {_remedies.words(note.remedy)}" if isinstance(note, Note) else note
