"""The command `python -m tools.generate`: its output, its comparison and its errors.
Must not know what the generated client does."""

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.spec.conftest import MENDED, add_action
from tools.document import Document, ToolError
from tools.generate import (
    CONFIG,
    ROOT,
    SPEC_FILES,
    TEMPLATES,
    contents,
    main,
    produce,
    require_all_operations,
    require_same,
)


def drift_of(fresh: Path, folder: Path) -> list[str]:
    """Return the lines that report the drift of *folder*."""
    with pytest.raises(ToolError) as caught:
        require_same(fresh, folder)
    return str(caught.value).splitlines()


def replace_in(path: Path, old: str, new: str) -> None:
    """Edit a file as a person would."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_committed_client_is_up_to_date(tmp_path: Path) -> None:
    """`generated/` is, byte for byte, the output for the committed spec files on this Python."""
    produce(ROOT, tmp_path / "generated")
    require_same(tmp_path / "generated", ROOT / "generated")


def test_provenance_tells_inputs_and_tools(original: Path, fresh: Path) -> None:
    """`provenance.yaml` has the hash of each input and the version of each tool."""
    assert yaml.safe_load((fresh / "provenance.yaml").read_text("utf-8")) == {
        "sha256": {
            name: hashlib.sha256((original / name).read_bytes()).hexdigest()
            for name in (*SPEC_FILES, CONFIG, *TEMPLATES)
        },
        "versions": {name: version(name) for name in ("openapi-python-client", "oas-patch", "ruff")},
    }


def test_every_template_is_known() -> None:
    """No template of ours is left out of `provenance.yaml`."""
    folder = (ROOT / TEMPLATES[0]).parent
    assert sorted(path.relative_to(ROOT).as_posix() for path in folder.iterdir()) == list(TEMPLATES)


def test_the_package_is_typed_and_complete(fresh: Path) -> None:
    """The package has an empty `py.typed`, a module for each operation and a readable class for each schema."""
    assert (fresh / "dune_api" / "py.typed").read_bytes() == b""
    modules = {path.relative_to(fresh).as_posix() for path in fresh.glob("dune_api/*/*/*.py")}
    assert {name for name in modules if not name.endswith("__init__.py")} == {
        "dune_api/api/account/get_whoami.py",
        "dune_api/api/executions/cancel_execution.py",
        "dune_api/api/executions/get_execution_status.py",
        "dune_api/api/materialized_views/delete_materialized_view.py",
        "dune_api/api/materialized_views/get_materialized_view.py",
        "dune_api/api/materialized_views/list_materialized_views.py",
        "dune_api/api/materialized_views/refresh_materialized_view.py",
        "dune_api/api/materialized_views/upsert_materialized_view.py",
        "dune_api/api/queries/get_query_pipeline.py",
        "dune_api/api/usage/get_usage.py",
    }
    assert {path.stem for path in fresh.glob("dune_api/models/*.py")} == {
        "__init__",
        "billing_period",
        "cancel_execution_response",
        "delete_response",
        "error_400",
        "error_401",
        "error_403",
        "error_404",
        "error_500",
        "error_detail",
        "execution_error",
        "execution_status_response",
        "matview_list_element",
        "matview_list_response",
        "matview_response",
        "matview_schedule",
        "pipeline",
        "pipeline_execution",
        "pipeline_node",
        "pipeline_refresh",
        "pipeline_response",
        "refresh_request",
        "refresh_response",
        "result_metadata",
        "syntax_error_metadata",
        "upsert_request",
        "upsert_response",
        "usage_request",
        "usage_response",
        "who_am_i_response",
    }


def test_generating_is_repeatable_and_replaces_everything(
    repository: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second generation gives the same bytes, without ruff on the PATH, and leaves no old file."""
    folder = repository / "generated"
    (folder / "dune_api" / "client.py").write_text("edited by hand")
    (folder / "dune_api" / "types.py").unlink()
    (folder / "stray.py").write_text("left behind")
    monkeypatch.setenv("PATH", str(repository))
    assert main([], repository) == 0
    assert contents(folder) == contents(fresh)


