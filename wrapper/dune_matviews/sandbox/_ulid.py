"""Knows the ids of executions, which are ULIDs, as Dune's are.
Must not know executions, nor read a clock."""

from random import Random

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80


class UlidSequence:
    """Generates ULIDs, each greater than the one before, also within one millisecond."""

    def __init__(self) -> None:
        self._last = 0
        # A generator of its own, so that the sandbox does not disturb tests that seed Python's.
        self._random = Random()  # noqa: S311 - an id is no secret

    def next(self, milliseconds: int) -> str:
        """The next identifier: 26 characters that begin with the time, *milliseconds* since 1970."""
        drawn = milliseconds << _RANDOM_BITS | self._random.getrandbits(_RANDOM_BITS)
        self._last = max(drawn, self._last + 1)
        return "".join(_ALPHABET[self._last >> shift & 31] for shift in range(125, -1, -5))
