"""Knows how to put the wrapper and its tests on top of a client with all operations: `make test-full`.
Must not know what any test is about.

The tests run as they are, in a copy of the repository that was updated from the spec of a whole API."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.spec.full import full_spec
from tools.generate import ROOT
from tools.update import update

# Neither what others made of the repository, nor its history.
LEFT = shutil.ignore_patterns(".git", ".envs", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", ".update-*")


def copy_with_full_spec(folder: Path) -> Path:
    """Make the new *folder* a copy of the repository, updated from the full spec."""
    shutil.copytree(ROOT, folder, ignore=LEFT)
    if (ROOT / ".envs").exists():
        (folder / ".envs").symlink_to(ROOT / ".envs")  # where the mock server is
    source = folder / "dune.json"
    source.write_text(json.dumps(full_spec()), "utf-8")
    update(folder, [str(source)], date.today())
    source.unlink()
    return folder


def run_in(folder: Path, *command: str, quietly: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python in *folder*, on its packages in place of those that are installed."""
    paths = os.pathsep.join(str(folder / name) for name in ("wrapper", "generated"))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, text=True, check=False, capture_output=quietly
    )


def main(arguments: Sequence[str]) -> int:
    """Run pytest with *arguments* on top of the full spec."""
    with TemporaryDirectory() as scratch:
        folder = copy_with_full_spec(Path(scratch, "repository"))
        in_parallel = ["--numprocesses=auto", "--dist=worksteal"]
        tests = arguments or ["tests", "--ignore=tests/spec/test_full_spec.py", *in_parallel]  # which does this
        return run_in(folder, "-m", "pytest", "-p", "no:cacheprovider", *tests, quietly=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