def test_check_fails_on_any_drift_and_changes_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` names each changed, missing and new file and the command that fixes them, and changes nothing."""
    folder = repository / "generated"
    (folder / "dune_api" / "client.py").write_text("edited by hand")
    (folder / "dune_api" / "types.py").unlink()
    (folder / "dune_api" / "api" / "stray.py").write_text("")
    before = contents(folder)
    assert main(["--check"], repository) == 1
    assert contents(folder) == before
    assert capsys.readouterr().err.splitlines() == [
        "error: generated/ does not match the spec:",
        "  new: generated/dune_api/api/stray.py",
        "  changed: generated/dune_api/client.py",
        "  missing: generated/dune_api/types.py",
        "To fix it: make generate",
    ]


def test_a_changed_file_is_drift(repository: Path, fresh: Path) -> None:
    """One byte that differs is reported as a changed file."""
    with (repository / "generated" / "provenance.yaml").open("a") as file:
        file.write("\n")
    assert "  changed: generated/provenance.yaml" in drift_of(fresh, repository / "generated")


def test_a_missing_file_is_drift(repository: Path, fresh: Path) -> None:
    """A generated file that is gone is reported, also an empty one."""
    (repository / "generated" / "dune_api" / "py.typed").unlink()
    assert "  missing: generated/dune_api/py.typed" in drift_of(fresh, repository / "generated")


def test_a_missing_folder_is_drift(repository: Path, fresh: Path) -> None:
    """Where nothing is generated yet, every file is reported as missing."""
    shutil.rmtree(repository / "generated")
    assert "  missing: generated/dune_api/__init__.py" in drift_of(fresh, repository / "generated")


def test_a_new_file_is_drift(repository: Path, fresh: Path) -> None:
    """A file outside the generator's output is reported, in any folder and under any name."""
    (repository / "generated" / ".hidden").write_text("")
    assert "  new: generated/.hidden" in drift_of(fresh, repository / "generated")


def test_only_pythons_cache_is_no_drift(repository: Path, fresh: Path) -> None:
    """Python's caches in `__pycache__` are ignored."""
    cache = repository / "generated" / "dune_api" / "__pycache__"
    cache.mkdir()
    (cache / "client.cpython-311.pyc").write_bytes(b"\0")
    require_same(fresh, repository / "generated")


def test_a_warning_of_the_generator_fails(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the generator drops an operation with a mere warning, nothing is replaced, and the warning is shown."""
    replace_in(repository / "overlay.yaml", "      type: integer\n", "      type: integer\n      default: many\n")
    before = contents(repository / "generated")
    assert main([], repository) == 1
    assert contents(repository / "generated") == before
    told = capsys.readouterr()
    assert "rule: POST /v1/execution/{execution_id}/cancel: the key is the security scheme" in told.out
    assert told.err.startswith("error: openapi-python-client rejects the corrected spec, or warns about it:")
    assert "WARNING parsing GET /v1/materialized-views" in told.err


def test_a_lost_operation_fails(tmp_path: Path, additions: Document) -> None:
    """Of two operations with one id the generator silently overwrites the first, which is noticed here."""
    modules = tmp_path / "api" / "executions"
    modules.mkdir(parents=True)
    for name in ("__init__.py", "one_id_for_both.py"):
        (modules / name).touch()
    with pytest.raises(ToolError, match="the spec has 9 operations, but the client has 1"):
        require_all_operations(additions, tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_correction_that_does_not_fit_fails(
    repository: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A correction that finds nothing to correct ends the command with its reason, and nothing is replaced."""
    add_action(repository)
    (repository / "openapi.yaml").write_text(MENDED, "utf-8")
    before = contents(repository / "generated")
    assert main(arguments, repository) == 1
    assert contents(repository / "generated") == before
    assert capsys.readouterr().err.startswith("error: overlay.yaml: an action on POST /v1/materialized-views/{name}/")


@pytest.mark.parametrize("name", [*SPEC_FILES, CONFIG, *TEMPLATES])
def test_an_absent_spec_file_is_one_message(name: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read ends the command with a message that names it."""
    (repository / name).unlink()
    assert main([], repository) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert name in message
