"""The journal: what a killed run leaves behind, what the next one makes of it, and which files it leaves alone."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews._journal import Journal, Record
from dune_matviews.errors import JournalError
from tests.counting import calls

posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and file modes as POSIX has them")

BASE, DAILY, SUMMARY = "dune.my_team.result_base", "dune.my_team.result_daily", "dune.équipe.résultat ☂"
VIEWS = {BASE: [], DAILY: [BASE], SUMMARY: [DAILY, BASE]}
FIRST = datetime(2025, 1, 31, 6, tzinfo=UTC)
END = {"outcome": "succeeded", "cost_credits": 1.5, "error": None}


class Clock:
    """A wall clock that is a second later each time it is read."""

    def __init__(self) -> None:
        self.reading = FIRST

    def __call__(self) -> datetime:
        self.reading += timedelta(seconds=1)
        return self.reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be."""
    return tmp_path / "refresh.jsonl"


def after(n: int) -> datetime:
    """What a `Clock` reads when it is read for the nth time."""
    return FIRST + timedelta(seconds=n)


def left_by_a_crash(path: Path) -> bytes:
    """The bytes of a run that ended in the middle of things."""
    with Journal.open(path, VIEWS, now=Clock()) as journal:
        journal.intended(BASE)
        journal.started(BASE, "E1")
        journal.ended(BASE, END)
        journal.intended(DAILY)
    return path.read_bytes()


def records(path: Path) -> dict[str, Record]:
    """What the next run is told."""
    with Journal.open(path, VIEWS) as journal:
        return dict(journal.records)


def refused(path: Path, why: str, views: dict[str, list[str]] = VIEWS) -> str:
    """The file cannot be opened, for this reason, and is left byte for byte as it was; what the error says."""
    before = path.read_bytes()
    with pytest.raises(JournalError, match=why) as caught:
        Journal.open(path, views)
    assert path.read_bytes() == before
    assert caught.value.path == path
    return str(caught.value)


# From run to run


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"journal": "dune-matviews", "version": 1, "vie'])
def test_a_new_journal_knows_nothing(path: Path, content: bytes | None) -> None:
    """A file that is missing, empty, or was cut within its first line is a new journal."""
    if content is not None:
        path.write_bytes(content)
    assert records(path) == {}
    assert records(path) == {}


def test_the_next_run_is_told_what_was_written(path: Path) -> None:
    """A run that was not finished is continued: the next one knows each intent, execution and end, and when."""
    left_by_a_crash(path)
    assert records(path) == {BASE: Record(after(2), "E1", END, after(4)), DAILY: Record(after(5))}


def test_each_run_adds_to_what_the_earlier_ones_knew(path: Path) -> None:
    """A run that continues another can crash in its turn, and the third knows what both have written."""
    left_by_a_crash(path)
    with Journal.open(path, VIEWS, now=Clock()) as journal:
        journal.started(DAILY, "E2")
    assert records(path) == {BASE: Record(after(2), "E1", END, after(4)), DAILY: Record(after(5), "E2")}


def test_a_finished_run_is_not_continued(path: Path) -> None:
    """After `finished`, the next run starts afresh, over whatever views it likes."""
    left_by_a_crash(path)
    with Journal.open(path, VIEWS) as journal:
        journal.finished()
    with Journal.open(path, {"another": []}) as journal:
        assert journal.records == {}
    assert len(path.read_bytes().splitlines()) == 1


def test_a_new_intent_supersedes_what_was_known(path: Path) -> None:
    """A view that is refreshed again has no execution and no end until they are written."""
    left_by_a_crash(path)
    with Journal.open(path, VIEWS, now=Clock()) as journal:
        journal.intended(BASE)
    assert records(path)[BASE] == Record(after(1))


def test_what_is_forgotten_is_not_told(path: Path) -> None:
    """A view that was forgotten is as unknown to the next run as if it had never been recorded."""
    left_by_a_crash(path)
    with Journal.open(path, VIEWS) as journal:
        journal.forget(BASE)
        journal.forget(SUMMARY)
    assert set(records(path)) == {DAILY}


def test_an_end_needs_no_beginning(path: Path) -> None:
    """A view that was skipped ends without ever having been intended."""
    with Journal.open(path, VIEWS, now=Clock()) as journal:
        journal.ended(SUMMARY, {"outcome": "skipped"})
    assert records(path) == {SUMMARY: Record(end={"outcome": "skipped"}, ended_at=after(2))}


