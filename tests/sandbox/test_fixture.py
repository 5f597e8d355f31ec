"""Knows the pytest fixture as a user's project has it.
Must not use the fixture itself: the tests that use it run in a pytest of their own."""

import re
from pathlib import Path

import pytest

from tests.skipping import CONFTEST

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "testing-your-code.md"


@pytest.fixture(autouse=True)
def only_our_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all plugins that are installed here, the process that runs a user's tests loads the sandbox's only."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where `tests.skipping` is


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    """Run the tests in a process of their own: in this one, the modules that they import would be imported twice."""
    return pytester.runpytest_subprocess("-p", "dune_matviews", "-p", "no:cacheprovider")


def test_the_environment_points_at_the_sandbox(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that reads DUNE_API_KEY and DUNE_API_BASE_URL talks to the sandbox, even on a machine behind a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    pytester.makepyfile(
        """
        import os
        import urllib.request

        def test_refresh(dune_sandbox):
            assert dune_sandbox.url == os.environ["DUNE_API_BASE_URL"]
            assert "127.0.0.1,internal.example" == os.environ["no_proxy"]
            url = f"{os.environ['DUNE_API_BASE_URL']}/api/v1/materialized-views/x/refresh"
            headers = {"X-Dune-Api-Key": os.environ["DUNE_API_KEY"]}
            urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=headers)).close()
            assert ["x"] == [charge.name for charge in dune_sandbox.ledger]
            dune_sandbox.advance(0.005)
            assert ["QUERY_STATE_COMPLETED"] == [charge.state for charge in dune_sandbox.ledger]
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_each_test_has_a_sandbox_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixture starts anew for each test, and leaves the environment as it was."""
    monkeypatch.setenv("DUNE_API_KEY", "before")
    monkeypatch.delenv("DUNE_API_BASE_URL", raising=False)
    pytester.makepyfile(
        """
        import os
        import threading
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_fresh(dune_sandbox, turn):
            dune_sandbox.add_view(f"turn {turn}")
            assert () == dune_sandbox.requests

        def test_afterwards():
            assert "before" == os.environ["DUNE_API_KEY"]
            assert "DUNE_API_BASE_URL" not in os.environ
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("sandbox")]
        """
    )
    run(pytester).assert_outcomes(passed=3)


def test_a_fault_that_met_no_request_fails_the_test(pytester: pytest.Pytester) -> None:
    """A test that passes without the fault that it rehearsed fails, and is told which; `Fault()` alone is none."""
    pytester.makepyfile(
        """
        import pytest
        from dune_matviews.sandbox import Fault

        @pytest.fixture
        def dune(dune_sandbox):
            return dune_sandbox

        def test_unmet(dune):
            dune.fail("refresh", Fault(), Fault(status=502, accepted=True))

        def test_no_fault(dune_sandbox):
            dune_sandbox.fail(None, Fault())
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["These faults met no request, *", "  dune_sandbox.fail('refresh', Fault(status=502, accepted=True))"]
    )


def test_a_test_that_failed_is_told_its_own_reason_only(pytester: pytest.Pytester) -> None:
    """Faults that are left over after a failure are no news."""
    pytester.makepyfile(
        """
        from dune_matviews.sandbox import Fault

        def test_broken(dune_sandbox):
            dune_sandbox.fail("refresh", Fault(status=502))
            raise RuntimeError("its own reason")
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*met no request*")


def test_another_fixture_of_that_name_is_left_alone(pytester: pytest.Pytester) -> None:
    """A project with a `dune_sandbox` of its own runs its tests as before."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def dune_sandbox():
            return "mine"

        def test_mine(dune_sandbox):
            assert "mine" == dune_sandbox
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_the_documented_tests_pass(pytester: pytest.Pytester) -> None:
    """The tests in the document pass as they stand, with nothing but the package installed."""
    snippets = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(**{f"test_{number}": snippet for number, snippet in enumerate(snippets)})
    run(pytester).assert_outcomes(passed=5)
