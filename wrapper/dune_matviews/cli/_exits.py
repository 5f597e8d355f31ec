"""The exit codes, and the choice between them.

This module must not know how a command is carried out, nor how its outcome is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

from dune_matviews import (
    AmbiguousRefreshError,
    ConfigurationError,
    CreditLimitError,
    DuneError,
    ForecastError,
    InvalidArgumentError,
    JournalError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from dune_matviews import RefreshReport


class Exit(IntEnum):
    """The exit codes of the command. `--help` and docs/cli.md explain them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    CREDITS = 4
    AMBIGUOUS = 5
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "success: every view is fresh",
    Exit.FAILED: "a view did not become fresh, Dune refused, or Dune could not be reached",
    Exit.USAGE: "wrong usage, settings, plan file or journal; nothing was started",
    Exit.TIMEOUT: "the timeout was over, or Dune reported no end; executions go on",
    Exit.CREDITS: "the credit cap was passed, fresh or not; executions were cancelled",
    Exit.AMBIGUOUS: "ambiguous: a refresh may have been started, but was not found",
    Exit.INTERRUPTED: "interrupted (Ctrl-C, SIGTERM); executions go on",
}

_PRECEDENCE = (Exit.INTERRUPTED, Exit.USAGE, Exit.CREDITS, Exit.TIMEOUT, Exit.AMBIGUOUS, Exit.FAILED)

_OF_ERRORS: tuple[tuple[type[DuneError], Exit], ...] = (
    (ConfigurationError, Exit.USAGE),
    (InvalidArgumentError, Exit.USAGE),
    (JournalError, Exit.USAGE),
    (CreditLimitError, Exit.CREDITS),
    (ForecastError, Exit.CREDITS),
    (WaitTimeoutError, Exit.TIMEOUT),
    (AmbiguousRefreshError, Exit.AMBIGUOUS),
)


def of_error(error: DuneError) -> Exit:
    """The code for an error of the SDK."""
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), Exit.FAILED)


def of_report(report: RefreshReport) -> Exit:
    """The code for the outcome of a run."""
    from dune_matviews import Outcome, StopReason

    if report.stopped_by is StopReason.INTERRUPTED:
        return Exit.INTERRUPTED
    codes = [Exit.OK if report.ok else Exit.FAILED]
    if report.stopped_by is StopReason.CREDITS:
        codes.append(Exit.CREDITS)
    outcomes = {result.outcome for result in report.results.values()}
    # Left running without any limit: Dune did not respond for too long, or refused to be asked.
    is_left = report.stopped_by is None and Outcome.RUNNING in outcomes
    if is_left or (report.stopped_by is StopReason.TIMEOUT and not report.ok):
        codes.append(Exit.TIMEOUT)
    if Outcome.AMBIGUOUS in outcomes:
        codes.append(Exit.AMBIGUOUS)
    return first(codes)


def first(codes: Iterable[Exit]) -> Exit:
    """Of several codes, the one with the most urgent next step; success if there is none."""
    given = set(codes)
    return next((code for code in _PRECEDENCE if code in given), Exit.OK)
