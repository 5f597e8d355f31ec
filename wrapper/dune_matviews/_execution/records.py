"""The journal's lines, and the record of each view that they add up to.

This module must not know files, requests or clocks. docs/journal.md describes the format.

A line is a JSON object: a header, which begins a run; an event of a view (`intended`, `followed`, `started`, `ended` or
`refused`); or the end of the run (`finished`).

Order in the journal is order in time; `at` is for people. `intended` and `followed` are claims: of several of one view,
the first counts, until one that names its token as `replaces` takes its place. Each permit to send is a claim of its
own, so that nobody can replace one without knowing of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from ..report import ViewResult
from .intents import Baseline, How, Intent, Stage, bare, same_view, unquoted

VERSION = 2
HOW: tuple[How, ...] = ("response", "inferred", "adopted")


@attrs.define(eq=False)
class Record(Intent):
    """The intent of one view, as the journal tells it: lost, as long as nobody has recorded more.

    Attributes:
        result: how it ended.
        is_earlier: it is of an earlier run, or of another label, in the same file.
        began, ended: the numbers of its lines in the journal.
    """

    result: ViewResult | None = None
    is_earlier: bool = False
    began: int = 0
    ended: int = 0

    @property
    def is_refused(self) -> bool:
        """Certainly nothing was started."""
        return self.stage is Stage.UNSENT

    @property
    def is_settled(self) -> bool:
        """There is nothing more to find out."""
        return self.stage in (Stage.UNSENT, Stage.ENDED)


@attrs.define
class Records:
    """All that a journal says.

    Attributes:
        run: the label of its latest run, if that has one.
        has_run: there is a run at all.
        is_finished: the latest run has nothing left to do.
        views: the record of each view.
        costs: the cost of each execution of the latest run that has ended, in credits.
        owners: for each execution that a response named, the token of its claim.
        lines: how many lines have been taken in.
    """

    run: str | None = None
    has_run: bool = False
    is_finished: bool = False
    views: dict[str, Record] = attrs.field(factory=dict)
    costs: dict[str, float] = attrs.field(factory=dict)
    owners: dict[str, str] = attrs.field(factory=dict)
    lines: int = 0
    _names: defaultdict[str, dict[str, None]] = attrs.field(factory=lambda: defaultdict(dict))
    _labels: dict[str, list[Record]] = attrs.field(factory=dict)
    _hidden: list[Record] = attrs.field(factory=list)  # open, of a view that the run has a record of its own of
    _of_version_1: dict[str, str] | None = None

    def of(self, view: str) -> Record | None:
        """The record of a view, in any spelling of its name."""
        if view in self.views:
            return self.views[view]
        alike = (each for each in self._names[bare(unquoted(view))] if each in self.views and same_view(each, view))
        return next((self.views[each] for each in alike), None)

    @property
    def own(self) -> list[Record]:
        """The records of the latest run alone."""
        return [each for each in self.views.values() if not each.is_earlier]

    @property
    def left_by_version_1(self) -> list[str] | None:
        """The executions of an unfinished run in the first version of the format; None where there is no such run."""
        if self._of_version_1 is None or self.is_finished or self.has_run:
            return None
        return list(self._of_version_1.values())

    def take(self, line: str) -> None:
        """Take in one more line; ValueError says why it cannot be, and changes nothing."""
        number = self.lines + 1
        try:
            if line.strip():
                self._take(_parsed(line), number)
        except ValueError as reason:
            raise ValueError(f"line {number}: {reason}") from reason
        self.lines = number

    def _take(self, event: Mapping[str, Any], number: int) -> None:
        match event:
            case {"journal": "dune-matviews", "version": 2, "run": (str() | None) as run}:
                self._begin(run)
            case {"journal": "dune-matviews", "version": 1} if number == 1:
                self._of_version_1 = {}
            case {"journal": "dune-matviews", "version": version} if version != VERSION:
                raise ValueError(f"version {version!r} of the format, where only {VERSION} is known")
            case _ if not self.has_run and self._of_version_1 is None:
                raise ValueError("not how a journal of dune-matviews begins")
            case {"event": "finished"}:
                self.is_finished = True
            case {"event": str(kind), "view": str(view)} if not self.has_run and self._of_version_1 is not None:
                self._of_version_1.pop(view, None)
                if kind == "started":
                    self._of_version_1[view] = str(event.get("execution_id"))
            case {"event": "intended" | "followed" as kind, "view": str(view), "token": str(token)}:
                record = Record(view, token=token, began=number, **_told(kind, event))
                self._claim(record, _text_or_none(event, "replaces"))
            case {"event": str(kind), "view": str(view), "token": str(token)}:
                told = _told(kind, event)
                if kind == "started" and told["how"] == "response":
                    self.owners[told["execution_id"]] = token
                known = self.of(view)
                if known is not None and known.token == token and not _is_late(known, kind, event):
                    self._change(known, told, number)
            case _:
                raise ValueError("no event that is known")

    def _begin(self, run: str | None) -> None:
        """Begin a run, or continue it; intents that other runs have left open come along."""
        if self.has_run and not self.is_finished and run == self.run:
            return  # two processes have begun it at once
        left = [each for each in (*self.views.values(), *self._hidden) if not each.is_settled]
        if self.run is not None:
            self._labels[self.run] = self.own
        self.run, self.has_run, self.is_finished = run, True, False
        self.views, self._hidden, self.costs = {}, [], {}
        own = [] if run is None else self._labels.get(run, [])
        tokens = {each.token for each in own}
        for record in (*own, *(each for each in left if each.token not in tokens)):
            record.is_earlier = record.token not in tokens
            if record.result is not None and record.execution_id is not None:
                self.costs[record.execution_id] = record.result.cost_credits or 0.0
            if self.of(record.view) is None:
                self._put(record)
            else:
                self._hidden.append(record)

    def _claim(self, record: Record, replaces: str | None) -> None:
        known = self.of(record.view)
        if known is not None and known.token not in (record.token, replaces):
            return  # another one was first
        if known is not None:
            del self.views[known.view]
        self._put(record)

    def _change(self, known: Record, told: dict[str, Any], number: int) -> None:
        for name, value in told.items():
            setattr(known, name, value)
        if known.result is not None:
            self.costs[told["execution_id"]] = known.result.cost_credits or 0.0
            known.ended = number

    def _put(self, record: Record) -> None:
        self.views[record.view] = record
        self._names[bare(unquoted(record.view))][record.view] = None


def _is_late(known: Record, kind: str, event: Mapping[str, Any]) -> bool:
    """Another process has recorded the end, or has found the execution, unless the event gives up that one."""
    if kind == "refused" and known.stage is Stage.KNOWN:
        return event.get("execution_id") != known.execution_id
    return known.stage is Stage.ENDED


def _told(kind: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says of its intent."""
    match kind, event:
        case "intended", {"baseline": list(ids)} if all(isinstance(each, str) for each in ids):
            date, ends = _text_or_none(event, "baseline_date"), _moment(_text(event, "ends"))
            baseline = Baseline(tuple(ids), None if date is None else _moment(date))
            return {"stage": Stage.LOST, "tier": _text_or_none(event, "tier"), "baseline": baseline, "ends": ends}
        case "intended", _:
            raise ValueError("an intent without a baseline")
        case "followed" | "started", _:
            return {"stage": Stage.KNOWN, "execution_id": _text(event, "execution_id"), "how": _how(event)}
        case "ended", {"result": dict(data)}:
            result = ViewResult.from_dict(data)
            if result.execution_id is None:
                raise ValueError("a result without an execution")
            return {"stage": Stage.ENDED, "execution_id": result.execution_id, "result": result}
        case "refused", _:
            return {"stage": Stage.UNSENT, "execution_id": None}
        case _:
            raise ValueError("no event that is known")


def written(**line: object) -> str:
    """A line of the journal, of ASCII only."""
    return json.dumps(line)


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as failure:
        raise ValueError("no JSON") from failure
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _text(event: Mapping[str, Any], name: str) -> str:
    text = event.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"no {name}")
    return text


def _text_or_none(event: Mapping[str, Any], name: str) -> str | None:
    return None if event.get(name) is None else _text(event, name)


def _how(event: Mapping[str, Any]) -> How:
    for how in HOW:
        if event.get("how") == how:
            return how
    raise ValueError(f"how its execution is known must be one of {', '.join(HOW)}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return moment.astimezone(UTC)
