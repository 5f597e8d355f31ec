"""The journals of a flow run, which Prefect's server keeps as inputs of that run: one immutable record for each line.

The server refuses a second input of the same key, so a line is the next one or none, whoever else appends. Result
storage cannot do that: it replaces what stands under a key, and has no way to create only what is not there.

This module must not know tasks, nor what the lines say.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, FlowRunInput
from prefect.exceptions import PrefectHTTPStatusError

_PREFIX = "dune-matviews-"
_PAGE = 100  # lines whose keys begin alike, so that new ones are read without all that are older


class Writer(NamedTuple):
    """Who appends lines: a flow run, which may be below the one that has the journal, and its block of credentials."""

    flow_run_id: UUID
    credentials: str | None

    @classmethod
    def of(cls, sender: str | None) -> Writer:
        """The writer that Prefect has as the sender of an input."""
        flow_run_id, _, credentials = (sender or "").partition(" ")
        return cls(UUID(flow_run_id), credentials or None)


class FlowRunJournal:
    """A journal with `read` and `append`, which lasts as long as Prefect keeps the flow run.

    Args:
        api: the client of Prefect's server; threads may share it.
        flow_run_id: the run that has the journal.
        name: which of its journals this is.
        writer: who appends.
    """

    def __init__(self, api: SyncPrefectClient, flow_run_id: UUID, name: str, writer: Writer) -> None:
        self._api = api
        self._flow_run_id = flow_run_id
        self._prefix = f"{_PREFIX}{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        self._sender = f"{writer.flow_run_id} {writer.credentials or ''}"
        self._lines: list[str] = []

    def read(self) -> list[str]:
        """Every line, in order. Full pages that were read before are not read again: they cannot change."""
        lines = self._lines[: len(self._lines) // _PAGE * _PAGE]
        while len(lines) % _PAGE == 0:
            page = self._key(len(lines))[:-2]
            found = self._api.filter_flow_run_input(self._flow_run_id, page, _PAGE, set())
            if not found:
                break
            lines += [each.value for each in sorted(found, key=lambda each: each.key)]
        self._lines = lines
        return list(lines)

    def append(self, line: str) -> None:
        """Add one line after all that are there."""
        while not self._create(number := len(self._lines), line):
            # Another writer was first; or this line was, where Prefect's client repeated a request without a response.
            if self.read()[number] == line:
                return

    def _create(self, number: int, line: str) -> bool:
        """Whether that number was free, and is *line* from now on."""
        try:
            self._api.create_flow_run_input(self._flow_run_id, self._key(number), line, self._sender)
        except PrefectHTTPStatusError as refusal:
            if refusal.response.status_code != 409:
                raise
            return False
        return True

    def _key(self, number: int) -> str:
        page, place = divmod(number, _PAGE)
        return f"{self._prefix}-{page:05d}-{place:02d}"

    def __repr__(self) -> str:
        return f"<journal of flow run {self._flow_run_id}>"


class Lines(list[str]):
    """Lines that were read, as a journal to look into."""

    def read(self) -> list[str]:
        """Every line."""
        return self


def journals_of(api: SyncPrefectClient, flow_run_id: UUID) -> list[tuple[Writer, Lines]]:
    """All journals of a flow run, each with whoever has written to it last."""
    journals: defaultdict[str, list[FlowRunInput]] = defaultdict(list)
    known: set[str] = set()
    while page := api.filter_flow_run_input(flow_run_id, _PREFIX, _PAGE, known):
        for each in page:
            known.add(each.key)
            journals[each.key[: -len("-00000-00")]].append(each)
    found = [sorted(inputs, key=lambda each: each.key) for inputs in journals.values()]
    return [(Writer.of(inputs[-1].sender), Lines(each.value for each in inputs)) for inputs in found]


def ancestry(api: SyncPrefectClient, flow_run_id: UUID) -> list[FlowRun]:
    """A flow run, the one that it is a subflow of, and so on: a retry of the last gives the first another id."""
    line = [api.read_flow_run(flow_run_id)]
    while (task_run_id := line[-1].parent_task_run_id) is not None:
        parent = api.read_task_run(task_run_id).flow_run_id
        if parent is None:
            break
        line.append(api.read_flow_run(parent))
    return line
