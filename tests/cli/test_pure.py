"""The pure functions of the command line: texts, exit codes, pictures, logs."""

from __future__ import annotations

import json
import logging
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import (
    AmbiguousRefreshError,
    ConfigurationError,
    CreditLimitError,
    DuneError,
    InvalidArgumentError,
    JournalError,
    NotFoundError,
    Outcome,
    RefreshReport,
    RequestFailedError,
    StopReason,
    ViewResult,
    WaitTimeoutError,
)
from dune_matviews.cli import _exits, _pictures, _remedies, _text
from dune_matviews.cli._exits import Exit
from dune_matviews.cli._failures import said
from dune_matviews.cli._logs import Teller
from dune_matviews.cli._output import Output
from dune_matviews.remedies import (
    Adopt,
    Advice,
    Attach,
    ChangeSetting,
    LookAt,
    Note,
    Remedy,
    Setting,
    SettleJournal,
    to_dict,
)

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)

# Texts


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (-3, "0.0s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (3599.6, "1h 00m"),
        (7384, "2h 03m"),
        (200_000, "55h 33m"),
        (250_000, "2d 21h"),
    ],
)
def test_times_are_rounded_before_their_unit_is_chosen(seconds: float, shown: str) -> None:
    """No time shows sixty of the unit below, and a clock that was set back shows none below zero."""
    assert _text.lasted(seconds) == _text.lasted(timedelta(seconds=seconds)) == shown


@given(st.text())
def test_text_of_others_is_harmless(text: str) -> None:
    """Any text of a server stays on one line, without control characters."""
    assert _text.line(text).isprintable()


REMEDIES = [
    (
        Attach(("01J",)),
        "Follow it with attach('01J').",
        "Follow it with `dune-matviews wait 01J`, or end it with `dune-matviews cancel 01J`.",
    ),
    (
        Attach(("E1", "E2")),
        "Follow one of them with attach(): E1, E2.",
        "Follow one of them with `dune-matviews wait ID`: E1, E2.",
    ),
    (
        Adopt('dune."21co".a'),
        "Follow the execution that is under way with refresh('dune.\"21co\".a', if_running='adopt'). This client "
        "remembers the request, and looks for it again before it sends another.",
        "See its latest executions with `dune-matviews get 'dune.\"21co\".a'`; `dune-matviews refresh "
        "'dune.\"21co\".a' --if-running adopt` follows one that is under way, else starts another.",
    ),
    (
        LookAt("dune.a.b"),
        "See what it is now, and its latest executions, with get('dune.a.b').",
        "See its present state with `dune-matviews get dune.a.b`.",
    ),
    (
        LookAt(None),
        "See what it is now, and its latest executions, with get() of its full name.",
        "See its present state with `dune-matviews get` and its full name.",
    ),
    (
        ChangeSetting("Check {}.", (Setting("api_key", variable="DUNE_API_KEY"),)),
        "Check DUNE_API_KEY (or api_key=).",
        "Check DUNE_API_KEY (or --api-key-file).",
    ),
    (
        ChangeSetting("Check {}.", (Setting("base_url", variable="DUNE_API_BASE_URL"),)),
        "Check DUNE_API_BASE_URL (or base_url=).",
        "Check DUNE_API_BASE_URL.",
    ),
    (
        ChangeSetting("{} or {}", (Setting("small_tier", "allow"), Setting("cron_expression"))),
        "small_tier='allow' or cron_expression=",
        "--small-tier allow or --cron",
    ),
    (
        SettleJournal("j.jsonl", "dune.a.b"),
        "If you know its end, record it with dune_matviews.journal.resolve('j.jsonl', 'dune.a.b', …).",
        "If you know how it ended, settle it with `dune-matviews journal resolve j.jsonl dune.a.b --id ID`, or with "
        "`--none` in place of the id.",
    ),
    (Advice("Wait."), "Wait.", "Wait."),
]


@pytest.mark.parametrize(("remedy", "in_python", "at_a_shell"), REMEDIES)
def test_a_remedy_has_the_words_of_its_readers(remedy: Remedy, in_python: str, at_a_shell: str) -> None:
    """Python's arguments and methods are options and commands at a shell; as data, both are the same."""
    assert str(remedy) == in_python
    assert _remedies.words(remedy) == at_a_shell
    assert json.loads(json.dumps(to_dict(remedy)))["type"] == type(remedy).__name__
    assert pickle.loads(pickle.dumps(Note("It goes on.", remedy))).remedy == remedy


def test_every_kind_of_remedy_is_tried() -> None:
    """A new one needs words for a shell, too."""
    assert {type(remedy) for remedy, *_ in REMEDIES} == set(get_args(Remedy))


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InvalidArgumentError("must have five fields", argument="cron_expression"), "--cron must have five fields"),
        (InvalidArgumentError("must be one or more", argument="max_parallel"), "--max-parallel must be one or more"),
        (InvalidArgumentError("is empty", argument="the name of a view"), "the name of a view is empty"),
        (DuneError("function attach() is unknown"), "function attach() is unknown"),
    ],
)
def test_arguments_are_options_at_a_shell(error: DuneError, shown: str) -> None:
    """Where the problem begins with the name of an argument, people read its option; no other word is touched."""
    assert said(error) == shown


def test_an_error_about_an_execution_names_its_view() -> None:
    """Though Dune's own words may not."""
    error = NotFoundError("no such execution", status_code=404)
    error.view = "dune.a.b"
    assert str(error).startswith("Dune responded with 404: no such execution (view dune.a.b). Check the spelling")


