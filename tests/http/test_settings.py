"""The settings of a client: arguments, the environment, defaults, and rejections."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any, get_args

import pytest

from dune_matviews import ConfigurationError, InvalidArgumentError, MatviewsClient, Plan, RequestBudget
from dune_matviews._http.rate_limits import PLANS
from dune_matviews._http.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from where the tests happen to run."""
    for variable in ("DUNE_API_KEY", "DUNE_API_BASE_URL", "DUNE_API_REQUEST_TIMEOUT", "DUNE_PLAN"):
        monkeypatch.delenv(variable, raising=False)


def settings(api_key: Any = "key", base_url: Any = None, timeout: Any = None, plan: Any = "auto") -> Settings:
    """Settings from these arguments."""
    return Settings.gather(api_key, base_url, timeout, plan)


def test_defaults() -> None:
    """With nothing but a key: Dune itself, ten seconds, the smallest plan."""
    found = settings()
    assert (found.base_url, found.timeout) == ("https://api.dune.com/api", 10.0)
    assert found.budget == RequestBudget(low=15, high=40)


def test_the_environment_fills_what_is_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are those of Dune's own Python client."""
    monkeypatch.setenv("DUNE_API_KEY", " from-environment\n")
    monkeypatch.setenv("DUNE_API_BASE_URL", "https://proxy.example/dune")
    monkeypatch.setenv("DUNE_API_REQUEST_TIMEOUT", "2.5")
    found = settings(api_key=None)
    assert found.api_key.reveal() == "from-environment"
    assert (found.base_url, found.timeout) == ("https://proxy.example/dune/api", 2.5)


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments win."""
    monkeypatch.setenv("DUNE_API_KEY", "from-environment")
    monkeypatch.setenv("DUNE_API_BASE_URL", "nonsense")
    monkeypatch.setenv("DUNE_API_REQUEST_TIMEOUT", "nonsense")
    found = settings("passed", "https://a.example", timedelta(minutes=1))
    assert (found.api_key.reveal(), found.base_url, found.timeout) == ("passed", "https://a.example/api", 60.0)


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI systems pass on a variable that they do not have as an empty one."""
    monkeypatch.setenv("DUNE_API_BASE_URL", "")
    monkeypatch.setenv("DUNE_API_REQUEST_TIMEOUT", "")
    assert settings().timeout == 10.0


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.dune.com", "https://api.dune.com/api"),
        ("https://api.dune.com/", "https://api.dune.com/api"),
        ("https://api.dune.com/api", "https://api.dune.com/api"),
        ("https://api.dune.com/api/", "https://api.dune.com/api"),
        ("https://proxy.example:8443/dune/api", "https://proxy.example:8443/dune/api"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/api"),
        ("http://127.8.7.6", "http://127.8.7.6/api"),
        ("http://localhost:8000", "http://localhost:8000/api"),
        ("http://[::1]:8000", "http://[::1]:8000/api"),
    ],
)
def test_base_urls(given: str, used: str) -> None:
    """With or without `/api` and a slash at the end, https anywhere and http to loopback."""
    assert settings(base_url=given).base_url == used


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.dune.com",
        "ftp://api.dune.com",
        "https://",
        "https:///api",
        "https://api.dune.com?key=1",
        "https://api.dune.com#x",
        "https://user:password@api.dune.com",
        "https://api.dune.com:99999",
        "https://api.dune.com:port",
        "https://api.dune.com/a b",
        "https://api.dune.com/../x",
        "https://api.dune.com//x",
        "https://api.dune.com\n",
        "https://dünë.example",
        7,
        "http://api.dune.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://127.0.0.1:80@example.com",
        "http://example.com\\@127.0.0.1",
        "http://localhost.example.com",
        "http://0.0.0.0",
        "http://2130706433",
        "http://127.1",
        "http://[::]",
        "http://[::ffff:8.8.8.8]",
    ],
)
def test_base_urls_that_are_refused(url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that is not http(s), or would expose the key in plain text beyond this machine, is rejected."""
    with pytest.raises(InvalidArgumentError, match="base_url"):
        settings(base_url=url)
    if isinstance(url, str) and url:
        monkeypatch.setenv("DUNE_API_BASE_URL", url)
        with pytest.raises(ConfigurationError, match="DUNE_API_BASE_URL"):
            settings()


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_a_blank_key_says_where_to_get_one(key: str) -> None:
    """Without a key there is no client, and the error names the remedy."""
    with pytest.raises(ConfigurationError, match=r"https://dune\.com/.*DUNE_API_KEY"):
        settings(key)


@pytest.mark.parametrize("key", ["with\nnewline", "smörgås", "key\x00", "key\x7f", b"bytes", 7])
def test_a_key_that_is_no_header_value_is_refused(key: Any) -> None:
    """A key with characters that no header can carry is refused, and not shown."""
    with pytest.raises(InvalidArgumentError, match="api_key") as caught:
        settings(key)
    assert str(key) not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), timedelta(0), True, "10"])
def test_timeouts_that_are_refused(timeout: Any) -> None:
    """A timeout is a length of time above zero."""
    with pytest.raises(InvalidArgumentError, match="timeout"):
        settings(timeout=timeout)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "ten", "inf"])
def test_timeouts_in_the_environment_that_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable is named in the error."""
    monkeypatch.setenv("DUNE_API_REQUEST_TIMEOUT", value)
    with pytest.raises(ConfigurationError, match="DUNE_API_REQUEST_TIMEOUT"):
        settings()


@pytest.mark.parametrize("plan", ["Free", "", 7, [], {"low": 1}, RequestBudget(low=0, high=1)])
def test_plans_that_are_refused(plan: Any) -> None:
    """A plan is one of Dune's, a budget, or None."""
    with pytest.raises(InvalidArgumentError, match="plan"):
        settings(plan=plan)


def test_plans() -> None:
    """Each plan has its two budgets, which Dune may know better; None has none; one's own is taken as it is."""
    assert get_args(Plan) == ("auto", *PLANS)
    assert [settings(plan=plan).learns for plan in get_args(Plan)] == [True] * 5
    assert (settings(plan=None).learns, settings(plan=RequestBudget(low=1, high=2)).learns) == (False, False)
    assert settings(plan="analyst").budget == settings(plan="free").budget == RequestBudget(low=15, high=40)
    assert settings(plan="plus").budget == RequestBudget(low=70, high=200)
    assert settings(plan="enterprise").budget == RequestBudget(low=350, high=1000)
    assert settings(plan=None).budget is None
    assert settings(plan=RequestBudget(low=1, high=2)).budget == RequestBudget(low=1, high=2)


def test_the_plan_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """DUNE_PLAN names the plan unless one is passed; an unknown name is rejected, naming the variable."""
    monkeypatch.setenv("DUNE_PLAN", "plus")
    assert settings().budget == RequestBudget(low=70, high=200)
    assert settings(plan="free").budget == RequestBudget(low=15, high=40)
    assert settings(plan=None).budget is None
    for wrong in ("Plus", "auto", "70", "none"):
        monkeypatch.setenv("DUNE_PLAN", wrong)
        with pytest.raises(
            ConfigurationError, match="DUNE_PLAN must be one of 'free', 'analyst', 'plus', 'enterprise'"
        ):
            settings()


@pytest.mark.parametrize("argument", [{"performance": "xl"}, {"small_tier": "maybe"}])
def test_tiers_and_policies_that_are_refused(argument: Any) -> None:
    """A client's defaults are checked when it is made."""
    with pytest.raises(InvalidArgumentError):
        MatviewsClient("key", **argument)


def test_the_key_shows_nowhere() -> None:
    """No repr, str, dict or pickle of an object with the key shows it."""
    secret = "s3cret-key"
    with MatviewsClient(secret) as dune:
        found = dune._core.settings
        shown = [repr(dune), repr(vars(dune)), repr(found), str(found._asdict()), repr(vars(dune._transport))]
        assert not any(secret in text for text in shown)
        for held in (found.api_key, found, dune):
            with pytest.raises(TypeError):
                pickle.dumps(held)
