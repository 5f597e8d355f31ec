"""Knows the record of where openapi.yaml came from, and when: `openapi.sources.yaml`.
Must not know how a spec is read, merged or corrected."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from tools.document import Document, ToolError, parse, render

SPEC = "openapi.yaml"
RECORD = "openapi.sources.yaml"
HEADER = "# Written by `make update`: where openapi.yaml came from, and when. Never edited by hand.\n"


def read_record(root: Path) -> list[Document]:
    """Return the sources of openapi.yaml, each with `from`, `when`, `sha256` and `operations`."""
    if not (root / RECORD).exists():
        return []
    return cast(list[Document], parse(RECORD, (root / RECORD).read_text("utf-8")).get("sources", []))


def written(sources: Iterable[Document], spec: str) -> str:
    """Return the text of the record for *spec*, the text of openapi.yaml."""
    return HEADER + render({"openapi.yaml": {"sha256": digest(spec)}, "sources": list(sources)})


def digest(text: str) -> str:
    """Return the SHA-256 of *text*."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_as_recorded(root: Path) -> bool:
    """Whether openapi.yaml is what was recorded when it came."""
    if not (root / RECORD).exists():
        return False
    recorded = parse(RECORD, (root / RECORD).read_text("utf-8")).get("openapi.yaml", {}).get("sha256")
    return bool(recorded == hashlib.sha256((root / SPEC).read_bytes()).hexdigest())


def require_as_recorded(root: Path) -> None:
    """Fail unless openapi.yaml is what was recorded when it came."""
    if not is_as_recorded(root):
        raise ToolError(
            f"{SPEC} is not what came from Dune, by {RECORD}. It is never edited by hand: put it back, and correct it "
            "in overlay.yaml; or take a newer one with `make update FROM=…`."
        )
