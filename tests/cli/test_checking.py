"""`check`, and the last execution in `get`: alarms that cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dune_matviews.sandbox import DuneSandbox, Failure, Fault, Scenario

from .conftest import Shell

BASE, DAILY, WEEKLY = (f"dune.my_team.result_{name}" for name in ("base", "daily", "weekly"))
DAY = 86_400


@pytest.fixture
def views(dune: DuneSandbox) -> DuneSandbox:
    """Three views: one is a day old, one has never been refreshed, and the last refresh of one has failed."""
    dune.add_view(BASE, age=DAY)
    dune.add_view(DAILY, age=DAY - 60)
    dune.add_view(WEEKLY)
    return dune


def fail(shell: Shell, dune: DuneSandbox, name: str) -> str:
    """A failed refresh of the view, and its execution."""
    dune.rehearse(name, Scenario(end="failed", error=Failure(message="mismatched input 'FORM'", line=3, column=1)))
    shell("refresh", name, "--plan", "enterprise", code=1)
    return dune.ledger[-1].execution_id


def test_fresh_views_are_no_alarm(shell: Shell, views: DuneSandbox) -> None:
    """Exit code 0, nothing is started, and with --quiet nothing is said."""
    assert shell("check", BASE, DAILY, "--max-age", "2d").out.splitlines()[1].split()[:2] == [BASE, "ok"]
    assert shell("check", BASE, DAILY, "--max-age", "2d", "--quiet") == (0, "", "")
    assert shell("check", BASE, "--output", "json").document["views"][BASE]["problem"] is None
    assert {request.method for request in views.requests} == {"GET"}
    assert views.ledger == ()


def test_a_stale_view_is_an_alarm(shell: Shell, views: DuneSandbox) -> None:
    """The age is printed; a view that was never refreshed is stale at any age."""
    done = shell("check", BASE, WEEKLY, "--max-age", "6h", "--quiet", code=1)
    assert f"{BASE}  " in done.out
    assert "It is stale: its last refresh ended 24h 00m ago." in done.out
    assert "It was never refreshed." in done.out
    assert views.ledger == ()


def test_a_failed_execution_is_an_alarm(shell: Shell, views: DuneSandbox) -> None:
    """However fresh the view is: when, and why; and once it has succeeded again, all is well."""
    execution_id = fail(shell, views, DAILY)
    done = shell("check", DAILY, BASE, "--max-age", "2d", "--output", "json", code=1)
    found = done.document["views"][DAILY]
    assert found["problem"].startswith(f"Its last execution ({execution_id}) failed at ")
    assert found["problem"].endswith("mismatched input 'FORM' (line 3, column 1).")
    assert found["last_execution"]["execution_id"] == execution_id
    assert done.document["views"][BASE]["ok"] is True
    shell("refresh", DAILY, "--plan", "enterprise")
    shell("check", DAILY, "--max-age", "2d")


def test_a_view_that_is_not_there_is_an_alarm_and_hides_no_other(shell: Shell, views: DuneSandbox) -> None:
    """A plan may name a deleted view; a wrong key is reported once."""
    views.add_view(WEEKLY, owned=False)
    done = shell("check", WEEKLY, BASE, "--max-age", "6h", code=1)
    assert "Dune responded with 403" in done.out
    assert "It is stale" in done.out
    assert shell("check", BASE, DAILY, code=1, environment={"DUNE_API_KEY": "wrong"}).out == ""


def test_the_views_and_the_age_of_a_plan_are_checked(shell: Shell, views: DuneSandbox, tmp_path: Path) -> None:
    """The plan's `max_age` counts unless another is given."""
    (tmp_path / "plan.toml").write_text(f'max_age = "6h"\n[views."{BASE}"]\n[views."{DAILY}"]\n')
    assert list(shell("check", "plan.toml", "--output", "json", code=1).document["views"]) == [BASE, DAILY]
    shell("check", "plan.toml", "--max-age", "2d")
    assert "plan.toml: it cannot be read" in shell("check", "nowhere/plan.toml", code=2).err.replace("nowhere/", "")


def test_an_alarm_is_an_annotation_in_a_step(shell: Shell, views: DuneSandbox) -> None:
    """GitHub shows which view, and why."""
    done = shell("check", WEEKLY, code=1, environment={"GITHUB_ACTIONS": "true"})
    assert f"::error title={WEEKLY}::It was never refreshed." in done.err


