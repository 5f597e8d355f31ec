"""The journal's lines: their state, the claim that counts, and invalid lines."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import ErrorDetail, ExecutionState, ExecutionStatus, Outcome, ViewResult
from dune_matviews._execution.intents import Baseline
from dune_matviews._execution.records import Record, Records, written
from tests.counting import calls

BASE, DAILY = "dune.my_team.result_base", "dune.my_team.result_daily"
MOMENT = datetime(2026, 1, 31, 6, tzinfo=UTC)
RESULT = ViewResult(outcome=Outcome.SUCCEEDED, execution_id="E1", cost_credits=1.5)
HEADER: dict[str, Any] = {"journal": "dune-matviews", "version": 2, "run": None}
OLD_HEADER: dict[str, Any] = {"journal": "dune-matviews", "version": 1, "views": {BASE: []}}
FINISHED = {"event": "finished"}


def header(run: str | None = None) -> dict[str, Any]:
    """The line that begins a run."""
    return HEADER | {"run": run}


def intended(token: str, view: str = BASE, **more: object) -> dict[str, Any]:
    """The line that permits a request."""
    baseline = {"baseline": ["E0"], "baseline_date": MOMENT.isoformat(), "ends": MOMENT.isoformat()}
    return {"event": "intended", "view": view, "token": token, "replaces": None, "tier": None, **baseline, **more}


def followed(token: str, execution_id: str, view: str = BASE, **more: object) -> dict[str, Any]:
    """The line that takes an execution which is under way."""
    known = {"execution_id": execution_id, "how": "adopted"}
    return {"event": "followed", "view": view, "token": token, "replaces": None, **known, **more}


def started(token: str, execution_id: str, how: object = "response", view: str = BASE) -> dict[str, Any]:
    """The line that names an execution."""
    return {"event": "started", "view": view, "token": token, "execution_id": execution_id, "how": how}


def ended(token: str, result: ViewResult = RESULT, view: str = BASE) -> dict[str, Any]:
    """The line that says how a view has ended."""
    return {"event": "ended", "view": view, "token": token, "result": result.to_dict()}


def refused(token: str, view: str = BASE) -> dict[str, Any]:
    """The line that says that nothing was started."""
    return {"event": "refused", "view": view, "token": token, "reason": "400"}


def told(*lines: dict[str, Any]) -> Records:
    """The state after some lines."""
    found = Records()
    for line in lines:
        found.take(json.dumps(line))
    return found


def record(*lines: dict[str, Any]) -> Record:
    """The record of the only view after some lines."""
    found = told(*lines).of(BASE)
    assert found is not None
    return found


# What is known of a view


def test_a_view_is_known_from_its_intent_to_its_end() -> None:
    """Each line updates the record of its view, and the record has the state of the view."""
    assert told(HEADER).of(BASE) is None
    intent = record(HEADER, intended("t", tier="large"))
    assert (intent.token, intent.tier, intent.baseline) == ("t", "large", Baseline(("E0",), MOMENT))
    assert (intent.ends, intent.is_in_doubt, intent.is_settled) == (MOMENT, True, False)
    known = record(HEADER, intended("t"), started("t", "E1", "inferred"))
    assert (known.execution_id, known.how, known.is_in_doubt, known.is_settled) == ("E1", "inferred", False, False)
    over = record(HEADER, intended("t"), started("t", "E1"), ended("t"))
    assert (over.result, over.how, over.is_settled) == (RESULT, "response", True)
    assert (over.began, over.ended) == (2, 4)
    nothing = record(HEADER, intended("t"), refused("t"))
    assert (nothing.is_refused, nothing.is_settled) == (True, True)


def test_a_start_counts_more_than_a_refusal() -> None:
    """The response to a request corrects an earlier conclusion that it was never accepted."""
    late = record(HEADER, intended("t"), refused("t"), started("t", "E1"))
    assert (late.is_refused, late.execution_id) == (False, "E1")


def test_only_who_names_the_execution_gives_it_up() -> None:
    """A conclusion that nothing was started comes too late once the execution is known; a person's word does not."""
    lines = (HEADER, intended("t"), started("t", "E1"))
    for event in (refused("t"), refused("t") | {"execution_id": None}, refused("t") | {"execution_id": "E2"}):
        kept = record(*lines, event)
        assert (kept.is_settled, kept.execution_id) == (False, "E1")
    given_up = record(*lines, refused("t") | {"execution_id": "E1"})
    assert (given_up.is_refused, given_up.execution_id) == (True, None)
    over = record(*lines, ended("t"), refused("t") | {"execution_id": "E1"})
    assert (over.is_refused, over.result) == (False, RESULT)


