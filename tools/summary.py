"""Knows how an update is told to whoever maintains this project: in a pull request, and on a terminal.
Must not know how any of it was found, nor write files.

What touches the project comes first, then what is new, then the rest, folded. Whatever comes from a spec stands in code
spans."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.change import Change, Effect, Rank
from tools.telling import code

MOST = 60_000  # bytes: GitHub takes no more than 65,536 characters


@dataclass(frozen=True)
class Summary:
    """What there is to tell of one update.

    Attributes:
        day: the day of the update, as in `2031-02-03`.
        sources: the names of the sources.
        changes: what changed, what matters most first.
        ages: why a source may be older than what there is.
        misfits: the corrections that do not fit any more; one is enough for the update not to be taken.
        broken: what `make check` will complain about.
        notes: the additions and corrections that are not needed as they are.
        rules: what the general rules did.
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
        """Return all of it in Markdown, the long lists folded, but no more than a pull request takes."""
        lines, left = self._head(), MOST
        for title, items in self._folded():
            lines += ["", "<details>", f"<summary>{title}</summary>", "", *items, "", "</details>"]
        for number, each in enumerate(lines):
            if (left := left - len(each.encode()) - 1) < 0:  # between lines: half a code span would be none
                return "\n".join([*lines[:number], "", "There is more than a pull request takes.", ""])
        return "\n".join(lines) + "\n"

    def short(self) -> str:
        """Return it without the long lists, of which only the length is told."""
        lines = self._head()
        if folded := [title for title, _ in self._folded()]:
            lines += ["", f"And {', '.join(folded)}."]
        return "\n".join(lines) + "\n"

    def _head(self) -> list[str]:
        lines = [f"# Dune's spec as of {self.day}", "", f"From {', '.join(map(code, self.sources))}. {self._count()}"]
        sections = {
            "Not taken, because a correction does not fit any more": [f"- {code(told, None)}" for told in self.misfits],
            "Look here": [*(f"- {told}" for told in self.ages), *map(str, self._of(Rank.LOOK))],
            "To mend before `make check` passes": [f"- {code(told, None)}" for told in self.broken],
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
