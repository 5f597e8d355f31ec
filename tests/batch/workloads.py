"""Work for runs in virtual time: many views of many lengths, and how long they would take at best.

It must not know how any flow decides.
"""

from __future__ import annotations

from dune_matviews._http.rate_limits import PERIOD


def views_of_all_lengths(count: int) -> dict[str, float]:
    """Views that run from 3 s to 1,000 s, evenly on a logarithmic scale, in an order that has nothing to do with it."""
    names = [f"v.{number}" for number in range(count)]
    places = {name: place for place, name in enumerate(sorted(names, key=_fixed_shuffle))}
    return {name: 10 ** (0.5 + 2.5 * places[name] / (count - 1)) for name in names}


def _fixed_shuffle(name: str) -> int:
    return sum(ord(character) * pow(7, place, 101) for place, character in enumerate(name)) % 101


def makespan(lengths: list[float], parallel: int, low: int) -> float:
    """How long the same run takes where every end is noticed at once: the same order, the same budget for starts."""
    free = [0.0] * parallel
    starts: list[float] = []
    for length in lengths:
        slot = min(range(parallel), key=free.__getitem__)
        start = max(free[slot], starts[-low] + PERIOD if len(starts) >= low else 0.0)
        starts.append(start)
        free[slot] = start + length
    return max(free)


def least_makespan(lengths: list[float], parallel: int, low: int) -> float:
    """What no order and no policy can go below: all the work shared out evenly, and the budget for starts."""
    longest_first = enumerate(sorted(lengths, reverse=True))
    return max(sum(lengths) / parallel, *(place // low * PERIOD + length for place, length in longest_first))
