"""The options that commands have in common, and the client that they describe.

This module must not know what a command does with its client.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from dune_matviews import IfLost, IfRunning, InvalidArgumentError, Performance, Plan, SmallTier
from dune_matviews.plan import RefreshPlan, expand_path, parse_duration, read_plan

from . import _keys, _profiles
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


class Settings:
    """What the options of every command say; each may stand before the command or after it."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.plan: Any = "auto"
        self.plan_of_file: str | None = None
        self.api_key_file: Path | None = None
        self.profile: str | None = None
        self.small_tier: Any = "warn"

    @contextmanager
    def client(self) -> Generator[MatviewsClient]:
        """A client of the account that the options, the environment and the configuration name.

        A profile that was asked for counts more than the environment, so that nobody pays with another account's key.
        """
        profile = _profiles.read(self.profile)
        asked_for = profile.dune_plan if self.profile is not None else None
        wanted: dict[str, Any] = {
            "api_key": None if self.api_key_file is None else _keys.from_file(self.api_key_file),
            "base_url": None,
            "timeout": None,
            "plan": (asked_for or self.plan_of_file) if self.plan == "auto" else self.plan,
        }
        for argument, variable, found in (
            ("api_key", "DUNE_API_KEY", profile.key),
            ("base_url", "DUNE_API_BASE_URL", lambda: profile.base_url),
            ("timeout", "DUNE_API_REQUEST_TIMEOUT", lambda: profile.request_timeout),
            ("plan", "DUNE_PLAN", lambda: profile.dune_plan),
        ):
            if wanted[argument] is None and (self.profile is not None or not os.environ.get(variable)):
                wanted[argument] = found()
        if wanted["api_key"] is None and self.profile is not None:
            raise click.UsageError(f"The profile {self.profile!r} has no key: give it an api_key_file.")
        wanted["plan"] = wanted["plan"] or "auto"
        from dune_matviews import MatviewsClient

        from . import _logs

        _logs.tell(self.output)
        with MatviewsClient(small_tier=self.small_tier, **wanted) as dune:
            yield dune


class FilePath(click.Path):
    """The path of a file, with `~` and variables in it, which a shell leaves as they are after `--journal=`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path as people mean it."""
        try:
            return expand_path(os.fspath(value))
        except InvalidArgumentError as problem:
            self.fail(f"{problem}.", param, ctx)


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments in, unless all that is asked for is what the command prints."""
        _print_schema(ctx)
        return super().parse_args(ctx, args)

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


def _print_schema(ctx: click.Context) -> None:
    """Where the schema of a command's document is asked for, print it, and end as `--help` does."""
    settings = ctx.find_object(Settings)
    if settings is None or settings.output.form != "json-schema" or isinstance(ctx.command, click.Group):
        return
    from . import _schemas

    of_group = ctx.parent.info_name if ctx.parent is not None and ctx.parent.parent is not None else None
    name = " ".join(filter(None, [of_group, ctx.command.name]))
    settings.output.result(json.dumps(_schemas.of_command(name), indent=2))
    ctx.exit()


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
            _print_schema(ctx)

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
            type=click.Choice(["text", "json", "json-schema"]),
            of_output=True,
            help="json: one JSON document on standard output, all else on standard error. json-schema: what that "
            "document looks like, and nothing is done.  [default: text]",
        ),
        _common(
            "--log-format",
            type=click.Choice(["text", "json"]),
            of_output=True,
            help="json: a line of JSON on standard error for each event, warning and error.  [default: text]",
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
            "--profile",
            metavar="NAME",
            help="A profile of ~/.config/dune-matviews/config.toml.  [default: the environment, then 'default']",
        ),
        _common(
            "--api-key-file",
            metavar="FILE",
            type=FilePath(),
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
            type=FilePath(),
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
    settings.plan_of_file = plan.dune_plan
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