def test_an_end_names_the_execution_where_its_start_could_not_be_written() -> None:
    """A result belongs to its execution."""
    over = record(HEADER, intended("t"), ended("t"))
    assert (over.execution_id, over.is_settled) == ("E1", True)


@pytest.mark.parametrize("name", ["result_base", 'dune."my_team".result_base', 'dune.my_team."result_base"'])
def test_a_view_is_one_view_in_any_spelling(name: str) -> None:
    """A bare name and the quotes of SQL lead to the same record, in either direction."""
    for written_as, asked_for in ((BASE, name), (name, BASE)):
        found = told(HEADER, intended("t", written_as), started("t", "E1", view=written_as)).of(asked_for)
        assert found is not None
        assert found.execution_id == "E1"
    both = told(HEADER, intended("t"), intended("u", name, replaces="t"))
    assert [each.token for each in both.views.values()] == ["u"]
    assert told(HEADER, intended("t")).of("dune.another_team.result_base") is None


# Claims


def test_the_first_claim_counts() -> None:
    """Of two processes that are about to send the same view, the one whose line came first is the one that may."""
    first = record(HEADER, intended("t"), intended("u"), started("u", "E2"), ended("u"), refused("u"))
    assert (first.token, first.is_in_doubt) == ("t", True)
    assert record(HEADER, followed("t", "E1"), intended("u")).execution_id == "E1"


def test_a_claim_is_replaced_by_one_that_names_it() -> None:
    """A later claim replaces the one that it names, in any state."""
    for between in ([], [started("t", "E1")], [refused("t")], [ended("t")]):
        later = record(HEADER, intended("t"), *between, intended("u", replaces="t"))
        assert (later.token, later.is_in_doubt, later.began) == ("u", True, 3 + len(between))


def test_a_claim_cannot_replace_one_that_it_did_not_know_of() -> None:
    """Two that take over the same open claim cannot both send; nor can the one that had it, once it is replaced."""
    two = record(HEADER, intended("t"), refused("t"), intended("u", replaces="t"), intended("v", replaces="t"))
    assert two.token == "u"
    woken = record(HEADER, intended("t"), refused("t"), intended("u", replaces="t"), intended("t2", replaces="t"))
    assert woken.token == "u"
    renewed = record(HEADER, intended("t"), intended("t2", replaces="t"), refused("t"), intended("u", replaces="t"))
    assert renewed.token == "t2"


def test_whose_an_execution_is_is_known_whichever_claim_counts() -> None:
    """A response's execution belongs to its claim for good, also where that had been replaced; no other's does."""
    found = told(HEADER, intended("t"), intended("u", replaces="t"), started("t", "E1"), started("u", "E2", "inferred"))
    assert found.owners == {"E1": "t"}


def test_an_execution_under_way_is_followed_by_one_line() -> None:
    """To follow is one claim with its execution, so that no crash can come between the two."""
    found = record(HEADER, followed("t", "E7"), ended("t", attrs.evolve(RESULT, execution_id="E7")))
    assert (found.execution_id, found.how, found.result is None) == ("E7", "adopted", False)


# Runs


