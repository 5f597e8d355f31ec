"""The log of the SDK, for people: warnings, reasons of long pauses, and with `--debug` everything.

This module must not know any message. It is imported with the first client, because importing logging takes time.
"""

from __future__ import annotations

import logging
import sys

from . import _text
from ._output import Output, write

FIELDS = ("view", "execution_id", "seconds", "attempt")
"""The fields of a record beside its message; docs/client.md explains them."""

LONG = 3.0
"""Seconds of a pause from which on somebody who watches would wonder."""


class Teller(logging.Handler):
    """Prints records on standard error, a line each."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print warnings; with `--debug` every record, and otherwise those about long pauses."""
        text, output = _text.line(record.getMessage()), self._output
        fields = {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.levelno >= logging.WARNING:
            output.warning(text, **fields)
        elif output.log_format == "json":
            if output.debug or (record.levelno >= logging.INFO and not output.quiet):
                output.log("debug" if record.levelno < logging.INFO else "info", text, **fields)
        elif output.debug:
            write(sys.stderr, f"{record.levelname.lower()}: {text}")
        elif (getattr(record, "seconds", None) or 0.0) >= LONG:
            output.note(text)


def tell(output: Output) -> None:
    """Have everything told that is logged from now on."""
    logger = logging.getLogger("dune_matviews")
    logger.addHandler(Teller(output))
    logger.setLevel(logging.DEBUG)
