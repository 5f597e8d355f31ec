"""The API key: holds it, and takes it out of whatever is shown, however a server or a library spelled it.

This module must not know HTTP, nor what the texts are about.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator
from functools import cache
from traceback import walk_tb
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

BLANK = "***"

# A server may well send back half a key, where its answer is cut; fewer characters than these give nothing away.
_TELLING = 8

# What the SDK goes on to use must stay as it is, even if somebody's key for tests is an ordinary word: what identifies
# something, by the name of its property, and the constants of the API, by their look.
_IDENTIFIER = re.compile(r"(.*_)?(id|name)s?")
_CONSTANT = re.compile(r"[A-Z_]+")


class ApiKey:
    """Dune's API key, which shows itself in no repr, dict or pickle."""

    __slots__ = ("_pattern", "_reveal")

    def __init__(self, key: str) -> None:
        # Closures, because whatever looks through attributes (dicts, serializers, debuggers) looks no further.
        self._reveal: Callable[[], str] = lambda: key
        # Costs milliseconds, and next to no text needs it.
        self._pattern = cache(lambda: re.compile("".join(map(_spellings, key))))

    def reveal(self) -> str:
        """The key itself."""
        return self._reveal()

    def blank(self, text: str) -> str:
        """*text* without the key, be it plain or escaped as in URLs, JSON, HTML or a repr."""
        key = self.reveal()
        text = text.replace(key, BLANK)
        if "\\" in text or "%" in text or "&" in text:
            text = self._pattern().sub(BLANK, text)
        for length in range(len(key) - 1, _TELLING - 1, -1):
            if text.endswith(key[:length]):
                return text[:-length] + BLANK
        return text

    def may_be_in(self, text: str) -> bool:
        """Something in *text* may have to be blanked. Quick, because next to no text has that."""
        return self.reveal()[:_TELLING] in text or "\\" in text or "%" in text or "&" in text

    def blank_values(self, value: Any, name: str = "") -> Any:
        """The parsed JSON *value*, which has the property *name*, without the key in any text that is for people."""
        if isinstance(value, str):
            return value if _IDENTIFIER.fullmatch(name) or _CONSTANT.fullmatch(value) else self.blank(value)
        if isinstance(value, list):
            return [self.blank_values(each, name) for each in value]
        if isinstance(value, dict):
            return {name: self.blank_values(part, name) for name, part in value.items()}
        return value

    def is_shown_by(self, failure: BaseException) -> bool:
        """Whether a traceback of *failure* shows the key, by itself or with the local variables that some tools add."""
        return any(self.blank(text) != text for text in _shown_by(failure))

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled; create the client where it is used")


def _spellings(character: str) -> str:
    """A pattern for one character of a key, as it is or escaped, up to a few times over."""
    code = ord(character)
    entity = rf"&(?:#0{{0,5}}{code}|#x0{{0,5}}{code:x});?"
    named = {"&": "|&amp;", "<": "|&lt;", ">": "|&gt;", '"': "|&quot;", "'": "|&apos;"}.get(character, "")
    escaped = rf"%(?:25){{0,2}}{code:02x}|\\{{1,4}}(?:u00|x){code:02x}|{entity}{named}"
    return rf"(?:\\{{0,4}}{re.escape(character)}|(?i:{escaped}))"


def _shown_by(failure: BaseException) -> Generator[str]:
    """The texts of *failure* and of all that led to it, and their frames' local variables."""
    ahead: list[BaseException | None] = [failure]
    seen = set[int]()
    while ahead:
        error = ahead.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        ahead += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            ahead += error.exceptions
        yield _text(error, str)
        yield _text([error, *getattr(error, "__notes__", ())])
        for frame, _ in walk_tb(error.__traceback__):
            yield from map(_text, frame.f_locals.values())


def _text(value: T, show: Callable[[T], str] = repr) -> str:
    try:
        return show(value)
    except Exception:  # anybody's repr may fail, and what it fails to show is not shown
        return ""


class _KeylessLogs(logging.Filter):
    """Keeps the keys of the open clients out of what httpx and the libraries below it log.

    Attached to each logger that emits: a filter of a parent does not see its children's records.
    """

    readable = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
    coded = ("hpack.hpack", "hpack.table")
    """They log headers in HTTP/2's own coding, in which no key can be found; what they say is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[ApiKey, ...] = ()
        # Reentrant, because a client that is garbage leaves whenever Python finds the time for it.
        self._lock = threading.RLock()

    def add(self, key: ApiKey) -> None:
        with self._lock:
            self._keys = (*self._keys, key)
            for name in (*self.readable, *self.coded):
                logging.getLogger(name).addFilter(self)

    def remove(self, key: ApiKey) -> None:
        with self._lock:
            self._keys = tuple(each for each in self._keys if each is not key)
            for name in () if self._keys else (*self.readable, *self.coded):
                logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in self.coded:
            return False
        blanked = message = _text(record, logging.LogRecord.getMessage)
        for key in self._keys:
            blanked = key.blank(blanked)
        if blanked != message:
            record.msg, record.args = blanked, ()
        return True


keyless_logs = _KeylessLogs()
"""The one filter of all clients: `add` a key while a client is open, `remove` it after."""