def test_text_of_any_kind_survives(path: Path) -> None:
    """Whatever a server may put into its words, the file stays one line an event, and the words come back."""
    words = "a\nb\u2028c\x85d\x00 ☂ \ud800 \"'\\"
    with Journal.open(path, VIEWS) as journal:
        journal.ended(SUMMARY, {"reason": words})
    assert records(path)[SUMMARY].end == {"reason": words}
    assert len(path.read_text("ascii").splitlines()) == 2


def test_times_are_written_in_utc(path: Path) -> None:
    """The file has one time zone, whatever the caller's clock has; the moment is the same."""
    elsewhere = FIRST.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    with Journal.open(path, VIEWS, now=lambda: elsewhere) as journal:
        journal.intended(BASE)
    assert records(path)[BASE].intended_at == FIRST
    assert path.read_text("utf-8").count("2025-01-31T06:00:00+00:00") == 2


def test_the_format_is_the_documented_one(path: Path) -> None:
    """The example in the module's docstring is what the calls that it stands for write."""
    module = sys.modules[Journal.__module__]
    documented = [json.loads(line) for line in (module.__doc__ or "").splitlines() if line.startswith("    {")]
    moments = iter([datetime.fromisoformat(line["at"]) for line in documented])
    with Journal.open(path, {"a": [], "b": ["a"]}, now=lambda: next(moments)) as journal:
        journal.intended("a")
        journal.started("a", "01JJX")
        journal.ended("a", {"outcome": "succeeded"})
        journal.forget("a")
        journal.finished()
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == documented


# Files that are left alone


@pytest.mark.parametrize(
    ("views", "named"),
    [
        ({BASE: [], DAILY: [BASE]}, [SUMMARY]),
        (VIEWS | {"more": []}, ["more"]),
        (VIEWS | {DAILY: []}, [DAILY]),
        ({f"v{number}": [] for number in range(9)}, [BASE, "and 9 more"]),
    ],
)
def test_an_unfinished_run_over_other_views_is_refused(
    path: Path, views: dict[str, list[str]], named: list[str]
) -> None:
    """An unfinished run is continued with its own views and dependencies only; the error names those that differ."""
    left_by_a_crash(path)
    said = refused(path, "unfinished run over other views", views)
    assert all(name in said for name in named)


def test_the_same_views_said_otherwise_are_the_same(path: Path) -> None:
    """Neither order, nor repetition, nor the naming of views that are only read makes another set of views."""
    left_by_a_crash(path)
    with Journal.open(path, {SUMMARY: iter([BASE, DAILY, BASE]), DAILY: {BASE}}) as journal:
        assert set(journal.records) == {BASE, DAILY}


@pytest.mark.parametrize(
    "content",
    [
        b"# Notes\n\nBuy milk.\n",
        b"Buy milk",
        b"\n",
        b'{"a": 1}\n',
        b"[]\n",
        b'{"journal": "mine", "version": 1, "views": {}}\n',
        b'{"journal": "dune-matviews", "version": 1}\n',
        b'{"journal": "dune-matviews", "version": 1, "views": []}\n',
        b"\x89PNG\r\n\x1a\n\x00",
        "ÿ\n".encode("utf-16"),
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_foreign_file_is_refused(path: Path, content: bytes) -> None:
    """A file that does not begin as a journal does is never written to, whether or not it has whole lines."""
    path.write_bytes(content)
    assert "move this one away" in refused(path, "damaged or foreign .line 1: ")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_version_that_is_not_known_is_refused(path: Path, version: object) -> None:
    """A journal of another version of the format is left to whoever can read it."""
    header = {"journal": "dune-matviews", "version": version, "views": VIEWS}
    path.write_text(json.dumps(header) + "\n", "utf-8")
    refused(path, f"line 1: version {version!r} of the format, where only 1 is known")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "{}",
        '{"event": "intended", "view": "another", "at": "2025-01-31T06:00:00+00:00"}',
        '{"event": "intended", "view": "%s", "at": "2025-01-31T06:00:00"}',
        '{"event": "intended", "view": "%s", "at": "yesterday"}',
        '{"event": "intended", "view": "%s"}',
        '{"event": "started", "view": "%s", "at": "2025-01-31T06:00:00+00:00"}',
        '{"event": "started", "view": "%s", "at": "2025-01-31T06:00:00+00:00", "execution_id": null}',
        '{"event": "ended", "view": "%s", "at": "2025-01-31T06:00:00+00:00", "end": "well"}',
        '{"event": "postponed", "view": "%s", "at": "2025-01-31T06:00:00+00:00"}',
        '{"event": "finished", "at": "2025-01-31T06:00:00+00:00"}\n{"event": "finished"}',
    ],
)
def test_an_event_that_makes_no_sense_is_refused(path: Path, line: str) -> None:
    """A line that is no event of the run's views is damage, and the error says which line it is."""
    left_by_a_crash(path)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line.replace("%s", BASE) + "\n")
    number = 6 + line.count("\n")
    refused(path, f"line {number}: ")


