"""The journal's store: files after a crash, rejected files, and locks."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import JournalError, Outcome, ViewResult
from dune_matviews._execution import file_store
from dune_matviews._execution.intents import Baseline, How, Intent
from dune_matviews._execution.journal import Journal, Store
from dune_matviews._flow.drivers import run
from dune_matviews._flow.effects import Flow, T
from tests.counting import calls

posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and file modes as POSIX has them")

BASE, DAILY = "dune.my_team.result_base", "dune.équipe.résultat ☂"
MOMENT = datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be."""
    return tmp_path / "refresh.jsonl"


def done(flow: Flow[T]) -> T:
    """The result of a flow that sends nothing."""
    return run(flow, lambda call: pytest.fail("a journal sends nothing"))


def of(store: Store | Path, label: str | None = None) -> Journal:
    """A call's journal."""
    return Journal(store, label, wall=MOMENT.timestamp)


@contextmanager
def opened(store: Store | Path, label: str | None = None) -> Iterator[Journal]:
    """A call's journal for the length of the call."""
    journal = of(store, label)
    try:
        done(journal.opened())
        yield journal
    finally:
        journal.close()


def intent(view: str = BASE, token: str = "t", replaces: str | None = None) -> Intent:
    """An intent whose turn to be sent has come."""
    return Intent(view, "large", token=token, replaces=replaces, baseline=Baseline(("E0",), MOMENT), ends=MOMENT)


def success(execution_id: str = "E1") -> ViewResult:
    """How an execution ends."""
    return ViewResult(outcome=Outcome.SUCCEEDED, execution_id=execution_id, cost_credits=1.5)


def refresh(
    journal: Journal, view: str = BASE, token: str = "t", execution_id: str = "E1", how: How = "response"
) -> None:
    """Record a refresh from its intent to its end."""
    sent = intent(view, token)
    assert is_first(journal.intended(sent))
    done(journal.started(sent, execution_id, how))
    done(journal.ended(view, success(execution_id)))


def left_by_a_crash(path: Path) -> bytes:
    """The bytes of a run that ended in the middle of things."""
    with opened(path) as journal:
        refresh(journal)
        assert is_first(journal.intended(intent(DAILY, "u")))
    return path.read_bytes()


def is_first(claim: Flow[None]) -> bool:
    """A claim counts, or has come after another's."""
    try:
        done(claim)
    except JournalError as failure:
        assert "Another process has recorded a refresh" in str(failure)
        return False
    return True


def known(store: Store | Path, label: str | None = None) -> dict[str, tuple[str, str | None, bool]]:
    """The state of each view for the next call: its claim, its execution, and whether it is settled."""
    with opened(store, label) as journal:
        return {name: (each.token, each.execution_id, each.is_settled) for name, each in journal.records.views.items()}


def refused(path: Path, why: str) -> str:
    """The file cannot be opened, for this reason, and is left byte for byte as it was; what the error says."""
    before, said = path.read_bytes(), ""
    for _ in range(2):
        with pytest.raises(JournalError, match=why) as caught, opened(path):
            pass
        assert caught.value.path == path
        said = str(caught.value)
    assert path.read_bytes() == before
    return said


class Lines(list[str]):
    """The simplest store of a caller's own."""

    def read(self) -> Iterable[str]:
        """All lines."""
        return list(self)


# From call to call


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"journal": "dune-matviews", "version": 2, "ru'])
def test_a_new_journal_knows_nothing(path: Path, content: bytes | None) -> None:
    """A file that is missing, empty, or was cut within its first line is a new journal."""
    if content is not None:
        path.write_bytes(content)
    assert known(path) == {}
    assert known(path) == {}
    assert len(path.read_bytes().splitlines()) == 1


def test_the_next_call_is_told_what_was_written(path: Path) -> None:
    """The next call reads the records of the previous one, and adds to them."""
    left_by_a_crash(path)
    assert known(path) == {BASE: ("t", "E1", True), DAILY: ("u", None, False)}
    with opened(path) as journal:
        done(journal.started(intent(DAILY, "u"), "E2", "inferred"))
    assert known(path)[DAILY] == ("u", "E2", False)


