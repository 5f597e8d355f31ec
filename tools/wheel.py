"""Checks the wheel and the source archive in `dist/`, and tries the wheel.
Must not know how they are built, nor use the source tree when it tries the wheel."""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.metadata import Metadata

from tools.document import ToolError
from tools.generate import ROOT

PACKAGES = {"dune_matviews": Path("wrapper", "dune_matviews"), "dune_api": Path("generated", "dune_api")}
USAGE = Path("tests", "typing", "usage.py")
# The contents of a source archive, enough to build and read it; tests and tools stay in the repository.
ARCHIVED = {"wrapper", "generated", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"}
# The newest version that the upload tool accepts; the build tool may be ahead of it.
METADATA_VERSION = (2, 4)
NEEDED = ("summary", "description", "license_expression", "requires_python", "classifiers", "keywords", "project_urls")

# Runs in the bare environment: the first snippet of the README in the wheel, against the sandbox.
SNIPPET = """
import importlib.metadata, os, re, sys
import dune_api, dune_matviews
from dune_matviews.sandbox import DuneSandbox

for package in (dune_api, dune_matviews):
    assert package.__file__.startswith(sys.prefix), package.__file__
assert importlib.metadata.version("dune-matviews") == dune_matviews.__version__
readme = importlib.metadata.metadata("dune-matviews").get_payload()
snippet = re.search(r"```python\\n(.*?)```", readme, flags=re.DOTALL)[1]
with DuneSandbox(speed=1000) as sandbox:
    os.environ |= {"DUNE_API_KEY": sandbox.api_key, "DUNE_API_BASE_URL": sandbox.url, "no_proxy": "127.0.0.1"}
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})
    [charge] = sandbox.ledger
    assert (charge.name, charge.performance) == ("dune.my_team.result_daily_volume", "large"), charge
"""


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Check the files in `dist/`, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheel", description="Check what is to be published.")
    parser.add_argument("--tag", default="", help="the tag that the version has to be that of")
    tag = parser.parse_args(arguments).tag
    try:
        wheel, archive = found(root / "dist")
        require_tag(wheel, tag)
        require_contents(wheel, root)
        require_archive(archive)
        require_metadata(wheel)
        with TemporaryDirectory() as scratch:
            for resolution in ("lowest-direct", "highest"):
                python = install(wheel, Path(scratch, resolution), resolution)
                try_snippet(python, f"on the {resolution} dependencies")
            require_types(root, python, Path(scratch))
            require_command(wheel, python)
    except (ToolError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print("the wheel and the source archive are complete, and work away from the source tree")
    return 0


def found(dist: Path) -> tuple[Path, Path]:
    """Return the one wheel and the one source archive in *dist*."""
    wheels, archives = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if (len(wheels), len(archives)) != (1, 1):
        raise ToolError(
            f"{dist} has {len(wheels)} wheels and {len(archives)} source archives, where one each is expected"
        )
    return wheels[0], archives[0]


def require_tag(wheel: Path, tag: str) -> None:
    """Fail unless *wheel* has the version of *tag*, if there is one."""
    version = wheel.name.split("-")[1]
    if tag not in ("", f"v{version}"):
        raise ToolError(f"{wheel.name} is version {version}, which is tagged v{version} and not {tag}")


def require_contents(wheel: Path, root: Path) -> None:
    """Fail unless *wheel* holds both packages as they are in *root*, the licence, and nothing else."""
    expected: dict[str, bytes] = {}
    for package, folder in PACKAGES.items():
        for path in (root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected[f"{package}/{path.relative_to(root / folder).as_posix()}"] = path.read_bytes()
    with zipfile.ZipFile(wheel) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    information = {name: contents.pop(name) for name in list(contents) if ".dist-info/" in name}
    wrong = sorted(name for name in expected.keys() | contents.keys() if expected.get(name) != contents.get(name))
    if wrong:
        raise ToolError(f"{wheel.name} does not hold the packages as they are here: {', '.join(wrong)}")
    if missing := [f"{package}/py.typed" for package in PACKAGES if f"{package}/py.typed" not in contents]:
        raise ToolError(f"{wheel.name} lacks {', '.join(missing)}, so that its types are not seen")
    licences = [content for name, content in information.items() if name.endswith("/licenses/LICENSE")]
    if licences != [(root / "LICENSE").read_bytes()]:
        raise ToolError(f"{wheel.name} lacks the licence")


def require_archive(archive: Path) -> None:
    """Fail if the source *archive* lacks a file needed to build or read it, or has any other."""
    with tarfile.open(archive) as file:
        names = {name.split("/", 2)[1] for name in file.getnames() if "/" in name}
    if names != ARCHIVED:
        raise ToolError(f"{archive.name} holds {', '.join(sorted(names ^ ARCHIVED))} where it should not, or lacks it")


def require_metadata(wheel: Path) -> None:
    """Fail unless the metadata of *wheel* is valid and complete."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        try:
            metadata = Metadata.from_email(file.read(name))
        except ExceptionGroup as problem:
            told = "; ".join(map(str, problem.exceptions))
            raise ToolError(f"the metadata of {wheel.name} is not valid: {told}") from problem
    if tuple(map(int, metadata.metadata_version.split("."))) > METADATA_VERSION:
        raise ToolError(
            f"the metadata of {wheel.name} is of version {metadata.metadata_version}, which cannot be uploaded: see "
            "`core-metadata-version` in pyproject.toml"
        )
    if missing := [field for field in NEEDED if not getattr(metadata, field)]:
        raise ToolError(f"the metadata of {wheel.name} lacks {', '.join(missing)}")


def install(wheel: Path, folder: Path, resolution: str) -> Path:
    """Install *wheel* alone into a new environment in *folder*, and return its interpreter."""
    run("making a bare environment", [sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    python = folder / "bin" / "python"
    add(python, str(wheel), "--resolution", resolution)
    return python


def add(python: Path, what: str, *options: str) -> None:
    """Install *what* for *python*."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *options, what]
    run(f"installing {what}", command, python.parent)


def try_snippet(python: Path, where: str) -> None:
    """Fail unless the README's first snippet works for *python*."""
    run(f"the README's first snippet, {where}", [str(python), "-I", "-c", SNIPPET], python.parent)


def require_command(wheel: Path, python: Path) -> None:
    """Fail unless the command works with its extra, and names the extra without it."""
    command = str(python.parent / "dune-matviews")
    bare = subprocess.run([command, "--version"], check=False, capture_output=True, text=True)  # noqa: S603 - our own
    if bare.returncode == 0 or "dune-matviews[cli]" not in bare.stderr:
        raise ToolError(
            f"without its extra, the command does not say what to install, but:\n{bare.stdout + bare.stderr}"
        )
    add(python, f"dune-matviews[cli] @ {wheel.resolve().as_uri()}")
    run("the command", [command, "--version"], python.parent)


def require_types(root: Path, python: Path, folder: Path) -> None:
    """Fail unless both type checkers accept a file of typed usage, with the packages of *python*."""
    shutil.copy(root / USAGE, folder)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={os.devnull}"]
    run("mypy on typed usage of the wheel", [*mypy, "--python-executable", str(python), USAGE.name], folder)
    pyright = [sys.executable, "-m", "pyright", "--pythonpath", str(python), USAGE.name]
    run("pyright on typed usage of the wheel", pyright, folder)


def run(what: str, command: Sequence[str], folder: str | Path) -> None:
    """Run *command* in *folder*, away from the source tree."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(  # noqa: S603 - nothing of the command comes from outside
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ToolError(f"{what} failed:\n{(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
