"""What can be said of the packages for engines without an engine: how they ask for one, and what loads without."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import dune_matviews


def test_airflow_finds_the_provider_before_it_loads_anything() -> None:
    """The entry point tells the connection type and where the classes are, and imports neither Airflow nor httpx."""
    program = (
        "import sys; from importlib.metadata import entry_points; "
        "[found] = entry_points(group='apache_airflow_provider', name='provider_info'); info = found.load()(); "
        "print(info['package-name'], *info['versions'], info['connection-types'][0]['connection-type']); "
        "assert not {'airflow', 'httpx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["dune-matviews", dune_matviews.__version__, "dune"]


@pytest.mark.parametrize(
    "name", ["DuneHook", "RefreshMatviewOperator", "RefreshMatviewsOperator", "matview_task_group"]
)
def test_without_airflow_its_names_say_what_to_install(name: str) -> None:
    """Whoever imports a name reads the command that installs the engine."""
    package = importlib.import_module("dune_matviews.airflow")
    assert name in dir(package)
    with pytest.raises(ImportError, match=r"pip install 'dune-matviews\[airflow\]'"):
        getattr(package, name)


def test_an_airflow_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    """Where an Airflow before 3.3 is installed, the error says which, and which is needed."""
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "__init__.py").touch()
    (tmp_path / "airflow" / "sdk.py").touch()
    metadata = tmp_path / "apache_airflow-3.2.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: apache-airflow\nVersion: 3.2.1\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from dune_matviews.airflow import DuneHook"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: dune_matviews.airflow needs Airflow 3.3 or newer, whose tasks have a state store; "
        "apache-airflow 3.2.1 is installed"
    )


def test_other_names_are_none() -> None:
    """A name that there is not is an AttributeError, as anywhere."""
    package = importlib.import_module("dune_matviews.airflow")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


@pytest.mark.skipif(find_spec("dagster") is not None, reason="Dagster is installed")
def test_without_dagster_its_package_says_what_to_install() -> None:
    """Whoever imports the package reads the command that installs the engine."""
    with pytest.raises(ImportError, match=r"pip install 'dune-matviews\[dagster\]'"):
        importlib.import_module("dune_matviews.dagster")


@pytest.mark.skipif(find_spec("prefect") is not None, reason="Prefect is installed")
def test_without_prefect_importing_says_what_to_install() -> None:
    """Whoever imports the tasks reads the command that installs the engine."""
    with pytest.raises(ImportError, match=r"pip install 'dune-matviews\[prefect\]'"):
        importlib.import_module("dune_matviews.prefect")