def test_a_finished_file_begins_afresh(path: Path) -> None:
    """Once every view has ended, a call without a label starts another run, and old lines stay."""
    with opened(path) as journal:
        refresh(journal)
        done(journal.finished())
        done(journal.finished())
    before = path.read_bytes()
    assert before.count(b'"finished"') == 1
    assert known(path) == {}
    assert path.read_bytes().startswith(before)


def test_a_view_that_ends_does_not_end_the_run_of_another(path: Path) -> None:
    """Two refreshes in one file: it is finished with the last of them."""
    with opened(path) as journal:
        sent = intent()
        done(journal.intended(sent))
        done(journal.started(sent, "E1", "response"))
        done(journal.intended(intent(DAILY, "u")))
        done(journal.ended(BASE, success(), finished=True))
    assert known(path) == {BASE: ("t", "E1", True), DAILY: ("u", None, False)}
    with opened(path) as journal:
        done(journal.started(intent(DAILY, "u"), "E2", "response"))
        done(journal.ended(DAILY, success("E2"), finished=True))
    assert known(path) == {}


def test_a_store_of_ones_own_is_one_run_for_good() -> None:
    """An object is never finished: its records of a view stay."""
    store = Lines()
    with opened(store) as journal:
        refresh(journal)
        done(journal.finished())
    assert known(store) == {BASE: ("t", "E1", True)}


@pytest.mark.parametrize("kind", ["path", "object"])
def test_an_end_is_recorded_once(path: Path, kind: str) -> None:
    """A second observer of an end finds it already recorded."""
    store: Store | Path = path if kind == "path" else Lines()
    with opened(store) as journal:
        refresh(journal)
        done(journal.ended(BASE, success()))
    done(journal.ended(BASE, success()))
    with opened(store) as journal:
        assert journal.records.lines == 4


def test_a_handle_does_not_end_what_others_have_begun_since(path: Path) -> None:
    """The end of an execution that a handle sees late changes nothing about the run that has followed."""
    late = of(path)
    done(late.opened())
    sent = intent()
    done(late.intended(sent))
    done(late.started(sent, "E1", "response"))
    late.close()
    with opened(path) as journal:
        done(journal.ended(BASE, success(), finished=True))
    with opened(path) as journal:
        done(journal.intended(intent(token="u")))
    before = path.read_bytes()
    done(late.ended(BASE, success(), finished=True))
    assert path.read_bytes() == before


def test_a_handle_writes_to_no_other_file(path: Path) -> None:
    """A file that has replaced the journal meanwhile is left unchanged."""
    left_by_a_crash(path)
    late = of(path)
    done(late.opened())
    done(late.started(intent(DAILY, "u"), "E2", "response"))
    late.close()
    path.write_bytes(b"Buy milk.\n")
    with pytest.raises(JournalError, match="no JSON"):
        done(late.ended(DAILY, success("E2")))
    assert path.read_bytes() == b"Buy milk.\n"


def test_an_end_is_recorded_where_the_start_could_not_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full for a moment loses no result."""
    with opened(path) as journal:
        sent = intent()
        done(journal.intended(sent))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", no_room)
            with pytest.raises(JournalError, match="No space left"):
                done(journal.started(sent, "E1", "response"))
        done(journal.ended(BASE, success()))
    assert known(path) == {BASE: ("t", "E1", True)}


def no_room(descriptor: int) -> None:
    """A full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_clock_is_for_people(path: Path) -> None:
    """Order in the file is order in time: a clock that was set back a day changes nothing."""
    early = Journal(path, wall=lambda: MOMENT.timestamp() - 86_400)
    with opened(path) as journal:
        done(journal.intended(intent()))
    done(early.opened())
    done(early.refused(intent(), "400"))
    done(early.intended(intent(token="u", replaces="t")))
    early.close()
    assert known(path) == {BASE: ("u", None, False)}
    assert [json.loads(line)["at"][:10] for line in path.read_text("ascii").splitlines()] == ["2026-01-31"] * 2 + [
        "2026-01-30"
    ] * 2


# Claims


