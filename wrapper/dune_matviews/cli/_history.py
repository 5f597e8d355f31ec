"""The command `history`: the past executions of a view.

This module must not know how a past is read.
"""

from __future__ import annotations

import click

from . import _data, _text
from ._exits import Exit
from ._options import Command, options_of_dune
from ._output import Result
from ._settings import Settings
from ._types import Name


@click.command(cls=Command)
@click.argument("name", type=Name())
@options_of_dune
@click.pass_obj
def history(settings: Settings, /, name: str) -> Result:
    """Show past executions of a view, with queue, duration and cost."""
    with settings.client() as dune:
        found = dune.history(name)
    rows: list[tuple[str, ...]] = [("ENDED", "STATE", "QUEUED", "RAN", "CREDITS")]
    for each in found:
        began = each.started_at or each.submitted_at
        rows.append(
            (
                "" if each.ended_at is None else _text.moment(each.ended_at),
                each.state.value,
                _text.lasted(began - each.submitted_at) if began and each.submitted_at else "",
                _text.lasted(each.ended_at - began) if began and each.ended_at else "",
                "" if each.cost_credits is None else _text.credits(each.cost_credits),
            )
        )
    text = "\n".join(_text.columns(rows, "<<>>>")) if found else f"No execution of {_text.line(name)} has ended yet."
    return Result(Exit.OK, {"executions": [_data.plain(each) for each in found]}, text)


COMMANDS = (history,)
