"""`get`, `list`, `lineage`, `usage`, `create`, `update` and `delete`: output, effects and exit codes."""

from __future__ import annotations

import json

import pytest

from dune_matviews.sandbox import DuneSandbox, Fault

from .conftest import Shell

BASE, DAILY = "dune.my_team.result_base", "dune.my_team.result_daily"
FAST = ("--plan", "enterprise")


def test_get_describes_a_view(shell: Shell, dune: DuneSandbox) -> None:
    """Dune's description of a view, and its last refresh, for people and as JSON."""
    assert [line.split()[:2] for line in shell("get", DAILY).out.splitlines()][:2] == [
        ["view", DAILY],
        ["refreshed", "never"],
    ]
    shell("refresh", DAILY, "-q", *FAST)
    (charge,) = dune.ledger
    lines = dict(line.split(maxsplit=1) for line in shell("get", DAILY).out.splitlines())
    assert lines["refreshed"].endswith("s ago)")
    assert (lines["private"], lines["size"], lines["schedule"]) == ("no", "50.0 kB", "none")
    assert lines["executions"] == charge.execution_id
    document = shell("get", DAILY, "--output", "json").document
    assert document["view"]["last_execution_ids"] == [charge.execution_id]
    assert document["freshness"]["execution_id"] == charge.execution_id
    assert isinstance(document["freshness"]["age"], float)
    assert "raw" not in document["view"]


def test_list_has_a_line_for_each_view(shell: Shell, dune: DuneSandbox) -> None:
    """An account without views has a message of its own."""
    assert shell("list").out == "The account has no materialized views.\n"
    dune.add_view(DAILY)
    dune.add_view(BASE)
    assert [line.split() for line in shell("list").out.splitlines()] == [
        ["VIEW", "QUERY", "SIZE", "PRIVATE"],
        [DAILY, "1001", "0", "bytes", "no"],
        [BASE, "1002", "0", "bytes", "no"],
    ]
    assert [each["name"] for each in shell("list", "--output", "json").document["views"]] == [DAILY, BASE]


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("tree", [DAILY, f"└── {BASE}"]),
        ("mermaid", ["flowchart LR", f'    v0["{BASE}"]', f'    v1["{DAILY}"]', "    v0 --> v1"]),
        ("toml", [f'[views."{BASE}"]', "", f'[views."{DAILY}"]', f'reads = ["{BASE}"]']),
    ],
)
def test_lineage_is_drawn(form: str, printed: list[str], shell: Shell, dune: DuneSandbox) -> None:
    """In the form that is asked for, and nothing else is printed."""
    dune.reads(DAILY, BASE)
    assert shell("lineage", DAILY, "--format", form).out.splitlines() == printed


def test_lineage_has_its_forms(shell: Shell, dune: DuneSandbox) -> None:
    """A tree is the default, in ASCII where the terminal has nothing else; JSON is a mapping."""
    dune.reads(DAILY, BASE)
    ascii = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert shell.process("lineage", DAILY, environment=ascii) == f"{DAILY}\n`-- {BASE}\n"
    assert shell("lineage", DAILY, "--format", "dot").out.startswith("digraph lineage {\n")
    assert shell("lineage", DAILY, "--output", "json").document["lineage"] == {BASE: [], DAILY: [BASE]}


def test_usage_shows_the_credits_of_the_period(shell: Shell, dune: DuneSandbox) -> None:
    """Used, included, and the share of it."""
    shell("refresh", DAILY, "-q", *FAST)
    lines = dict(line.split(maxsplit=1) for line in shell("usage").out.splitlines())
    assert lines["used"] == "1.00 credits (0.0%)"
    assert lines["included"] == "2,500.00 credits"
    assert shell("usage", "--output", "json").document["usage"]["credits_used"] == 1.0


def test_whose_the_key_is(shell: Shell, dune: DuneSandbox) -> None:
    """The account's name and kind; missing parts are left out."""
    assert shell("whoami").out.split() == ["account", "my_team", "kind", "team", "id", "team_1", "key", "sandbox"]
    dune.fail("whoami", Fault(body=b"{}"))
    assert shell("whoami", "--output", "json").document["account"] == {
        "handle": None,
        "customer_id": None,
        "api_key_id": None,
        "created_by": None,
    }


def test_a_view_is_created_and_waited_for(shell: Shell, dune: DuneSandbox) -> None:
    """A view is created with its schedule; the cost is printed, and billed once."""
    done = shell(
        *("create", "result_new", "77", "--private", "--cron", "0 6 * * *", "--expires-at", "2099-01-31"),
        *("--performance", "large", *FAST),
    )
    (charge,) = dune.ledger
    assert (charge.name, charge.performance) == ("dune.my_team.result_new", "large")
    assert "state      completed" in done.out
    lines = dict(line.split(maxsplit=1) for line in shell("get", charge.name).out.splitlines())
    assert (lines["query"], lines["private"]) == ("77", "yes")
    assert lines["schedule"].startswith("'0 6 * * *', tier large, next at ")
    assert lines["schedule"].endswith(", until 2099-01-31 00:00:00 UTC")


def test_create_leaves_a_view_that_exists_as_it_is(shell: Shell, dune: DuneSandbox) -> None:
    """Dune would replace the view with its schedule, so `create` refuses; use `update`."""
    dune.add_view(DAILY)
    refused = shell("create", "result_daily", "78", code=2)
    assert f"{DAILY} exists already: `dune-matviews update {DAILY}` changes it" in refused.err
    assert [each.operation for each in dune.requests] == ["list"]