def test_a_new_run_knows_what_was_left_open_and_nothing_else() -> None:
    """A header drops settled records, and marks open ones as earlier."""
    lines = [intended("t"), started("t", "E1"), ended("t"), intended("u", DAILY)]
    found = told(header("one"), *lines, header("two"))
    assert (found.run, list(found.views), found.own) == ("two", [DAILY], [])
    assert found.views[DAILY].is_earlier
    replaced = told(header("one"), *lines, header("two"), intended("v", DAILY, replaces="u"))
    assert [each.token for each in replaced.own] == ["v"]


def test_a_run_that_comes_back_has_its_own_records_again() -> None:
    """The same label is the same run, even after another one, and keeps its records."""
    one = [
        header("one"),
        intended("t"),
        started("t", "E1"),
        ended("t"),
        intended("u", DAILY),
        started("u", "E2", view=DAILY),
    ]
    two = [header("two"), intended("v"), followed("w", "E2", DAILY, replaces="u", how="response")]
    found = told(*one, *two, header("one"))
    assert {each.view: (each.token, each.is_earlier) for each in found.views.values()} == {
        BASE: ("t", False),
        DAILY: ("u", False),
    }
    assert found.views[BASE].result == RESULT
    again = told(*one, *two, header("one"), header("two"))
    assert {each.view: each.token for each in again.own} == {BASE: "v", DAILY: "w"}
    third = told(*one, *two, header("one"), header("three"))
    assert {each.token for each in third.views.values()} == {"u", "v"}
    assert third.own == []


def test_a_run_without_a_label_is_never_the_one_before() -> None:
    """Where a finished run without a label is followed by another, nothing that the first has settled is known."""
    lines = [intended("t"), started("t", "E1"), ended("t"), FINISHED]
    assert told(HEADER, *lines).is_finished
    found = told(HEADER, *lines, HEADER)
    assert (found.views, found.is_finished, found.owners) == ({}, False, {"E1": "t"})


def test_a_run_that_two_begin_at_once_is_one() -> None:
    """A second header of a run that goes on changes nothing: two processes have found the journal empty."""
    found = told(HEADER, intended("t"), started("t", "E1"), ended("t"), HEADER)
    assert (found.views[BASE].result, found.views[BASE].is_earlier) == (RESULT, False)


def test_blank_lines_say_nothing() -> None:
    """A store may hand out lines with their ends, and an empty one last."""
    found = Records()
    for line in (json.dumps(HEADER) + "\n", "\n", "", json.dumps(intended("t")) + "\r\n"):
        found.take(line)
    assert found.views.keys() == {BASE}
    assert found.lines == 4


# The first version of the format


def test_an_unfinished_run_of_version_1_has_executions_to_name() -> None:
    """Its executions are those that it has started and not seen the end of."""
    events: list[dict[str, Any]] = [
        {"event": "intended", "view": BASE},
        {"event": "started", "view": BASE, "execution_id": "E1"},
        {"event": "started", "view": DAILY, "execution_id": "E2"},
        {"event": "ended", "view": DAILY, "end": {"outcome": "succeeded"}},
        {"event": "started", "view": "c", "execution_id": "E3"},
        {"event": "forgotten", "view": "c"},
    ]
    assert told(OLD_HEADER, *events).left_by_version_1 == ["E1"]
    assert told(OLD_HEADER).left_by_version_1 == []
    assert told(OLD_HEADER, *events, {"event": "intended", "view": BASE}).left_by_version_1 == []


def test_a_finished_run_of_version_1_is_as_good_as_none() -> None:
    """The next run is a new one, without records."""
    lines = [OLD_HEADER, {"event": "started", "view": BASE, "execution_id": "E1"}, FINISHED]
    found = told(*lines)
    assert (found.has_run, found.left_by_version_1, found.views) == (False, None, {})
    new = told(*lines, HEADER, intended("t"))
    assert (new.has_run, new.left_by_version_1, list(new.views)) == (True, None, [BASE])


# Lines that are refused


