"""The command `make update`: the effect of each kind of source on a repository, and the report.
Must not know how sources are merged or compared."""

import json
import re
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml

from tests.spec.conftest import MENDED, PAGE, add_action
from tests.spec.full import full_spec, part_of
from tests.spec.pages import CALL, PROSE, SPEC, page
from tools import update as command
from tools.document import Document, ToolError, operations, parse, shape
from tools.facts import main as check_facts
from tools.generate import ROOT, contents
from tools.generate import main as generate
from tools.sources import RECORD, digest, read_watched
from tools.update import SUMMARY, main, update
from tools.wrapper import CONTRACT, READERS

TODAY = date(2031, 2, 3)


@pytest.fixture
def give(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put sources into."""
    return tmp_path_factory.mktemp("sources")


@pytest.fixture
def nothing_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update generates an empty client, for tests of the report alone: the real one takes a second."""
    monkeypatch.setattr(command, "write", lambda document, root, into: into.mkdir())


def put(folder: Path, name: str, text: str) -> str:
    """Write a source."""
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def state(root: Path) -> dict[str, tuple[bytes, int]]:
    """Each file of *root*, with its content and when it was written."""
    return {name: (content, (root / name).stat().st_mtime_ns) for name, content in contents(root).items()}


def record(root: Path) -> Document:
    """The record of where the spec came from."""
    return parse(RECORD, (root / RECORD).read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (PAGE, page()),
        ("from-elsewhere.md", page()),
        ("dune.yaml", SPEC),
        ("dune.json", json.dumps(yaml.safe_load(SPEC))),
        ("sorted.yaml", yaml.safe_dump(yaml.safe_load(SPEC))),
    ],
)
def test_the_same_again_touches_nothing(
    name: str, text: str, repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source with known contents, in any form and from any place, writes no file, not even the record."""
    before = state(repository)
    assert main([put(give, name, text)], repository) == 0
    assert state(repository) == before
    assert capsys.readouterr().out == "Dune's spec is the same as before: nothing was changed.\n"


def test_a_page_whose_sentence_on_tiers_lost_small(
    repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is taken, marked as breaking, and both the update and the check say what to change where."""
    source = put(give, PAGE, page(SPEC.replace("Accepts `small`,", "Accepts")))
    assert main([source], repository) == 0
    told = capsys.readouterr().out
    assert "1 change, 1 of them to look at, 1 breaking for users of dune_matviews." in told
    described = "the description of property `performance` is"
    assert f"- **breaking**: `matviews.MatviewsRefreshRequest`: {described}" in told
    assert "## To fix before `make check` passes" in told
    assert told.endswith("\n`make check` fails until that is mended.\n")
    assert "left to do" not in told
    assert generate(["--check"], repository) == 0
    assert check_facts(repository) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert "no longer says 'Accepts `small`, `medium`, `large`.' of `performance`" in error
    assert "take the special case out of wrapper/dune_matviews/_tiers.py, docs/client.md and the sandbox" in error
    assert error.removeprefix("error: ") in told


@pytest.mark.usefixtures("nothing_generated")
def test_a_page_with_a_renamed_property(repository: Path, give: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken, marked as breaking, and the check names the reader that has to follow."""
    source = put(give, PAGE, page(SPEC.replace("execution_id:", "executionId:")))
    assert main([source], repository) == 0
    told = capsys.readouterr().out
    assert (
        "- **breaking**: `matviews.MatviewsRefreshResponse`: property `execution_id` removed (it was `string`)" in told
    )
    assert "- `matviews.MatviewsRefreshResponse`: property `executionId` added: `string`" in told
    assert check_facts(repository) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert f"which {READERS} reads as RefreshResponse.execution_id. It has `executionId`" in error
    assert f"Let the code and `READS` in {CONTRACT} follow" in error


def test_a_full_spec_in_json(repository: Path, give: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken completely, our duplicate entries are dropped and listed, and every check passes."""
    source = put(give, "dune.json", json.dumps(full_spec()))
    assert main([source], repository) == 0
    told = capsys.readouterr().out
    published = parse("openapi.yaml", (repository / "openapi.yaml").read_text("utf-8"))
    assert json.dumps(published) == json.dumps(full_spec())
    all_of_it = (repository / SUMMARY).read_text("utf-8")
    ours = [str(each) for each in operations(parse("", (ROOT / "additions.yaml").read_text("utf-8")))]
    theirs = {shape(str(each)): str(each) for each in operations(full_spec())}
    for each in set(ours) - {"GET /whoami"}:
        assert f"- `{theirs[shape(each)]}`: published now" in told
        assert f"- `additions.yaml: {each} is published now; our entry is dropped`" in all_of_it
    assert "none of them to look at, none breaking" in told
    assert "To mend" not in told
    assert told.endswith("\nWhat is left to do: make check, make test.\n")
    # On the terminal, what nobody has to read is a number.
    assert "schema added" not in told
    assert re.search(r"^And \d+ other changes .*, \d+ notes on .*, \d+ lines on what .* did\.$", told, re.M)
    assert len(told.splitlines()) < 60 < len(all_of_it.splitlines())
    assert generate(["--check"], repository) == 0
    assert check_facts(repository) == 0
    entry = {"from": "dune.json", "operations": sorted(str(each) for each in operations(full_spec()))}
    assert [{key: each[key] for key in entry} for each in record(repository)["sources"]] == [entry]
    # And once more: there is nothing to do.
    before = state(repository)
    assert main([source], repository) == 0
    assert state(repository) == before


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("page.md", PROSE, "page.md has no OpenAPI block"),
        ("page.md", "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "page.md is an HTML page"),
        ("page.md", None, "there is no file "),
        ("page.md", page(MENDED), "Dune may have mended this itself"),
        (
            PAGE,
            page(SPEC.replace("/refresh:", "/renew:"), call=CALL.replace("refresh", "renew")),
            f"openapi.yaml lacks {CALL}, the operation that this project exists for",
        ),
        ("dune.yaml", SPEC.replace("matviews.MatviewsRefreshResponse:", "models.Renamed:"), "which it does not have"),
        ("dune.yaml", SPEC.replace("type: object", "type: thing"), "openapi-python-client rejects the corrected spec"),
        ("dune.yaml", SPEC.replace("parameters:\n", "parameters:\n      - 7\n"), "is not laid out as OpenAPI has it"),
    ],
)
def test_a_refused_source_leaves_everything_as_it_was(
    name: str, text: str | None, reason: str, repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For any faulty source, the reason is reported, and no file is written, at any stage of the work."""
    source = str(give / name) if text is None else put(give, name, text)
    add_action(repository)
    before = state(repository)
    assert main([source], repository) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert reason in told
    assert told.endswith("\nNothing was changed.\n")
    assert state(repository) == before


def test_one_refused_source_refuses_all_and_hides_nothing(
    repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A good page is not taken beside bad ones, but its contents and their faults are reported."""
    right = put(give, "right.md", page(SPEC.replace("Refreshes a view", "Renews a view")))
    before = state(repository)
    assert main([put(give, "wrong.md", PROSE), right, str(give / "lost.md")], repository) == 1
    told = capsys.readouterr()
    assert f"- `{CALL}`: its summary is `Renews a view` now, and was `Refreshes a view`" in told.out
    assert "error: wrong.md has no OpenAPI block" in told.err
    assert "\nthere is no file " in told.err
    assert state(repository) == before


def test_a_misfit_refuses_all_and_hides_nothing(
    repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If corrections no longer fit, nothing is taken, but each is reported, with all other changes."""
    add_action(repository)
    add_action(repository, reason="Another reason of ours.")
    before = state(repository)
    source = put(give, "page.md", page(MENDED.replace("execution_id:", "executionId:")))
    assert main([source], repository) == 1
    told = capsys.readouterr()
    assert "## Not taken, because a correction does not fit any more" in told.out
    assert "property `execution_id` removed (it was `string`)" in told.out
    assert "<summary>" in told.out  # there is no file to look the rest up in
    for reason in ("A reason of ours.", "Another reason of ours."):
        assert f"  reason: {reason}" in told.err
        assert f"reason: {reason}" in told.out
    assert state(repository) == before


@pytest.mark.usefixtures("nothing_generated")
def test_what_we_described_is_compared_with_what_dune_says(
    repository: Path, give: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If Dune publishes an operation of ours, differences are reported, except in descriptions."""
    status = "GET /v1/execution/{execution_id}/status"
    theirs = part_of(full_spec(), status)
    declared = theirs["components"]["schemas"]["models.GetExecutionStatusResponse"]["properties"]
    del declared["queue_position"]
    declared["priority"] = {"type": "string", "description": "How important it is"}
    assert main([put(give, "status.md", page(theirs, status))], repository) == 0
    told = capsys.readouterr().out
    assert f"- `{status}`: published now" in told
    schema = "`models.GetExecutionStatusResponse`"
    assert f"- **breaking**: {schema}: property `queue_position` removed (it was `integer`)" in told
    assert f"- {schema}: property `priority` added: `string`" in told
    assert "description" not in told
    assert "models.Error400" not in told


@pytest.mark.usefixtures("nothing_generated")
def test_a_source_that_was_here_before_is_told(repository: Path, give: Path) -> None:
    """A replaced text that comes again is reported as older, with its last day."""
    changed = page(SPEC.replace("Refreshes a view", "Renews a view"))
    assert update(repository, [put(give, PAGE, changed)], date(2031, 1, 1)) is not None
    assert record(repository)["sources"][0]["earlier"] == {digest(SPEC): "2031-01-01"}
    summary = update(repository, [put(give, PAGE, page())], TODAY)
    assert summary is not None
    assert f"## Look here\n\n- `{PAGE}` is older than what we have: it is identical to the version" in summary.full()
    assert "until `2031-01-01`" in summary.full()
    assert [*record(repository)["sources"][0]["earlier"].values()] == ["2031-02-03"]


@pytest.mark.usefixtures("nothing_generated")
def test_a_source_that_only_takes_away_is_told(repository: Path, give: Path) -> None:
    """A source that only removes statements is reported as possibly older, whatever else it describes."""
    older = full_spec()
    tier = older["components"]["schemas"]["matviews.MatviewsRefreshRequest"]["properties"]["performance"]
    tier["description"] = "The tier: `medium` or `large`."
    summary = update(repository, [put(give, "dune.json", json.dumps(older))], TODAY)
    assert summary is not None
    assert summary.ages == [
        "`dune.json` may be older than what we have: it only removes parts of the descriptions they share: "
        "`matviews.MatviewsRefreshRequest: the value small of performance`. Look at Dune's page before you merge this."
    ]
    tier["description"] += " Or `huge`."
    summary = update(repository, [put(give, "dune.json", json.dumps(older))], TODAY)
    assert summary is not None
    assert summary.ages == []


def test_without_a_source_dunes_own_pages_are_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and not one alone."""
    seen: list[str] = []

    def reading(place: str) -> None:
        seen.append(place)
        raise ToolError(f"{place} cannot be fetched")

    monkeypatch.setattr(command, "read_source", reading)
    assert main([], repository) == 1
    assert seen == read_watched(ROOT)
    assert len(seen) == 10


def test_pages_come_one_by_one_and_are_recorded(repository: Path, give: Path) -> None:
    """A page adds its operation, and the record has the source and date of each operation."""
    status = "GET /v1/execution/{execution_id}/results"
    summary = update(repository, [put(give, "results.md", page(part_of(full_spec(), status), status))], TODAY)
    assert summary is not None
    assert summary.full().startswith("# Dune's spec as of 2031-02-03\n\nFrom `results.md`. ")
    assert f"- `{status}`: added: `Gets a result`" in summary.full()
    old, new = record(repository)["sources"]
    assert (old["from"], old["when"], old["operations"]) == (PAGE, "2026-11-22", [CALL])
    assert (new["from"], new["when"], new["operations"]) == ("results.md", "2031-02-03", [status])
    assert check_facts(repository) == 0
    assert (repository / "generated/dune_api/api/executions/get_execution_results.py").exists()
    before = state(repository)
    assert update(repository, [str(give / "results.md")], TODAY) is None
    assert state(repository) == before


def test_a_spec_edited_by_hand_is_put_right(repository: Path, give: Path) -> None:
    """A manual edit of openapi.yaml is gone after an update, even one without meaning."""
    before = contents(repository)
    with (repository / "openapi.yaml").open("a") as file:
        file.write("# edited\n")
    assert update(repository, [put(give, PAGE, page())], date(2026, 11, 22)) is not None
    after = contents(repository)
    assert b"The operations and schemas are what they were." in after.pop(SUMMARY.as_posix())
    assert after == before


def test_without_a_spec_all_comes_from_the_sources(repository: Path, give: Path) -> None:
    """If openapi.yaml was deleted, the update starts over, and reproduces it to the byte."""
    before = contents(repository)
    for name in ("openapi.yaml", RECORD):
        (repository / name).unlink()
    assert update(repository, [put(give, PAGE, page())], date(2026, 11, 22)) is not None
    after = contents(repository)
    assert after.pop(SUMMARY.as_posix())
    assert after == before


@pytest.mark.parametrize("failing", range(6))
def test_landing_is_all_or_nothing(
    failing: int, repository: Path, fresh: Path, give: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one of the files cannot be put in place, those before it are put back."""
    monkeypatch.setattr(command, "write", lambda document, root, into: shutil.copytree(fresh, into))
    source = put(give, PAGE, page(SPEC.replace("Refreshes a view", "Renews a view")))
    before = state(repository)
    renamed: list[Path] = []
    rename = Path.rename

    def renaming(self: Path, target: Path) -> Path:
        renamed.append(self)
        if len(renamed) == failing + 1:
            raise OSError("the disk is full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renaming)
    with pytest.raises(OSError, match="the disk is full"):
        update(repository, [source], TODAY)
    assert state(repository) == before


def test_a_bug_is_no_broken_source(repository: Path, give: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record and the summary are written only after the client is generated and the spec checked."""
    monkeypatch.setattr(command, "summarize", lambda *_: 1 / 0)
    before = state(repository)
    with pytest.raises(ZeroDivisionError):
        update(repository, [put(give, "page.md", page(SPEC.replace("Refreshes a view", "Renews a view")))], TODAY)
    assert state(repository) == before
