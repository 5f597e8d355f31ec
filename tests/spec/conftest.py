"""Knows where these tests get their material: a page to start from, our own committed files, and one generation.
Must not know what any test is about, nor use openapi.yaml, which changes when Dune's spec does."""

import shutil
from pathlib import Path
from textwrap import indent

import pytest
import yaml

from tests.spec.pages import CALL, SPEC
from tools.document import Document, parse
from tools.generate import CONFIG, ROOT, TEMPLATES, produce
from tools.sources import PAGES, RECORD, digest, written
from tools.wrapper import CONTRACT, ENDPOINTS, STATES

OURS = ("additions.yaml", "overlay.yaml", PAGES, CONFIG, *TEMPLATES, CONTRACT, STATES, ENDPOINTS)
PAGE = "refresh-materialized-view.md"
# A correction that tests can rely on: each of the real ones goes once Dune has mended what it corrects.
ACTION = {
    "target": "$.paths['/v1/materialized-views/{name}/refresh'].post.summary",
    "x-applies-to": CALL,
    "description": "A reason of ours.",
    "remove": True,
}
MENDED = SPEC.replace("summary: Refreshes a view", "")


def read(name: str) -> Document:
    """Return a committed spec file of ours."""
    return parse(name, (ROOT / name).read_text("utf-8"))


@pytest.fixture
def published() -> Document:
    """A spec as Dune publishes it."""
    return parse("openapi.yaml", SPEC)


@pytest.fixture
def additions() -> Document:
    """What we add to it."""
    return read("additions.yaml")


@pytest.fixture
def overlay() -> Document:
    """What we correct in it."""
    return read("overlay.yaml")


def add_action(root: Path, reason: str = str(ACTION["description"])) -> None:
    """Let the overlay in *root* have ACTION, too, for that reason."""
    with (root / "overlay.yaml").open("a", encoding="utf-8") as file:
        file.write(indent(yaml.safe_dump([ACTION | {"description": reason}]), "  "))


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the tools read and write."""
    root = tmp_path_factory.mktemp("original")
    for name in OURS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "openapi.yaml").write_text(SPEC, "utf-8")
    source = {"from": PAGE, "when": "2026-11-22", "sha256": digest(SPEC), "operations": [CALL]}
    (root / RECORD).write_text(written([source], SPEC), "utf-8")
    produce(root, root / "generated")
    return root


@pytest.fixture
def fresh(original: Path) -> Path:
    """What `generated/` has to be there."""
    return original / "generated"


@pytest.fixture
def repository(tmp_path: Path, original: Path) -> Path:
    """A copy of all that the tools read and write, for a test to change."""
    return shutil.copytree(original, tmp_path / "repository")