@pytest.mark.parametrize("version", [0, 3, "1", "2", None, 1.5, [2]])
def test_a_version_that_is_not_known_is_refused(version: object) -> None:
    """A journal of another version is rejected and left unchanged."""
    with pytest.raises(
        ValueError, match=re.escape(f"line 1: version {version!r} of the format, where only 2 is known")
    ):
        told(HEADER | {"version": version})


@pytest.mark.parametrize(
    "line",
    [
        "Buy milk",
        "{",
        "[]",
        "null",
        "1",
        "{}",
        '{"a": 1}',
        '{"journal": "mine", "version": 2, "run": null}',
        "[" * 100_000,
    ],
)
def test_a_foreign_first_line_is_refused(line: str) -> None:
    """A file without a journal's header is rejected, and the error names the line."""
    found = Records()
    for _ in range(2):
        with pytest.raises(ValueError, match="line 1: "):
            found.take(line)
    assert found.lines == 0


@pytest.mark.parametrize("run", [{"run": 5}, {"run": ["a"]}, {"run": False}])
def test_a_header_has_a_label_or_none(run: dict[str, Any]) -> None:
    """A label is a text."""
    with pytest.raises(ValueError, match="line 1: "):
        told(HEADER | run)


WRONG: list[Any] = [5, True, [], {}, 1.5]
TEXTS_OF = {
    "intended": ("view", "token", "ends"),
    "followed": ("view", "token", "execution_id", "how"),
    "started": ("view", "token", "execution_id", "how"),
    "ended": ("view", "token"),
    "refused": ("view", "token"),
}
PERHAPS_OF = {"intended": ("tier", "replaces", "baseline_date"), "followed": ("replaces",)}
LINES = {
    "intended": intended("t"),
    "followed": followed("t", "E1"),
    "started": started("t", "E1"),
    "ended": ended("t"),
    "refused": refused("t"),
}


def damaged() -> list[dict[str, Any]]:
    """Lines with one wrong type, or one wrong value."""
    found = [
        LINES[kind] | {name: value} for kind, names in TEXTS_OF.items() for name in names for value in [None, *WRONG]
    ]
    found += [LINES[kind] | {name: value} for kind, names in PERHAPS_OF.items() for name in names for value in WRONG]
    baselines: list[Any] = [None, "E1", {"E1": 1}, [1], ["E1", None]]
    found += [LINES["intended"] | {"baseline": value} for value in baselines]
    found += [LINES["intended"] | {name: "yesterday"} for name in ("ends", "baseline_date")]
    found += [LINES["intended"] | {name: "2026-01-31T06:00:00"} for name in ("ends", "baseline_date")]
    found += [LINES["started"] | {"execution_id": ""}, LINES["started"] | {"how": "guessed"}]
    found += [LINES["ended"] | {"result": value} for value in [None, "well", *WRONG] if value != {}]
    found += [{"event": "postponed", "view": BASE, "token": "t"}, {"event": None}, {"event": "intended"}]
    return found


WRONG_RESULTS: list[dict[str, Any]] = [
    {"outcome": None},
    {"outcome": "fine"},
    {"outcome": ["succeeded"]},
    {"execution_id": None},
    {"execution_id": 5},
    {"reason": 5},
    {"cost_credits": "1.5"},
    {"cost_credits": True},
    {"cost_credits": -1.0},
    {"cost_credits": float("nan")},
    {"cost_credits": float("inf")},
    {"cost_credits": 10**400},
    {"started_at": 5},
    {"started_at": "yesterday"},
    {"ended_at": "2026-01-31T06:00:00"},
    {"status": "completed"},
    {"status": {}},
    {"status": {"state": "done"}},
    {"status": {"state": "failed", "error": "no"}},
    {"status": {"state": "failed", "error": {"message": 5}}},
    {"status": {"state": "failed", "error": {"line": "5"}}},
]


