"""The output: the result and the progress on standard output, errors on standard error.

This module must not know commands, views or refreshes.

Output that cannot be written, because the reader has gone away (`| head`) or the disk is full, is dropped. It never
ends a run: executions cost credits, and are followed to their end.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal, NamedTuple, TextIO

from . import _workflow
from ._exits import Exit

Format = Literal["text", "json", "json-schema"]
LogFormat = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
Document = Mapping[str, Any]

GREEN, RED, YELLOW, DIM, BOLD = "32", "31", "33", "2", "1"


class Result(NamedTuple):
    """The result of a command: its exit code, the document, the text, and hints beside it."""

    code: Exit
    document: Document
    text: str = ""
    hints: tuple[str, ...] = ()


class Output:
    """The two streams, and how they are used: as text or JSON, loud or quiet, in colour or not."""

    def __init__(self, form: Format, *, quiet: bool = False, debug: bool = False) -> None:
        self.form: Format = form
        self.log_format: LogFormat = "text"
        self.quiet = quiet
        self.debug = debug
        self._lost: OSError | None = None
        _make_sure_of_streams()

    @property
    def progress(self) -> TextIO:
        """The stream that the course of things is told on."""
        return sys.stderr if self.form == "json" else sys.stdout

    @property
    def is_live(self) -> bool:
        """Lines of `progress` can be redrawn."""
        is_plain = self.is_step or self.log_format == "json" or os.environ.get("TERM") == "dumb"
        return not self.quiet and not is_plain and self.progress.isatty()

    @property
    def is_step(self) -> bool:
        """The output is read by a runner of GitHub Actions."""
        return _workflow.is_step()

    def event(self, text: str, **fields: Any) -> None:
        """Report progress; *fields* are its parts, for programs."""
        if self.quiet:
            return
        if self.log_format == "json":
            self.log("info", text, **fields)
        elif self.form == "json":
            write(sys.stderr, text)
        else:
            self.result(text)

    def log(self, level: Level, text: str, **fields: Any) -> None:
        """Write something as a line of JSON on standard error: for programs that collect logs."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"time": now, "level": level, "message": text, **fields}
        line = json.dumps(record, default=str)
        write(sys.stderr, _workflow.harmless_json(line) if self.is_step else line)

    def result(self, text: str) -> None:
        """Print the result, or a part of it. A closed pipe is fine; a full disk is a failure."""
        failure = write(sys.stdout, text)
        if failure is not None and not isinstance(failure, BrokenPipeError):
            self._lost = failure

    def note(self, text: str) -> None:
        """Print a remark for people, which is no part of the result."""
        if self.quiet:
            return
        if self.log_format == "json":
            self.log("info", text)
        else:
            write(sys.stderr, text)

    def error(self, text: str) -> None:
        """Report an error with its next step; GitHub Actions shows it at the top of the run."""
        if self.is_step:
            self.annotate("error", text)
        elif self.log_format == "json":
            self.log("error", text)
        else:
            write(sys.stderr, f"{painted('Error:', RED, sys.stderr)} {text}")

    def warning(self, text: str, **fields: Any) -> None:
        """Report a warning; *fields* are its parts, for programs."""
        if self.is_step:
            self.annotate("warning", text)
        elif self.log_format == "json":
            self.log("warning", text, **fields)
        else:
            write(sys.stderr, f"{painted('Warning:', YELLOW, sys.stderr)} {text}")

    def annotate(self, kind: Literal["error", "warning"], text: str, title: str = "") -> None:
        """Have GitHub Actions show something at the top of the run."""
        _write(sys.stderr, _workflow.annotation(kind, text, title))

    def finish(self, result: Result) -> Exit:
        """Print the result of a command, and return its exit code; a result that cannot be printed is a failure."""
        text = result.text
        if self.form == "json":
            document = {"ok": result.code is Exit.OK, "exit_code": int(result.code), **result.document}
            text = json.dumps(document, indent=2, allow_nan=False)
            text = _workflow.harmless_json(text) if self.is_step else text
        if text:
            self.result(text)
        for hint in result.hints:
            if self.log_format == "json":
                self.log("info", hint.strip())
            else:
                write(sys.stderr, hint)
        if self._lost is None:
            return result.code
        self.error(f"standard output cannot be written: {self._lost.strerror}")
        return result.code or Exit.FAILED


def _make_sure_of_streams() -> None:
    """Let no stream that is closed, or that lacks a character, end a run."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the parent process has closed it (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open for as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def write(stream: IO[str], text: str) -> OSError | None:
    """Write a line or more. After a failure, which is returned, everything for this stream is dropped."""
    return _write(stream, _workflow.harmless(text) if _workflow.is_step() else text)


def _write(stream: IO[str], text: str) -> OSError | None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as failure:
        # The descriptor is pointed elsewhere, so that Python's own flush at exit does not fail again.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return failure
    return None


def painted(text: str, colour: str, stream: IO[str]) -> str:
    """*text* in a colour, where the stream shows colours and nobody has asked for none."""
    return f"\x1b[{colour}m{text}\x1b[0m" if shows_colour(stream) else text


def shows_colour(stream: IO[str]) -> bool:
    """The stream is a terminal with colours, and `NO_COLOR` is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
