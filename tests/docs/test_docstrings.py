"""The docstrings: every example runs as it stands, against the sandbox, and every public method has one."""

from __future__ import annotations

import doctest
import inspect
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dune_matviews
from dune_matviews import MatviewsClient, Refresh, async_client, client, journal, otel, plan, sandbox
from dune_matviews.sandbox import DuneSandbox, Scenario, _sandbox
from tests.skipping import SkippedTime

DAILY, BASE = "dune.my_team.result_daily", "dune.my_team.result_base"
EXAMPLES = {
    each.name.removeprefix("dune_matviews."): each
    for module in (dune_matviews, client, async_client, journal, otel, plan, sandbox, _sandbox)
    for each in doctest.DocTestFinder().find(module, module.__name__)
    if each.examples
}


@pytest.fixture
def world(dune_sandbox: DuneSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Two views of yesterday, one of which reads the other; a client; a folder with a plan; the journal's functions."""
    SkippedTime(dune_sandbox.advance).install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(plan.format_plan({DAILY: [BASE]}), "utf-8")
    for name in (DAILY, BASE):
        dune_sandbox.add_view(name, age=86_400)
    dune_sandbox.reads(DAILY, BASE)
    with MatviewsClient() as dune:
        yield {"dune": dune, "sandbox": dune_sandbox, **vars(journal), **vars(plan)}
    otel.uninstrument()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_shows(name: str, world: dict[str, Any], dune_sandbox: DuneSandbox) -> None:
    """What a docstring shows happens when it is typed in."""
    if name.startswith("client.Refresh."):
        dune_sandbox.rehearse(DAILY, Scenario(pending=1e6))  # still there when it is polled or cancelled
        world["refresh"] = world["dune"].refresh(DAILY)
    EXAMPLES[name].globs = world
    assert doctest.DocTestRunner().run(EXAMPLES[name]).failed == 0


@pytest.mark.parametrize("kind", [MatviewsClient, Refresh])
def test_every_method_has_an_example(kind: type) -> None:
    """`help()` of a method shows how it is called; closing needs none."""
    methods = {name for name, each in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
    assert {name for name in methods if f"client.{kind.__name__}.{name}" not in EXAMPLES} <= {"close"}


def test_help_begins_with_what_a_user_wants() -> None:
    """The first screen of `help(dune_matviews)` has the two calls to copy, and where to go from there."""
    screen = pydoc.plain(pydoc.render_doc(dune_matviews)).splitlines()[:24]
    shown = "\n".join(screen)
    assert "DESCRIPTION" in shown
    for word in ("MatviewsClient() as dune", "dune.refresh(", "dune.refresh_all(", "AsyncMatviewsClient", "DuneError"):
        assert word in shown