@pytest.mark.parametrize(
    "line",
    [*damaged(), *(LINES["ended"] | {"result": RESULT.to_dict() | each} for each in WRONG_RESULTS)],
    ids=lambda line: json.dumps(line)[:80],
)
@pytest.mark.parametrize("before", [[], [intended("t")], [intended("another")]], ids=["new", "own", "other"])
def test_a_line_of_the_wrong_types_is_refused(line: dict[str, Any], before: list[dict[str, Any]]) -> None:
    """Each line is checked by type when read, for any claim, and the error names the line."""
    found = told(HEADER, *before)
    known = {name: attrs.asdict(each) for name, each in found.views.items()}
    with pytest.raises(ValueError, match=f"line {2 + len(before)}: "):
        found.take(json.dumps(line))
    assert {name: attrs.asdict(each) for name, each in found.views.items()} == known
    assert (found.owners, found.lines) == ({}, 1 + len(before))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
events = st.sampled_from([*LINES.values(), HEADER, OLD_HEADER, FINISHED])


@given(
    event=events,
    changes=st.dictionaries(
        st.sampled_from(["view", "token", "result", "baseline", "how", "ends", "event", "version", "run"]),
        anything,
        max_size=2,
    ),
)
def test_no_line_is_worse_than_refused(event: dict[str, Any], changes: dict[str, Any]) -> None:
    """Every line is either accepted or raises ValueError: nothing else is ever raised."""
    for before in ([], [HEADER], [HEADER, intended("t")], [OLD_HEADER]):
        found = told(*before)
        try:
            found.take(json.dumps(event | changes))
        except ValueError as reason:
            assert str(reason).startswith(f"line {len(before) + 1}: ")
            assert found.lines == len(before)


# As it is written


def test_a_line_is_ascii_and_one_line() -> None:
    """For all texts of a server, the file keeps one line per event, and the texts survive."""
    words = "a\nb\u2028c\x85d\x00 ☂ \ud800 \"'\\"
    line = written(**ended("t", attrs.evolve(RESULT, reason=words)))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    found = told(HEADER, intended("t"))
    found.take(line)
    assert found.views[BASE].result == attrs.evolve(RESULT, reason=words)


texts = st.none() | st.text(max_size=8)
moments = st.none() | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.astimezone(UTC))
places = st.none() | st.integers(0, 10**9)
results = st.builds(
    ViewResult,
    outcome=st.sampled_from(Outcome),
    reason=texts,
    execution_id=st.just("E1"),
    status=st.none()
    | st.builds(
        ExecutionStatus,
        execution_id=st.just("E1"),
        state=st.sampled_from(ExecutionState),
        is_finished=st.just(True),
        error=st.none() | st.builds(ErrorDetail, type=texts, message=texts, line=places, column=places),
    ),
    started_at=moments,
    ended_at=moments,
    cost_credits=st.none() | st.floats(0, allow_infinity=False),
)


@given(result=results)
def test_a_result_survives_the_journal(result: ViewResult) -> None:
    """`from_dict` reads the output of `to_dict`, through JSON: outcome, times, cost, state and error."""
    found = told(HEADER, intended("t"), ended("t", result)).views[BASE].result
    assert found is not None
    assert found.to_dict() == result.to_dict()
    finished = attrs.evolve(result.status, is_finished=result.outcome is not Outcome.RUNNING) if result.status else None
    assert found == attrs.evolve(result, status=finished)


def test_taking_lines_in_costs_the_same_for_each_view() -> None:
    """A journal of 2,000 views, each asked for and with its three events, costs no more for each than one of 200."""
    small, large = taking_in(200), taking_in(2000)
    assert large <= 1.05 * small


def taking_in(count: int) -> float:
    """Calls of functions for each of *count* views."""
    lines = [written(**HEADER)]
    for number in range(count):
        name = f"dune.my_team.result_{number}"
        lines += [
            written(**each) for each in (intended("t", name), started("t", "E1", view=name), ended("t", view=name))
        ]

    def take_in() -> None:
        found = Records()
        for number in range(count):
            assert found.of(f"dune.my_team.result_{number}") is None
        for line in lines:
            found.take(line)
        assert len(found.views) == count

    return calls(take_in).total() / count
