"""The command `sandbox`.

This module must not know how a sandbox works.
"""

from __future__ import annotations

import os

import click

from ._exits import Exit
from ._options import Command, options_of_every_command
from ._output import Result
from ._settings import Settings
from ._types import Number


@click.command(cls=Command)
@click.option("--port", type=Number(0, 65535), default=0, help="Port to listen on.  [default: any free one]")
@click.option("--speed", type=float, default=1.0, help="Divide the durations of executions by this.  [default: 1]")
@click.option(
    "--example", is_flag=True, help="Start with six views in three layers, one of them fresh and one failing."
)
@options_of_every_command
@click.pass_obj
def sandbox(settings: Settings, port: int, speed: float, example: bool) -> Result:
    """Run a local stand-in for Dune, to try the commands on.

    Every materialized view exists in it; with --example, six do. Paste the two lines that it prints into another shell.
    Ctrl-C ends it and shows the bill that Dune would have sent.
    """
    if settings.output.form == "json":
        raise click.UsageError("'sandbox' prints lines to paste, and has no JSON for --output.")
    from dune_matviews.sandbox.foreground import serve

    try:
        serve(port, speed, with_example=example)
    except OSError as error:
        where = f"The sandbox cannot listen on port {port}: {os.strerror(error.errno or 0)}"
        raise click.UsageError(f"{where}. Choose another --port, or leave it out for any free one.") from error
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    return Result(Exit.OK, {})


COMMANDS = (sandbox,)
