"""The action, and the workflow that the documents show: their steps run here, each attempt in an empty folder.

GitHub's part is played by `Attempt`: files in place of `GITHUB_*`, expressions, conditions, and caches as a dictionary.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import dune_matviews
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.hurried import write_command

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
DOCUMENT = (ROOT / "docs/github-actions.md").read_text("utf-8")
WORKFLOW, PLAN = (re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, flags=re.DOTALL)[0] for kind in ("yaml", "toml"))
[JOB] = yaml.safe_load(WORKFLOW)["jobs"].items()
BASE, DAILY, OTHER = (f"dune.my_team.result_{name}" for name in ("base", "daily", "other"))

A_DAY = 24 * 3600.0  # more than the plan's `max_age`: from then on, only the journal knows of what was paid

# In place of the interpreter that `setup-python` brings: its environments have a command whose pauses are short, and
# their pip only notes what it is asked for.
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
ln -s "$RUNNER_TEMP/hurried" "$3/bin/dune-matviews"
printf '#!/bin/sh\\necho "$@" > "$RUNNER_TEMP/pip"\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""

Caches = dict[str, Mapping[Path, bytes]]
Outputs = dict[str, dict[str, str]]
During = Callable[[subprocess.Popen[str]], None]


class Attempt:
    """One attempt of the documented job, on a machine of its own that is gone afterwards.

    Attributes:
        workspace: where the repository is checked out.
        outputs: of the documented steps, by their ids.
        summary: the job's summary.
        ok: no step has failed.
    """

    def __init__(self, folder: Path, caches: Caches, *, run_id: str = "7001", number: int = 1) -> None:
        self._folder = folder / f"{run_id}-{number}"
        self._caches = caches
        self._github = {"workflow": "Nightly", "job": JOB[0], "run_id": run_id, "run_attempt": str(number)}
        self._during: During | None = None
        self._is_lost = False
        self.workspace = self._folder / "workspace"
        self.workspace.mkdir(parents=True)
        self.outputs: Outputs = {}
        self.ok = True

    def run(self, during: During | None = None, steps: list[dict[str, Any]] = JOB[1]["steps"]) -> Attempt:
        """Run the job, or other steps; *during* is called with the process of the step that refreshes."""
        self._during = during
        python = self._folder / "python"
        python.write_text(PYTHON)
        python.chmod(0o755)
        write_command(self._folder / "hurried")
        self.outputs = self._steps(steps, {"secrets": {"DUNE_API_KEY": "sandbox-key"}})
        return self

    def lose(self, process: subprocess.Popen[str]) -> None:
        """Lose the machine while it refreshes: no further step runs."""
        process.kill()
        self._is_lost = True

    @property
    def summary(self) -> str:
        """The job's summary."""
        return (self._folder / "summary").read_text("utf-8")

    @property
    def installed(self) -> str:
        """What pip was asked for."""
        return (self._folder / "pip").read_text("utf-8")

    def _steps(self, steps: list[dict[str, Any]], contexts: dict[str, Any]) -> Outputs:
        outputs: Outputs = {}
        for step in steps:
            known = contexts | {"github": self._github, "steps": in_context(outputs)}
            if self._is_lost or not (self.ok or step.get("if") == "always()"):
                continue
            given, env = (
                {k: evaluated(str(v), known) for k, v in step.get(part, {}).items()} for part in ("with", "env")
            )
            found = self._shell(step["run"], env) if "run" in step else self._use(step["uses"].split("@")[0], given)
            outputs[step.get("id", "")] = found
        return outputs

    def _use(self, action: str, given: dict[str, str]) -> dict[str, str]:
        match action:
            case "actions/checkout":
                (self.workspace / "plan.toml").write_text(PLAN)
                (self.workspace / "other, one.toml").write_text(f'max_credits = 1.5\n[views."{OTHER}"]')
            case "actions/setup-python":
                return {"python-path": str(self._folder / "python")}
            case "actions/cache/restore":
                wanted = [given["key"], *given["restore-keys"].split()]
                hits = [key for prefix in wanted for key in reversed(self._caches) if key.startswith(prefix)]
                for path, content in self._caches[hits[0]].items() if hits else ():
                    (self.workspace / path).parent.mkdir(parents=True, exist_ok=True)
                    (self.workspace / path).write_bytes(content)
            case "actions/cache/save":
                assert given["key"] not in self._caches, "a cache is never replaced"
                files = [path for path in (self.workspace / given["path"]).rglob("*") if path.is_file()]
                self._caches[given["key"]] = {path.relative_to(self.workspace): path.read_bytes() for path in files}
            case "OWNER/dune-matviews":
                inputs = {name: each.get("default") for name, each in ACTION["inputs"].items()} | given
                assert set(inputs) == set(ACTION["inputs"])
                assert None not in inputs.values()
                known = {"steps": in_context(self._steps(ACTION["runs"]["steps"], {"inputs": inputs}))}
                return {name: evaluated(each["value"], known) for name, each in ACTION["outputs"].items()}
            case _:
                raise AssertionError(action)
        return {}

    def _shell(self, script: str, env: dict[str, str]) -> dict[str, str]:
        """Run a script as GitHub does; what it has left as outputs."""
        output = self._folder / "output"
        output.unlink(missing_ok=True)
        env = {
            **os.environ,
            **env,
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_RUN_ID": self._github["run_id"],
            "GITHUB_STEP_SUMMARY": str(self._folder / "summary"),
            "RUNNER_TEMP": str(self._folder),
        }
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        with subprocess.Popen(bash, cwd=self.workspace, env=env, stdout=subprocess.DEVNULL, text=True) as process:
            if self._during is not None and "PLAN" in env:
                self._during(process)
            self.ok = process.wait() == 0 and self.ok
        found = output.read_text("utf-8") if output.exists() else ""
        long = {name: text for name, _, text in re.findall(r"(?ms)^([\w-]+)<<(\S+)\n(.*?)\n\2$", found)}
        return long | dict(re.findall(r"(?m)^([\w-]+)=(.*)$", found))