def test_each_permit_is_a_claim_of_its_own(path: Path) -> None:
    """A sender replaces its own claim at each attempt, so nobody can replace it unnoticed."""
    with opened(path) as journal:
        sent = intent()
        assert is_first(journal.intended(sent))
        assert is_first(journal.intended(sent))
        assert (sent.token != "t", sent.replaces) == (True, "t")
        assert not is_first(journal.intended(intent(token="u", replaces="t")))
    assert known(path) == {BASE: (sent.token, None, False)}


def test_two_calls_on_one_object_cannot_both_send() -> None:
    """The second of two claims reads that it is second, whatever it had read before."""
    store = Lines()
    with opened(store) as one, opened(store) as two:
        assert is_first(two.intended(intent(token="second")))
        assert not is_first(one.intended(intent(token="first")))
        assert not is_first(one.followed(intent(token="first"), "E1", "adopted"))
    with opened(store) as three:
        done(three.refused(intent(token="second"), "it was never accepted"))
        assert is_first(three.intended(intent(token="third", replaces="second")))
        assert not is_first(two.intended(intent(token="second")))


def test_two_calls_that_find_an_object_empty_begin_one_run() -> None:
    """A second header hides no record of the first run."""

    class Slow(Lines):
        def append(self, line: str) -> None:
            """Let another call be quicker, once."""
            if not self:
                super().append(line)
                with opened(self) as other:
                    refresh(other)
            super().append(line)

    assert known(Slow()) == {BASE: ("t", "E1", True)}


# Stores of a caller's own


class Broken(Lines):
    """A store that fails from some call on."""

    def __init__(self, appends: float = float("inf"), reads: float = float("inf")) -> None:
        super().__init__()
        self.appends, self.reads = appends, reads

    def read(self) -> Iterable[str]:
        """All lines, or an error."""
        self.reads -= 1
        if self.reads < 0:
            raise RuntimeError("the database has gone away")
        return super().read()

    def append(self, line: str) -> None:
        """Add a line, or fail."""
        self.appends -= 1
        if self.appends < 0:
            raise RuntimeError("the database has gone away")
        super().append(line)

    def __repr__(self) -> str:
        return "<our table>"


@pytest.mark.parametrize("store", [Broken(appends=0), Broken(reads=0), Broken(reads=1)])
def test_what_a_store_raises_is_a_journal_error(store: Broken) -> None:
    """If a caller's store raises, the error names the store and has the failure as its cause."""
    with pytest.raises(JournalError, match="The journal <our table> cannot be used: the database has gone") as caught:
        known(store)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.path is None


def test_a_claim_that_cannot_be_recorded_is_none() -> None:
    """If the intent cannot be appended or read back, nothing may be sent."""
    for store in (Broken(appends=1), Broken(reads=2)):
        with opened(store) as journal, pytest.raises(JournalError):
            done(journal.intended(intent()))


def test_a_store_that_does_not_keep_what_it_takes_is_refused() -> None:
    """A store whose lines cannot be read back is not a journal."""

    class Forgetful(Lines):
        def append(self, line: str) -> None:
            """Forget the line."""

    with pytest.raises(JournalError, match="what was appended to it is not in what is read from it"):
        known(Forgetful())


@pytest.mark.parametrize("lines", ["{", [b"\xff"], [5], 5])
def test_a_store_that_hands_out_something_else_is_refused(lines: object) -> None:
    """Records other than lines of text are rejected."""

    class Strange(Lines):
        def read(self) -> Iterable[str]:
            """Something else."""
            return lines  # type: ignore[return-value]

    with pytest.raises(JournalError, match="cannot be used"):
        known(Strange())


# Files that are left alone


