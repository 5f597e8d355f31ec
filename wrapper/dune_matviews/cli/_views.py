"""The commands that only read: `get`, `list`, `lineage`, `usage` and `whoami`.

This module must not change anything at Dune.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from . import _data, _names, _pictures, _text
from ._checking import how_it_failed, last_execution
from ._exits import Exit
from ._options import Command, options_of_dune, view_name
from ._output import Result
from ._settings import Settings

if TYPE_CHECKING:
    from dune_matviews import ExecutionStatus, Freshness, Matview, Schedule


@click.command(cls=Command)
@view_name
@options_of_dune
@click.pass_obj
def get(settings: Settings, name: str) -> Result:
    """Show a view, its age, and its last failure."""
    with settings.client() as dune:
        (name,) = _names.completed(dune, settings.output, [name])
        view, freshness = dune.get(name), dune.freshness(name)
        last = last_execution(dune, view)
    document = {
        "view": _data.plain(view),
        "freshness": _data.plain(freshness),
        "last_execution": _data.plain(last),
    }
    return Result(Exit.OK, document, _text.fields(_described(view, freshness, last)))


@click.command("list", cls=Command)
@options_of_dune
@click.pass_obj
def list_views(settings: Settings) -> Result:
    """List the account's views."""
    with settings.client() as dune:
        views = list(dune.list())
    rows = [(_text.line(each.name), _number(each.query_id), _size(each), _private(each)) for each in views]
    header = ("VIEW", "QUERY", "SIZE", "PRIVATE")
    text = "\n".join(_text.columns([header, *rows], "<>><")) if views else "The account has no materialized views."
    return Result(Exit.OK, {"views": [_data.plain(each) for each in views]}, text)


@click.command(cls=Command)
@view_name
@click.option(
    "--format",
    "picture",
    type=click.Choice(list(_pictures.FORMATS)),
    help="A tree, a graph for Mermaid or Graphviz (dot), or a plan file for 'run' (toml).  [default: tree]",
)
@options_of_dune
@click.pass_obj
def lineage(settings: Settings, name: str, picture: str | None) -> Result:
    """Show the views that a view reads, directly or not.

    They have to be refreshed before it, in the order that Dune knows.
    """
    if picture is not None and settings.output.form == "json":
        raise click.UsageError("--output json prints the lineage as JSON: it goes without --format.")
    with settings.client() as dune:
        (name,) = _names.completed(dune, settings.output, [name])
        found = dune.lineage(name)
    picture = picture or "tree"
    plain = not _text.can_show("├──└│", sys.stdout.encoding)
    drawn = _pictures.tree(found, plain) if picture == "tree" else _pictures.FORMATS[picture](found)
    return Result(Exit.OK, {"lineage": _data.plain(dict(found))}, drawn)


@click.command(cls=Command)
@options_of_dune
@click.pass_obj
def usage(settings: Settings) -> Result:
    """Show the credits used in this billing period."""
    with settings.client() as dune:
        found = dune.usage()
    used, included = found.credits_used, found.credits_included
    share = f" ({used / included:.1%})" if used is not None and included else ""
    text = _text.fields(
        [
            ("period", f"{found.period_start or '?'} to {found.period_end or '?'}"),
            ("used", None if used is None else f"{_text.credits(used)}{share}"),
            ("included", None if included is None else _text.credits(included)),
        ]
    )
    return Result(Exit.OK, {"usage": _data.plain(found)}, text)


@click.command(cls=Command)
@options_of_dune
@click.pass_obj
def whoami(settings: Settings) -> Result:
    """Show the account of the key: the person or the team that pays."""
    with settings.client() as dune:
        found = dune.whoami()
    kind = {True: "team", False: "person", None: None}[found.is_team]
    text = _text.fields(
        [
            ("account", _text.line(found.handle) if found.handle else None),
            ("kind", kind),
            ("id", _text.line(found.customer_id) if found.customer_id else None),
            ("key", _text.line(found.api_key_id) if found.api_key_id else None),
        ]
    )
    return Result(Exit.OK, {"account": _data.plain(found)}, text)


def _described(view: Matview, freshness: Freshness, last: ExecutionStatus | None) -> list[tuple[str, str | None]]:
    ago = "" if freshness.age is None else f" ({_text.lasted(freshness.age)} ago)"
    return [
        ("view", _text.line(view.name)),
        ("refreshed", f"{_text.moment(freshness.completed_at)}{ago}" if freshness.completed_at else "never"),
        ("last", how_it_failed(last)),
        ("query", _number(view.query_id) or None),
        ("private", _private(view) or None),
        ("size", _size(view) or None),
        ("schedule", _scheduled(view.schedule) if view.schedule else "none"),
        ("executions", _text.line(" ".join(view.last_execution_ids)) or None),
    ]


def _scheduled(schedule: Schedule) -> str:
    parts = [
        f"'{schedule.cron_expression}'" if schedule.cron_expression else "",
        f"tier {schedule.performance}" if schedule.performance else "",
        f"next at {_text.moment(schedule.next_run_at)}" if schedule.next_run_at else "",
        f"until {_text.moment(schedule.expires_at)}" if schedule.expires_at else "",
    ]
    return _text.line(", ".join(filter(None, parts)))


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _private(view: Matview) -> str:
    return "" if view.is_private is None else "yes" if view.is_private else "no"


def _size(view: Matview) -> str:
    return "" if view.size_bytes is None else _text.size(view.size_bytes)


COMMANDS = (get, list_views, lineage, usage, whoami)
