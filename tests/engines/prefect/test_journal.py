"""What keeps the contract of a journal, and what does not: atomic, ordered, visible to the next reader."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore

from dune_matviews.prefect.journal import FlowRunJournal, Writer

Open = Callable[[], FlowRunJournal]


@pytest.fixture
def api() -> Iterator[SyncPrefectClient]:
    """A client of Prefect's server."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def flow_run_id(api: SyncPrefectClient) -> UUID:
    """A flow run that nobody runs."""

    @flow
    def nightly() -> None: ...

    return api.create_flow_run(nightly).id


@pytest.fixture
def opened(api: SyncPrefectClient, flow_run_id: UUID) -> Open:
    """Opens the same journal, as processes would that know nothing of each other."""
    return lambda: FlowRunJournal(api, flow_run_id, "nightly", Writer(flow_run_id, None))


def test_lines_are_in_order_and_visible(opened: Open) -> None:
    """Whoever has it open reads what anybody appended, in one order, beyond a page of lines."""
    first, second = opened(), opened()
    lines = [json.dumps({"number": number}) for number in range(205)]
    for number, line in enumerate(lines):
        (first, second)[number % 2].append(line)
        if number % 50 == 0:
            assert first.read() == second.read() == lines[: number + 1]
    assert first.read() == second.read() == opened().read() == lines


def test_no_line_is_lost_among_many_writers(opened: Open) -> None:
    """Each of many writers at once finds a place of its own, and a later read only adds to an earlier one."""
    reads: list[list[str]] = []

    def write(writer: int) -> None:
        journal = opened()
        for number in range(12):
            journal.append(json.dumps([writer, number]))
            reads.append(journal.read())

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    last = opened().read()
    assert sorted(map(json.loads, last)) == [[writer, number] for writer in range(6) for number in range(12)]
    assert all(read == last[: len(read)] for read in reads)


def test_a_line_that_is_sent_twice_is_there_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's client repeats a request whose response was lost; the line that it finds is its own."""
    send = SyncPrefectClient.create_flow_run_input

    def send_twice(self: SyncPrefectClient, *args: object) -> None:
        send(self, *args)  # type: ignore[arg-type]
        send(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(SyncPrefectClient, "create_flow_run_input", send_twice)
    journal = opened()
    for line in ("1", "2"):
        journal.append(line)
    assert opened().read() == ["1", "2"]


def test_journals_of_a_flow_run_are_apart(api: SyncPrefectClient, flow_run_id: UUID, opened: Open) -> None:
    """Another name is another journal."""
    opened().append("1")
    assert FlowRunJournal(api, flow_run_id, "other", Writer(flow_run_id, None)).read() == []


def test_a_journal_of_no_flow_run_takes_nothing(api: SyncPrefectClient) -> None:
    """Where the flow run was deleted, appending fails, so that nothing is sent."""
    unknown = UUID(int=1)
    with pytest.raises(PrefectHTTPStatusError):
        FlowRunJournal(api, unknown, "nightly", Writer(unknown, None)).append("1")


# Prefect's result storage, which is no journal.


def test_results_replace_each_other(tmp_path: Path) -> None:
    """Of two writers to one key, the storage keeps the later, and tells neither; nothing creates only what is new."""
    storage = LocalFileSystem(basepath=str(tmp_path))
    for line in (b"first", b"second"):
        storage.write_path("line-1", line)
    assert storage.read_path("line-1") == b"second"


def test_a_store_reads_what_it_remembers(tmp_path: Path) -> None:
    """A result that another process has replaced stays what it was to whoever has read it before."""
    storage = LocalFileSystem(basepath=str(tmp_path))
    ours, theirs = ResultStore(result_storage=storage), ResultStore(result_storage=storage)
    ours.write("first", key="line-1")
    theirs.write("second", key="line-1")
    assert (ours.read("line-1").result, theirs.read("line-1").result) == ("first", "second")


def test_a_killed_write_leaves_a_part(tmp_path: Path) -> None:
    """A process that is killed while it stores a result leaves less than it, under the key of the whole."""
    program = """
import resource, signal, sys
from prefect.filesystems import LocalFileSystem
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel kills whoever writes more than that to a file
LocalFileSystem(basepath=sys.argv[1]).write_path("line-1", b"x" * 2_000_000)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert (tmp_path / "line-1").stat().st_size == 1_000_000
