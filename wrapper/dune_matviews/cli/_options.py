"""The options that commands have in common, and the order in which help shows them.

This module must not know the work of a command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from dune_matviews import IfLost, IfRunning, InvalidArgumentError, Performance, Plan, SmallTier
from dune_matviews.plan import RefreshPlan, read_plan

from ._failures import PlanError
from ._settings import Settings
from ._types import Credits, Duration, FilePath, Name, Number

F = TypeVar("F", bound=Callable[..., Any])

PLANS = get_args(Plan)
TIERS = get_args(Performance)
IF_RUNNING = get_args(IfRunning)
IF_LOST = get_args(IfLost)
SMALL_TIER = get_args(SmallTier)


class CommonOption(click.Option):
    """An option that every command has."""


class Command(click.Command):
    """A command whose help shows its own options first, and those of every command apart."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, unless only the schema is asked for."""
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
        _common("--debug", is_flag=True, of_output=True, help="Print the log, and a traceback of errors."),
        _common("--quiet", "-q", is_flag=True, of_output=True, help="Say nothing while all is well."),
        _common(
            "--output",
            "form",
            type=click.Choice(["text", "json", "json-schema"]),
            of_output=True,
            help="json: one JSON document on standard output, everything else on standard error. json-schema: "
            "only the schema of that document.  [default: text]",
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
    """Add the tier, and the policy for the tier `small`."""
    tier = click.option("--performance", type=click.Choice(TIERS), help="The tier.  [default: Dune's]")
    return tier(options_of_small(command))


def options_of_small(command: F) -> F:
    """Add the policy for the tier `small`."""
    return _setting(
        "--small-tier",
        type=click.Choice(SMALL_TIER),
        help="The policy for the tier small, about which Dune's documentation disagrees.  [default: warn]",
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
        click.option("--timeout", type=Duration(), metavar="TIME", help="Stop waiting after this; executions go on."),
        click.option(
            "--max-age", type=Duration(), metavar="TIME", help="Leave a view as it is that was refreshed within this."
        ),
        click.option(
            "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page of HTML."
        ),
        click.option("--max-forecast", type=Credits(), help="Start nothing if the expected cost exceeds this."),
        click.option("--max-credits", type=Credits(), help="Cancel executions once the total cost exceeds this."),
    ):
        command = option(command)
    return command


def options_of_journal(command: F) -> F:
    """Add the journal, and the options for repeats."""
    for option in (
        click.option(
            "--retry-failed",
            is_flag=True,
            help="Start views again that have failed, were cancelled or expired.",
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
            help="Record the run in a file, so that the same command continues it after a crash and pays nothing "
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
    """The plan in a file, whose `dune_plan` applies to the client if no option or profile sets another.

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
    """Refuse options beside `--no-wait` that only a waiting command can respect: by name, None if not given.

    Raises:
        click.UsageError: one is given.
    """
    for name, value in limits.items():
        if value is not None:
            raise click.UsageError(f"--no-wait returns at once: it cannot keep to --{name.replace('_', '-')}.")


def view_name(command: F) -> F:
    """Add the argument NAME."""
    return click.argument("name", type=Name())(command)
