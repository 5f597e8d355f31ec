"""Knows what the workflows promise: they do what people do, they cannot be talked into more, and the update arrives.
Must not know what the targets do."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
STEPS = [
    pytest.param(step, id=f"{name}-{job}-{place}")
    for name, workflow in WORKFLOWS.items()
    for job, content in workflow["jobs"].items()
    for place, step in enumerate(content["steps"])
]
PUBLISHING = WORKFLOWS["update"]["jobs"]["update"]["steps"][-1]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_a_pinned_action_or_a_target(step: dict[str, Any]) -> None:
    """Actions are pinned by their commit, and whatever else is run is a target of the Makefile, or git's business."""
    if "uses" in step:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"])
    elif step["run"] == 'make "$TARGET"':
        assert set(WORKFLOWS["ci"]["jobs"]["make"]["strategy"]["matrix"]["target"]) <= TARGETS
    elif step is not PUBLISHING:
        command, target = step["run"].split()
        assert (command, target in TARGETS) == ("make", True)


@pytest.mark.parametrize("step", STEPS)
def test_no_outside_word_becomes_a_command(step: dict[str, Any]) -> None:
    """What somebody can type or name reaches a shell as a variable, never as part of the script."""
    assert "${{" not in step.get("run", "")


def test_only_the_jobs_that_write_may() -> None:
    """No workflow may do more than read, but for the job that opens pull requests and the one that publishes."""
    assert [
        name for name, workflow in WORKFLOWS.items() if workflow["permissions"] not in ({}, {"contents": "read"})
    ] == []
    rights = {
        (name, job): content.get("permissions")
        for name, workflow in WORKFLOWS.items()
        for job, content in workflow["jobs"].items()
    }
    assert rights == {
        ("ci", "make"): None,
        ("update", "update"): {"contents": "write", "pull-requests": "write", "actions": "write"},
        ("release", "build"): {"contents": "read"},
        ("release", "publish"): {"id-token": "write"},
    }


def test_only_the_step_that_opens_the_pull_request_has_the_token() -> None:
    """No other step, and so nothing that is installed or run there, gets the token with the right to write."""
    told = {
        name: [str(job | {"steps": ""}), *map(str, job["steps"])] for name, job in WORKFLOWS["update"]["jobs"].items()
    }
    assert [text for text in told["update"] if "github.token" in text] == [str(PUBLISHING)]


@pytest.mark.parametrize(
    "hostile", ["$(touch HERE)", "`touch HERE`", "x; touch HERE", "$(shell touch HERE)", "&& touch HERE"]
)
def test_an_address_is_no_command(hostile: str, tmp_path: Path) -> None:
    """Whatever stands in FROM is an argument to the update, for make and for the shell that it starts."""
    done = make_update(tmp_path, FROM=hostile)
    assert done.stdout == f"-m tools.update {hostile}\n"
    assert not (tmp_path / "HERE").exists()


def test_without_an_address_all_pages_are_read(tmp_path: Path) -> None:
    """`make update` without a source leaves it to the update, which knows Dune's pages."""
    assert make_update(tmp_path).stdout == "-m tools.update\n"


def make_update(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the target `update` of the Makefile with a Python that only says how it is called."""
    rule = re.search(r"^update:.*?(?=\n\n)", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert rule is not None
    (folder / "Makefile").write_text(f"PYTHON := echo\n{rule[0].replace('$(MAIN)/.ready', '')}\n", "utf-8")
    # Without what the make that runs these tests has for those below it.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "FROM"}
    return subprocess.run(["make"], cwd=folder, env=outside | variables, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of an empty-handed origin, and a stand-in for the command `gh` that writes down how it is called."""
    identity = ["-c", "user.name=x", "-c", "user.email=x@dune.test"]
    for command in (
        ["init", "--quiet", "--bare", "origin"],
        ["clone", "--quiet", "origin", "clone"],
        ["-C", "clone", "checkout", "--quiet", "-b", "main"],
        ["-C", "clone", *identity, "commit", "--quiet", "--allow-empty", "--message", "first"],
        ["-C", "clone", "push", "--quiet", "origin", "main"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text('#!/bin/sh\necho "$*" >> "$CALLS"\ntest "$2" != create || test ! -e "$CALLS.exists"\n')
    gh.chmod(0o755)
    return tmp_path / "clone"


def publish(clone: Path) -> list[str]:
    """Run the step that opens the pull request as GitHub does, and return how `gh` was called."""
    calls = clone.parent / "calls"
    calls.unlink(missing_ok=True)
    environment = os.environ | {
        "PATH": f"{clone.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        **PUBLISHING["env"],
        "CALLS": str(calls),
        "HOME": str(clone.parent),
    }
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", PUBLISHING["run"]]
    done = subprocess.run(script, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines() if calls.exists() else []


def test_nothing_new_opens_nothing(clone: Path) -> None:
    """An update that changed nothing pushes nothing, and asks GitHub for nothing."""
    assert publish(clone) == []
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec") == ""


def test_an_update_arrives_as_a_pull_request(clone: Path) -> None:
    """What changed is pushed, new files included, the summary is the pull request's text, and CI is started on it."""
    put_update(clone, "first")
    assert publish(clone) == [
        "auth setup-git",
        "pr create --head update-spec --title Update Dune's spec --body-file build/body.md",
        "workflow run ci.yml --ref update-spec",
    ]
    assert git(clone, "show", "--stat", "--format=%s", "origin/update-spec").split("\n")[0] == "Update Dune's spec"
    assert git(clone, "show", "origin/update-spec:generated/new.py") == "first"
    assert (clone / "build/body.md").read_text() == "# Summary"


def test_a_second_update_replaces_the_first(clone: Path) -> None:
    """While the pull request is open, a newer update takes its place: one branch, one pull request."""
    put_update(clone, "first")
    publish(clone)
    git(clone, "checkout", "--quiet", "main")
    git(clone, "branch", "--quiet", "-D", "update-spec")
    (clone.parent / "calls.exists").touch()
    put_update(clone, "second")
    assert publish(clone)[1:3] == [
        "pr create --head update-spec --title Update Dune's spec --body-file build/body.md",
        "pr edit update-spec --body-file build/body.md",
    ]
    assert git(clone, "show", "origin/update-spec:generated/new.py") == "second"
    assert git(clone, "rev-list", "--count", "main..origin/update-spec") == "1"


def test_somebodys_work_is_not_replaced(clone: Path) -> None:
    """While a person has the last commit on the branch, a newer update leaves it alone."""
    put_update(clone, "first")
    publish(clone)
    (clone / "generated/new.py").write_text("mended")
    mine = ["-c", "user.name=x", "-c", "user.email=x@dune.test", "commit", "--quiet", "--all", "--message", "mend"]
    git(clone, *mine)
    git(clone, "push", "--quiet", "origin", "update-spec")
    git(clone, "checkout", "--quiet", "main")
    git(clone, "branch", "--quiet", "-D", "update-spec")
    put_update(clone, "second")
    assert publish(clone) == ["auth setup-git"]
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec").split()[0] == git(
        clone, "rev-parse", "origin/update-spec"
    )
    assert git(clone, "show", "origin/update-spec:generated/new.py") == "mended"


def put_update(clone: Path, content: str) -> None:
    """Change files as `make update` does."""
    for name, text in {"generated/new.py": content, "build/update.md": "# Summary", ".gitignore": "/build/"}.items():
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text(text)


def git(clone: Path, *command: str) -> str:
    """What git says."""
    done = subprocess.run(["git", *command], cwd=clone, check=True, capture_output=True, text=True)
    return done.stdout.strip()
