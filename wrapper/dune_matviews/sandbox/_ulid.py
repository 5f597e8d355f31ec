"""Knows how executions are numbered: by ULIDs, as Dune's are.
Must not know what an execution is, nor read a clock."""

from random import Random

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80


class UlidSequence:
    """Hands out ULIDs, each greater than the one before, also within one millisecond."""

    def __init__(self) -> None:
        self._last = 0
        # A generator of its own: the caller's seeded tests must not notice that the sandbox draws numbers.
        self._random = Random()  # noqa: S311 - no secret hangs on an identifier

    def next(self, milliseconds: int) -> str:
        """The next identifier: 26 characters that begin with the time, *milliseconds* since 1970."""
        drawn = milliseconds << _RANDOM_BITS | self._random.getrandbits(_RANDOM_BITS)
        self._last = max(drawn, self._last + 1)
        return "".join(_ALPHABET[self._last >> shift & 31] for shift in range(125, -1, -5))