def in_context(outputs: Outputs) -> dict[str, Any]:
    """Outputs as expressions have them."""
    return {name: {"outputs": each} for name, each in outputs.items()}


def evaluated(text: str, contexts: Mapping[str, Any]) -> str:
    """A text with its expressions replaced: values of contexts, `||` and `format`."""

    def value(term: str) -> str:
        if call := re.fullmatch(r"format\('(.*)', (.*)\)", term):
            return call[1].format(*map(value, call[2].split(", ")))
        found: Any = contexts
        for name in term.split("."):
            found = found.get(name, "")
        return str(found)

    def replaced(expression: re.Match[str]) -> str:
        return next(filter(None, map(value, expression[1].split(" || "))), "")

    return re.sub(r"\$\{\{ (.*?) \}\}", replaced, text)


@pytest.fixture
def dune(monkeypatch: pytest.MonkeyPatch) -> Iterator[DuneSandbox]:
    """A local Dune, which the jobs reach."""
    with DuneSandbox(speed=1000) as sandbox:
        monkeypatch.setenv("DUNE_API_BASE_URL", sandbox.url)
        yield sandbox


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Attempt]:
    """Makes attempts that share the caches of one repository."""
    caches: Caches = {}
    return lambda **which: Attempt(tmp_path, caches, **which)


def bills(dune: DuneSandbox) -> list[str]:
    """The views that Dune would have billed, an entry for each refresh."""
    return [charge.name for charge in dune.ledger]


def until(dune: DuneSandbox, operation: str) -> During:
    """Waits until something was asked of Dune."""

    def wait(process: subprocess.Popen[str]) -> None:
        while not any(each.operation == operation for each in dune.requests):
            assert process.poll() is None
            time.sleep(0.05)

    return wait