@pytest.mark.parametrize(
    "content",
    [
        b"# Notes\n\nBuy milk.\n",
        b"Buy milk",
        b'{"a": 1}\n',
        b"[]\n",
        b'{"journal": "mine", "version": 2, "run": null}\n',
        b'{"journal": "dune-matviews", "version": 2}\n',
        b'{"journal": "dune-matviews", "version": 3, "run": null}\n',
        b'{"journal": "mine", "ver',
        b"\x89PNG\r\n\x1a\n\x00",
        "ÿ\n".encode("utf-16"),
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_foreign_file_is_refused(path: Path, content: bytes) -> None:
    """A file that does not begin as a journal does is never written to, whether or not it has whole lines."""
    path.write_bytes(content)
    refused(path, "cannot be used: ")


def test_a_damaged_line_is_refused_by_its_number(path: Path) -> None:
    """An invalid event is damage, at any position."""
    lines = left_by_a_crash(path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"event": "postponed"}\n', *lines[3:]]))
    refused(path, "line 4: no event that is known")


OLD = [
    {"journal": "dune-matviews", "version": 1, "views": {BASE: [], DAILY: [BASE]}, "at": "2025-01-31T06:00:00+00:00"},
    {"event": "intended", "view": BASE, "at": "2025-01-31T06:00:01+00:00"},
    {"event": "started", "view": BASE, "execution_id": "01JJX", "at": "2025-01-31T06:00:02+00:00"},
    {"event": "started", "view": DAILY, "execution_id": "01JJY", "at": "2025-01-31T06:00:02+00:00"},
    {"event": "ended", "view": BASE, "end": {"outcome": "succeeded"}, "at": "2025-01-31T06:00:09+00:00"},
    {"event": "started", "view": "another", "execution_id": "01JJZ", "at": "2025-01-31T06:00:10+00:00"},
]


def old(path: Path, *more: dict[str, object]) -> bytes:
    """A file of the first version of the format."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*OLD, *more]), "utf-8")
    return path.read_bytes()


def test_an_unfinished_file_of_version_1_is_refused_with_its_executions(path: Path) -> None:
    """Executions left by an older format are named so that they can be followed, and the file is rejected."""
    old(path)
    said = refused(path, "an unfinished run in an older format")
    assert "Follow one of them with attach(): 01JJY, 01JJZ." in said


def test_a_finished_file_of_version_1_begins_afresh(path: Path) -> None:
    """A file of an older version of the package whose run is over can go on to be used."""
    before = old(path, {"event": "finished"})
    left_by_a_crash(path)
    assert known(path) == {BASE: ("t", "E1", True), DAILY: ("u", None, False)}
    assert path.read_bytes().startswith(before)


def test_a_file_that_may_not_be_written_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not let the file be opened for writing, the error says so. (To root it lets any.)"""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(file_store, "open", forbidden, raising=False)
    with pytest.raises(JournalError, match="Permission denied"):
        known(path)


def no_folder(path: Path) -> Path:
    """A path in a folder that is not there."""
    return path.parent / "missing" / "refresh.jsonl"


def a_folder(path: Path) -> Path:
    """A path at which there is a folder."""
    path.mkdir()
    return path


def a_pipe(path: Path) -> Path:
    """A path at which there is a named pipe."""
    os.mkfifo(path)
    return path


@posix
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (no_folder, "No such file or directory"),
        (a_folder, "Is a directory"),
        (a_pipe, "not a regular file"),
        (lambda path: Path(os.devnull), "not a regular file"),
        (lambda path: path.with_name("x" * 300), "File name too long"),
        (lambda path: path.with_name("\0"), "null byte"),
    ],
)
def test_what_is_no_file_of_ours_to_write_is_refused(path: Path, made: Callable[[Path], Path], why: str) -> None:
    """A journal must be a writable regular file; otherwise the error gives the reason."""
    unusable = made(path)
    with pytest.raises(JournalError, match=why) as caught:
        known(unusable)
    assert caught.value.path == unusable


def test_the_error_survives_pickling(path: Path) -> None:
    """An error from a worker process arrives complete in its parent."""
    copy = pickle.loads(pickle.dumps(JournalError("The journal is damaged.", path=path)))
    assert (str(copy), copy.path) == ("The journal is damaged.", path)


# Wherever it is cut, whatever is damaged


@pytest.fixture(scope="module")
def unflushed_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One path for all the examples of a property, which need not wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield tmp_path_factory.mktemp("journals") / "refresh.jsonl"