def no_folder(path: Path) -> Path:
    """A path in a folder that is not there."""
    return path / "missing.jsonl"


def a_folder(path: Path) -> Path:
    """A path at which there is a folder."""
    path.mkdir()
    return path


def a_pipe(path: Path) -> Path:
    """A path at which there is a named pipe."""
    os.mkfifo(path)
    return path


def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not let the file be opened for writing, the error says so. (To root it lets any.)"""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("dune_matviews._journal.open", forbidden, raising=False)
    with pytest.raises(JournalError, match="Permission denied"):
        Journal.open(tmp_path / "refresh.jsonl", {"dune.my_team.result_x": []})


@posix
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (no_folder, "No such file or directory"),
        (a_folder, "Is a directory"),
        (a_pipe, "no regular file"),
        (lambda path: Path(os.devnull), "no regular file"),
        (lambda path: path.with_name("x" * 300), "File name too long"),
        (lambda path: path.with_name("\0"), "null byte"),
    ],
)
def test_what_is_no_file_of_ours_to_write_is_refused(path: Path, made: Callable[[Path], Path], why: str) -> None:
    """A journal is a regular file that may be written; the error says what stands against it."""
    unusable = made(path)
    with pytest.raises(JournalError, match=why) as caught:
        Journal.open(unusable, VIEWS)
    assert caught.value.path == unusable


def test_the_error_survives_pickling(path: Path) -> None:
    """What was raised in a worker process arrives whole in its parent."""
    copy = pickle.loads(pickle.dumps(JournalError("The journal is damaged.", path=path)))
    assert (str(copy), copy.path) == ("The journal is damaged.", path)


# Wherever it is cut, whatever is damaged


@attrs.frozen
class Event:
    """One call of a journal's methods."""

    kind: Literal["intended", "started", "ended", "forget"]
    view: str
    details: tuple[Any, ...] = ()

    def write(self, journal: Journal) -> None:
        """Make the call."""
        getattr(journal, self.kind)(self.view, *self.details)


texts = st.text(max_size=8)
ends = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts, max_size=3
)
views = st.sampled_from(sorted(VIEWS))
events = st.lists(
    st.one_of(
        st.builds(Event, st.just("intended"), views),
        st.builds(Event, st.just("started"), views, st.tuples(texts)),
        st.builds(Event, st.just("ended"), views, st.tuples(ends)),
        st.builds(Event, st.just("forget"), views),
    ),
    max_size=8,
)


def told(happened: list[Event]) -> dict[str, Record]:
    """What a run must be told after these events, which a `Clock` has timed from its second reading on."""
    known: dict[str, dict[str, Any]] = {}
    for second, event in enumerate(happened, 2):
        match event:
            case Event("intended", view):
                known[view] = {"intended_at": after(second)}
            case Event("started", view, (execution_id,)):
                before = known.get(view, {}).get("intended_at")
                known[view] = {"intended_at": before, "execution_id": execution_id}
            case Event("ended", view, (end,)):
                known[view] = known.get(view, {}) | {"end": end, "ended_at": after(second)}
            case Event("forget", view):
                known.pop(view, None)
    return {view: Record(**parts) for view, parts in known.items()}


@pytest.fixture(scope="module")
def unflushed_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One path for all the examples of a property, which need not wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield tmp_path_factory.mktemp("journals") / "refresh.jsonl"


