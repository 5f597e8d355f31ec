"""Whose key is used: files and commands that hold one, profiles, what counts more, and paths with homes in them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from dune_matviews import InvalidArgumentError
from dune_matviews.cli import _keys, _profiles
from dune_matviews.plan import expand_path, read_plan
from dune_matviews.sandbox import DuneSandbox

from .conftest import Shell

DAILY = "dune.my_team.result_daily"


def secret(path: Path, content: bytes | str) -> Path:
    """A file that its owner alone may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    return path


# Key files


@pytest.mark.parametrize(
    "content",
    [
        b"key-1",
        b"key-1\n",
        b" key-1\r\n\r\n",
        b"\xef\xbb\xbfkey-1\n",
        "key-1\r\n".encode("utf-16"),
        "\ufeffkey-1".encode("utf-16-be"),
        b'"key-1"\n',
        b"'key-1'",
    ],
)
def test_a_key_is_read_as_people_store_it(content: bytes, tmp_path: Path) -> None:
    """With the mark of Windows' editors, in the encoding of its shell, in quotes, with a line's end."""
    assert _keys.from_file(secret(tmp_path / "key", content)) == "key-1"


# Paths


def test_a_path_may_have_a_home_and_variables(shell: Shell, dune: DuneSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """In options, where a shell leaves `--journal=~/…` as it is, and in plans, which no shell reads."""
    state = {"STATE": str(shell.folder / "state")}
    (shell.folder / "state").mkdir()
    secret(shell.folder / "keys" / "dune", dune.api_key)
    shell("list", "--api-key-file=~/keys/dune", environment={"DUNE_API_KEY": ""})
    how = ("--plan", "enterprise", "-q")
    shell("refresh", DAILY, "--journal=~/one.jsonl", *how)
    shell("refresh", DAILY, "--journal", "$STATE/two.jsonl", *how, environment=state)
    (shell.folder / "plan.toml").write_text(f'journal = "${{STATE}}/three.jsonl"\n[views."{DAILY}"]')
    shell("run", "~/plan.toml", *how, environment=state)
    assert [path.name for path in sorted(shell.folder.rglob("*.jsonl"))] == ["one.jsonl", "three.jsonl", "two.jsonl"]
    assert "STATE" in shell("run", "plan.toml", code=2).err
    assert "is not set: $NOWHERE" in shell("refresh", DAILY, "--journal", "$NOWHERE/j", code=2).err


def test_a_variable_that_is_not_set_is_a_mistake_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal in a folder called `$STATE` would be found by nobody, and a run paid twice."""
    monkeypatch.delenv("STATE", raising=False)
    (tmp_path / "plan.toml").write_text(f'journal = "$STATE/j"\n[views."{DAILY}"]')
    with pytest.raises(InvalidArgumentError, match=r"plan\.toml:1: journal cannot be used: .* is not set: \$STATE"):
        read_plan(tmp_path / "plan.toml")
    with pytest.raises(InvalidArgumentError, match="is not set"):
        expand_path("${STATE}")


# Profiles


@pytest.fixture
def other() -> Iterator[DuneSandbox]:
    """Another account."""
    with DuneSandbox(api_key="other-key", speed=10_000) as sandbox:
        yield sandbox


def configured(shell: Shell, text: str) -> Path:
    """The configuration file of the shell's user."""
    return secret(shell.folder / ".config" / "dune-matviews" / "config.toml", text)


def profile(name: str, dune: DuneSandbox, folder: Path) -> str:
    """A profile of that account, with its key in a file beside the configuration."""
    secret(folder / ".config" / "dune-matviews" / f"{name}.key", dune.api_key)
    return f'[profiles.{name}]\napi_key_file = "{name}.key"\nbase_url = "{dune.url}"\ndune_plan = "enterprise"\n'


def test_a_profile_has_the_account(shell: Shell, dune: DuneSandbox, other: DuneSandbox) -> None:
    """The default one where nothing else is said, another where it is asked for."""
    configured(shell, profile("default", dune, shell.folder) + profile("work", other, shell.folder))
    nothing = {"DUNE_API_KEY": "", "DUNE_API_BASE_URL": ""}
    shell("refresh", DAILY, environment=nothing)
    assert (len(dune.ledger), len(other.ledger)) == (1, 0)
    shell("refresh", DAILY, "--profile", "work", environment=nothing)
    assert (len(dune.ledger), len(other.ledger)) == (1, 1)


def test_what_counts_more(shell: Shell, dune: DuneSandbox, other: DuneSandbox) -> None:
    """An option before the environment, that before the default profile; a profile that is asked for before both.

    Or somebody would pay with the key of another account that happens to be in the environment.
    """
    configured(shell, profile("default", other, shell.folder) + profile("work", other, shell.folder))
    shell("list")
    assert (len(dune.requests), len(other.requests)) == (1, 0)
    shell("--profile", "work", "list")
    assert (len(dune.requests), len(other.requests)) == (1, 1)
    key = str(secret(shell.folder / "key", "other-key"))
    shell("list", "--api-key-file", key, environment={"DUNE_API_KEY": "wrong", "DUNE_API_BASE_URL": other.url})
    assert (len(dune.requests), len(other.requests)) == (1, 2)


def test_the_plan_of_the_account_has_an_order_of_its_own(shell: Shell, dune: DuneSandbox) -> None:
    """A profile that was asked for knows its account better than a plan file, and that better than the default one."""
    plan = shell.folder / "plan.toml"
    plan.write_text(f'dune_plan = "plus"\n[views."{DAILY}"]')
    text = profile("default", dune, shell.folder) + profile("work", dune, shell.folder)
    seen: list[object] = []

    def client(*args: object, plan: object, **more: object) -> object:
        seen.append(plan)
        raise KeyboardInterrupt

    configured(shell, text)
    with patch("dune_matviews.MatviewsClient", client):
        for arguments, environment in (
            (["run", "plan.toml", "--plan", "free", "--profile", "work"], {}),
            (["run", "plan.toml", "--profile", "work"], {"DUNE_PLAN": "analyst"}),
            (["run", "plan.toml"], {"DUNE_PLAN": "analyst"}),
            (["list"], {"DUNE_PLAN": "analyst"}),
            (["list"], {}),
        ):
            shell(*arguments, code=130, environment=environment)
    assert seen == ["free", "enterprise", "plus", "auto", "enterprise"]  # auto: the client reads DUNE_PLAN


def test_a_profile_without_a_key_takes_nobody_elses(shell: Shell, dune: DuneSandbox) -> None:
    """That of the environment may be another account's."""
    configured(shell, "[profiles.work]\ndune_plan = 'plus'\n")
    assert "The profile 'work' has no key" in shell("list", "--profile", "work", code=2).err
    assert dune.requests == ()


def test_the_configuration_of_the_manual_is_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its profiles are read, and its table has every key that there is."""
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    (block,) = [block for block in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL) if "[profiles." in block]
    configured(shell, block)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.folder / ".config"))
    assert _profiles.read(None).dune_plan == "plus"
    assert _profiles.read("work").api_key_command == ("pass", "show", "dune/work")
    assert [key for key in _profiles.Profile._fields if not re.search(rf"^\| .*`{key}`", manual, re.MULTILINE)] == []


def test_a_key_may_come_from_a_command(shell: Shell, dune: DuneSandbox) -> None:
    """A password manager's, for example; one that fails is told without its output."""
    command = ["sh", "-c", f"echo {shlex.quote(dune.api_key)}"]
    configured(shell, f"[profiles.default]\napi_key_command = {command!r}\n")
    shell("list", environment={"DUNE_API_KEY": ""})
    assert len(dune.requests) == 1
    for broken, says in (
        (["sh", "-c", "echo secret; exit 3"], "has failed with exit code 3"),
        (["sh", "-c", "echo two words"], "must print the API key and nothing else"),
        (["no-such-command"], "cannot be run: no-such-command: No such file"),
    ):
        configured(shell, f"[profiles.default]\napi_key_command = {broken!r}\n")
        (line,) = shell("list", environment={"DUNE_API_KEY": ""}, code=2).err.splitlines()
        assert says in line
    assert len(dune.requests) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[profiles.default]\napi_key = 'x'", "profiles.default has no 'api_key'; did you mean api_key_file?"),
        ("[profiles.default]\ndune_plan = 'gold'", "profiles.default.dune_plan must be one of"),
        ("[profiles.default]\nbase_url = 3", "profiles.default.base_url must be a text"),
        ("[profiles.default]\nrequest_timeout = '30'", "has no unit"),
        ("[profiles.default]\napi_key_command = 'pass show'", "must be an array of texts"),
        ("[profiles.default]\napi_key_file = '$NOWHERE/key'", "is not set: $NOWHERE"),
        ("profiles = 3", "tables [profiles.NAME] and nothing else"),
        ("[profile.default]", "tables [profiles.NAME] and nothing else"),
        ("profiles = {default = 3}", "profiles.default must be a table"),
        ("[profiles", "config.toml: Expected ']'"),
    ],
)
def test_mistakes_of_the_configuration_are_told(text: str, says: str, shell: Shell, dune: DuneSandbox) -> None:
    """On one line, with the file, before anything is sent."""
    configured(shell, text)
    (line,) = shell("list", code=2).err.splitlines()
    assert says in line
    assert "config.toml" in line
    assert dune.requests == ()


def test_a_profile_that_is_not_there_is_told(shell: Shell, dune: DuneSandbox) -> None:
    """With those that are."""
    assert "there is no profile 'work'; it has none" in shell("list", "--profile", "work", code=2).err
    configured(shell, "[profiles.default]\n[profiles.home]\n")
    assert "it has default, home" in shell("list", "--profile", "work", code=2).err
    assert dune.requests == ()


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_a_configuration_that_others_may_write_is_refused(shell: Shell, dune: DuneSandbox) -> None:
    """It names a command to run."""
    configured(shell, "[profiles.default]\n").chmod(0o622)
    assert "others may write to it" in shell("list", code=2).err
    assert dune.requests == ()