def test_a_job_that_is_run_again_pays_nothing(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """Another attempt of the same run, on another machine, ends as the first and sends no refresh."""
    first = attempt().run()
    dune.advance(A_DAY)
    second = attempt(number=2).run()
    assert (first.ok, second.ok) == (True, True)
    assert bills(dune) == [BASE, DAILY]
    assert first.outputs["refresh"] == second.outputs["refresh"]


def test_another_run_is_another_refresh(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """The next run begins with no journal, and refreshes what is older than the plan's `max_age`."""
    attempt().run()
    assert attempt(run_id="7002").run().ok
    assert bills(dune) == [BASE, DAILY]
    dune.advance(A_DAY)
    assert attempt(run_id="7003").run().ok
    assert bills(dune) == [BASE, DAILY] * 2


def test_a_cancelled_job_saves_its_journal(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """A job that is cancelled while it polls leaves the execution running, and its next attempt follows it."""
    dune.rehearse(BASE, Scenario(pending=0, running=math.inf))

    def cancelled(process: subprocess.Popen[str]) -> None:
        until(dune, "status")(process)
        process.send_signal(signal.SIGINT)

    assert not attempt().run(cancelled).ok
    assert [charge.state for charge in dune.ledger] == ["QUERY_STATE_EXECUTING"]
    dune.finish(dune.ledger[0].execution_id)
    dune.advance(A_DAY)
    assert attempt(number=2).run().ok
    assert bills(dune) == [BASE, DAILY]


def test_a_machine_that_is_lost_costs_nothing(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """Without a journal that was saved, the plan's `if_running` has the next attempt follow what still runs."""
    dune.rehearse(BASE, Scenario(pending=0, running=math.inf))
    first = attempt()

    def lost(process: subprocess.Popen[str]) -> None:
        until(dune, "status")(process)
        first.lose(process)

    first.run(lost)
    again = attempt(number=2)

    def followed(process: subprocess.Popen[str]) -> None:
        while not any("adopted" in path.read_text() for path in again.workspace.glob(".dune-matviews/*/*.jsonl")):
            assert process.poll() is None
            time.sleep(0.05)
        dune.finish(dune.ledger[0].execution_id)

    assert again.run(followed).ok
    assert bills(dune) == [BASE, DAILY]


def test_a_failed_view_is_refreshed_by_the_next_attempt(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """Whoever runs a failed job again pays for what has failed and what was left out, and for nothing else."""
    dune.rehearse(DAILY, Scenario(end="failed"))
    first = attempt().run()
    assert (first.ok, "failed" in first.summary) == (False, True)
    dune.advance(A_DAY)
    assert attempt(number=2).run().ok
    assert bills(dune) == [BASE, DAILY, DAILY]


def test_two_plans_of_a_job_are_apart(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """A plan counts for its cap what it has cost itself, and not what another step of the job has paid."""
    checkout, first, *_ = JOB[1]["steps"]
    second = first | {"id": "other", "with": first["with"] | {"plan": "other, one.toml"}}
    for number in (1, 2):
        assert attempt(number=number).run(steps=[checkout, first, second]).ok
        assert bills(dune) == [BASE, DAILY, OTHER]


def test_a_step_tells_what_it_did(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """The job has the executions as an output and the table in its summary; what pip installs is this version."""
    first = attempt().run()
    ids = json.loads(first.outputs["refresh"]["execution-ids"])
    assert ids == {charge.name: charge.execution_id for charge in dune.ledger}
    assert all(execution_id in first.summary for execution_id in ids.values())
    assert first.installed == f"-m pip install --quiet dune-matviews[cli]=={dune_matviews.__version__}\n"


def test_the_repository_stays_clean(dune: DuneSandbox, attempt: Callable[..., Attempt]) -> None:
    """Git ignores the journal, so that no later step of the job commits it."""
    done = attempt().run()
    subprocess.run(["git", "init", "--quiet"], cwd=done.workspace, check=True)
    found = subprocess.run(
        ["git", "status", "--porcelain"], cwd=done.workspace, check=True, capture_output=True, text=True
    )
    assert "plan.toml" in found.stdout
    assert ".dune-matviews" not in found.stdout


@pytest.mark.parametrize("step", ACTION["runs"]["steps"])
def test_the_action_takes_nothing_that_moves(step: dict[str, Any]) -> None:
    """Actions are pinned by their commit, and what somebody can type reaches a shell as a variable."""
    assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + "0" * 40))
    assert "${{" not in step.get("run", "")


def test_the_document_is_of_this_version() -> None:
    """The workflow takes the action by the tag of the version that it installs."""
    [step] = [step for step in JOB[1]["steps"] if step.get("id") == "refresh"]
    assert step["uses"] == f"OWNER/dune-matviews@v{dune_matviews.__version__}"
