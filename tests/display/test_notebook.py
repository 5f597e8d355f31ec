"""The displays of a notebook: without a way in for markup, and no danger to a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dune_matviews import ExecutionState, MatviewsClient
from dune_matviews._batch.forecasting import forecast
from dune_matviews._batch.graph import reads
from dune_matviews._display.notebook import MOST_ROWS, Progress
from dune_matviews.models import ErrorDetail, ExecutionStatus, Forecast, Matview, Range, Schedule, ViewForecast
from dune_matviews.report import Outcome, ViewResult
from dune_matviews.sandbox import DuneSandbox, Scenario
from tests.batch.runs import refresh_all
from tests.simulation import Dune

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"
VIEWS = {"dune.my_team.result_top": ["dune.my_team.result_base"], "dune.my_team.result_base": []}


@pytest.fixture
def sandbox() -> Iterator[DuneSandbox]:
    """A Dune in which every execution is over at once."""
    with DuneSandbox(default=Scenario(pending=0, running=0)) as running:
        yield running


def client(sandbox: DuneSandbox) -> MatviewsClient:
    """A client of that Dune."""
    return MatviewsClient(sandbox.api_key, base_url=sandbox.url, plan=None)


class Notebook:
    """What IPython shows: each display, and its contents after each update."""

    def __init__(self) -> None:
        self.shown: list[list[tuple[str, str]]] = []
        self.is_broken = False

    def display(self, shown: Any, *, display_id: bool) -> Any:
        """As `IPython.display.display`."""
        assert display_id
        contents: list[tuple[str, str]] = []

        def update(shown: Any) -> None:
            if self.is_broken:
                raise OSError("the browser is gone")
            contents.append((shown._repr_html_(), repr(shown)))

        update(shown)
        self.shown.append(contents)
        return SimpleNamespace(update=update)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """IPython, as a kernel has loaded it."""
    notebook, shell = Notebook(), SimpleNamespace(kernel=object())
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: shell, shell=shell)
    vars(display).update(display=notebook.display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return notebook


def displays() -> Iterator[Any]:
    """One of each, of names and messages that hold markup."""
    yield Matview(name=EVIL, last_execution_ids=(EVIL,), schedule=Schedule(cron_expression=EVIL, next_run_at=NOON))
    error = ErrorDetail(type=EVIL, message=EVIL)
    yield ExecutionStatus(execution_id=EVIL, state=ExecutionState.FAILED, is_finished=True, error=error)
    some = Range(2.0, 1.0, 3.0)
    one = ViewForecast(refreshes=True, reason=EVIL, seconds=some, cost_credits=some, ends_after=2.0)
    yield Forecast(views={EVIL: one}, seconds=some, cost_credits=None, critical_path=(EVIL,), max_parallel=3)
    progress = Progress(1, None)
    progress(EVIL, ViewResult(outcome=Outcome.FAILED, reason=EVIL))
    yield progress


@pytest.mark.parametrize("shown", list(displays()), ids=lambda shown: type(shown).__name__)
def test_names_and_messages_that_hold_markup_stay_text(shown: Any) -> None:
    """Nothing of a name or a message becomes an element or an attribute."""
    html = shown._repr_html_()
    assert "&lt;script&gt;" in html
    assert not any(each in html for each in ("<script", "<img", "\u202e"))


def test_views_executions_and_handles_are_shown(sandbox: DuneSandbox) -> None:
    """A view, a handle and a status show the ids and figures that Dune has of them."""
    with client(sandbox) as dune:
        refresh = dune.refresh("dune.my_team.result_base")
        status = refresh.wait()
        assert refresh.execution_id in refresh._repr_html_()
        assert "dune.my_team.result_base" in refresh._repr_html_()
        assert f'{refresh.execution_id}: <span class="good">completed</span>' in status._repr_html_()
        assert f'<th scope="row">Credits<td>{status.cost_credits:.2f}' in status._repr_html_()
        assert refresh.execution_id in dune.get("dune.my_team.result_base")._repr_html_()


def test_a_forecast_is_shown_with_its_critical_path() -> None:
    """Each view has its verdict and a bar, those of the critical path in another color."""
    dune, fork = Dune(length=20.0), reads({"top": ["base"], "base": []})
    refresh_all(dune, fork)
    html = dune.run(forecast(dune.session(), fork, 3, None))._repr_html_()
    assert html.count("<td>refresh<") == 2
    assert html.count('class="path"') == 2


def test_a_run_is_shown_in_one_place_of_a_notebook(sandbox: DuneSandbox, notebook: Notebook) -> None:
    """Without any setup, one display is updated at each step, to the outcome and cost of the whole run."""
    with client(sandbox) as dune:
        dune.refresh_all(VIEWS)
        (contents,) = notebook.shown
        assert len(contents) > 2
        assert "1 running, 1 not_started" in contents[0][1]
        assert contents[-1][1].startswith("2 succeeded; 2.00 credits")
        assert all(name in contents[-1][0] for name in VIEWS)
        dune.refresh_all(VIEWS, on_update=lambda *_: None)
        assert len(notebook.shown) == 1


@pytest.mark.parametrize("breaks_at_once", [True, False])
def test_a_broken_display_does_not_touch_the_run(
    sandbox: DuneSandbox, notebook: Notebook, caplog: pytest.LogCaptureFixture, breaks_at_once: bool
) -> None:
    """If the notebook is gone, before or during a run, the run completes, and the log says so once."""
    notebook.is_broken = breaks_at_once
    show = notebook.display

    def display(shown: Any, *, display_id: bool) -> Any:
        handle = show(shown, display_id=display_id)
        notebook.is_broken = True
        return handle

    vars(sys.modules["IPython.display"])["display"] = display
    with client(sandbox) as dune:
        assert dune.refresh_all(VIEWS).ok
    assert len(sandbox.ledger) == 2
    assert [each.getMessage() for each in caplog.records if "cannot be shown" in each.getMessage()] == [
        "The progress cannot be shown any longer (OSError('the browser is gone')); the run goes on."
    ]


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), "missing"], ids=["none", "terminal", "half-imported"])
def test_only_a_kernel_is_a_notebook(sandbox: DuneSandbox, notebook: Notebook, shell: Any) -> None:
    """A terminal, a program that has loaded IPython, and an IPython that is not whole show nothing."""
    ipython = sys.modules["IPython"]
    if shell == "missing":
        del vars(ipython)["get_ipython"]
    else:
        vars(ipython).update(get_ipython=lambda: shell)
    with client(sandbox) as dune:
        assert dune.refresh_all(VIEWS).ok
    assert notebook.shown == []


def test_the_progress_of_many_views_stays_short() -> None:
    """Views under way come first, then failures; the rest is counted."""
    progress = Progress(100, None)
    for number in range(40):
        progress(f"done {number}", ViewResult(outcome=Outcome.SUCCEEDED))
    progress("broken", ViewResult(outcome=Outcome.FAILED))
    progress("moving", ViewResult(outcome=Outcome.RUNNING))
    html = progress._repr_html_()
    assert html.index(">moving<") < html.index(">broken<") < html.index(">done 0<")
    assert html.count("<tr><td") == MOST_ROWS
    assert "And 12 others." in html
    assert "58 not_started" in html


def test_nothing_is_imported_outside_a_notebook(sandbox: DuneSandbox) -> None:
    """A run elsewhere loads neither IPython nor the module of displays."""
    program = (
        f"from dune_matviews import MatviewsClient; import sys; "
        f"print(MatviewsClient({sandbox.api_key!r}, base_url={sandbox.url!r}, plan=None).refresh_all({VIEWS!r}).ok, "
        "*(name for name in sys.modules if 'IPython' in name or 'notebook' in name))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True"]
