"""The rooms of the package: permitted imports, and the cost of importing."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, get_args

import pytest

import dune_matviews
from dune_matviews import (
    AsyncMatviewsClient,
    AsyncRefresh,
    IfLost,
    IfRunning,
    MatviewsClient,
    Performance,
    Plan,
    Refresh,
    SmallTier,
)
from dune_matviews import errors as errors_module

PACKAGE = Path(dune_matviews.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
ENGINES = {  # what each imports
    "airflow": {"airflow"},
    "dagster": {"dagster"},
    "otel": {"opentelemetry"},
    "prefect": {"prefect", "pydantic"},
}
OUTSIDE = ("cli", "sandbox", *ENGINES)
ROOMS = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] not in OUTSIDE]
IN_ENGINES = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in ENGINES]
COMMAND_LINE = [path for path in MODULES if path.parent == PACKAGE / "cli"]

# What each room may import: rooms above it in this table only, and of what is not in the standard library.
# A room is a folder; what stands beside the folders has a room for itself.
FACE = {"_core", "_http", "_tiers", "_validate", "models"}
ALLOWED = {
    "_flow": {"attrs"},
    "_display": {"_flow"},
    "models": {"_display", "attrs"},
    "remedies": set[str](),
    "errors": {"remedies"},
    "__init__": {"errors"},
    "report": {"_display", "attrs", "errors", "models", "remedies"},
    "_validate": {"errors"},
    "_tiers": {"_validate", "errors", "remedies"},
    "_http": {"__init__", "_flow", "_validate", "errors", "httpcore", "httpx", "remedies"},
    "_api": {"_flow", "_http", "dateutil", "dune_api", "errors", "models"},
    "_execution": {
        *{"_api", "_flow", "_http", "_tiers", "_validate"},
        *{"attrs", "errors", "models", "remedies", "report"},
    },
    "_batch": {
        *{"_display", "_execution", "_flow", "_validate"},
        *{"attrs", "errors", "models", "remedies", "report"},
    },
    "_core": {
        *{"_api", "_batch", "_display", "_execution", "_flow", "_http", "_tiers", "_validate"},
        *{"attrs", "errors", "models", "remedies", "report"},
    },
    "journal": {"_execution", "_validate", "attrs", "report"},
    "plan": {"_http", "_tiers", "_validate", "attrs", "errors"},
    "client": FACE,
    "async_client": FACE,
    "__main__": {"cli"},
}


def imported(module: Path) -> Iterator[Path | str]:
    """The run-time imports of *module*: modules of the package as paths, other packages by name."""

    def visit(node: ast.AST) -> Iterator[Path | str]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.level:
            base = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            inner = [place for alias in node.names for place in places(base / alias.name)]
            yield from inner or places(base)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return visit(ast.parse(module.read_text("utf-8")))


def places(name: Path) -> list[Path]:
    """The file of a module, or of a folder."""
    return [path for path in (name.with_suffix(".py"), name / "__init__.py") if path.exists()]


def room_of(module: Path) -> str:
    """The folder of a module, or the module itself if it stands beside the folders."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> set[str]:
    """The other rooms that *module* imports at run time, and packages that are not in the standard library."""
    names = {room_of(each) if isinstance(each, Path) else each for each in imported(module)}
    return names - set(sys.stdlib_module_names) - {room_of(module)}


