"""The options that commands have in common, and the client that they describe.

This module must not know what a command does with its client.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from dune_matviews import IfLost, IfRunning, InvalidArgumentError, Performance, Plan, SmallTier
from dune_matviews.plan import RefreshPlan, parse_duration, read_plan

from . import _text
from ._failures import PlanError
from ._output import Output

if TYPE_CHECKING:
    from datetime import timedelta

    from dune_matviews import MatviewsClient

F = TypeVar("F", bound=Callable[..., Any])

PLANS = get_args(Plan)
TIERS = get_args(Performance)
IF_RUNNING = get_args(IfRunning)
IF_LOST = get_args(IfLost)
SMALL_TIER = get_args(SmallTier)
LONGEST_KEY_FILE = 10_000


class Settings:
    """What the options of every command say; each may stand before the command or after it."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.plan: Any = "auto"
        self.api_key_file: Path | None = None
        self.small_tier: Any = "warn"

    @contextmanager
    def client(self) -> Generator[MatviewsClient]:
        """A client of the account that the options and the environment name."""
        key = None if self.api_key_file is None else key_from(self.api_key_file)
        from dune_matviews import MatviewsClient

        from . import _logs

        _logs.tell(self.output)
        with MatviewsClient(key, plan=self.plan, small_tier=self.small_tier) as dune:
            yield dune


def key_from(path: Path) -> str:
    """The API key that a file holds, which nobody but its owner may read.

    Raises:
        click.UsageError: there is no such file, others may read it, or it holds no key.
    """
    try:
        with path.open("rb") as file:
            mode = S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(LONGEST_KEY_FILE)
    except OSError as problem:
        raise click.UsageError(f"The key file {path} cannot be read: {problem.strerror}.") from problem
    if os.name == "posix" and mode & 0o077:
        remedy = _text.line(shlex.join(["chmod", "600", str(path)]))
        found = f"Others have access to the key file {path} (its mode is {mode:03o})"
        raise click.UsageError(f"{found}: `{remedy}` ends that.")
    key = content.decode("utf-8", "replace").strip()
    if not key or len(key.split()) > 1:
        raise click.UsageError(f"The key file {path} must hold the API key and nothing else.")
    return key


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A length of time, such as `90s` or `1h30m`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time as a `timedelta`."""
        try:
            return parse_duration(value)
        except InvalidArgumentError as problem:
            self.fail(f"{problem}.", param, ctx)


class Credits(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """An amount of credits, zero or more; checked before anything is started that it is to limit."""

    name = "credits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The amount as a number."""
        try:
            amount = float(value)
        except ValueError:
            amount = math.nan
        if not 0 <= amount < math.inf:
            self.fail(f"{value!r} is no amount of credits: write it like 50 or 0.5, zero or more.", param, ctx)
        return amount


class Number(click.IntRange):
    """A whole number, which click would call an integer range."""

    name = "whole number"


