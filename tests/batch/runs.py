"""Helpers for tests of runs in virtual time: runs, journals, single steps, and kills between them.

It must not know how any flow decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from dune_matviews import AuthenticationError, ExecutionState, RequestBudget, RequestFailedError, ServerError
from dune_matviews._batch.graph import reads
from dune_matviews._batch.run import Run
from dune_matviews._batch.view import Limits, Plan
from dune_matviews._execution.journal import Journal
from dune_matviews._execution.session import Session
from dune_matviews._flow.effects import Call, Effect, Flow, Overlap, Result, Sleep, Work
from dune_matviews.report import Outcome, RefreshReport, ViewResult
from tests.simulation import Dune, Fault

COMPLETED, FAILED, CANCELED = ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELED
LOST = RequestFailedError("no response within 10 s", sent=True)


class Lines:
    """A store of lines in memory, as a caller's own."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = list(lines)

    def read(self) -> list[str]:
        """Every line."""
        return list(self.lines)

    def append(self, line: str) -> None:
        """Add one."""
        self.lines.append(line)

    def events(self) -> list[str]:
        """The recorded events, by name."""
        return [word for line in self.lines for word in EVENTS if f'"event": "{word}"' in line]


EVENTS = ("intended", "started", "ended", "refused", "finished")


def run_of(
    dune: Dune,
    views: Any,
    *,
    session: Session | None = None,
    budget: RequestBudget | None = None,
    tiers: Mapping[str, str] | None = None,
    on_update: Any = None,
    journal: Any = None,
    label: str | None = None,
    **limits: Any,
) -> Run:
    """A run, by a client of its own if no *session* is given; *journal* is a path or a store."""
    session = session or dune.session(budget)
    found = reads(views)
    plan = Plan(found, {name: (tiers or {}).get(name) for name in found})
    kept = None if journal is None else Journal(journal, label, wall=session.wall)
    return Run(session, plan, Limits(**{"max_parallel": 3, **limits}), on_update, kept)


def refresh_all(dune: Dune, views: Any, **options: Any) -> RefreshReport:
    """A run in virtual time, on the options of `run_of`."""
    return dune.run(run_of(dune, views, **options).flow())


def outcomes(report: RefreshReport) -> dict[str, str]:
    """The outcome of each view, as a word."""
    return {name: result.outcome.value for name, result in report.results.items()}


def billed(dune: Dune) -> list[str]:
    """The billed views, in the order of acceptance."""
    return [each.name for each in dune.ledger]


def sent(dune: Dune, what: str) -> int:
    """How many such requests arrived."""
    return sum(request.what.startswith(what) for request in dune.seen)


def most_in_flight(dune: Dune) -> int:
    """The most executions that were under way at one time."""
    moments = [each.submitted for each in dune.ledger]
    return max(sum(each.submitted <= moment < each.ends for each in dune.ledger) for moment in moments)


def report_of(failure: BaseException) -> RefreshReport:
    """The report attached to any exception that ended the run."""
    report: RefreshReport = failure.report  # type: ignore[attr-defined]
    return report


# Effects, one by one


def carried_out(dune: Dune, effect: Effect, calls: int | None = None) -> None:
    """Carry out an effect in virtual time; of requests and work side by side, the first so many only."""
    if isinstance(effect, Sleep):
        dune.rest(effect.seconds)
    elif isinstance(effect, Work):
        effect.function()
    else:
        assert isinstance(effect, Overlap)
        for key, task in list(effect.tasks.items())[:calls]:
            effect.results[key] = outcome_of(dune, task)


def outcome_of(dune: Dune, task: Call[Any] | Work[Any]) -> Result[Any]:
    """How one request, or work, has ended."""
    try:
        return Result(task.function() if isinstance(task, Work) else dune.send(task))
    except Exception as failure:
        return Result(failure=failure)


def advance(dune: Dune, flow: Flow[RefreshReport], steps: int) -> Effect | RefreshReport:
    """Carry out so many effects of a flow; the next one, or the report."""
    try:
        for _ in range(steps):
            carried_out(dune, flow.send(None))
        return flow.send(None)
    except StopIteration as stop:
        report: RefreshReport = stop.value
        return report


def until(dune: Dune, flow: Flow[RefreshReport], condition: Callable[[], bool]) -> None:
    """Carry out one effect of a flow after the other, until something is the case."""
    while not condition():
        carried_out(dune, flow.send(None))


def killed(dune: Dune, flow: Flow[RefreshReport], store: Lines, steps: int, calls: int) -> RefreshReport | Lines:
    """Run a flow for a number of steps, then kill its process: only the lines written so far remain.

    The last effect is half done: the first *calls* of its requests and writes arrive, and no response does.
    """
    effect = advance(dune, flow, steps)
    if isinstance(effect, RefreshReport):
        return effect
    if isinstance(effect, Overlap):
        for task in list(effect.tasks.values())[:calls]:
            outcome_of(dune, task._replace(parse=_never) if isinstance(task, Call) else task)
    left = Lines(store.lines)
    flow.close()  # what this writes goes into the lines that are forsaken
    return left


def _never(response: object) -> Any:
    raise RequestFailedError("the process was killed", sent=True)


# Properties

graphs = st.integers(1, 9).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            f"v{place}": st.lists(st.sampled_from([f"v{below}" for below in range(place)]), max_size=3)
            if place
            else st.just([])
            for place in range(size)
        }
    )
)
lives = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 30.0, 500.0]),
        st.sampled_from([COMPLETED, COMPLETED, FAILED, ExecutionState.EXPIRED]),
        st.sampled_from([0.0, 1.0, 50.0]),
    ),
    min_size=9,
    max_size=9,
)
troubles = st.lists(
    st.one_of(
        st.none(),
        st.none(),
        st.builds(lambda: Fault(RequestFailedError("refused", sent=False))),
        st.builds(lambda accepted: Fault(RequestFailedError("lost", sent=True), accepted=accepted), st.booleans()),
        st.builds(lambda accepted: Fault(ServerError("", status_code=502), accepted=accepted), st.booleans()),
        st.builds(lambda: Fault(AuthenticationError("", status_code=401))),
    ),
    max_size=30,
)


def check(dune: Dune, graph: Mapping[str, list[str]], report: RefreshReport) -> None:
    """Check bills and order, and that the report is true."""
    executions = {each.name: each for each in dune.ledger}
    assert len(executions) == len(dune.ledger), "a view was paid twice"
    for name, execution in executions.items():
        for upstream in graph[name]:
            assert executions[upstream].end.succeeded
            assert executions[upstream].ends <= execution.submitted
    for name, result in report.results.items():
        if result.outcome in (Outcome.SKIPPED, Outcome.NOT_STARTED, Outcome.FRESH):
            assert name not in executions
        elif result.execution_id is not None:
            assert executions[name].execution_id == result.execution_id
            assert result.outcome.is_fresh <= executions[name].end.succeeded
        if result.outcome is Outcome.SKIPPED:
            assert any(not report.results[each].outcome.is_fresh for each in graph[name])


def costs_seen(costs: dict[str, float]) -> Any:
    """An `on_update` that notes the cost of each view."""

    def see(name: str, result: ViewResult) -> None:
        costs[name] = result.cost_credits or 0.0

    return see