def written(path: Path, happened: list[Event], *, finished: bool = False) -> bytes:
    """The bytes that these events leave in a new file."""
    path.unlink(missing_ok=True)
    with Journal.open(path, VIEWS, now=Clock()) as journal:
        for event in happened:
            event.write(journal)
        if finished:
            journal.finished()
    return path.read_bytes()


@given(happened=events, more=events, finished=st.booleans(), data=st.data())
def test_a_cut_anywhere_loses_only_the_line_that_it_cuts(
    unflushed_path: Path, happened: list[Event], more: list[Event], finished: bool, data: st.DataObject
) -> None:
    """Cut at any byte, the file tells the whole lines before the cut, takes further events, and tells those as well."""
    whole = written(unflushed_path, happened, finished=finished)
    cut = data.draw(st.integers(0, len(whole)))
    unflushed_path.write_bytes(whole[:cut])
    over = finished and cut == len(whole)
    survived = [] if over else happened[: max(0, whole[:cut].count(b"\n") - 1)]
    clock = Clock()
    with Journal.open(unflushed_path, VIEWS, now=clock) as journal:
        assert journal.records == told(survived)
        clock.reading = after(1 + len(survived))
        for event in more:
            event.write(journal)
    assert records(unflushed_path) == told([*survived, *more])


@given(happened=events, garbage=st.binary(min_size=1).filter(lambda line: line[:1] not in b"{"), data=st.data())
def test_garbage_between_the_lines_is_refused(
    unflushed_path: Path, happened: list[Event], garbage: bytes, data: st.DataObject
) -> None:
    """A line of garbage, put before or in place of any whole line, is found, and nothing is written to the file."""
    lines = written(unflushed_path, happened).splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place : place + data.draw(st.integers(0, 1))] = [garbage + b"\n"]
    unflushed_path.write_bytes(b"".join(lines))
    refused(unflushed_path, f"line {place + 1}: ")


@given(happened=events, data=st.data())
def test_a_flipped_bit_that_leaves_ascii_is_refused(
    unflushed_path: Path, happened: list[Event], data: st.DataObject
) -> None:
    """One byte that is no text, anywhere before the last newline, is found, and nothing is written to the file."""
    content = bytearray(written(unflushed_path, happened))
    content[data.draw(st.integers(0, len(content) - 2))] ^= 0x80
    unflushed_path.write_bytes(content)
    refused(unflushed_path, "no JSON")


# One run at a time

HOLDER = """
import sys
from dune_matviews._journal import Journal
with Journal.open(sys.argv[1], {"%s": []}) as journal:
    journal.intended("%s")
    print("ready", flush=True)
    sys.stdin.read()
""" % (BASE, BASE)  # noqa: UP031


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the journal open, until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@posix
def test_another_process_is_kept_out_until_the_first_is_done(holder: subprocess.Popen[str], path: Path) -> None:
    """A journal that a process has open cannot be opened by another one; once it is closed, it can."""
    refused(path, "another run is using it", {BASE: []})
    holder.communicate("")
    with Journal.open(path, {BASE: []}) as journal:
        assert journal.records.keys() == {BASE}


@posix
def test_a_killed_process_leaves_no_lock(holder: subprocess.Popen[str], path: Path) -> None:
    """The journal of a process that was killed with SIGKILL can be opened at once, and has what it wrote."""
    holder.kill()
    holder.wait()
    with Journal.open(path, {BASE: []}) as journal:
        assert journal.records.keys() == {BASE}


@posix
def test_two_runs_of_one_process_are_kept_apart(path: Path) -> None:
    """The lock is the journal's, not the process's: a second client in the process is refused as well."""
    with Journal.open(path, VIEWS) as journal:
        refused(path, "another run is using it")
        journal.intended(BASE)
    assert records(path).keys() == {BASE}


@posix
def test_the_lock_survives_a_fresh_start(path: Path) -> None:
    """A run that replaced the journal of a finished one holds the file that others would open."""
    with Journal.open(path, VIEWS) as journal:
        journal.finished()
    with Journal.open(path, VIEWS):
        refused(path, "another run is using it")


@posix
def test_a_child_that_inherited_the_file_does_not_keep_it_locked(path: Path) -> None:
    """A process that was forked during a run, and lives on, keeps nobody from the next run."""
    journal = Journal.open(path, VIEWS)
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    inherited = [journal._file.fileno()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=inherited) as child:
        journal.close()
        assert records(path) == {}
        assert child.poll() is None


