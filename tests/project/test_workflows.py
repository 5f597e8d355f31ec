"""The workflows: they run the targets that people run, resist injection, and deliver updates.
Must not know what the targets do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.environment import commands

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
ENGINES = [*ROOT.glob("tests/engines/*/requirements.txt")]
STEPS = [
    pytest.param(step, id=f"{name}-{job}-{place}")
    for name, workflow in WORKFLOWS.items()
    for job, content in workflow["jobs"].items()
    for place, step in enumerate(content["steps"])
]
UPDATE, PROPOSE = (WORKFLOWS["update"]["jobs"][job] for job in ("update", "propose"))
[PACKING] = [step for step in UPDATE["steps"] if step.get("id") == "pack"]
PROPOSING = PROPOSE["steps"][-1]
COMPARING = WORKFLOWS["release"]["jobs"]["check"]["steps"][-1]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_a_pinned_action_or_a_target(step: dict[str, Any]) -> None:
    """Actions are pinned by commit, and every other command is a target of the Makefile, or git."""
    if "uses" in step:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"])
    elif step["run"] == 'make "$TARGET"':
        assert set(WORKFLOWS["ci"]["jobs"]["make"]["strategy"]["matrix"]["target"]) <= TARGETS
    elif step not in (PACKING, PROPOSING, COMPARING):
        command, target = step["run"].split()
        assert (command, target in TARGETS) == ("make", True)


@pytest.mark.parametrize("job", ["engines", "engines-kill"])
def test_each_engine_has_a_job(job: str) -> None:
    """The jobs name the engines that have tests, and the targets of each."""
    found = WORKFLOWS["ci"]["jobs"][job]
    assert found["strategy"]["matrix"]["engine"] == sorted(path.parent.name for path in ENGINES)
    target = f"test-{job.replace('engines', 'engine')}-"
    assert found["steps"][-1]["env"] == {"TARGET": f"{target}${{{{ matrix.engine }}}}"}
    assert f"\n{target}%:" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("step", STEPS)
def test_no_outside_word_becomes_a_command(step: dict[str, Any]) -> None:
    """Text that somebody can choose reaches a shell as a variable, never as part of the script."""
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
        ("ci", "long"): None,
        ("ci", "engines"): None,
        ("ci", "engines-kill"): None,
        ("soak", "soak"): None,
        ("update", "update"): {"contents": "read"},
        ("update", "propose"): {"contents": "write", "pull-requests": "write", "actions": "write"},
        ("release", "build"): {"contents": "read"},
        ("release", "check"): {"contents": "read"},
        ("release", "publish"): {"id-token": "write"},
    }


def test_what_may_write_runs_nothing_that_was_fetched() -> None:
    """The token goes to one step, of a job that takes the update as data, and installs and imports nothing."""
    told = [str(job | {"steps": ""}) for job in WORKFLOWS["update"]["jobs"].values()]
    told += [str(step) for job in WORKFLOWS["update"]["jobs"].values() for step in job["steps"]]
    assert [text for text in told if "github.token" in text or "secrets." in text] == [str(PROPOSING)]
    assert [step.get("uses", "").split("@")[0] for step in PROPOSE["steps"]] == [
        "actions/checkout",
        "actions/download-artifact",
        "",
    ]
    commands = {line.split()[0] for line in PROPOSING["run"].replace("&& ", "\n").splitlines() if line.strip()}
    assert commands <= {"git", "grep", "gh", "head", "echo", "exit", "if", "fi", "[", "then"}
    for job in (UPDATE, PROPOSE):
        assert job["steps"][0]["with"] == {"persist-credentials": False}


def test_a_release_is_built_where_nothing_else_is() -> None:
    """The published files come from a job that only checks out and builds, after the tests made the same."""
    build, check, publish = WORKFLOWS["release"]["jobs"].values()
    assert [step.get("run") or step["uses"].split("@")[0] for step in build["steps"]] == [
        "actions/checkout",
        "actions/setup-python",
        "make build",
        "actions/upload-artifact",
    ]
    assert publish["needs"] == ["build", "check"]
    for job in (check, publish):
        (download,) = [step for step in job["steps"] if "download-artifact" in step.get("uses", "")]
        assert download["with"]["artifact-ids"] == "${{ needs.build.outputs.dist }}"
    assert build["outputs"] == {"dist": "${{ steps.dist.outputs.artifact-id }}"}


REQUIREMENTS = [*ROOT.glob("requirements-*.txt"), *ENGINES]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_installed_is_pinned_by_hash(path: Path) -> None:
    """Each package is of one version, with the hashes of its files, and from no place that is named."""
    text = path.read_text("utf-8").replace("\\\n", "")
    for line in text.splitlines():
        assert re.fullmatch(
            r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[\w.]+( ; [\w.*' <>=!()]+)?( +--hash=sha256:[0-9a-f]{64})+", line
        )


def test_a_release_is_built_with_little() -> None:
    """The build tools are a subset of the development tools, in the same versions."""
    versions = {
        name: set(re.findall(r"^([a-z0-9.-]+==[\w.]+)", (ROOT / f"requirements-{name}.txt").read_text(), re.MULTILINE))
        for name in ("dev", "build")
    }
    assert versions["build"] < versions["dev"]
    assert len(versions["build"]) == 10


def test_prism_is_pinned_by_hash_and_runs_nothing_when_installed() -> None:
    """The lock has a hash for each package of the mock server and names no registry; the Makefile uses it so."""
    lock = json.loads((ROOT / "tests/prism/package-lock.json").read_text("utf-8"))
    packages = {path: each for path, each in lock["packages"].items() if path}
    assert [path for path, each in packages.items() if not each["integrity"].startswith("sha512-")] == []
    assert [path for path, each in packages.items() if "resolved" in each] == []
    settings = (ROOT / "tests/prism/.npmrc").read_text("utf-8").splitlines()
    assert {"omit-lockfile-registry-resolved=true", "ignore-scripts=true"} <= set(settings)
    assert " npm tests/prism\n" in (ROOT / "Makefile").read_text("utf-8")
    *_, npm = commands(Path(".envs/prism"), "npm", ["tests/prism"])
    assert npm[npm.index("ci") :][:4] == ["ci", "--prefix", ".envs/prism", "--ignore-scripts"]


@pytest.mark.parametrize(
    "hostile", ["$(touch HERE)", "`touch HERE`", "x; touch HERE", "$(shell touch HERE)", "&& touch HERE"]
)
def test_an_address_is_no_command(hostile: str, tmp_path: Path) -> None:
    """Any value of FROM is an argument to the update, for make and for its shell."""
    done = make_update(tmp_path, FROM=hostile)
    assert done.stdout == f"-m tools.update {hostile}\n"
    assert not (tmp_path / "HERE").exists()


def test_without_an_address_all_pages_are_read(tmp_path: Path) -> None:
    """`make update` without a source leaves it to the update, which knows Dune's pages."""
    assert make_update(tmp_path).stdout == "-m tools.update\n"