def test_a_view_is_updated_in_parts(shell: Shell, dune: DuneSandbox) -> None:
    """Unnamed parts stay; without waiting, only the id is printed."""
    shell("create", "result_new", "77", "--private", "--cron", "0 6 * * *", "-q", *FAST)
    name = dune.ledger[0].name
    done = shell("update", name, "--query", "78", "--no-wait", "-q")
    assert done == (0, f"{dune.ledger[-1].execution_id}\n", "")
    lines = dict(line.split(maxsplit=1) for line in shell("get", name).out.splitlines())
    assert (lines["query"], lines["private"], lines["schedule"][:11]) == ("78", "yes", "'0 6 * * *'")
    shell("update", name, "--public", "--no-cron", "-q", *FAST)
    lines = dict(line.split(maxsplit=1) for line in shell("get", name).out.splitlines())
    assert (lines["query"], lines["private"], lines["schedule"]) == ("78", "no", "none")
    assert len(dune.ledger) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["update", DAILY], "There is nothing to change"),
        (["update", DAILY, "--no-cron", "--cron", "0 6 * * *"], "--no-cron removes the schedule"),
        (["update", DAILY, "--no-expiry", "--expires-at", "2099-01-31"], "contradict each other"),
        (["update", DAILY, "--expires-at", "tomorrow"], "write it like 2027-01-31"),
        (["update", DAILY, "--cron", ""], "--cron must be a str of five fields"),
        (["create", "result_new", "77", "--expires-at", "2099-01-31"], "it goes with --cron only"),
        (["create", "result_new", "0"], "0 is not in the range x>=1"),
        (["create", "result_new", "77", "--max-credits", "-1"], "'-1' is no amount of credits"),
        (["update", DAILY, "--query", "78", "--max-credits", "nan"], "'nan' is no amount of credits"),
        (["create", "result_new", "77", "--no-wait", "--timeout", "9s"], "--no-wait returns at once"),
        (["update", DAILY, "--query", "78", "--no-wait", "--max-credits", "0"], "cannot keep to --max-credits"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], says: str, shell: Shell, dune: DuneSandbox) -> None:
    """Contradictions and limits that are none are usage errors, and nothing is sent, let alone billed."""
    assert says in shell(*arguments, code=2).err
    assert dune.requests == ()


def test_delete_asks_or_is_told(shell: Shell, dune: DuneSandbox) -> None:
    """Without a terminal, nothing is deleted without `--yes`."""
    dune.add_view(DAILY)
    assert "there is nobody to ask: say --yes" in shell("delete", DAILY, code=2, stdin="y\n").err
    assert dune.requests == ()
    assert shell("delete", DAILY, "--yes").out == f"{DAILY} is deleted.\n"
    assert shell("list", "--output", "json").document["views"] == []


def test_refusals_are_one_line_with_the_next_step(shell: Shell, dune: DuneSandbox) -> None:
    """Dune's message, the remedy, and the id for Dune's support."""
    dune.add_view(DAILY, owned=False)
    (line,) = shell("get", DAILY, code=1).err.splitlines()
    assert line.startswith("Error: Dune responded with 403: ")
    assert "The key's account must own the view" in line
    assert "(request sandbox-request-1). " in line
    dune.fail("list", Fault(status=400, body=json.dumps({"error": "a\nb \x1b[2J[red]c"}).encode()))
    assert "Dune responded with 400: a b [2J[red]c " in shell("list", code=1).err
    document = shell("list", "--output", "json", code=1, environment={"DUNE_API_KEY": "wrong"}).document
    assert (document["exit_code"], document["error"]["type"]) == (1, "AuthenticationError")
    assert document["error"]["message"].startswith("Dune responded with 401")
    assert "(or --api-key-file)" in document["error"]["message"]


def test_lineage_has_one_form(shell: Shell, dune: DuneSandbox) -> None:
    """A picture within a JSON document would be neither: nothing is sent."""
    assert "goes without --format" in shell("lineage", DAILY, "--format", "toml", "--output", "json", code=2).err
    assert dune.requests == ()


def test_an_end_in_the_past_is_refused_before_it_is_billed(shell: Shell, dune: DuneSandbox) -> None:
    """Neither `create` nor `update` builds a view for a schedule that would never run."""
    schedule = ("--cron", "0 6 * * *", "--expires-at", "2020-01-31")
    for command in (["create", "result_new", "7"], ["update", DAILY]):
        assert "must be in the future" in shell(*command, *schedule, code=2).err
    assert dune.ledger == ()


def test_an_update_that_changes_nothing_is_refused(shell: Shell, dune: DuneSandbox) -> None:
    """In any spelling, an update without a change would be billed for nothing, so it is rejected."""
    shell("create", "result_new", "7", "--cron", "0 6 * * *", "--expires-at", "2090-01-31", "--plan", "enterprise")
    name = dune.ledger[0].name
    for change in (["--cron", "0  6 * * *"], ["--expires-at", "2090-01-31T02:00+02:00"], ["--query", "7", "--public"]):
        assert "already is as asked for" in shell("update", name, *change, code=2).err
    assert len(dune.ledger) == 1