class Name(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """The name of a view, or the id of an execution."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is; what can be none is refused before anything is sent."""
        if not value.strip():
            self.fail("it is empty.", param, ctx)
        if not value.isprintable():
            self.fail(f"{value!r} has characters that are not printable.", param, ctx)
        return str(value)


class CommonOption(click.Option):
    """An option that every command has."""


class Command(click.Command):
    """A command whose help shows its own options first, and those of every command apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists."""
        _write_options(self, ctx, formatter)


class Group(click.Group):
    """A group of commands, in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists of options, and the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    for title, common in (("Options", False), ("Options of every command", True)):
        records = [
            record
            for each in command.get_params(ctx)
            if isinstance(each, click.Option)
            and isinstance(each, CommonOption) is common
            and (record := each.get_help_record(ctx)) is not None
        ]
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _setting(*names: str, of_output: bool = False, **more: Any) -> Callable[[F], F]:
    """An option that sets an attribute of its own name, of the settings or of their output."""

    def take(ctx: click.Context, option: click.Parameter, value: Any) -> None:
        settings = ctx.find_object(Settings)
        if settings is not None and option.name is not None and value not in (None, False):
            setattr(settings.output if of_output else settings, option.name, value)

    return click.option(*names, expose_value=False, callback=take, is_eager=of_output, **more)


def _common(*names: str, **more: Any) -> Callable[[F], F]:
    return _setting(*names, cls=CommonOption, **more)


def options_of_every_command(command: F) -> F:
    """Add the options that every command has."""
    for option in (
        _common("--debug", is_flag=True, of_output=True, help="Log what happens, and show where errors come from."),
        _common("--quiet", "-q", is_flag=True, of_output=True, help="Say nothing while all is well."),
        _common(
            "--output",
            "form",
            type=click.Choice(["text", "json"]),
            of_output=True,
            help="json: one JSON document on standard output, all else on standard error.  [default: text]",
        ),
    ):
        command = option(command)
    return command


def options_of_dune(command: F) -> F:
    """Add the options that every command has, and those of every command that talks to Dune."""
    for option in (
        _common(
            "--plan",
            type=click.Choice(PLANS),
            help="The account's plan, for its request limits.  [default: auto: DUNE_PLAN of the environment, or free]",
        ),
        _common(
            "--api-key-file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="A file with the API key, which only you may read.  [default: DUNE_API_KEY of the environment]",
        ),
    ):
        command = option(command)
    return options_of_every_command(command)


def options_of_tiers(command: F) -> F:
    """Add the tier, and what to do about the tier `small`."""
    tier = click.option("--performance", type=click.Choice(TIERS), help="The tier.  [default: Dune's]")
    return tier(options_of_small(command))


def options_of_small(command: F) -> F:
    """Add what to do about the tier `small`."""
    return _setting(
        "--small-tier",
        type=click.Choice(SMALL_TIER),
        help="What to do about the tier small, on which Dune's documentation disagrees.  [default: warn]",
    )(command)


def options_of_limits(command: F) -> F:
    """Add how far a run may go, and on which terms."""
    for option in (
        click.option(
            "--if-running",
            type=click.Choice(IF_RUNNING),
            help="What to do if a view is being refreshed already: start another refresh, adopt (follow) that one, or "
            "refuse.  [default: start]",
        ),
        click.option("--max-parallel", type=Number(min=1), metavar="N", help="Executions at once.  [default: 3]"),
        click.option("--timeout", type=Duration(), metavar="TIME", help="Stop waiting after this; what runs goes on."),
        click.option(
            "--max-age", type=Duration(), metavar="TIME", help="Leave a view as it is that was refreshed within this."
        ),
        click.option("--max-credits", type=Credits(), help="Cancel what runs once all has cost more than this."),
    ):
        command = option(command)
    return command


def options_of_journal(command: F) -> F:
    """Add the journal, and what is repeated with it."""
    for option in (
        click.option(
            "--retry-failed", is_flag=True, help="Start anew what the journal has as failed, cancelled or expired."
        ),
        click.option(
            "--run",
            "label",
            metavar="LABEL",
            help="The run in the journal: the same label goes on with the same run, another one begins a new one.",
        ),
        click.option(
            "--journal",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Remember in a file what was done, so that the same command goes on after a crash and pays nothing "
            "twice.",
        ),
        click.option(
            "--if-lost",
            type=click.Choice(IF_LOST),
            help="What to do if a response was lost, and no execution is found: raise an error after a minute, or "
            "resend once it is proven, after three, that there is none.  [default: raise]",
        ),
    ):
        command = option(command)
    return command


def plan_of(settings: Settings, plan_file: str | Path) -> RefreshPlan:
    """The plan in a file, whose `dune_plan` counts for the client unless something else was asked for.

    Raises:
        PlanError: the file cannot be used.
    """
    try:
        plan = read_plan(plan_file)
    except InvalidArgumentError as mistakes:
        raise PlanError(str(mistakes)) from mistakes
    if settings.plan == "auto":
        settings.plan = plan.dune_plan or "auto"
    return plan


def refuse_what_waits(limits: Mapping[str, Any]) -> None:
    """Refuse what only a command that waits can keep to, beside `--no-wait`: options by name, None where not given.

    Raises:
        click.UsageError: one is given.
    """
    for name, value in limits.items():
        if value is not None:
            raise click.UsageError(f"--no-wait returns at once: it cannot keep to --{name.replace('_', '-')}.")


def view_name(command: F) -> F:
    """Add the argument NAME."""
    return click.argument("name", type=Name())(command)