@pytest.mark.parametrize("failing", ["3.12", "3.13", "none"])
def test_a_failure_on_one_version_keeps_no_other_from_running(failing: str, tmp_path: Path) -> None:
    """`make test-others` runs the tests on each version, names those that are absent, and fails if any has failed."""
    versions = f"PRESENT := 3.11 3.12 3.13\nABSENT := 3.9\ntest-%:\n\t@echo $*; test $* != {failing}\n"
    done = make_alone("test-others", tmp_path, versions)
    assert done.stdout.splitlines() == ["Python 3.9 is not on this machine, and is not tested.", "3.12", "3.13"]
    assert (done.returncode == 0) == (failing == "none")


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("tests/execution/test_journal.py", "tests/execution/test_journal.py"),
        ("tests/spec", "tests/spec"),
        ("tests/execution/test_journal.py::test_x[a b]", "tests/execution/test_journal.py::test_x[a b]"),
        ("never_twice", "-k never_twice"),
        ("a or $(touch HERE)", "-k a or $(touch HERE)"),
    ],
)
def test_one_test_is_asked_for_by_its_file_or_its_name(asked: str, passed: str, tmp_path: Path) -> None:
    """`make test-one T=…` takes a path as it is, and anything else for names; it is no command either."""
    assert make_alone("test-one", tmp_path, T=asked).stdout == f"-m pytest {passed}\n"
    assert not (tmp_path / "HERE").exists()


