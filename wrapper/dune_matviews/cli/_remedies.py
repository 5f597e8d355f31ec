"""Remedies in the words of the command: commands to paste, options and variables.

This module must not know errors, nor where the words go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dune_matviews.remedies import Adopt, Advice, Attach, ChangeSetting, LookAt, Remedy, Setting, SettleJournal

from . import _text

if TYPE_CHECKING:
    from dune_matviews import ViewResult

_OPTIONS = {
    "api_key": "--api-key-file",
    "cron_expression": "--cron",
    "is_private": "--private",
    "query_id": "--query",
    "run": "--run",
}
_ELSEWHERE = ("base_url",)
"""Arguments of the client that no option sets."""


def words(remedy: Remedy) -> str:
    """A sentence or two."""
    match remedy:
        case Advice(text):
            return text
        case ChangeSetting(sentence, settings):
            return sentence.format(*map(_setting, settings))
        case Attach((execution_id,)):
            follow, end = _quoted("wait", execution_id), _quoted("cancel", execution_id)
            return f"Follow it with {follow}, or end it with {end}."
        case Attach(execution_ids):
            return f"Follow one of them with {_quoted('wait', 'ID')}: {', '.join(execution_ids)}."
        case Adopt(name):
            look, adopt = _quoted("get", name), _quoted("refresh", name, "--if-running", "adopt")
            return f"See its latest executions with {look}; {adopt} follows one that is under way, else starts another."
        case LookAt(name):
            look = _quoted("get", name) if name else f"{_quoted('get')} and its full name"
            return f"See its present state with {look}."
        case SettleJournal(path, name):
            known = _quoted("journal", "resolve", path or "FILE", name or "VIEW", "--id", "ID")
            return f"If you know how it ended, settle it with {known}, or with `--none` in place of the id."


def why(result: ViewResult) -> str:
    """The reason of a view's outcome, and its remedy; commands to follow an execution come below the table."""
    return (result.reason or "") if isinstance(result.remedy, Attach | Adopt) else result.describe(words)


def option(argument: str) -> str:
    """The option by which people at a shell pass an argument of the SDK."""
    return _OPTIONS.get(argument) or (f"--{argument.replace('_', '-')}" if argument.isidentifier() else argument)


def _setting(setting: Setting) -> str:
    named = None if setting.argument in (None, *_ELSEWHERE) else option(str(setting.argument))
    if setting.variable is not None:
        return setting.variable + (f" (or {named})" if named else "")
    return f"{named} {setting.value}" if setting.value else str(named)


def _quoted(*of_command: str) -> str:
    return f"`{_text.command(*of_command)}`"
