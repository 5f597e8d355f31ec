"""Collects the news of an update: changes, facts that no longer hold, and corrections made.
Must not know the format of the report, nor change any file."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from tools.adopted import adopted
from tools.age import taken_away
from tools.changes import compare, ordered
from tools.document import Corrected, Document, ToolError, operations, parse, schemas, shape
from tools.facts import check
from tools.generate import given_classes, load_what_fits
from tools.idempotency import unsent_keys
from tools.pages import Source
from tools.sources import digest, read_record
from tools.summary import Summary
from tools.telling import code
from tools.wrapper import read_facts, used_of


def summarize(
    root: Path, sources: Sequence[Source], today: date, old: Document | None, new: Document, corrected: Corrected
) -> Summary:
    """Compare *new*, and its *corrected* form, with *old* and with the facts that *root* relies on."""
    facts = read_facts(root)
    ours = {shape(str(each)) for each in operations(parse("", (root / "additions.yaml").read_text("utf-8")))}
    changes = compare(old or {}, new, used_of(old or {}, facts) | used_of(new, facts), frozenset(ours))
    known = _known(root, old)
    if known is not None:
        adopting = ours & _shapes(new) - _shapes(old or {})
        used = used_of(known.document, facts) | used_of(corrected.document, facts)
        published = set(schemas(old or {}))
        changes = ordered([*changes, *adopted(known.document, corrected.document, adopting, published, used)])
    done = [line for line in corrected.report if known is None or line not in known.report]
    return Summary(
        today.isoformat(),
        [source.name for source in sources],
        changes,
        list(_ages(root, sources, old)),
        corrected.misfits,
        [*unsent_keys(corrected.document, facts, root), *check(corrected.document, facts, given_classes(root))],
        [line for line in done if not line.startswith("rule: ")],
        [line.removeprefix("rule: ") for line in done if line.startswith("rule: ")],
    )


def _known(root: Path, old: Document | None) -> Corrected | None:
    """Return the document from which the client was last generated."""
    try:
        return None if old is None else load_what_fits(root)
    except ToolError:  # a repository with unfinished changes
        return None


def _shapes(document: Document) -> set[str]:
    return {shape(str(each)) for each in operations(document)}


def _ages(root: Path, sources: Sequence[Source], old: Document | None) -> Iterator[str]:
    """Say which of *sources* may be older than the current spec, and why."""
    earlier = {entry["from"]: entry.get("earlier", {}) for entry in read_record(root)}
    for source in sources:
        if until := earlier.get(source.name, {}).get(digest(source.text)):
            yield (
                f"{code(source.name)} is older than what we have: it is identical to the version used until "
                f"{code(until)}. It may come from a cache."
            )
        elif gone := taken_away(old or {}, source.document):
            yield (
                f"{code(source.name)} may be older than what we have: it only removes parts of the descriptions they "
                f"share: {', '.join(map(code, gone))}. Look at Dune's page before you merge this."
            )