def test_make_test_one_says_how_to_call_it(tmp_path: Path) -> None:
    """`make test-one` alone names the missing argument, and starts nothing."""
    done = make_alone("test-one", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "make test-one T=tests/execution/test_journal.py" in done.stderr


def make_update(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the target `update`."""
    return make_alone("update", folder, **variables)


def make_alone(target: str, folder: Path, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one target of the Makefile with a Python that only says how it is called, and nothing made before."""
    text = re.sub(r"\.envs/prism/\.ready|\$\(MAIN\)/\.ready", "", (ROOT / "Makefile").read_text("utf-8"))
    rule = re.search(rf"^(OTHERS.*\n)?{target}:.*?(?=\n\n)", text, flags=re.MULTILINE | re.DOTALL)
    assert rule is not None
    (folder / "Makefile").write_text(f"{before}PYTHON := echo\n{rule[0]}\n", "utf-8")
    # Without what the make that runs these tests has for those below it.
    mine = {"FROM", "T", "OTHERS", "MFLAGS"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in mine}
    command = ["make", "--no-print-directory", target]
    return subprocess.run(command, cwd=folder, env=outside | variables, capture_output=True, text=True)


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
    (tmp_path / "clone/.git/info/exclude").write_text("/build/\n")
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text('#!/bin/sh\necho "$*" >> "$CALLS"\ntest "$2" != create || test ! -e "$CALLS.exists"\n')
    gh.chmod(0o755)
    return tmp_path / "clone"


def pack(clone: Path) -> str:
    """Run the step that packs what changed, put everything else back, and return what it tells the next job."""
    outputs = clone.parent / "outputs"
    outputs.unlink(missing_ok=True)
    run_step(PACKING, clone, {"GITHUB_OUTPUT": str(outputs)})
    git(clone, "reset", "--quiet", "--hard")
    return outputs.read_text() if outputs.exists() else ""


def publish(clone: Path) -> list[str]:
    """Run both jobs as GitHub does, and return how `gh` was called."""
    if not pack(clone):
        return []
    return propose(clone)


def propose(clone: Path) -> list[str]:
    """Run the step that opens the pull request, and return how `gh` was called."""
    calls = clone.parent / "calls"
    calls.unlink(missing_ok=True)
    run_step(
        PROPOSING,
        clone,
        {
            "PATH": f"{clone.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **PROPOSING["env"],
            "CALLS": str(calls),
            "HOME": str(clone.parent),
        },
    )
    return calls.read_text().splitlines() if calls.exists() else []


def run_step(step: dict[str, Any], clone: Path, environment: dict[str, str]) -> None:
    """Run the script of *step* as GitHub does, and fail if it does."""
    script = ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]]
    done = subprocess.run(script, cwd=clone, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_new_opens_nothing(clone: Path) -> None:
    """An update that changed nothing pushes nothing, and asks GitHub for nothing."""
    assert publish(clone) == []
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec") == ""


def test_an_update_arrives_as_a_pull_request(clone: Path) -> None:
    """Changes are pushed, including new files; the summary is the pull request's text; CI is started on it."""
    put_update(clone, "first")
    assert publish(clone) == [
        "auth setup-git",
        "pr create --head update-spec --title Update Dune's spec --body-file build/body.md",
        "workflow run ci.yml --ref update-spec",
    ]
    assert git(clone, "show", "--stat", "--format=%s", "origin/update-spec").split("\n")[0] == "Update Dune's spec"
    assert git(clone, "show", "origin/update-spec:generated/dune_api/new.py") == "first"
    assert (clone / "build/body.md").read_text() == "# Summary"


def test_a_second_update_replaces_the_first(clone: Path) -> None:
    """While the pull request is open, a newer update takes its place: one branch, one pull request."""
    put_update(clone, "first")
    publish(clone)
    git(clone, "reset", "--quiet", "--hard")
    git(clone, "checkout", "--quiet", "main")
    git(clone, "branch", "--quiet", "-D", "update-spec")
    (clone.parent / "calls.exists").touch()
    put_update(clone, "second")
    assert publish(clone)[1:3] == [
        "pr create --head update-spec --title Update Dune's spec --body-file build/body.md",
        "pr edit update-spec --body-file build/body.md",
    ]
    assert git(clone, "show", "origin/update-spec:generated/dune_api/new.py") == "second"
    assert git(clone, "rev-list", "--count", "main..origin/update-spec") == "1"


def test_somebodys_work_is_not_replaced(clone: Path) -> None:
    """While a person has the last commit on the branch, a newer update leaves it alone."""
    put_update(clone, "first")
    publish(clone)
    git(clone, "reset", "--quiet", "--hard")
    (clone / "generated/dune_api/new.py").write_text("mended")
    mine = ["-c", "user.name=x", "-c", "user.email=x@dune.test", "commit", "--quiet", "--all", "--message", "mend"]
    git(clone, *mine)
    git(clone, "push", "--quiet", "origin", "update-spec")
    git(clone, "reset", "--quiet", "--hard")
    git(clone, "checkout", "--quiet", "main")
    git(clone, "branch", "--quiet", "-D", "update-spec")
    put_update(clone, "second")
    assert publish(clone) == ["auth setup-git"]
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec").split()[0] == git(
        clone, "rev-parse", "origin/update-spec"
    )
    assert git(clone, "show", "origin/update-spec:generated/dune_api/new.py") == "mended"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (".github/workflows/ci.yml", 0o644),
        ("Makefile", 0o644),
        ("overlay.yaml", 0o644),
        ("generated/conftest.py", 0o644),
        ("generated/dune_api/.gitattributes", 0o644),
        ("generated/dune_api/evil name.py", 0o644),
        ("generated/dune_api/evil\n.py", 0o644),
        ("generated/dune_api/evil.py", 0o755),
        ("generated/dune_api/evil.py", None),
    ],
)
def test_an_update_of_anything_else_is_refused(name: str, mode: int | None, clone: Path) -> None:
    """A patch that touches another place, or brings a program or a link, fails the job before anything is pushed."""
    put_update(clone, "first")
    path = clone / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        path.symlink_to("../../Makefile")
    else:
        path.write_text("evil")
        path.chmod(mode)
    with pytest.raises(AssertionError, match="::error::The update changes what no update does"):
        publish(clone)
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec") == ""


