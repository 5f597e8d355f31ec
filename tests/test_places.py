"""The places that have to know of a tier, a field of the status, the cadence of polls and an option of a refresh.

Whoever adds one and forgets a place is told which: `CONTRIBUTING.md` lists them in order.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

import attrs
import pytest

from dune_api.models import ExecutionStatusResponse
from dune_matviews import (
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
    IfLost,
    IfRunning,
    MatviewsClient,
    Performance,
    Plan,
    SmallTier,
    UnsupportedTierError,
    plan,
)
from dune_matviews._execution.pacing import EAGERNESS
from dune_matviews.cli import _data
from dune_matviews.cli._app import app
from dune_matviews.plan._mistakes import OF_THE_RUN
from dune_matviews.sandbox import DuneSandbox, Failure, Scenario
from tools.contract import READS

ROOT = Path(__file__).parents[1]
PACKAGE = Path("wrapper/dune_matviews")
VIEW = "dune.my_team.result_daily_volume"


def words(place: str | Path) -> str:
    """The text of a file, with a space wherever it has any."""
    return " ".join((ROOT / place).read_text("utf-8").split())


# A choice: a tier, a plan, a policy


class Listed(NamedTuple):
    """A sentence of a file that lists all values of a choice."""

    choice: Any
    place: str
    sentence: str
    quotes: str
    last: str = " or "

    def __str__(self) -> str:
        """What the sentence should be."""
        names = [self.quotes.format(name) for name in get_args(self.choice)]
        return self.sentence.format(self.last.join([", ".join(names[:-1]), names[-1]]))


SENTENCES = (
    Listed(Performance, "wrapper/dune_matviews/client.py", "performance: the tier: {};", '"{}"'),
    Listed(Performance, "wrapper/dune_matviews/client.py", "of this execution and of scheduled ones: {};", '"{}"'),
    Listed(Performance, "docs/client.md", "`performance` is {}.", '`"{}"`'),
    Listed(Performance, "docs/cli.md", "its tier: {} |", "`{}`"),
    Listed(Performance, "tools/contract.py", "Accepts {}.", "`{}`", ", "),
    Listed(IfRunning, "docs/cli.md", "| `if_running` | {} |", "`{}`"),
    Listed(IfLost, "docs/cli.md", "| `if_lost` | {} |", "`{}`"),
)


@pytest.mark.parametrize("listed", SENTENCES, ids=lambda listed: f"{listed.place}: {listed.sentence}")
def test_a_list_has_every_value_of_a_choice(listed: Listed) -> None:
    """Sentences that list the tiers or the values of a policy list all of them."""
    assert str(listed) in words(listed.place), f"{listed.place} lists other values. It should say: {listed}"


@pytest.mark.parametrize("tier", get_args(Performance))
def test_the_sandbox_takes_every_tier(tier: Performance, sandbox: DuneSandbox) -> None:
    """Users' tests can ask for each tier."""
    with MatviewsClient(sandbox.api_key, base_url=sandbox.url, small_tier="allow") as dune:
        try:
            dune.refresh(VIEW, performance=tier)
        except UnsupportedTierError:
            pytest.fail(f"The sandbox does not take the tier {tier!r}: add it in sandbox/_sandbox.py.")
    assert [charge.performance for charge in sandbox.ledger] == [tier]


@pytest.mark.parametrize("choice", [Plan, SmallTier, IfRunning, IfLost], ids=lambda choice: "-".join(get_args(choice)))
def test_a_page_for_users_names_every_value_of_a_choice(choice: Any) -> None:
    """Each plan and each policy is named in the documents."""
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    unnamed = [value for value in get_args(choice) if not re.search(rf"`[^`]*\b{value}\b[^`]*`", pages)]
    assert not unnamed, f"No page in docs/ names {unnamed}."


# A field of an execution's status