def test_a_cut_at_any_byte_loses_only_the_line_that_it_cuts(unflushed_path: Path) -> None:
    """Cut at any byte, the file yields its whole lines, and accepts and yields another."""
    unflushed_path.unlink(missing_ok=True)
    with opened(unflushed_path) as journal:
        refresh(journal)
        done(journal.finished())
    whole = unflushed_path.read_bytes()
    told: list[dict[str, tuple[str, str | None, bool]]] = [{}, {}, {BASE: ("t", None, False)}]
    told += [{BASE: ("t", "E1", False)}, {BASE: ("t", "E1", True)}, {}]
    for cut in range(len(whole) + 1):
        unflushed_path.write_bytes(whole[:cut])
        survived = whole[:cut].count(b"\n")
        assert known(unflushed_path) == told[survived]
        with opened(unflushed_path) as journal:
            assert is_first(journal.intended(intent(DAILY, "u")))
        assert known(unflushed_path) == told[survived] | {DAILY: ("u", None, False)}


garbage = st.binary(min_size=1).filter(lambda line: line.strip() and line[:1] != b"{" and b"\n" not in line)


@given(garbage=garbage, place=st.integers(0, 4), replaces=st.integers(0, 1))
def test_garbage_between_the_lines_is_refused(unflushed_path: Path, garbage: bytes, place: int, replaces: int) -> None:
    """A line of garbage, put before or in place of any whole line, is found, and nothing is written to the file."""
    unflushed_path.unlink(missing_ok=True)
    lines = left_by_a_crash(unflushed_path).splitlines(keepends=True)
    lines[place : place + replaces] = [garbage + b"\n"]
    unflushed_path.write_bytes(b"".join(lines))
    refused(unflushed_path, "cannot be used: ")


def test_a_byte_that_is_no_text_is_refused(unflushed_path: Path) -> None:
    """One flipped bit that leaves ASCII, anywhere before the last newline, is found; nothing is written to the file."""
    unflushed_path.unlink(missing_ok=True)
    whole = left_by_a_crash(unflushed_path)
    for place in range(0, len(whole) - 1, 7):
        content = bytearray(whole)
        content[place] ^= 0x80
        unflushed_path.write_bytes(content)
        refused(unflushed_path, "cannot be used: ")


# One call at a time

HOLDER = """
import sys
from pathlib import Path
from dune_matviews._execution.journal import Journal
from dune_matviews._flow.drivers import run
journal = Journal(Path(sys.argv[1]), wall=lambda: 0.0)
run(journal.opened(), None)
print("ready", flush=True)
sys.stdin.readline()
journal.close()
print("closed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in a call with the journal, until it reads a line."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@posix
def test_another_process_is_kept_out_until_the_call_is_over(holder: subprocess.Popen[str], path: Path) -> None:
    """A journal that a call works with cannot be opened by another one; once the call is over, it can."""
    assert "Wait for its end, or use another file" in refused(path, "another run is using it")
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "closed\n"
    assert known(path) == {}
    assert holder.poll() is None


@posix
def test_a_killed_process_leaves_no_lock(holder: subprocess.Popen[str], path: Path) -> None:
    """The journal of a process that was killed with SIGKILL can be opened at once."""
    holder.kill()
    holder.wait()
    assert known(path) == {}


@posix
def test_two_calls_of_one_process_are_kept_apart(path: Path) -> None:
    """The lock is the call's, not the process's: a second client in the process is refused as well."""
    with opened(path) as journal:
        refused(path, "another run is using it")
        done(journal.intended(intent()))
    assert known(path) == {BASE: ("t", None, False)}


@posix
def test_a_handle_holds_no_lock(path: Path) -> None:
    """After the call anybody may use the file; while somebody does, an end is not written."""
    with opened(path) as late:
        sent = intent()
        done(late.intended(sent))
        done(late.started(sent, "E1", "response"))
    with opened(path), pytest.raises(JournalError, match="another run is using it"):
        done(late.ended(BASE, success()))
    done(late.ended(BASE, success()))
    assert known(path) == {BASE: ("t", "E1", True)}


FORKING = """
import os, signal, sys
from pathlib import Path
from dune_matviews._execution.journal import Journal
from dune_matviews._flow.drivers import run
journal = Journal(Path(sys.argv[1]), wall=lambda: 0.0)
run(journal.opened(), None)
heard, said = os.pipe()
if child := os.fork():
    os.read(heard, 1)
    print(child, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    journal.close()
    print("closed", flush=True)
    os.waitpid(child, 0)
else:
    os.write(said, b"1")
    sys.stdin.read()
    try:
        run(journal.finished(), None)
    except Exception as failure:
        sys.stderr.write(type(failure).__name__)
"""


@posix
@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_forked_child_does_not_keep_the_file(path: Path, end: str) -> None:
    """A process forked during a call locks nobody out after the call, however it ends, and writes nothing."""
    command = [sys.executable, "-W", "error", "-c", FORKING, str(path), end]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        child = int(process.stdout.readline())
        if end == "closed":
            assert process.stdout.readline() == "closed\n"
        else:
            assert process.wait() == -signal.SIGKILL
        assert known(path) == {}
        os.kill(child, 0)
        process.stdin.close()
        assert process.stderr.read() == "JournalError"
    assert known(path) == {}


def test_closing_twice_is_fine(path: Path) -> None:
    """A journal may be closed again."""
    with opened(path) as journal:
        journal.close()
    of(path).close()


# What is on disk, and when


def test_every_line_is_flushed_before_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is flushed once, after all of it was written."""
    flushed: list[int] = []
    with opened(path) as journal:
        monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(path.read_bytes().count(b"\n")))
        refresh(journal)
        done(journal.refused(intent(), "400"))
        done(journal.followed(intent(token="v", replaces="t"), "E2", "adopted"))
        done(journal.finished())
    assert flushed == [2, 3, 4, 5, 6, 7]