@pytest.mark.parametrize("target", ["../outside.py", "/tmp/outside.py", ".git/hooks/pre-commit", ".git/config"])
def test_a_patch_reaches_nothing_outside(target: str, clone: Path) -> None:
    """A patch that was written by hand can name any path: git does not apply it, and no file is written."""
    (clone / "build").mkdir()
    (clone / "build/update.md").write_text("# Summary")
    (clone / "build/update.patch").write_text(
        f"diff --git a/{target} b/{target}\nnew file mode 100644\n--- /dev/null\n+++ b/{target}\n@@ -0,0 +1 @@\n+evil\n"
    )
    with pytest.raises(AssertionError):
        propose(clone)
    assert not (clone / target).exists() or "evil" not in (clone / target).read_text()
    assert git(clone, "ls-remote", "--heads", "origin", "update-spec") == ""


def put_update(clone: Path, content: str) -> None:
    """Change files as `make update` does."""
    (clone / "build").mkdir(exist_ok=True)
    (clone / "build/update.md").write_text("# Summary")
    for name, text in {"generated/dune_api/new.py": content, "openapi.yaml": "openapi: 3.0.1\n"}.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)


def git(clone: Path, *command: str) -> str:
    """The output of git."""
    done = subprocess.run(["git", *command], cwd=clone, check=True, capture_output=True, text=True)
    return done.stdout.strip()