STATUS = READS["ExecutionStatusResponse"]
FIELDS = [field.name for field in attrs.fields(ExecutionStatus)]
LEFT_TO_RAW = {"execution_id", "max_inflight_interactive_executions", "max_inflight_interactive_reached"}
"""Parts of Dune's response that nothing reads: they are in `ExecutionStatus.raw`."""
NOT_SHOWN = {"is_finished", "expires_at", "cancelled_at", "request_id", "raw"}
"""Fields that the command line leaves to `--output json`."""


class Seen(NamedTuple):
    """What the sandbox sends for executions in all states, and what the client makes of it."""

    sent: set[str]
    read: set[str]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """The parts that were there for an execution of every kind."""
    failure = Failure("syntax_error", "mismatched input", line=1, column=2)
    scenarios = [
        Scenario(pending=0, running=0),
        Scenario(pending=0, running=0, end="canceled"),
        Scenario(pending=0, running=0, end="failed", error=failure),
        Scenario(pending=0, running=math.inf),
        Scenario(pending=math.inf),
    ]
    with DuneSandbox(max_parallel=1) as sandbox, MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
        sandbox.rehearse(VIEW, *scenarios)
        found = [dune.refresh(VIEW).status() for _ in scenarios]
    unset = (None, ExecutionState.UNKNOWN)
    return Seen(
        {name for status in found for name in status.raw},
        {name for status in found for name in FIELDS if getattr(status, name) not in unset},
    )


def test_every_part_of_a_status_is_read_or_left_to_raw() -> None:
    """A property of the response in the spec is one that the code relies on, or deliberately not."""
    described = set(ExecutionStatusResponse.__annotations__) - {"additional_properties"}
    assert described - set(STATUS) - LEFT_TO_RAW == set(), (
        "The spec describes more of an execution's status than is read. Read it in _api/parsing.py and add it to READS "
        "in tools/contract.py, or to LEFT_TO_RAW here."
    )


@pytest.mark.parametrize("part", STATUS)
def test_the_sandbox_sends_every_part_of_a_status(part: str, seen: Seen) -> None:
    """What the client reads, users' tests can meet."""
    assert part in seen.sent, f"The sandbox never sends `{part}`: add it in sandbox/_status.py."


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_status_is_filled_explained_and_shown(name: str, seen: Seen) -> None:
    """A field comes from the response, stands in the docstring, and is shown by `dune-matviews status`."""
    assert name in seen.read, (
        f"ExecutionStatus.{name} is never filled: read it in _api/parsing.py from what sandbox/_status.py sends."
    )
    explained = (ExecutionStatus.__doc__ or "").partition("Attributes:")[2]
    assert re.search(rf"^\s+(\w+, )*{name}(, \w+)*:", explained, re.MULTILINE), (
        f"The docstring of ExecutionStatus in models.py does not explain {name}."
    )
    if name not in NOT_SHOWN:
        assert shown(name) != shown(None), (
            f"`dune-matviews status` does not show {name}: add it to `execution` in cli/_data.py, or to NOT_SHOWN here."
        )


def shown(name: str | None) -> str:
    """What the command line shows of a status that has this field alone."""
    bare: dict[str, Any] = {"execution_id": "", "state": ExecutionState.PENDING, "is_finished": False}
    sample = {
        "execution_id": "01JJ",
        "state": ExecutionState.FAILED,
        "error": ErrorDetail(message="mismatched input"),
        **dict.fromkeys([each for each in FIELDS if each.endswith("_at")], datetime(2026, 1, 31, tzinfo=UTC)),
    }
    return _data.execution(ExecutionStatus(**bare | ({} if name is None else {name: sample.get(name, 7)})))


# The cadence of polls

PERCENT, STEADY = f"{EAGERNESS * 100:g} %", f"{1 / EAGERNESS:g} s"
CADENCE = {
    "wrapper/dune_matviews/client.py": f"within 1 s or {PERCENT} of the execution's length",
    "wrapper/dune_matviews/_execution/pacing.py": f"within 1 s or {PERCENT} of the execution's length",
    "docs/client.md": f"within 1 s or {PERCENT} of the execution's length",
    "docs/reliability.md": f"every second until it is {STEADY} old, then every {PERCENT} of its age",
    "benchmarks/targets.py": f"of the limit (1 s, or {PERCENT} of the length)",
}


