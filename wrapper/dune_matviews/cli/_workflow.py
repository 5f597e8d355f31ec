"""Workflow commands of GitHub Actions: ours are annotations, and nobody else's text becomes one.

This module must not know the subject of a text. A runner reads each line that a step prints. A line that begins with
`::`, or has `##[` anywhere, is a command to it, be it in a view's name, in a server's message or in JSON.
"""

from __future__ import annotations

import os
import re
from typing import Literal

_BEGINS = re.compile(r"(?:^|(?<=[\r\n]))(\s*):(?=:)")
_OLD = "##["


def is_step() -> bool:
    """The command runs in a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def harmless(text: str) -> str:
    """*text* with a blank in each workflow command."""
    return _BEGINS.sub(r"\1: ", text).replace(_OLD, "## [")


def harmless_json(text: str) -> str:
    """The same JSON value, in which a runner finds no command; no line of a document begins with a colon."""
    return text.replace(_OLD, r"#\u0023[")


def annotation(kind: Literal["error", "warning"], message: str, title: str = "") -> str:
    """The command that shows a message at the top of a workflow run."""
    named = f" title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}" if title else ""
    return f"::{kind}{named}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(_OLD, "## [")
