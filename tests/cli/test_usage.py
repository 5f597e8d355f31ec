"""The command before anything is sent: help, mistakes, the key, imports, and missing parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import click
import pytest

from dune_matviews.cli._app import app
from dune_matviews.cli._exits import MEANING
from dune_matviews.sandbox import DuneSandbox

from .conftest import COMMAND, Shell

VIEW = "dune.my_team.result_daily"
HEAVY = {"httpx", "rich", "dune_api", "asyncio"}


def test_help_has_every_command_and_every_exit_code(nowhere: Shell) -> None:
    """Both need no key, and print to standard output."""
    done = nowhere("--help")
    for command in app.commands:
        assert f"  {command} " in done.out
    for code, meaning in MEANING.items():
        assert f"  {int(code):<3}  {meaning}" in done.out
    assert nowhere("--version").out.startswith("dune-matviews, version ")


@pytest.mark.parametrize("command", list(app.commands))
def test_every_command_has_help(command: str, nowhere: Shell) -> None:
    """Its own options come before those of every command, and no line of the list of commands is cut."""
    done = nowhere(command, "--help")
    assert done.out.index("Options:") < done.out.index("Options of every command:")
    assert not app.commands[command].get_short_help_str(70).endswith("...")


@pytest.mark.parametrize("command", [app, *app.commands.values()], ids=lambda each: str(each.name))
def test_no_two_parameters_of_a_command_share_a_name(command: click.Command) -> None:
    """They would overwrite each other's values without a word."""
    names = [each.name for each in command.params]
    assert len(names) == len(set(names))


def test_without_arguments_help_is_shown(nowhere: Shell) -> None:
    """That is a mistake, so its code is that of one."""
    assert nowhere(code=2).err.startswith("Usage: dune-matviews ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["refesh", VIEW], "No such command 'refesh'."),
        (["refresh"], "Missing argument 'NAME...'. See 'dune-matviews refresh --help'."),
        (["refresh", VIEW, "--outptu", "json"], "See 'dune-matviews refresh --help'."),
        (["refresh", VIEW, "--timeout", "30"], "'30' has no unit: write 30s, 30m, 30h or 30d."),
        (["refresh", VIEW, "--max-credits", "many"], "'many' is no amount of credits: write it like 50 or 0.5"),
        (["wait", "01J", "--max-credits", "inf"], "'inf' is no amount of credits"),
        (["refresh", VIEW, "--max-parallel", "0"], "0 is not in the range x>=1"),
        (["refresh", VIEW, "--performance", "huge"], "'huge' is not one of 'small', 'medium', 'large'"),
        (["create", "result_new", "many"], "'many' is not a valid whole number"),
        (["sandbox", "--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["refresh", " "], "it is empty."),
        (["refresh", "a\x1b[2J"], r"'a\x1b[2J' has characters that are not printable."),
        (["run", "nowhere.toml"], "nowhere.toml: it cannot be read: No such file or directory"),
        (["refresh", VIEW], "set DUNE_API_KEY (or --api-key-file)."),
    ],
)
def test_a_mistake_is_one_line_with_the_next_step(arguments: list[str], says: str, nowhere: Shell) -> None:
    """On standard error, with exit code 2; with `--output json`, standard output has it as its one document."""
    done = nowhere(*arguments, code=2)
    (line,) = done.err.splitlines()
    assert line.startswith("Error: ")
    assert says in line
    assert done.out == ""
    document = nowhere("--output", "json", *arguments, code=2).document
    assert (document["ok"], document["exit_code"]) == (False, 2)
    assert says in document["error"]["message"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["refresh", "--help"], ["refresh", "--no-such-option"], ["list"]]
)  # without a key
def test_help_and_mistakes_import_nothing_heavy(arguments: list[str]) -> None:
    """They return at once: slow imports are delayed until they are used."""
    code = f"import sys; sys.argv[1:] = {arguments!r}\nfrom dune_matviews.cli import main\ntry:\n    main()\n"
    code += "finally:\n    print('\\n', *sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "DUNE_API_KEY"}
    environment["DUNE_API_BASE_URL"] = "http://127.0.0.1:9"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "dune_matviews.cli._app" in loaded
    assert HEAVY & loaded == set()