@pytest.mark.parametrize("module", ROOMS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_what_its_room_may_know(module: Path) -> None:
    """Only `_http` imports httpx, only `_api` the generated code; flows know neither."""
    assert imports(module) <= ALLOWED[room_of(module)]


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_downwards(room: str) -> None:
    """Imports point one way: face, core, runs, executions, API, HTTP."""
    order = list(ALLOWED)
    assert {each for each in ALLOWED[room] if each in order} <= set(order[: order.index(room)])


def test_no_rule_allows_what_nobody_does() -> None:
    """A room that no longer imports another is no longer allowed to."""
    for room, allowed in ALLOWED.items():
        assert allowed == set().union(*(imports(module) for module in ROOMS if room_of(module) == room)), room


def test_modules_import_in_no_circle() -> None:
    """Within a room as between rooms, no module imports itself by way of others."""
    graph = {module: {each for each in imported(module) if isinstance(each, Path)} for module in ROOMS}
    TopologicalSorter(graph).prepare()


# Which modules of the command line know that there is one, and which one draws a terminal.
TALK_TO_CLICK = {
    "_app",
    "_checking",
    "_defining",
    "_executions",
    "_failures",
    "_history",
    "_helping",
    "_journal",
    "_keys",
    "_names",
    "_options",
    "_profiles",
    "_refreshing",
    "_sandbox",
    "_settings",
    "_types",
    "_views",
}
TALK_TO_RICH = {"_live"}


@pytest.mark.parametrize("module", COMMAND_LINE, ids=lambda path: path.stem)
def test_the_command_line_uses_the_public_api_only(module: Path) -> None:
    """The command line imports itself, click or rich in the permitted places, and only the SDK's public API."""
    rooms = (("click", TALK_TO_CLICK), ("rich", TALK_TO_RICH), ("platformdirs", {"_settings"}))
    expected = {name for name, those in rooms if module.stem in those}
    assert imports(module) - {"dune_matviews"} == expected
    assert_imports_public_names(module)


@pytest.mark.parametrize("module", IN_ENGINES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_runs_in_an_engine_uses_the_public_api_only(module: Path) -> None:
    """The modules for an engine import each other, the engine, and only the SDK's public API."""
    engine = module.relative_to(PACKAGE).parts[0]
    assert imports(module) <= {*ENGINES[engine], "dune_matviews"}
    assert_imports_public_names(module)


def assert_imports_public_names(module: Path) -> None:
    """Of the SDK, *module* imports names that a module offers in `__all__`."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dune_matviews"):
            home = importlib.import_module(node.module or "")
            assert {alias.name for alias in node.names} <= {*home.__all__, "__version__"}, node.module


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_says_what_it_knows_and_what_not(module: Path) -> None:
    """Each module's docstring says what it must not know."""
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    assert "ust not" in docstring


CHOICES = [Performance, Plan, SmallTier, IfRunning, IfLost]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(get_args(choice)))
def test_tiers_plans_and_policies_are_listed_once(choice: object) -> None:
    """A new one is added in one place: nothing but the sandbox, which judges the client, has a list of its own."""
    values, lists = {*get_args(choice)}, set[Path]()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            if len(values & {each.value for each in parts if isinstance(each, ast.Constant)}) > 1:
                lists.add(module.relative_to(PACKAGE))
    lists = {module for module in lists if module.parts[0] != "sandbox"}
    assert len(lists) == 1, f"{sorted(map(str, lists))} each have a list of {sorted(values)}: use one of them."


def test_only_the_drivers_sleep_or_await() -> None:
    """Only the drivers sleep; only they, the asynchronous client and the way out have anything to await."""
    coloured = {"_core", "async_client", "async_transport", "connections", "drivers", "transports"}
    for module in ROOMS:
        tree = ast.parse(module.read_text("utf-8"))
        awaits = any(isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith) for node in ast.walk(tree))
        assert not awaits or module.stem in coloured, module.stem
        assert "time.sleep" not in module.read_text("utf-8") or module.stem == "drivers"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import dune_matviews", {"httpx", "dune_api", "attrs", "asyncio", "logging", "dateutil"}),
        ("import dune_matviews.plan", {"httpx", "dune_api", "asyncio", "click", "dateutil"}),
        ("from dune_matviews import MatviewsClient, AsyncMatviewsClient", {"httpx", "dune_api", "asyncio", "dateutil"}),
        ("import dune_matviews; dune_matviews.MatviewsClient('key').close()", {"asyncio", "dateutil"}),
    ],
)
def test_importing_is_cheap(code: str, absent: set[str]) -> None:
    """Slow imports are delayed until they are needed."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert absent & set(shown.stdout.split()) == set()


def test_the_public_names_are_complete() -> None:
    """`__all__` has the whole public API, including every exception."""
    assert all(getattr(dune_matviews, name) for name in dune_matviews.__all__)
    exceptions = {
        name for name, value in vars(errors_module).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert exceptions <= set(dune_matviews.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dune_matviews.nonsense  # type: ignore[attr-defined]  # noqa: B018
    assert set(dune_matviews.__all__) <= set(dir(dune_matviews))


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The drawing in `errors` names each exception below its base."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors_module.__doc__ or "").splitlines():
        name = line.strip("│├└─ ").split(" ")[0]
        if not name.endswith("Error") or "Error" not in line.split("  ")[0] + line:
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[depth - 1 :] = [name]
        drawn[name] = path[-2] if len(path) > 1 else "Exception"
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors_module).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn == real


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of the parameters."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("sync", "asynchronous"), [(MatviewsClient, AsyncMatviewsClient), (Refresh, AsyncRefresh)])
def test_both_clients_have_the_same_methods(sync: type, asynchronous: type) -> None:
    """Both clients and handles have the same methods, parameters and defaults."""
    twins = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}
    for name, member in vars(sync).items():
        if inspect.isfunction(member):
            twin = vars(asynchronous)[twins.get(name, name)]
            assert signature(member) == signature(twin), f"`{name}` has other parameters in async_client.py."
    public = {name for name in vars(sync) if not name.startswith("_")}
    assert {twins.get(name, name) for name in public} == {n for n in vars(asynchronous) if not n.startswith("_")}