@pytest.mark.parametrize("place", CADENCE)
def test_the_cadence_of_polls_is_told_as_it_is(place: str) -> None:
    """Each page and docstring that promises how soon an end is noticed goes by the constant."""
    assert CADENCE[place] in words(place), (
        f"{place} tells another cadence than EAGERNESS in _execution/pacing.py. It should say: {CADENCE[place]}"
    )


# An option of a refresh


def options_of(method: Any) -> list[str]:
    """The keyword arguments of a method."""
    parameters = inspect.signature(method).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def options_in(module: str, name: str) -> set[str]:
    """The keyword arguments of a function, or the annotations of a class, in a module that may not be importable."""
    for node in ast.walk(ast.parse((ROOT / PACKAGE / module).read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return {each.arg for each in node.args.kwonlyargs}
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)}
    raise AssertionError(f"{module} has no {name}")


def options_of_command(name: str) -> set[str]:
    """The options of a command of the command line."""
    names = {each.name or "" for each in app.commands[name].params}
    return {"run" if each == "label" else each for each in names}


def rows(page: str) -> set[str]:
    """The names in the first column of a page's tables."""
    column = re.findall(r"^\| ([^|]*)\|", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    return set(re.findall(r"`(\w+)", " ".join(column)))


ONE, MANY = options_of(MatviewsClient.refresh), options_of(MatviewsClient.refresh_all)
# The engines record runs in journals of their own, and show progress by themselves.
OF_AN_ENGINE = {"journal", "run", "on_update"}
KNOWN = {
    "docs/client.md": (ONE, rows("docs/client.md"), set[str]()),
    "docs/refreshing-many-views.md": (MANY, rows("docs/refreshing-many-views.md"), set[str]()),
    "cli/_options.py, for the command refresh": (MANY, options_of_command("refresh"), {"on_update"}),
    # The tiers of a plan's views stand in the plan.
    "cli/_options.py, for the command run": (MANY, options_of_command("run"), {"on_update", "performance"}),
    # A plan serves any run, and a callback is a function.
    "plan/_mistakes.py, in OF_THE_RUN": (MANY, set(OF_THE_RUN), {"run", "on_update"}),
    "plan/__init__.py, in its docstring": (
        MANY,
        set(re.findall(r"^ +(\w+) = ", plan.__doc__ or "", re.MULTILINE)),
        {"run", "on_update"},
    ),
    "docs/cli.md": (MANY, rows("docs/cli.md"), {"run", "on_update"}),
    "prefect/tasks.py": (MANY, options_in("prefect/tasks.py", "refresh_matviews"), OF_AN_ENGINE),
    "dagster/_resource.py": (MANY, options_in("dagster/_resource.py", "RefreshOptions"), OF_AN_ENGINE),
}


@pytest.mark.parametrize("place", KNOWN)
def test_an_option_is_known_wherever_refreshes_are_asked_for(place: str) -> None:
    """The command line, plan files, engines and pages have each option of a refresh, but for those named here."""
    options, known, exempt = KNOWN[place]
    missing = [name for name in options if name not in known | exempt]
    assert not missing, f"{place} does not know the option {', '.join(missing)} of a refresh."


@pytest.mark.parametrize(
    "method", [MatviewsClient.refresh, MatviewsClient.refresh_all], ids=lambda method: method.__name__
)
def test_the_docstring_of_a_refresh_explains_every_option(method: Any) -> None:
    """Each keyword argument stands under `Args:`."""
    explained = (inspect.getdoc(method) or "").partition("Args:")[2]
    missing = [name for name in options_of(method) if not re.search(rf"^ +(\w+, )*{name}(, \w+)*:", explained, re.M)]
    assert not missing, f"The docstring of {method.__name__} in client.py does not explain {', '.join(missing)}."
