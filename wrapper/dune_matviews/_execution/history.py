"""Past executions of views: remembered by a client, kept in a file where there is one, and read from Dune lazily.

This module must not know what is expected of the future, nor who asks. The file is a cache, safe to delete: whatever is
wrong with it is no error.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._flow.effects import Flow, Work
from .._flow.log import log
from ..models import ExecutionState, ExecutionStatus
from .forecast import Expected, Outlook, Past
from .intents import REMEMBERED, unquoted

KEPT = 20
"""Executions of a view that are remembered."""

_OLDEST = datetime.min.replace(tzinfo=UTC)
_TIMES = ("submitted_at", "started_at", "ended_at")


class History:
    """Executions that have ended, as far as one client knows them.

    Attributes:
        path: the file; None where nothing is written.
        unread: for each view that is being read, the executions that are left.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.unread: dict[str, list[str]] = {}
        self._views: defaultdict[str, list[ExecutionStatus]] = defaultdict(list)
        self._by_id: dict[str, ExecutionStatus] = {}
        self._over: OrderedDict[str, None] = OrderedDict()  # as Dune itself has told: a file proves nothing
        self._unwritten: list[str] = []
        self._outlook: Outlook | None = None
        self._outlook_of = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._by_id

    def seen(self, execution_id: str) -> ExecutionStatus | None:
        """An execution whose end this client was told by Dune itself, if it is still remembered."""
        return self._by_id.get(execution_id) if self.is_over(execution_id) else None

    def is_over(self, execution_id: str) -> bool:
        """The execution has been seen to end: nothing about it changes any more."""
        return execution_id in self._over

    def end(self, execution_id: str) -> None:
        """The execution is over, with any end."""
        self._over[execution_id] = None
        if len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    def of(self, view: str) -> list[ExecutionStatus]:
        """The executions of a view, the latest first."""
        return list(self._views.get(unquoted(view), ()))

    def add(self, status: ExecutionStatus, view: str | None) -> None:
        """Remember an execution if it has ended: with its *view*, as the view's past."""
        if not status.is_finished:
            return
        self.end(status.execution_id)
        if view is not None and self._take(view, status) and self.path is not None:
            self._unwritten.append(_line(view, status))
        if status.execution_id in self._by_id:
            self._by_id[status.execution_id] = status

    def expected(self, view: str) -> Expected | None:
        """What the view's past says of its next execution; None where it has none."""
        past = _past(self.of(view))
        outlook = self.outlook() if any(each.succeeded for each in past) else None
        return outlook and outlook.expected(past)

    def expectations(self, views: Iterable[str]) -> dict[str, Expected] | None:
        """The next execution of each view, of one without a past as of any other; None where none has a past."""
        outlook = self.outlook()
        return outlook and {name: outlook.expected(_past(self.of(name))) for name in views}

    def outlook(self) -> Outlook | None:
        """What all that is known says of any view, computed anew once a quarter more is known."""
        if len(self._by_id) > 1.25 * self._outlook_of:
            self._outlook = Outlook.of([_past(each) for each in list(self._views.values())])
            self._outlook_of = len(self._by_id)
        return self._outlook

    def opened(self, path: Path | None) -> Flow[None]:
        """Keep the history in this file from now on; None keeps to what there is."""
        if path is not None and path != self.path:
            yield from Work(lambda: self._load(path)).done()

    def saved(self) -> Flow[None]:
        """Write what is new, if there is a file."""
        if self._unwritten:
            yield from Work(self._save).done()

    def _take(self, view: str, status: ExecutionStatus) -> bool:
        if status.execution_id in self._by_id:
            return False
        known = self._views[unquoted(view)]
        known.append(status)
        known.sort(key=lambda each: each.ended_at or _OLDEST, reverse=True)
        self._by_id[status.execution_id] = status
        for each in known[KEPT:]:
            self._by_id.pop(each.execution_id, None)
        del known[KEPT:]
        return True

    def _load(self, path: Path) -> None:
        self.path, lines = path, 0
        try:
            for line in path.read_text("utf-8").splitlines():
                lines += 1
                try:
                    self._take(*_parsed(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
            if lines > 2 * len(self._by_id) + 100:  # most of it is too old to count
                fresh = path.with_name(f"{path.name}.new")
                fresh.write_text("".join(_line(view, each) for view in self._views for each in self.of(view)), "utf-8")
                fresh.replace(path)
        except (OSError, UnicodeError) as problem:
            log.debug("The history %s cannot be read: %s", path, problem)

    def _save(self) -> None:
        lines, self._unwritten = self._unwritten, []
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))
        except OSError as problem:
            log.warning("Past executions cannot be kept in %s: %s", self.path, problem)
            self.path = None


def _past(executions: Collection[ExecutionStatus]) -> list[Past]:
    """In numbers, without those that somebody has cancelled, or whose times Dune does not tell."""
    found: list[Past] = []
    for each in executions:
        began = each.submitted_at or each.started_at
        if began is None or each.ended_at is None or each.state is ExecutionState.CANCELED:
            continue
        queued = ((each.started_at or began) - began).total_seconds()
        seconds = (each.ended_at - began).total_seconds()
        found.append(Past(seconds, queued, each.cost_credits, each.succeeded))
    return found


def _line(view: str, status: ExecutionStatus) -> str:
    times = {name: moment.isoformat() for name in _TIMES if (moment := getattr(status, name)) is not None}
    known: dict[str, Any] = {"view": view, "execution_id": status.execution_id, "state": status.state.value, **times}
    return json.dumps({**known, "cost_credits": status.cost_credits}) + "\n"


def _parsed(line: str) -> tuple[str, ExecutionStatus]:
    found: Any = json.loads(line)
    times: dict[str, Any] = {
        name: datetime.fromisoformat(found[name]).astimezone(UTC) for name in _TIMES if name in found
    }
    cost = found["cost_credits"]
    return found["view"], ExecutionStatus(
        execution_id=found["execution_id"],
        state=ExecutionState(found["state"]),
        is_finished=True,
        cost_credits=None if cost is None else float(cost),
        **times,
    )
