"""Faults of a wheel or a source archive, each of which is noticed.
Must not know how they are built: `make check-wheel` builds and tries the real ones."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.document import ToolError
from tools.wheel import ARCHIVED, found, main, require_archive, require_contents, require_metadata, require_tag, run

METADATA = """Metadata-Version: 2.4
Name: dune-matviews
Version: 0.1.0
Summary: A summary
Keywords: dune
Project-URL: Docs, https://dune.test
Classifier: Typing :: Typed
License-Expression: Apache-2.0
Requires-Python: >=3.11

# A readme
"""
INFORMATION = "dune_matviews-0.1.0.dist-info"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source tree of two packages."""
    for folder in ("wrapper/dune_matviews", "generated/dune_api"):
        (tmp_path / folder / "__pycache__").mkdir(parents=True)
        for name in ("__init__.py", "py.typed", "__pycache__/x.pyc"):
            (tmp_path / folder / name).write_text(name)
    (tmp_path / "LICENSE").write_text("a licence")
    return tmp_path


def wheel_of(root: Path, **changes: str | None) -> Path:
    """Build a wheel of *root*, with *changes* to it."""
    contents: dict[str, str | None] = {
        f"{package}/{name}": name for package in ("dune_matviews", "dune_api") for name in ("__init__.py", "py.typed")
    }
    contents |= {f"{INFORMATION}/METADATA": METADATA, f"{INFORMATION}/licenses/LICENSE": "a licence"} | changes
    wheel = root / "dune_matviews-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, content in contents.items():
            if content is not None:
                file.writestr(name, content)
    return wheel


def test_a_right_wheel_is_right(root: Path) -> None:
    """A wheel of both packages, the licence and complete metadata passes."""
    wheel = wheel_of(root)
    require_contents(wheel, root)
    require_metadata(wheel)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("dune_api/__init__.py", None, "does not hold the packages as they are here: dune_api/__init__.py"),
        (
            "dune_matviews/__init__.py",
            "stale",
            "does not hold the packages as they are here: dune_matviews/__init__.py",
        ),
        ("tests/test_x.py", "", "does not hold the packages as they are here: tests/test_x.py"),
        ("dune_api/py.typed", None, "does not hold the packages as they are here: dune_api/py.typed"),
        (f"{INFORMATION}/licenses/LICENSE", None, "lacks the licence"),
        (f"{INFORMATION}/licenses/LICENSE", "another", "lacks the licence"),
    ],
)
def test_a_wheel_that_holds_something_else_is_refused(root: Path, name: str, content: str | None, told: str) -> None:
    """Missing, stale and foreign files are named."""
    with pytest.raises(ToolError, match=told):
        require_contents(wheel_of(root, **{name: content}), root)


def test_a_package_without_types_is_refused(root: Path) -> None:
    """A marker that the source tree itself has lost is noticed, too."""
    (root / "wrapper/dune_matviews/py.typed").unlink()
    with pytest.raises(ToolError, match=r"lacks dune_matviews/py\.typed, so that its types are not seen"):
        require_contents(wheel_of(root, **{"dune_matviews/py.typed": None}), root)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Summary: A summary\n", "", "lacks summary"),
        ("Project-URL: Docs, https://dune.test\n", "", "lacks project_urls"),
        ("Apache-2.0", "Some licence", "is not valid: .*license"),
        ("\nVersion: 0.1.0", "\nVersion: new", "is not valid: .*version"),
        ("Metadata-Version: 2.4", "Metadata-Version: 2.5", r"is of version 2\.5, which cannot be uploaded"),
    ],
)
def test_metadata_that_are_wrong_are_refused(root: Path, old: str, new: str, told: str) -> None:
    """Required metadata fields must be present, and all fields valid."""
    assert old in METADATA
    wheel = wheel_of(root, **{f"{INFORMATION}/METADATA": METADATA.replace(old, new)})
    with pytest.raises(ToolError, match=f"the metadata of {wheel.name} {told}"):
        require_metadata(wheel)


@pytest.mark.parametrize(("changed", "told"), [({"tests"}, "holds tests"), ({"LICENSE"}, "holds LICENSE")])
def test_an_archive_of_something_else_is_refused(tmp_path: Path, changed: set[str], told: str) -> None:
    """A source archive has every file needed to build and read it, and no tests."""
    for names in (ARCHIVED, ARCHIVED ^ changed):
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
            for name in names:
                file.addfile(tarfile.TarInfo(f"dune_matviews-0.1.0/{name}/x"), io.BytesIO())
        if names is ARCHIVED:
            require_archive(tmp_path / "x.tar.gz")
    with pytest.raises(ToolError, match=told):
        require_archive(tmp_path / "x.tar.gz")


def test_there_is_one_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check refuses to run if the files to publish are ambiguous."""
    assert main([], tmp_path) == 1
    assert "has 0 wheels and 0 source archives, where one each is expected" in capsys.readouterr().err
    for name in ("a.whl", "a.tar.gz"):
        (tmp_path / name).touch()
    assert found(tmp_path) == (tmp_path / "a.whl", tmp_path / "a.tar.gz")


def test_a_tag_names_the_version() -> None:
    """A tag must match the version; without a tag any version passes."""
    wheel = Path("dune_matviews-0.2.0-py3-none-any.whl")
    require_tag(wheel, "")
    require_tag(wheel, "v0.2.0")
    with pytest.raises(ToolError, match=r"is version 0\.2\.0, which is tagged v0\.2\.0 and not v0\.3\.0"):
        require_tag(wheel, "v0.3.0")


def test_what_fails_is_told_with_its_words(tmp_path: Path) -> None:
    """A step that fails is named, with all that it said, and the source tree is not on its path."""
    run("nothing", [sys.executable, "-c", "import os; assert 'PYTHONPATH' not in os.environ"], tmp_path)
    with pytest.raises(ToolError, match=r"the snippet failed:\nTraceback[^$]*boom"):
        run("the snippet", [sys.executable, "-c", "raise SystemError('boom')"], tmp_path)