@posix
def test_a_new_file_is_flushed_with_its_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new journal survives a power failure together with its folder; an existing one is not created anew."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    for expected in ({path.parent.stat().st_ino, ...}, set[object]()):
        known(path)
        assert {*flushed} == {each if each is not ... else path.stat().st_ino for each in expected}
        flushed.clear()


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may become larger."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_told(path: Path) -> None:
    """A line that does not fit is an error, and half of it costs nothing that was written, before or after."""
    before = left_by_a_crash(path)
    with opened(path) as journal:
        sent = intent(DAILY, "u")
        with room(len(before) + 10), pytest.raises(JournalError, match="File too large") as caught:
            done(journal.started(sent, "E2", "response"))
        assert isinstance(caught.value.__cause__, OSError)
        assert len(path.read_bytes()) == len(before) + 10
        done(journal.started(sent, "E2", "response"))
    assert known(path)[DAILY] == ("u", "E2", False)
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize("size", [0, 10, 60])
def test_a_header_that_does_not_fit_can_be_written_again(path: Path, size: int) -> None:
    """Where there is no room for the header, the file is as good as new once there is."""
    with room(size), pytest.raises(JournalError, match="File too large"):
        known(path)
    assert path.stat().st_size == size
    assert known(path) == {}


def test_what_is_interrupted_can_be_written_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in the middle of a write, half a line is cut before the next."""

    def interrupted(descriptor: int) -> None:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - 5)
        raise KeyboardInterrupt

    with opened(path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                done(journal.intended(intent()))
        assert is_first(journal.intended(intent(DAILY, "u")))
    assert known(path) == {DAILY: ("u", None, False)}


def test_a_line_costs_the_same_however_many_there_are(unflushed_path: Path) -> None:
    """In a file of 1,000 views, each with its three lines, a line costs no more work than in one of 100."""
    small, large = writing(unflushed_path, 100), writing(unflushed_path, 1000)
    assert large <= 1.05 * small


def writing(path: Path, count: int) -> float:
    """Calls of functions, ours and those that ours call, for each of *count* views that one call refreshes."""
    path.unlink(missing_ok=True)

    def write() -> None:
        with opened(path) as journal:
            for number in range(count):
                refresh(journal, f"dune.my_team.result_{number}", f"t{number}", f"E{number}")
        assert len(known(path)) == count

    return calls(write).total() / count
