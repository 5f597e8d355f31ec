"""The command as a whole: its subcommands, and how their results and errors become output and an exit code.

This module must not know the work of a subcommand. Expensive imports are made where they are used, so that `--help` and
wrong arguments get a response at once.
"""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from itertools import pairwise

import click

import dune_matviews

from . import _checking, _defining, _executions, _helping, _history, _journal, _refreshing, _sandbox, _views
from ._exits import MEANING, Exit
from ._failures import failure, warned
from ._options import Group, options_of_dune
from ._output import Output, Result, write
from ._settings import Settings

NAME = "dune-matviews"


class Commands(Group):
    """The group of all commands; its help ends with the exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit codes."""
        with formatter.section("Exit codes (where several apply, the first of 4, 3, 5, 1)"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANING.items()])
        super().format_epilog(ctx, formatter)


@click.group(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    epilog="The API key is read from DUNE_API_KEY, or from --api-key-file.",
)
@options_of_dune
@click.version_option(dune_matviews.__version__, prog_name=NAME)
def app() -> None:
    """Refresh Dune's materialized views, know when they are fresh, never pay twice."""


for command in (
    *_refreshing.COMMANDS,
    *_executions.COMMANDS,
    *_history.COMMANDS,
    *_views.COMMANDS,
    *_checking.COMMANDS,
    *_defining.COMMANDS,
    *_journal.COMMANDS,
    *_sandbox.COMMANDS,
    *_helping.COMMANDS,
):
    app.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command, and return its exit code."""
    output = Output("json" if _asks_for_json(arguments) else "text", debug="--debug" in arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: name the executions that go on
    warnings.showwarning = lambda warning, *_, **__: output.warning(warned(warning))
    try:
        result = app.main(list(arguments), NAME, standalone_mode=False, obj=Settings(output))
    except click.exceptions.NoArgsIsHelpError as no_arguments:
        write(sys.stderr, no_arguments.format_message())
        return Exit.USAGE
    except (Exception, KeyboardInterrupt) as error:
        result = _failed(error, output)
    if isinstance(result, Result):
        return output.finish(result)
    return int(result or 0)  # --help and --version have printed already


def _failed(error: BaseException, output: Output) -> Result:
    found = failure(error)
    if output.debug:
        write(sys.stderr, "".join(traceback.format_exception(error)).rstrip("\n"))
    for line in found.message.splitlines():  # more than one for a plan file with more than one mistake
        output.error(line)
    return Result(found.code, found.document, hints=found.hints)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """The arguments ask for JSON, as far as can be told without reading them properly: they may be wrong."""
    return "--output=json" in arguments or ("--output", "json") in pairwise(arguments)
