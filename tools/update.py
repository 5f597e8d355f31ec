"""The command `make update`: from sources to a new spec, a new client, and a report of the changes.
Must not know how a source is read, merged, corrected, compared or reported."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.document import Document, ToolError, parse
from tools.generate import CONFIG, ROOT, SPEC_FILES, TEMPLATES, load_what_fits, write
from tools.merge import Merged, merge, same
from tools.news import summarize
from tools.pages import Source, read_source
from tools.sources import RECORD, SPEC, digest, is_as_recorded, read_record, read_watched, replaced, written
from tools.summary import Summary
from tools.telling import block

SUMMARY = Path("build", "update.md")


class RefusedError(ToolError):
    """An update failed, so nothing was changed, but there is a report."""

    def __init__(self, problems: Sequence[str], summary: Summary) -> None:
        super().__init__("\n".join(problems))
        self.summary = summary


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command, for the repository at *root*, and return its exit code: 1 if anything is refused."""
    parser = argparse.ArgumentParser(prog="make update FROM='SOURCE …'", description="Take a newer spec of Dune's.")
    parser.add_argument(
        "source", nargs="*", help="path or address of a reference page (.md) or an OpenAPI file; else Dune's own pages"
    )
    try:
        summary = update(root, parser.parse_args(arguments).source or read_watched(root), datetime.now(UTC).date())
    except (ToolError, OSError) as problem:
        if isinstance(problem, RefusedError):
            print(problem.summary.full())
        print(f"error: {block(problem)}\nNothing was changed.", file=sys.stderr)
        return 1
    if summary is None:
        print("Dune's spec is the same as before: nothing was changed.")
        return 0
    print(summary.short())
    print(f"All of it is in {SUMMARY}, to paste into a pull request.")
    print(
        "`make check` fails until that is mended." if summary.broken else "What is left to do: make check, make test."
    )
    return 0


def update(root: Path, places: Sequence[str], today: date) -> Summary | None:
    """Update *root* from the specs at *places*. Return the report, or None if nothing is new."""
    sources, refused = _read(places)
    old = parse(SPEC, (root / SPEC).read_text("utf-8")) if (root / SPEC).exists() else None
    record = read_record(root)
    try:
        merged = merge(old, {name: each["from"] for each in record for name in each["operations"]}, sources)
        if old is not None and same(old, merged.document) and is_as_recorded(root):
            if refused:
                raise ToolError("\n".join(refused))
            return None
        with TemporaryDirectory(dir=root, prefix=".update-") as scratch:
            stage = Path(scratch)
            _stage(root, stage, merged, _recorded(record, merged, sources, today))
            corrected = load_what_fits(stage)
            summary = summarize(root, sources, today, old, merged.document, corrected)
            if refused or corrected.misfits:
                raise RefusedError([*refused, *corrected.misfits], summary)
            try:
                write(corrected.document, stage, stage / "generated")
            except ToolError as problem:
                raise RefusedError([str(problem)], summary) from problem
            _land(root, stage, (SPEC, RECORD, "generated"))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as problem:
        # Raised if the document has another type where OpenAPI has an object or a list.
        names = ", ".join(source.name for source in sources)
        raise ToolError(f"{names} is not laid out as OpenAPI has it: {problem!r}") from problem
    (root / SUMMARY).parent.mkdir(exist_ok=True)
    (root / SUMMARY).write_text(summary.full(), "utf-8")
    return summary


def _read(places: Sequence[str]) -> tuple[list[Source], list[str]]:
    """Read the readable ones of *places*, and say why the others are not."""
    sources: list[Source] = []
    refused: list[str] = []
    for place in places:
        try:
            sources.append(read_source(place))
        except ToolError as problem:
            refused.append(str(problem))
    if not sources:
        raise ToolError("\n".join(refused))
    return sources, refused


def _recorded(record: Sequence[Document], merged: Merged, sources: Sequence[Source], today: date) -> str:
    """Return the record of the sources of *merged*."""
    entries: dict[str, Document] = {entry["from"]: dict(entry) for entry in record}
    for source in sources:
        entries[source.name] = replaced(entries.get(source.name), source.name, digest(source.text), today)
    for name, entry in entries.items():
        entry["operations"] = sorted(each for each, provider in merged.providers.items() if provider == name)
    return written([entries[name] for name in sorted(entries) if entries[name]["operations"]], merged.text)


def _stage(root: Path, stage: Path, merged: Merged, record: str) -> None:
    """Put into *stage* the files that an update changes, and the inputs of the generator."""
    (stage / SPEC).write_text(merged.text, "utf-8", newline="")
    (stage / RECORD).write_text(record, "utf-8")
    for name in (*SPEC_FILES, CONFIG, *TEMPLATES):
        if name != SPEC:
            (stage / name).parent.mkdir(exist_ok=True)
            shutil.copy(root / name, stage / name)


def _land(root: Path, stage: Path, names: Sequence[str]) -> None:
    """Replace the files in *root* by those in *stage*, all of them or none."""
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


if __name__ == "__main__":
    sys.exit(main())