def test_get_tells_a_failed_last_execution(shell: Shell, views: DuneSandbox) -> None:
    """Its table is as old as before, so `get` reports the failure; a success is not reported twice."""
    assert "last" not in [line.split()[0] for line in shell("get", DAILY).out.splitlines()]
    execution_id = fail(shell, views, DAILY)
    lines = shell("get", DAILY).out.splitlines()
    assert any(line.startswith("last") and f"({execution_id}) failed at " in line for line in lines)
    document = shell("get", DAILY, "--output", "json").document
    assert document["last_execution"]["state"] == "failed"
    assert document["freshness"]["execution_id"] != execution_id


# Bare names


@pytest.mark.parametrize("command", ["refresh", "get", "lineage", "check", "update", "delete"])
def test_a_bare_name_is_completed_and_said(command: str, shell: Shell, views: DuneSandbox) -> None:
    """Where one view alone has it, every command takes it for that one."""
    more = {
        "update": ["--query", "8", "--plan", "enterprise"],
        "delete": ["--yes"],
        "refresh": ["--plan", "enterprise"],
    }
    done = shell(command, "result_base", *more.get(command, []))
    assert done.err == f"result_base is taken for {BASE}\n"
    assert any(BASE in request.path for request in views.requests) or command in ("update", "lineage")


def test_a_bare_name_of_several_views_is_refused(shell: Shell, views: DuneSandbox) -> None:
    """Nothing that may be billed is guessed."""
    views.add_view("dune.other_team.result_base", age=DAY)
    assert f"{BASE}" in shell("refresh", "result_base", code=2).err
    assert views.ledger == ()


def test_an_unknown_bare_name_is_left_to_dune(shell: Shell, views: DuneSandbox) -> None:
    """The refusal shows the form of a full name."""
    views.fail("get", Fault(status=404))
    assert "is a bare name" in shell("get", "result_nowhere", code=1).err


# Plans and options of `run`

PLAN = f"""
max_age = "6h"
max_credits = 100

[views."{BASE}"]
performance = "large"

[views."{DAILY}"]
reads = ["{BASE}"]

[views."{WEEKLY}"]
reads = ["{DAILY}"]
"""
FAST = ("--plan", "enterprise", "--quiet")


@pytest.fixture
def plan(shell: Shell) -> str:
    """A plan file."""
    (shell.folder / "plan.toml").write_text(PLAN)
    return "plan.toml"


def billed(dune: DuneSandbox) -> list[str]:
    """The billed views, in order."""
    return [charge.name for charge in dune.ledger]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--only", DAILY], [DAILY]),
        (["--only", "result_base", "--only", "result_weekly"], [BASE, WEEKLY]),
        (["--exclude", "*daily*"], [BASE, WEEKLY]),
        (["--only", "*", "--exclude", BASE], [DAILY, WEEKLY]),
    ],
)
def test_a_part_of_a_plan_can_be_run(
    options: list[str], names: list[str], plan: str, shell: Shell, dune: DuneSandbox
) -> None:
    """A view that is left out counts as fresh for those that read it."""
    shell("run", plan, *options, *FAST, "--max-parallel", "1")
    assert billed(dune) == names


@pytest.mark.parametrize("option", ["--only", "--exclude"])
def test_a_view_that_the_plan_has_not_is_refused(option: str, plan: str, shell: Shell, dune: DuneSandbox) -> None:
    """A slip would refresh the wrong part, or all of it."""
    assert "has no view 'result_weakly'" in shell("run", plan, option, "result_weakly", code=2).err
    assert "Nothing is left of the plan" in shell("run", plan, "--exclude", "*", code=2).err
    assert dune.requests == ()


def test_options_count_more_than_the_plan(plan: str, shell: Shell, views: DuneSandbox) -> None:
    """Options for age, cap and force override the plan; the rest of it stays."""
    shell("run", plan, "--max-age", "2d", "--exclude", WEEKLY, *FAST)
    assert billed(views) == []
    shell("run", plan, "--max-age", "2d", "--force", "--only", BASE, *FAST)
    assert billed(views) == [BASE]
    views.rehearse(DAILY, Scenario(pending=0, running=36_000, credits=1e9))
    shell("run", plan, "--max-credits", "0.5", "--only", DAILY, *FAST, code=4)
