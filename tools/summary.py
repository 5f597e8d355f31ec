"""Formats the report of an update for maintainers, in a pull request and on a terminal.
Must not know how its contents were found, nor write files.

Changes that affect the project come first, then additions, then the rest, folded. All text from a spec is in code
spans."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.change import Change, Effect, Rank
from tools.telling import code

MOST = 60_000  # bytes: GitHub takes no more than 65,536 characters


@dataclass(frozen=True)
class Summary:
    """The contents of the report of one update.

    Attributes:
        day: the day of the update, as in `2031-02-03`.
        sources: the names of the sources.
        changes: the changes, the most important first.
        ages: the reasons why a source may be older than the current spec.
        misfits: the corrections that no longer fit; a single one blocks the update.
        broken: the complaints of `make check` after the update.
        notes: the additions and corrections that are no longer needed as they are.
        rules: the corrections by the general rules.
    """

    day: str
    sources: Sequence[str]
    changes: Sequence[Change]
    ages: Sequence[str]
    misfits: Sequence[str]
    broken: Sequence[str]
    notes: Sequence[str]
    rules: Sequence[str]

    def full(self) -> str:
        """Return the whole report in Markdown, with long lists folded, cut to the limit of a pull request."""
        lines, left = self._head(), MOST
        for title, items in self._folded():
            lines += ["", "<details>", f"<summary>{title}</summary>", "", *items, "", "</details>"]
        for number, each in enumerate(lines):
            if (left := left - len(each.encode()) - 1) < 0:  # cut between lines, because half a code span would leak
                return "\n".join([*lines[:number], "", "There is more than a pull request takes.", ""])
        return "\n".join(lines) + "\n"

    def short(self) -> str:
        """Return the report with only the length of each long list."""
        lines = self._head()
        if folded := [title for title, _ in self._folded()]:
            lines += ["", f"And {', '.join(folded)}."]
        return "\n".join(lines) + "\n"

    def _head(self) -> list[str]:
        lines = [f"# Dune's spec as of {self.day}", "", f"From {', '.join(map(code, self.sources))}. {self._count()}"]
        sections = {
            "Not taken, because a correction does not fit any more": [f"- {code(told, None)}" for told in self.misfits],
            "Look here": [*(f"- {told}" for told in self.ages), *map(str, self._of(Rank.LOOK))],
            "To fix before `make check` passes": [f"- {code(told, None)}" for told in self.broken],
            "New in what we use": [str(change) for change in self._of(Rank.GAIN)],
            "New elsewhere": [str(change) for change in self._of(Rank.NEW)],
        }
        for title, items in sections.items():
            if items:
                lines += ["", f"## {title}", "", *items]
        return lines

    def _folded(self) -> list[tuple[str, list[str]]]:
        rest = self._of(Rank.REST)
        alone = sum(change.effect is Effect.GENERATED for change in rest)
        told = f"{_number(len(rest), 'other change')}{f' ({alone} {Effect.GENERATED})' if alone else ''}"
        found = [
            (told, [str(change) for change in rest]),
            (
                _number(len(self.notes), "note") + " on additions.yaml and overlay.yaml",
                [f"- {code(note)}" for note in self.notes],
            ),
            (_number(len(self.rules), "line") + " on what the general rules did", [f"- {code(r)}" for r in self.rules]),
        ]
        return [(title, items) for title, items in found if items]

    def _count(self) -> str:
        if not self.changes:
            return "The operations and schemas are what they were."
        breaking = sum(change.effect is Effect.BREAKING for change in self.changes)
        return (
            f"{_number(len(self.changes), 'change')}, {len(self._of(Rank.LOOK)) or 'none'} of them to look at, "
            f"{breaking or 'none'} breaking for users of dune_matviews."
        )

    def _of(self, rank: Rank) -> list[Change]:
        return [change for change in self.changes if change.rank is rank]


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
