"""Escapes untrusted text for Markdown, terminals, and workflow logs, where some lines are commands.
Must not know the meaning of the text.

GitHub acts on mentions, HTML and phrases like `Fixes #1` in a pull request, except in code spans. So all text from a
spec is put into a code span that it cannot end."""

import json
import re

LONGEST = 240


def line(text: object) -> str:
    """Return *text* as one line that is safe on a terminal and in a workflow's log."""
    shown = "".join(each if each.isprintable() else " " for each in str(text))
    return " ".join(shown.split()).replace("##[", "## [")


def block(text: object) -> str:
    """Return *text* of several lines, none of them a command."""
    lines = [f"{each[: len(each) - len(each.lstrip(' '))]}{line(each)}" for each in str(text).splitlines()]
    return "\n".join(f"| {each}" if each.lstrip().startswith("::") else each for each in lines)


def code(value: object, longest: int | None = LONGEST) -> str:
    """Return *value* as a Markdown code span that nothing in it can end, cut to *longest* characters."""
    text = line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    text = text if longest is None or len(text) <= longest else f"{text[:longest]}…"
    # A code span ends at as many backticks as it begins with, so it begins with more than it contains.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else "an empty text"


def turned(old: object, new: object) -> str:
    """Describe the change from *old*: both values if short, or else both from their first difference."""
    before, after = (line(each) if isinstance(each, str) else each for each in (old, new))
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > LONGEST:
        same = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
        start = max(0, same - LONGEST // 4)
        before, after = (f"…{each[start:]}" if start else each for each in (before, after))
    return f"is {_shown(after)} now, and was {_shown(before)}"


def _shown(value: object) -> str:
    return "not there" if value is None else code(value)