def test_closing_twice_is_fine(path: Path) -> None:
    """A journal may be closed again, also after `finished`; what is written afterwards is refused."""
    with Journal.open(path, VIEWS) as journal:
        journal.finished()
        journal.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="it is closed"):
        journal.intended(BASE)
    assert path.read_bytes() == before


# What is on disk, and when


def test_every_event_is_flushed_before_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intents, starts and ends are each flushed once, after their whole line was written; forgetting waits for them."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(path.read_bytes().count(b"\n")))
    journal = Journal.open(path, VIEWS)
    flushed.clear()
    journal.intended(BASE)
    journal.started(BASE, "E1")
    assert flushed == [2, 3]
    journal.ended(BASE, END)
    journal.forget(BASE)
    assert flushed == [2, 3, 4]
    journal.finished()
    assert flushed == [2, 3, 4, 6]


@posix
def test_a_new_file_is_flushed_with_its_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new journal is there after a power failure: its header and its entry in the folder are on disk."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    Journal.open(path, VIEWS).close()
    assert flushed == [path.stat().st_ino, path.parent.stat().st_ino]


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let files grow to so many bytes and no further, as a full disk does; for as long as this lasts."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told(path: Path) -> None:
    """An event that does not fit is an error, half of it costs nothing that was written, and nothing follows it."""
    before = left_by_a_crash(path)
    with Journal.open(path, VIEWS) as journal:
        with (
            room(len(before) + 10),
            pytest.raises(JournalError, match=r"cannot be used: .*File too large") as caught,
        ):
            journal.started(DAILY, "E2")
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(JournalError, match="an earlier write failed"):
            journal.started(DAILY, "E2")
        assert len(path.read_bytes()) == len(before) + 10
    assert records(path).keys() == {BASE, DAILY}
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 10, 60])
def test_a_fresh_start_that_fails_can_be_made_again(path: Path, size: int) -> None:
    """Where there is no room for the new header, the file is as good as new once there is."""
    with Journal.open(path, VIEWS) as journal:
        journal.finished()
    with room(size), pytest.raises(JournalError, match="File too large"):
        Journal.open(path, VIEWS)
    assert path.stat().st_size == size
    assert records(path) == {}


def interrupted(descriptor: int) -> None:
    """Ctrl-C, in place of a flush."""
    raise KeyboardInterrupt


def test_an_interrupted_write_is_the_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in the middle of a write nothing is appended to what may be half a line."""
    with Journal.open(path, VIEWS) as journal:
        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.intended(BASE)
        monkeypatch.undo()
        with pytest.raises(JournalError, match="an earlier write failed"):
            journal.intended(DAILY)
    assert records(path).keys() == {BASE}


@pytest.mark.parametrize("write", [Journal.intended, Journal.forget])
def test_a_view_of_no_concern_is_not_written(path: Path, write: Callable[[Journal, str], None]) -> None:
    """What the next run would take for damage is never written; the journal goes on."""
    with Journal.open(path, VIEWS) as journal:
        with pytest.raises(ValueError, match="none of the views"):
            write(journal, "another")
        with pytest.raises(TypeError):
            journal.ended(BASE, {"at": FIRST})
        journal.intended(BASE)
    assert records(path).keys() == {BASE}


def test_opening_a_journal_costs_the_same_for_each_view(unflushed_path: Path) -> None:
    """A journal of 2,000 views, each with its three events, takes no more work for each of them than one of 200."""
    small, large = opening(unflushed_path, 200), opening(unflushed_path, 2000)
    assert large <= 1.05 * small


def opening(path: Path, count: int) -> float:
    """Calls of functions, ours and those that ours call, for each of *count* views of a journal that is opened."""
    path.unlink(missing_ok=True)
    many = {f"dune.my_team.result_{number}": [f"dune.my_team.result_{number // 2}"] for number in range(1, count + 1)}
    with Journal.open(path, many) as journal:
        for name in many:
            journal.intended(name)
            journal.started(name, f"E-{name}")
            journal.ended(name, END)

    def open_again() -> None:
        with Journal.open(path, many) as journal:
            assert journal.records.keys() == many.keys()

    return calls(open_again).total() / count
