"""The API key: holds it, and redacts it in everything that is shown, however a server or a library spelled it.

This module must not know HTTP, nor the subjects of the texts.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Generator
from functools import cache
from traceback import clear_frames, walk_tb
from typing import Any, NoReturn, TypeVar
from weakref import ref

T = TypeVar("T")

REDACTED = "***"

LONGEST_MESSAGE = 300
LONGEST_BODY = 20_000

# A server may well send back half a key, where its response is cut; fewer characters than these give nothing away.
_TELLING = 8

# Values that the SDK goes on to use must stay as they are, even if a key for tests is an ordinary word: identifiers
# something, by the name of its property, and the constants of the API, by their look.
_IDENTIFIER = re.compile(r"(.*_)?(id|name)s?")
_CONSTANT = re.compile(r"[A-Z_]+")


class ApiKey:
    """Dune's API key, which shows itself in no repr, dict or pickle."""

    __slots__ = ("__weakref__", "_pattern", "_reveal")

    def __init__(self, key: str) -> None:
        # Closures, because tools that go through attributes (dicts, serializers, debuggers) go no further.
        self._reveal: Callable[[], str] = lambda: key
        # Costs milliseconds, and next to no text needs it.
        self._pattern = cache(lambda: re.compile("".join(map(_spellings, key))))

    def reveal(self) -> str:
        """The key itself."""
        return self._reveal()

    def redact(self, text: str) -> str:
        """*text* without the key, be it plain or escaped as in URLs, JSON, HTML or a repr."""
        key = self.reveal()
        text = text.replace(key, REDACTED)
        if self._may_be_escaped(text):
            text = self._pattern().sub(REDACTED, text)
        for length in range(len(key) - 1, _TELLING - 1, -1):
            if text.endswith(key[:length]):
                return text[:-length] + REDACTED
        return text

    def printable(self, text: str) -> str:
        """*text* as a part of a message: without the key, on one line, printable, and not too long."""
        return printable(self.redact(text))

    def redact_json(self, body: bytes) -> Any:
        """The JSON value that *body* is, without the key in any text that is for people."""
        text = decoded(body)
        value = json.loads(text)
        beginning = self.reveal()[:_TELLING]
        if beginning not in text and not self._may_be_escaped(text):
            return value
        # One search in all of it: a response may have a million texts, next to none of which has anything to redact.
        plain = json.dumps(value, ensure_ascii=False)
        if json.dumps(beginning, ensure_ascii=False)[1:-1] not in plain and not self._pattern().search(plain):
            return value
        return self._redacted(value)

    def _redacted(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            return value if _IDENTIFIER.fullmatch(name) or _CONSTANT.fullmatch(value) else self.redact(value)
        if isinstance(value, list):
            return [self._redacted(each, name) for each in value]
        if isinstance(value, dict):
            return {self._redacted_name(name): self._redacted(part, name) for name, part in value.items()}
        return value

    def _redacted_name(self, name: str) -> str:
        """A property's name; a key short enough to be a word of the API's own is left alone."""
        return name if len(self.reveal()) < _TELLING else self.redact(name)

    @staticmethod
    def _may_be_escaped(text: str) -> bool:
        return "\\" in text or "%" in text or "&" in text

    def is_shown_by(self, failure: BaseException) -> bool:
        """Whether a traceback of *failure* shows the key, by itself or with the local variables that some tools add."""
        return any(self.redact(text) != text for text in _shown_by(failure))

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled; create the client where it is used")


def decoded(body: bytes) -> str:
    """The JSON that *body* is in UTF-8: Python would accept other encodings, in which a key cannot be found."""
    return body.decode().removeprefix("\ufeff")


def printable(text: str) -> str:
    """A text of the server's as a part of a message: on one line, printable, and not too long."""
    words = " ".join("".join(each if each.isprintable() else " " for each in text[:LONGEST_BODY]).split())
    return words if len(words) <= LONGEST_MESSAGE else words[: LONGEST_MESSAGE - 1] + "…"


def _spellings(character: str) -> str:
    """A pattern for one character of a key, as it is or escaped, up to a few times over."""
    code = ord(character)
    entity = rf"&(?:#0{{0,5}}{code}|#x0{{0,5}}{code:x});?"
    named = {"&": "|&amp;", "<": "|&lt;", ">": "|&gt;", '"': "|&quot;", "'": "|&apos;"}.get(character, "")
    escaped = rf"%(?:25){{0,2}}{code:02x}|\\{{1,4}}(?:u00|x){code:02x}|{entity}{named}"
    return rf"(?:\\{{0,4}}{re.escape(character)}|(?i:{escaped}))"


def clear_ended_frames(interruption: BaseException, earlier: BaseException | None) -> None:
    """Empty the local variables of the frames that an interruption has ended, and of those that led to it.

    *earlier* was being handled before what was interrupted began, and is somebody else's.
    """
    for error in _chain(interruption, earlier):
        clear_frames(error.__traceback__)


def _chain(failure: BaseException, but_for: BaseException | None = None) -> Generator[BaseException]:
    """*failure*, and everything that led to it or is grouped in it."""
    ahead: list[BaseException | None] = [failure]
    seen = {id(but_for)}
    while ahead:
        error = ahead.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        ahead += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            ahead += error.exceptions
        yield error


def _shown_by(failure: BaseException) -> Generator[str]:
    """The texts of *failure* and of all that led to it, and their frames' local variables."""
    for error in _chain(failure):
        yield _text(error, str)
        yield _text([error, *getattr(error, "__notes__", ())])
        for frame, _ in walk_tb(error.__traceback__):
            yield from map(_text, frame.f_locals.values())


def _text(value: T, show: Callable[[T], str] = repr) -> str:
    try:
        return show(value)
    except Exception:  # any repr may fail, and then it shows nothing
        return ""


_READABLE = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
_CODED = ("hpack.hpack", "hpack.table")
"""They log headers in HTTP/2's own coding, in which no key can be found; their records are dropped."""

_keys: list[ref[ApiKey]] = []


def keep_out_of_logs(key: ApiKey) -> None:
    """Redact *key* in the logs of httpx and the libraries below it, for as long as anybody has it.

    The filter is attached to each logger that emits, as a parent's does not see its children's records, and stays.
    Neither it nor the end of a key takes a lock: a client may become garbage while another thread logs.
    """
    _keys.append(ref(key, _keys.remove))
    for name in (*_READABLE, *_CODED):
        logging.getLogger(name).addFilter(redact_record)


def redact_record(record: logging.LogRecord) -> bool:
    """Redact the keys in a record of a library's; whether it may be shown at all."""
    keys = [key for each in list(_keys) if (key := each()) is not None]
    if not keys or record.name in _CODED:
        return not keys
    redacted = message = _text(record, logging.LogRecord.getMessage)
    for key in sorted(keys, key=lambda key: len(key.reveal()), reverse=True):  # one may be a part of another
        redacted = key.redact(redacted)
    if redacted != message:
        record.msg, record.args = redacted, ()
    return True
