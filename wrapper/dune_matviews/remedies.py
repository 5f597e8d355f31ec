"""The next step after an error, as data: `DuneError.remedy`. Python, the command line and an engine put it into words.

This module must not know errors, nor their readers. `str()` of a remedy is worded for Python. Remedies are named tuples
because `import dune_matviews` loads them, and must stay cheap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "Adopt",
    "Advice",
    "Attach",
    "ChangeSetting",
    "LookAt",
    "Note",
    "Remedy",
    "Setting",
    "SettleJournal",
    "to_dict",
]


class Advice(NamedTuple):
    """A sentence that reads the same everywhere."""

    text: str

    def __str__(self) -> str:
        return self.text


class Setting(NamedTuple):
    """A setting that a `ChangeSetting` names: by its argument, by its environment variable, or by both.

    Attributes:
        argument: the argument of a method or of the client.
        value: the value to pass; None if the caller has to choose it.
        variable: the environment variable.
    """

    argument: str | None = None
    value: str | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return self.variable + (f" (or {self.argument}=)" if self.argument else "")
        return f"{self.argument}={self.value!r}" if self.value else f"{self.argument}="


class ChangeSetting(NamedTuple):
    """Set, change or check settings: *sentence* has `{}` in place of each."""

    sentence: str
    settings: tuple[Setting, ...]

    def __str__(self) -> str:
        return self.sentence.format(*self.settings)


class Attach(NamedTuple):
    """Follow an execution; of several, the right one."""

    execution_ids: tuple[str, ...]

    def __str__(self) -> str:
        if len(self.execution_ids) == 1:
            return f"Follow it with attach({self.execution_ids[0]!r})."
        return f"Follow one of them with attach(): {', '.join(self.execution_ids)}."


class Adopt(NamedTuple):
    """Follow an execution of the view that is under way, or start one if there is none."""

    name: str

    def __str__(self) -> str:
        return (
            f"Follow the execution that is under way with refresh({self.name!r}, if_running='adopt'). This client "
            "remembers the request, and looks for it again before it sends another."
        )


class LookAt(NamedTuple):
    """Look at the view; *name* is None if its full name is unknown."""

    name: str | None

    def __str__(self) -> str:
        called = f"get({self.name!r})" if self.name else "get() of its full name"
        return f"See what it is now, and its latest executions, with {called}."


class SettleJournal(NamedTuple):
    """Record in a journal how the refresh of *name* has ended; None stands for each open view."""

    path: str | None
    name: str | None

    def __str__(self) -> str:
        called = f"dune_matviews.journal.resolve({self.path or 'PATH'!r}, {self.name or 'VIEW'!r}, …)"
        return f"If you know its end, record it with {called}."


Remedy = Advice | ChangeSetting | Attach | Adopt | LookAt | SettleJournal


class Note(str):
    """A note (PEP 678) about a refresh that an interruption leaves behind, worded for Python.

    Attributes:
        problem: the refresh left behind.
        remedy: the next step.
    """

    problem: str
    remedy: Remedy

    def __new__(cls, problem: str, remedy: Remedy) -> Note:
        """A note of both."""
        note = super().__new__(cls, f"{problem} {remedy}")
        note.problem, note.remedy = problem, remedy
        return note

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.remedy)


def to_dict(remedy: Remedy) -> dict[str, Any]:
    """A remedy as plain data, ready for `json.dumps`: its `type`, and its attributes."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in remedy._asdict().items()}
    if isinstance(remedy, ChangeSetting):
        fields["settings"] = [each._asdict() for each in remedy.settings]
    return {"type": type(remedy).__name__, **fields}
