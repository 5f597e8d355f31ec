"""Knows where these tests get their material: the committed files, and one generation for the whole run.
Must not know what any test is about."""

import shutil
from pathlib import Path

import pytest

from tools.document import Document, parse
from tools.generate import CONFIG, ROOT, SPEC_FILES, TEMPLATE, produce


def read(name: str) -> Document:
    """Return a committed spec file."""
    return parse(name, (ROOT / name).read_text("utf-8"))


@pytest.fixture
def published() -> Document:
    """Dune's spec as vendored."""
    return read("openapi.yaml")


@pytest.fixture
def additions() -> Document:
    """What we add to it."""
    return read("additions.yaml")


@pytest.fixture
def overlay() -> Document:
    """What we correct in it."""
    return read("overlay.yaml")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `generated/` has to be."""
    folder = tmp_path_factory.mktemp("fresh") / "generated"
    produce(ROOT, folder)
    return folder


@pytest.fixture
def repository(tmp_path: Path, fresh: Path) -> Path:
    """A copy of all that the tools read and write."""
    for name in (*SPEC_FILES, CONFIG, TEMPLATE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(fresh, tmp_path / "generated")
    return tmp_path
