"""Generates `generated/`, or checks that it is up to date.
Must not know the corrections of the spec, nor their reasons."""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from ruff import find_ruff_bin  # type: ignore[import-untyped]  # ruff has no type information

from tools.classes import tell_classes_apart
from tools.document import Corrected, Document, ToolError, operations, parse, resolve
from tools.media import BYTES, kind
from tools.spec import correct
from tools.telling import block, line

ROOT = Path(__file__).resolve().parents[1]
SPEC_FILES = ("openapi.yaml", "additions.yaml", "overlay.yaml")
CONFIG = "generator-config.yaml"
TEMPLATES = ("generator-templates/endpoint_init.py.jinja", "generator-templates/models_init.py.jinja")
PACKAGE = "dune_api"
MEND = "make generate"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command, for the repository at *root*, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description="Generate the client from the spec.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if generated/ is not up to date")
    check = parser.parse_args(arguments).check
    try:
        with TemporaryDirectory() as scratch:
            fresh = Path(scratch, "generated")
            produce(root, fresh)
            if check:
                require_same(fresh, root / "generated")
            else:
                replace(root / "generated", fresh)
    except (ToolError, OSError) as problem:
        print(f"error: {block(problem)}", file=sys.stderr)
        return 1
    print("generated/ is up to date")
    return 0


def produce(root: Path, into: Path) -> None:
    """Generate the contents of `generated/` into the folder *into*, and print the corrections of the spec."""
    corrected = load(root)
    for each in corrected.report:
        print(line(each))
    write(corrected.document, root, into)


def load(root: Path) -> Corrected:
    """Build the document to generate from, from the spec files of *root*; a misfit is an error."""
    corrected = load_what_fits(root)
    if corrected.misfits:
        raise ToolError("\n".join(corrected.misfits))
    return corrected


def load_what_fits(root: Path) -> Corrected:
    """Build the document to generate from, from the spec files of *root*, and list the misfits."""
    published, additions, overlay = (parse(name, (root / name).read_text("utf-8")) for name in SPEC_FILES)
    corrected = correct(published, additions, overlay)
    told = tell_classes_apart(corrected.document, given_classes(root))
    return Corrected(corrected.document, corrected.report + told, corrected.misfits)


def given_classes(root: Path) -> dict[str, str]:
    """Return our class names in the settings, by the generator's names."""
    overrides = settings(root).get("class_overrides", {})
    return {own: override["class_name"] for own, override in overrides.items() if "class_name" in override}


def settings(root: Path) -> Document:
    """Read the generator's settings."""
    return parse(CONFIG, (root / CONFIG).read_text("utf-8"))


def write(document: Document, root: Path, into: Path) -> None:
    """Fill the new folder *into* with the code generated from *document*."""
    origin = provenance(root)
    into.mkdir()
    run_generator(document, root, into)
    read_files(into / PACKAGE)
    require_all_operations(document, into / PACKAGE)
    require_importable(into)
    (into / PACKAGE / "py.typed").touch()
    (into / "provenance.yaml").write_text(origin, "utf-8")


def run_generator(document: Document, root: Path, into: Path) -> None:
    """Generate the package from *document* in the folder *into*. Even a warning of the generator is an error."""
    # The generator calls `ruff` by name: the one of this environment has to come first.
    path = os.pathsep.join([str(Path(find_ruff_bin()).parent), os.environ.get("PATH", os.defpath)])
    with TemporaryDirectory() as scratch:
        source, options = Path(scratch, "openapi.json"), Path(scratch, "config.json")
        source.write_text(json.dumps(document), "utf-8")
        options.write_text(json.dumps(settings(root) | {"content_type_overrides": sent_as_bytes(document)}), "utf-8")
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
        command += ["--path", str(source), "--config", str(options)]
        command += ["--custom-template-path", str((root / TEMPLATES[0]).parent)]
        done = subprocess.run(  # noqa: S603 - nothing of the command comes from outside
            command, check=False, cwd=into, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip()).replace(scratch, "")
        raise ToolError(f"openapi-python-client rejects the corrected spec, or warns about it:\n{told}")


def sent_as_bytes(document: Document) -> dict[str, str]:
    """List the request media types that the generator would drop unless told to send bytes."""
    bodies = (resolve(document, each.content.get("requestBody", {})) for each in operations(document))
    names = sorted({name for body in bodies for name in body.get("content", {})})
    return {name: BYTES for name in names if kind(name) in ("text", "bytes")}


def read_files(package: Path) -> None:
    """Send the contents of the caller's file as the body, because httpx cannot await a file."""
    for path in package.glob("api/*/*.py"):
        text = path.read_text("utf-8")
        path.write_text(text.replace('["content"] = body.payload\n', '["content"] = body.payload.read()\n'), "utf-8")


def require_all_operations(document: Document, package: Path) -> None:
    """Fail unless *package* has a module for each operation: of two with the same id, the second overwrites the
    first."""
    expected = list(operations(document))
    modules = [path for path in package.glob("api/*/*.py") if path.name != "__init__.py"]
    if len(modules) != len(expected):
        raise ToolError(
            f"the spec has {len(expected)} operations, but the client has {len(modules)}; do two share an id and a tag?"
        )


def require_importable(folder: Path) -> None:
    """Fail unless every module of the package in *folder* can be imported."""
    modules = [path.relative_to(folder).with_suffix("") for path in (folder / PACKAGE).rglob("*.py")]
    names = [".".join(module.parts).removesuffix(".__init__") for module in sorted(modules)]
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = subprocess.run(  # noqa: S603 - as above
        [sys.executable, "-B", "-c", code], check=False, cwd=folder, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ToolError(f"the generated code cannot be imported:\n{done.stderr.strip()}")


def provenance(root: Path) -> str:
    """Record the inputs and tool versions of `generated/`."""
    names = (*SPEC_FILES, CONFIG, *TEMPLATES)
    inputs = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}
    tools = {name: version(name) for name in ("openapi-python-client", "oas-patch", "ruff")}
    return f"# Written by `{MEND}`.\n" + yaml.safe_dump({"sha256": inputs, "versions": tools}, sort_keys=False)


def replace(folder: Path, fresh: Path) -> None:
    """Replace *folder* by *fresh* as a whole."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(fresh, folder)


def require_same(fresh: Path, folder: Path) -> None:
    """Fail unless *folder* has the same files as *fresh*, byte for byte. Name each difference, and the fix."""
    expected, found = contents(fresh), contents(folder)
    drift = [
        f"  {'missing' if name not in found else 'new' if name not in expected else 'changed'}: {folder.name}/{name}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if drift:
        raise ToolError("\n".join([f"{folder.name}/ does not match the spec:", *drift, f"To fix it: {MEND}"]))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file in *folder* by relative path, without Python's caches."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(folder).parts
    }


if __name__ == "__main__":
    sys.exit(main())
