"""Knows the modules that importing the sandbox, or only its pytest plugin, brings along.
Must not import anything here: each case runs in an interpreter of its own."""

import subprocess
import sys

import dune_matviews.sandbox


def modules_after(code: str) -> set[str]:
    """The modules that an interpreter has loaded after running *code*."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-c", script]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


EVERYTHING = "import dune_matviews.sandbox as sandbox\nfor name in sandbox.__all__: getattr(sandbox, name)"


def test_the_sandbox_judges_independently() -> None:
    """The whole sandbox brings nothing of the SDK but itself, nor the generated client, nor httpx, nor pytest."""
    modules = modules_after(EVERYTHING)
    brought = modules - modules_after("import dune_matviews")
    assert not {name for name in brought if name.startswith("dune_matviews") and "sandbox" not in name}
    assert not {"httpx", "dune_api", "pytest"} & modules


def test_the_plugin_costs_nothing_until_used() -> None:
    """Every pytest run of every user imports the plugin, which brings in nothing but itself and its package."""
    before = modules_after("import pytest, dune_matviews")
    brought = modules_after("import pytest, dune_matviews.sandbox.pytest_plugin") - before
    assert brought == {"dune_matviews.sandbox", "dune_matviews.sandbox.pytest_plugin"}


def test_the_public_names_are_what_they_say() -> None:
    """Each public name resolves to the thing of that name, is listed by dir(), and others do not exist."""
    names = dune_matviews.sandbox.__all__
    assert names == [getattr(dune_matviews.sandbox, name).__name__ for name in names]
    assert names == sorted(names) == dir(dune_matviews.sandbox)
    assert not hasattr(dune_matviews.sandbox, "Sandbox")