@pytest.mark.parametrize("missing", [["click"], ["rich"], ["click", "rich"]])
def test_without_the_extra_the_command_says_how_to_install_it(missing: list[str]) -> None:
    """One line and exit code 2, though the libraries of the command line are not there."""
    code = (
        "import importlib.util, sys\n"
        f"missing, find = {missing!r}, importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name in missing else find(name, *more)\n"
        "sys.modules.update(dict.fromkeys(missing))\n"
        "from dune_matviews.cli import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert " and ".join(missing) in line
    assert line.endswith("pip install 'dune-matviews[cli]'")


# The key


def key_file(shell: Shell, content: str, mode: int = 0o600) -> str:
    """A file with that content, of that mode; its name has to be quoted for a shell."""
    path = shell.folder / "my key"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_the_key_may_come_from_a_file(shell: Shell, dune: DuneSandbox) -> None:
    """It wins over the environment, and the option may stand before the command or after it."""
    path = key_file(shell, f"{dune.api_key}\n")
    shell("list", "--api-key-file", path, environment={"DUNE_API_KEY": "wrong"})
    shell("--api-key-file", path, "list", environment={"DUNE_API_KEY": ""})
    assert [each.status for each in dune.requests] == [200, 200]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_may_read_is_refused(mode: int, shell: Shell, dune: DuneSandbox) -> None:
    """The next step is a command to paste; nothing is sent."""
    path = key_file(shell, dune.api_key, mode)
    assert shell("list", "--api-key-file", path, code=2).err.startswith(
        f"Error: Others have access to the key file {path} (its mode is {mode:03o}): `chmod 600 '{path}'` ends that."
    )
    assert dune.requests == ()


@pytest.mark.parametrize("content", ["", " \n", "one two", "export DUNE_API_KEY=x"])
def test_a_key_file_without_a_key_is_refused(content: str, shell: Shell, dune: DuneSandbox) -> None:
    """It must contain only the key, and its contents are not shown."""
    done = shell("list", "--api-key-file", key_file(shell, content), code=2)
    assert "must hold the API key and nothing else" in done.err
    assert "export" not in done.err


def test_a_key_file_that_is_not_there_is_told(nowhere: Shell) -> None:
    """The reason is the system's own."""
    assert "cannot be read: No such file" in nowhere("list", "--api-key-file", "none", code=2).err
    assert "cannot be read: Is a directory" in nowhere("list", "--api-key-file", ".", code=2).err


def test_the_key_shows_nowhere(shell: Shell, dune: DuneSandbox) -> None:
    """Not even with `--debug`, when Dune echoes it."""
    secret = "sandbox-secret-0123456789"
    done = shell("list", "--debug", code=1, environment={"DUNE_API_KEY": secret})
    assert "Traceback" in done.err
    assert "GET /api/v1/materialized-views" in done.err
    assert secret not in done.out + done.err


# Streams


def test_a_reader_that_goes_away_ends_nothing(shell: Shell, dune: DuneSandbox) -> None:
    """`| head` closes the pipe: a started execution is followed to its end, and the exit code is the run's."""
    reading, writing = os.pipe()
    os.close(reading)
    with shell.start("refresh", VIEW, "--plan", "enterprise", stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert [charge.state for charge in dune.ledger] == ["QUERY_STATE_COMPLETED"]
    assert dune.requests[-1].operation == "status"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_response_that_is_lost_is_a_failure(shell: Shell, dune: DuneSandbox) -> None:
    """A full disk ends no run, but a truncated output has an error exit code."""
    with Path("/dev/full").open("w") as full, shell.start("list", "--output", "json", stdout=full) as process:
        _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (1, "Error: standard output cannot be written: No space left on device\n")


def test_closed_streams_end_nothing(shell: Shell, dune: DuneSandbox) -> None:
    """A supervisor may start the command without any stream."""
    command = f'"{COMMAND}" refresh {VIEW} --plan enterprise <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", command], env=shell.environment, cwd=shell.folder)
    assert done.returncode == 0
    assert len(dune.ledger) == 1


def test_nobody_can_be_asked_through_a_closed_stream(shell: Shell, dune: DuneSandbox) -> None:
    """Without standard input, `delete` wants `--yes` as it does without a terminal."""
    done = subprocess.run(
        ["sh", "-c", f'"{COMMAND}" delete {VIEW} <&-'], env=shell.environment, capture_output=True, text=True
    )
    assert (done.returncode, dune.requests) == (2, ())
    assert "there is nobody to ask: say --yes" in done.stderr


# Completion


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_shells_can_complete(name: str, nowhere: Shell) -> None:
    """The script for each shell is printed, and its requests get completions."""
    assert "_DUNE_MATVIEWS_COMPLETE" in nowhere.process(environment={"_DUNE_MATVIEWS_COMPLETE": f"{name}_source"})
    asked = {"COMP_WORDS": "dune-matviews refresh --perf", "COMP_CWORD": "--perf" if name == "fish" else "2"}
    assert "--performance" in nowhere.process(environment={"_DUNE_MATVIEWS_COMPLETE": f"{name}_complete", **asked})


def test_a_port_in_use_comes_with_the_next_step(nowhere: Shell, dune: DuneSandbox) -> None:
    """The system's words alone would leave people to guess."""
    port = dune.url.rpartition(":")[2]
    (line,) = nowhere("sandbox", "--port", port, code=2).err.splitlines()
    assert f"cannot listen on port {port}: Address already in use. Choose another --port, or leave it out" in line


# Help


@pytest.mark.parametrize(
    ("asked", "like"),
    [
        (["-h"], ["--help"]),
        (["help"], ["--help"]),
        (["help", "refresh"], ["refresh", "--help"]),
        (["refresh", "-h"], ["refresh", "--help"]),
        (["help", "journal", "show"], ["journal", "show", "--help"]),
    ],
)
def test_help_is_asked_for_as_people_do(asked: list[str], like: list[str], nowhere: Shell) -> None:
    """With `-h`, or by the command `help`."""
    assert nowhere(*asked).out == nowhere(*like).out


def test_help_of_what_is_no_command_is_a_mistake(nowhere: Shell) -> None:
    """With the code of one."""
    assert "No such command 'refesh'" in nowhere("help", "refesh", code=2).err


def test_the_package_itself_is_the_command() -> None:
    """`python -m dune_matviews` is the script, for when that is not on the path."""
    done = subprocess.run([sys.executable, "-m", "dune_matviews", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("dune-matviews, version ")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell_name: str, nowhere: Shell) -> None:
    """In zsh it loads its prerequisite, which a plain `~/.zshrc` does not."""
    script = nowhere("completion", shell_name).out
    assert "_DUNE_MATVIEWS_COMPLETE" in script
    assert script.startswith("(( $+functions[compdef] )) || { autoload -Uz compinit") == (shell_name == "zsh")


def test_completion_completes_in_bash(nowhere: Shell) -> None:
    """The script that is printed is one that bash takes, and it finds the command's own words."""
    script = f"""
    export PATH={Path(COMMAND).parent}:$PATH
    eval "$(dune-matviews completion bash)"
    COMP_WORDS=(dune-matviews refr) COMP_CWORD=1
    _dune_matviews_completion dune-matviews
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=nowhere.environment)
    assert (done.stdout, done.stderr) == ("refresh\n", "")


@pytest.mark.skipif(which("zsh") is None, reason="zsh is not installed")
def test_completion_is_set_up_in_a_plain_zsh(nowhere: Shell) -> None:
    """A `~/.zshrc` with this one line is enough: the line loads zsh's own completion."""
    (nowhere.folder / ".zshrc").write_text('eval "$(dune-matviews completion zsh)"')
    environment = {**nowhere.environment, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"}
    script = ["zsh", "-i", "-c", "print -r -- $_comps[dune-matviews]"]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert (done.stdout, done.stderr) == ("_dune_matviews_completion\n", "")
