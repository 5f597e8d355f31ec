"""Knows the sources of each query, and the order in which a pipeline refreshes them.
Must not know anything else of a view."""

from collections.abc import Callable

import attrs

# A source of a query: a materialized view, by its name, or the result of another query, by its number.
Source = str | int


@attrs.frozen
class Step:
    """One step of a pipeline: a view to refresh, or a query to execute. *dependencies* are the ids of other steps."""

    id: int
    source: Source
    dependencies: tuple[int, ...]


class Lineage:
    """The sources of each query. *query_of* returns the query of a view; None where there is no such view."""

    def __init__(self, query_of: Callable[[str], int | None]) -> None:
        self._query_of = query_of
        self._sources: dict[int, tuple[Source, ...]] = {}

    def set(self, query_id: int, sources: tuple[Source, ...]) -> None:
        self._sources[query_id] = tuple(dict.fromkeys(sources))

    def pipeline(self, query_id: int) -> tuple[Step, ...]:
        """The direct and indirect sources of a query, each after those that it depends on, and the query itself last.

        In a circle of views there is no such order, and some step depends on a later one.
        """
        order = self._in_order(query_id)
        ids = {source: number for number, source in enumerate(order, start=1)}
        return tuple(Step(ids[each], each, tuple(ids[read] for read in self._read_by(each))) for each in order)

    def _in_order(self, root: Source) -> list[Source]:
        # By hand, because a lineage may be deeper than Python's stack, and circular.
        order: list[Source] = []
        seen = {root}
        path = [(root, iter(self._read_by(root)))]
        while path:
            source, ahead = path[-1]
            unseen = next((each for each in ahead if each not in seen), None)
            if unseen is None:
                order.append(source)
                path.pop()
            else:
                seen.add(unseen)
                path.append((unseen, iter(self._read_by(unseen))))
        return order

    def _read_by(self, source: Source) -> tuple[Source, ...]:
        query_id = self._query_of(source) if isinstance(source, str) else source
        return () if query_id is None else self._sources.get(query_id, ())
