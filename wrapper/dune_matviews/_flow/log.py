"""The log of the SDK, `dune_matviews`.

This module must not know any message. Each record has the fields in `FIELDS`, for handlers that write structured logs.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

FIELDS = ("view", "execution_id", "seconds", "attempt")
"""The fields of each record; None where they do not apply."""


class _Log(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = dict.fromkeys(FIELDS) | kwargs.get("extra", {})
        return msg, kwargs


log = _Log(logging.getLogger("dune_matviews"))
