"""The commands `help` and `completion`.

This module must not know the other commands.
"""

from __future__ import annotations

import click

from ._exits import Exit
from ._options import Command, options_of_every_command
from ._output import Result

VARIABLE = "_DUNE_MATVIEWS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
"""The completion system of zsh, which an empty `~/.zshrc` does not load."""


@click.command("help", cls=Command)
@click.argument("names", metavar="[COMMAND]...", nargs=-1)
@options_of_every_command
@click.pass_context
def help_(context: click.Context, names: tuple[str, ...]) -> Result:
    """Show the help of a command."""
    assert context.parent is not None  # noqa: S101  # a command of a group
    found, command = context.parent, context.parent.command
    for name in names:
        inner = command.get_command(found, name) if isinstance(command, click.Group) else None
        if inner is None:
            raise click.UsageError(f"No such command '{' '.join(names)}'.", found)
        found, command = click.Context(inner, parent=found, info_name=name), inner
    return Result(Exit.OK, {"help": command.get_help(found)}, command.get_help(found))


@click.command(cls=Command)
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@options_of_every_command
@click.pass_context
def completion(context: click.Context, shell: str) -> Result:
    """Print a script for completion in a shell.

    \b
    For bash, in ~/.bashrc:                  eval "$(dune-matviews completion bash)"
    For zsh, in ~/.zshrc:                    eval "$(dune-matviews completion zsh)"
    For fish, in ~/.config/fish/config.fish: dune-matviews completion fish | source
    """
    from click.shell_completion import get_completion_class

    assert context.parent is not None  # noqa: S101  # a command of a group
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click has all that SHELLS names
    script = kind(context.parent.command, {}, context.parent.info_name or "", VARIABLE).source()
    script = _COMPINIT + script if shell == "zsh" else script
    return Result(Exit.OK, {"completion": script}, script)


COMMANDS = (completion, help_)