def test_sizes_have_units() -> None:
    """Bytes are counted in thousands."""
    assert [_text.size(size) for size in (0, 999, 1000, 1_250_000, 999_960, 3 * 10**18)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.2 MB",
        "1.0 MB",
        "3,000.0 PB",
    ]


# Exit codes


def report(*outcomes: Outcome, stopped_by: StopReason | None = None) -> RefreshReport:
    """The report of a run with these outcomes."""
    results = {f"v{number}": ViewResult(outcome=outcome) for number, outcome in enumerate(outcomes)}
    return RefreshReport(results, NOON, NOON, stopped_by)


O, S = Outcome, StopReason  # noqa: E741  # the table below is to be read


@pytest.mark.parametrize(
    ("outcomes", "stopped_by", "code"),
    [
        ([], None, 0),
        ([O.SUCCEEDED, O.FRESH], None, 0),
        ([O.SUCCEEDED], S.CREDITS, 4),
        ([O.SUCCEEDED], S.TIMEOUT, 0),
        ([O.SUCCEEDED, O.FAILED, O.SKIPPED], None, 1),
        ([O.CANCELED], None, 1),
        ([O.FAILED, O.NOT_STARTED, O.RUNNING], S.REFUSED, 1),
        ([O.SUCCEEDED, O.NOT_STARTED], S.JOURNAL, 1),
        ([O.RUNNING, O.FAILED], S.TIMEOUT, 3),
        ([O.RUNNING], None, 3),
        ([O.RUNNING, O.AMBIGUOUS], S.TIMEOUT, 3),
        ([O.CANCELED, O.AMBIGUOUS, O.RUNNING], S.CREDITS, 4),
        ([O.AMBIGUOUS, O.FAILED], None, 5),
        ([O.RUNNING, O.AMBIGUOUS], S.INTERRUPTED, 130),
    ],
)
def test_the_code_of_a_run(outcomes: list[Outcome], stopped_by: StopReason | None, code: int) -> None:
    """All fresh below the cap is 0, an interruption 130; otherwise the first of 4, 3, 5, 1."""
    assert _exits.of_report(report(*outcomes, stopped_by=stopped_by)) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("no key"), 2),
        (JournalError("in use", path=Path("j")), 2),
        (NotFoundError("no view", status_code=404), 1),
        (RequestFailedError("no connection"), 1),
        (CreditLimitError("cancelled", execution_id="E", status=None), 4),
        (WaitTimeoutError("over", execution_id="E", status=None), 3),
        (AmbiguousRefreshError("perhaps", name="v"), 5),
    ],
)
def test_the_code_of_an_error(error: DuneError, code: int) -> None:
    """An error's code follows from its meaning for the views."""
    assert _exits.of_error(error) == code


def test_of_several_codes_one_is_told() -> None:
    """The order is that of urgency; none is success."""
    assert _exits.first([]) is Exit.OK
    assert _exits.first([Exit.FAILED, Exit.AMBIGUOUS, Exit.OK]) is Exit.AMBIGUOUS
    assert _exits.first([Exit.AMBIGUOUS, Exit.TIMEOUT, Exit.CREDITS]) is Exit.CREDITS


def test_every_code_has_a_meaning() -> None:
    """`--help` leaves no exit code out."""
    assert list(_exits.MEANING) == list(Exit)


# Pictures

LINEAGE = {"base": (), "prices": (), "daily": ("base", "prices"), "weekly": ("daily",), "top": ("weekly", "daily")}


def test_a_tree_draws_nothing_twice() -> None:
    """The views a view reads are below it; a view drawn before is only named."""
    assert _pictures.tree(LINEAGE).splitlines() == [
        "top",
        "├── weekly",
        "│   └── daily",
        "│       ├── base",
        "│       └── prices",
        "└── daily (see above)",
    ]
    assert _pictures.tree({"a": ("b", "c"), "b": (), "c": ()}, ascii=True) == "a\n|-- b\n`-- c"


def test_a_tree_of_a_thousand_steps_is_drawn() -> None:
    """Depth is no matter of Python's stack."""
    chain = {f"v{number}": (f"v{number + 1}",) for number in range(2000)}
    assert len(_pictures.tree(chain).splitlines()) == 2001


def test_graphs_quote_what_their_languages_would_read() -> None:
    """Arrows go from a view to its readers, and no name ends its quotes early."""
    odd = {'dune."21co".b': (), "a\\": ('dune."21co".b',)}
    assert _pictures.mermaid(odd).splitlines() == [
        "flowchart LR",
        '    v0["dune.#34;21co#34;.b"]',
        '    v1["a#92;"]',
        "    v0 --> v1",
    ]
    assert _pictures.dot(odd).splitlines()[3:] == [
        r'    "dune.\"21co\".b";',
        r'    "a\\";',
        r'    "dune.\"21co\".b" -> "a\\";',
        "}",
    ]


# What the SDK logs


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (Output("text"), ["Warning: beware", "waiting for long"]),
        (Output("text", quiet=True), ["Warning: beware"]),
        (
            Output("text", debug=True),
            ["Warning: beware", "info: waiting for long", "debug: waiting", "debug: a request"],
        ),
    ],
)
def test_warnings_and_long_pauses_are_told(output: Output, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Long waits are logged and short ones are not, except in debug mode."""
    logger = logging.Logger("of this test")
    logger.addHandler(Teller(output))
    logger.warning("beware")
    logger.info("waiting for long", extra={"seconds": 20.0})
    logger.debug("waiting", extra={"seconds": 0.5})
    logger.debug("a request")
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in told))
