"""The API key as people keep it: in a file of their own, or behind a command such as a password manager's.

This module must not know where the key is used, and shows it nowhere.
"""

from __future__ import annotations

import codecs
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from stat import S_IMODE

import click

from . import _text

LONGEST_FILE = 10_000
"""Bytes that are read of a file or of a command's output."""
LONGEST_COMMAND = 120
"""Seconds: somebody may have to type a passphrase."""


def from_file(path: Path) -> str:
    """The API key that a file holds, which nobody but its owner may read.

    Raises:
        click.UsageError: there is no such file, others may read it, or it holds no key.
    """
    try:
        with path.open("rb") as file:
            mode = S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(LONGEST_FILE)
    except OSError as problem:
        raise click.UsageError(f"The key file {path} cannot be read: {problem.strerror}.") from problem
    if os.name == "posix" and mode & 0o077:
        remedy = _text.line(shlex.join(["chmod", "600", str(path)]))
        found = f"Others have access to the key file {path} (its mode is {mode:03o})"
        raise click.UsageError(f"{found}: `{remedy}` ends that.")
    key = _key(content)
    if key is None:
        raise click.UsageError(f"The key file {path} must hold the API key and nothing else.")
    return key


def from_command(command: Sequence[str]) -> str:
    """The API key that a command prints. It may ask at the terminal, and its own errors are its own.

    Raises:
        click.UsageError: it cannot be run, fails, or prints no key.
    """
    shown = _text.line(shlex.join(command))
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LONGEST_COMMAND, check=False)  # noqa: S603  # the user's own
    except OSError as problem:
        raise click.UsageError(f"The key's command cannot be run: {shown}: {problem.strerror}.") from problem
    except subprocess.TimeoutExpired:
        raise click.UsageError(f"The key's command has not ended within {LONGEST_COMMAND} s: {shown}.") from None
    key = _key(done.stdout[:LONGEST_FILE])
    if done.returncode:
        raise click.UsageError(f"The key's command has failed with exit code {done.returncode}: {shown}.")
    if key is None:
        raise click.UsageError(f"The key's command must print the API key and nothing else: {shown}.")
    return key


def _key(content: bytes) -> str | None:
    """The key in *content*, which may have a byte order mark, be in UTF-16, in quotes, and end with a new line."""
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_wide else "utf-8-sig", "replace").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text if text and len(text.split()) == 1 else None
