"""Keeps the record of the sources of openapi.yaml and their dates, `openapi.sources.yaml`, and reads the list of pages
to check for a newer spec, `openapi.pages.yaml`.
Must not know how a spec is read, merged or corrected."""

import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import cast

from tools.document import Document, ToolError, parse, render

SPEC = "openapi.yaml"
RECORD = "openapi.sources.yaml"
PAGES = "openapi.pages.yaml"
HEADER = "# Written by `make update`: where openapi.yaml came from, and when. Never edited by hand.\n"


def read_record(root: Path) -> list[Document]:
    """Return the sources of openapi.yaml, each with `from`, `when`, `sha256` and `operations`.

    A source that has changed also has `earlier`: the SHA-256 of each earlier version, and the last day of its use.
    """
    if not (root / RECORD).exists():
        return []
    return cast(list[Document], parse(RECORD, (root / RECORD).read_text("utf-8")).get("sources", []))


def replaced(entry: Document | None, name: str, sha256: str, today: date) -> Document:
    """Return the new entry for the source *name*, now *sha256*, based on the old *entry*."""
    earlier = dict((entry or {}).get("earlier", {}))
    if entry and entry["sha256"] != sha256:
        earlier |= {entry["sha256"]: today.isoformat()}
    earlier.pop(sha256, None)
    return {"from": name, "when": today.isoformat(), "sha256": sha256} | ({"earlier": earlier} if earlier else {})


def read_watched(root: Path) -> list[str]:
    """Return the addresses of Dune's pages for the operations that this project knows."""
    return [address for address in parse(PAGES, (root / PAGES).read_text("utf-8")).values() if address]


def written(sources: Iterable[Document], spec: str) -> str:
    """Return the text of the record for *spec*, the text of openapi.yaml."""
    return HEADER + render({"openapi.yaml": {"sha256": digest(spec)}, "sources": list(sources)})


def digest(text: str) -> str:
    """Return the SHA-256 of *text*."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_as_recorded(root: Path) -> bool:
    """Whether openapi.yaml is unchanged since it was recorded."""
    if not (root / RECORD).exists():
        return False
    recorded = parse(RECORD, (root / RECORD).read_text("utf-8")).get("openapi.yaml", {}).get("sha256")
    return bool(recorded == hashlib.sha256((root / SPEC).read_bytes()).hexdigest())


def require_as_recorded(root: Path) -> None:
    """Fail unless openapi.yaml is unchanged since it was recorded."""
    if not is_as_recorded(root):
        raise ToolError(
            f"{SPEC} differs from the version recorded in {RECORD}. Never edit it by hand: restore it and correct it "
            "in overlay.yaml, or take a newer one with `make update FROM=…`."
        )
