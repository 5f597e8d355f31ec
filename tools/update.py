"""Knows the command `make update`: from sources to a new spec, a new client, and a summary of what changed.
Must not know how a source is read, merged, corrected or compared."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.changes import Change, Effect, compare
from tools.document import Corrected, Document, ToolError, parse
from tools.facts import check
from tools.generate import CONFIG, ROOT, SPEC_FILES, TEMPLATES, given_classes, load, write
from tools.merge import Merged, merge, same
from tools.pages import Source, read_source
from tools.sources import RECORD, SPEC, digest, is_as_recorded, read_record, written
from tools.wrapper import read_facts, used_of

SUMMARY = Path("build", "update.md")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command, for the repository at *root*, and return its exit code: 1 if a source is refused."""
    parser = argparse.ArgumentParser(prog="make update FROM='SOURCE …'", description="Take a newer spec of Dune's.")
    parser.add_argument("source", nargs="+", help="path or address of a reference page (.md) or an OpenAPI file")
    try:
        summary = update(root, parser.parse_args(arguments).source, datetime.now(UTC).date())
    except (ToolError, OSError) as problem:
        print(f"error: {problem}\nNothing was changed.", file=sys.stderr)
        return 1
    if summary is None:
        print("Dune says what it said before: nothing was changed.")
        return 0
    print(summary)
    print(f"The same is in {SUMMARY}, to paste into a pull request. What is left to do: make check, make test.")
    return 0


def update(root: Path, places: Sequence[str], today: date) -> str | None:
    """Bring *root* up to date from the specs at *places*; return the summary, or None where nothing is new."""
    sources = [read_source(place) for place in places]
    old = parse(SPEC, (root / SPEC).read_text("utf-8")) if (root / SPEC).exists() else None
    record = read_record(root)
    try:
        merged = merge(old, {name: each["from"] for each in record for name in each["operations"]}, sources)
        if old is not None and same(old, merged.document) and is_as_recorded(root):
            return None
        with TemporaryDirectory(dir=root, prefix=".update-") as scratch:
            stage = Path(scratch)
            corrected = _produce(root, stage, merged, _recorded(record, merged, sources, today))
            summary = _summary(root, sources, today, old, merged.document, corrected)
            _land(root, stage, (SPEC, RECORD, "generated"))
    except (AttributeError, KeyError, TypeError) as problem:
        # So ends a walk through a document that has something else where OpenAPI has an object or a list.
        names = ", ".join(source.name for source in sources)
        raise ToolError(f"{names} is not laid out as OpenAPI has it: {problem!r}") from problem
    (root / SUMMARY).parent.mkdir(exist_ok=True)
    (root / SUMMARY).write_text(summary, "utf-8")
    return summary


def _recorded(record: Sequence[Document], merged: Merged, sources: Sequence[Source], today: date) -> str:
    """Return the record of where *merged* comes from."""
    entries: dict[str, Document] = {entry["from"]: dict(entry) for entry in record}
    for source in sources:
        entries[source.name] = {"from": source.name, "when": today.isoformat(), "sha256": digest(source.text)}
    for name, entry in entries.items():
        entry["operations"] = sorted(each for each, provider in merged.providers.items() if provider == name)
    return written([entries[name] for name in sorted(entries) if entries[name]["operations"]], merged.text)


def _produce(root: Path, stage: Path, merged: Merged, record: str) -> Corrected:
    """Put into *stage* all that an update changes, and whatever it is made from."""
    (stage / SPEC).write_text(merged.text, "utf-8", newline="")
    (stage / RECORD).write_text(record, "utf-8")
    for name in (*SPEC_FILES, CONFIG, *TEMPLATES):
        if name != SPEC:
            (stage / name).parent.mkdir(exist_ok=True)
            shutil.copy(root / name, stage / name)
    corrected = load(stage)
    write(corrected.document, stage, stage / "generated")
    return corrected


def _land(root: Path, stage: Path, names: Sequence[str]) -> None:
    """Put what is in *stage* in the place of what is in *root*, all of it or nothing."""
    aside = stage / "aside"
    aside.mkdir()
    done: list[str] = []
    try:
        for name in names:
            if (root / name).exists():
                (root / name).rename(aside / name)
            done.append(name)
            (stage / name).rename(root / name)
    except BaseException:
        for name in reversed(done):
            if (root / name).exists():
                (root / name).rename(stage / name)
            if (aside / name).exists():
                (aside / name).rename(root / name)
        raise


def _summary(
    root: Path, sources: Sequence[Source], today: date, old: Document | None, new: Document, corrected: Corrected
) -> str:
    """Tell in Markdown what changed, and what is left to do."""
    facts = read_facts(root)
    names = ", ".join(f"`{source.name}`" for source in sources)
    changes = compare(old or {}, new, used_of(old or {}, facts) | used_of(new, facts))
    broken = check(corrected.document, facts, given_classes(root))
    lines = [f"# Dune's spec as of {today.isoformat()}", "", f"From {names}. {_count(changes)}", ""]
    lines += [str(change) for change in changes] or ["The operations and schemas are what they were."]
    if broken:
        lines += ["", "## To mend before `make check` passes", "", *(f"- {told}" for told in broken)]
    news = _news(root, old, corrected)
    if notes := [line for line in news if not line.startswith("rule: ")]:
        lines += [
            "",
            "## Additions and corrections that are not needed as they are",
            "",
            *(f"- {note}" for note in notes),
        ]
    if rules := [line.removeprefix("rule: ") for line in news if line.startswith("rule: ")]:
        lines += ["", "## What the general rules did to what is new", "", *(f"- {rule}" for rule in rules)]
    return "\n".join(lines) + "\n"


def _count(changes: Sequence[Change]) -> str:
    breaking = sum(change.effect is Effect.BREAKING for change in changes)
    total = f"{len(changes)} changes" if len(changes) != 1 else "1 change"
    return f"{total}, {breaking or 'none'} of them breaking for users of dune_matviews."


def _news(root: Path, old: Document | None, corrected: Corrected) -> list[str]:
    """Return what was done to the spec that was not done before."""
    try:
        known = [] if old is None else load(root).report
    except ToolError:  # a repository that somebody is in the middle of changing
        known = []
    return [line for line in corrected.report if line not in known]


if __name__ == "__main__":
    sys.exit(main())
