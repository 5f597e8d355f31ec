"""JSON schemas of what commands print: each document is as its schema says, after a success and after a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from dune_matviews.cli._app import app
from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

from .conftest import Finished, Shell

BASE, DAILY = "dune.my_team.result_base", "dune.my_team.result_daily"
FAST = ("--plan", "enterprise")


def schema_of(shell: Shell, *command: str) -> dict[str, Any]:
    """The schema that the command itself prints."""
    found: dict[str, Any] = json.loads(shell(*command, "--output", "json-schema").out)
    meta.validate(found)
    return found


def check(shell: Shell, command: str, *arguments: str, code: int = 0, **more: Any) -> Finished:
    """Run the command, whose document must be as its schema says; which of the forms it has, the exit code tells."""
    done = shell(*command.split(), *arguments, "--output", "json", code=code, **more)
    Draft202012Validator(schema_of(shell, *command.split()), validate_formats=True).validate(done.document)
    return done


@pytest.fixture
def views(dune: DuneSandbox) -> DuneSandbox:
    """Two views, one of which reads the other."""
    dune.add_view(BASE, age=86_400)
    dune.reads(DAILY, BASE)
    return dune


def test_every_document_is_as_its_schema_says(shell: Shell, views: DuneSandbox) -> None:
    """Of every command that has one, after a success."""
    (shell.folder / "plan.toml").write_text(f'journal = "j.jsonl"\n[views."{BASE}"]\n[views."{DAILY}"]\n')
    check(shell, "run", "plan.toml", *FAST)
    check(shell, "run", "plan.toml", "--dry-run")
    check(shell, "refresh", BASE, "--max-age", "1h", *FAST)
    execution_id = check(shell, "refresh", BASE, "--no-wait").document["views"][BASE]["execution_id"]
    check(shell, "wait", execution_id)
    check(shell, "status", execution_id)
    check(shell, "cancel", execution_id, code=1)
    for command in ("get", "lineage", "check"):
        check(shell, command, DAILY)
    for command in ("list", "usage", "whoami"):
        check(shell, command)
    check(shell, "create", "result_new", "7", "--no-wait")
    check(shell, "create", "result_other", "7", *FAST)
    check(shell, "update", BASE, "--query", "8", *FAST)
    check(shell, "delete", BASE, "--yes")
    check(shell, "journal show", "j.jsonl")


def test_a_failure_is_as_the_schema_says(shell: Shell, views: DuneSandbox) -> None:
    """A refusal, a mistake, a failed view and one that goes on."""
    views.rehearse(DAILY, Scenario(end="failed"), Scenario(end="failed"), Scenario(running=9e9))
    check(shell, "refresh", DAILY, *FAST, code=1)
    execution_id = check(shell, "refresh", DAILY, "--no-wait").document["views"][DAILY]["execution_id"]
    check(shell, "wait", execution_id, code=1)
    check(shell, "check", DAILY, code=1)
    check(shell, "refresh", DAILY, "--timeout", "1s", code=3)
    views.fail("list", Fault(status=403))
    check(shell, "list", code=1)
    check(shell, "wait", "E1", "--timeout", "many", code=2)


@pytest.mark.parametrize("command", [name for name in app.commands if name not in ("journal", "sandbox")])
def test_every_command_tells_its_document(command: str, nowhere: Shell) -> None:
    """Though no argument is given, and nothing can be reached; the option may stand before the command, too."""
    found = schema_of(nowhere, command)
    assert len(found["anyOf"]) > 1
    assert json.loads(nowhere("--output", "json-schema", command).out) == found


@pytest.mark.parametrize("command", [("journal", "show"), ("journal", "resolve")])
def test_so_do_commands_of_a_group(command: tuple[str, str], nowhere: Shell) -> None:
    """By their own names."""
    assert schema_of(nowhere, *command)["title"] == f"dune-matviews {' '.join(command)} --output json"


# Logs


def records(done: Finished) -> list[dict[str, Any]]:
    """The lines of standard error, all of which are JSON."""
    return [json.loads(line) for line in done.err.splitlines()]


def test_logs_are_lines_of_json(shell: Shell, dune: DuneSandbox) -> None:
    """Events, warnings and errors, each with its moment, its level and its parts; the document stays what it is."""
    done = shell("refresh", DAILY, "--performance", "small", "--log-format", "json", *FAST)
    (charge,) = dune.ledger
    found = records(done)
    assert {"time", "level", "message"} <= set.intersection(*(set(record) for record in found))
    assert [record["message"][:6] for record in found if record["level"] == "warning"] == ["Dune's"]
    ends = [record for record in found if record.get("state") == "succeeded"]
    (end,) = ends
    assert (end["view"], end["execution_id"], end["cost_credits"]) == (DAILY, charge.execution_id, 1.0)
    assert done.out.startswith("VIEW ")


def test_errors_and_what_the_sdk_logs_are_lines_of_json(shell: Shell, dune: DuneSandbox) -> None:
    """With the fields of the SDK's own records; with `--quiet`, only what is wrong."""
    dune.fail("list", Fault(status=500), Fault(status=500), Fault(status=403), Fault(status=403))
    found = records(shell("list", "--log-format", "json", code=1))
    assert [record["level"] for record in found] == ["info", "info", "error"]
    assert found[0]["attempt"] == 1
    assert found[0]["seconds"] > 0
    assert [each["level"] for each in records(shell("list", "--log-format", "json", "-q", code=1))] == ["error"]
