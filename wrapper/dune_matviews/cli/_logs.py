"""What the SDK logs, told to people: its warnings, and with `--debug` everything, on standard error.

This module must not know what is logged, nor why. It is imported with the first client, because logging costs time.
"""

from __future__ import annotations

import logging
import sys

from . import _text
from ._output import Output, write


class Teller(logging.Handler):
    """Prints each record on a line."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.DEBUG if output.debug else logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print it: a warning as one, anything else as what it is."""
        text = _text.message(record.getMessage())
        if record.levelno >= logging.WARNING:
            self._output.warning(text)
        else:
            write(sys.stderr, f"{record.levelname.lower()}: {text}")


def tell(output: Output) -> None:
    """Have everything told that is logged from now on."""
    logger = logging.getLogger("dune_matviews")
    logger.addHandler(teller := Teller(output))
    logger.setLevel(teller.level)
