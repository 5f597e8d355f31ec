"""A local stand-in for Dune's API, for demos and for tests.

    from dune_matviews.sandbox import DuneSandbox, Fault, Scenario

    with DuneSandbox(speed=100) as sandbox:
        sandbox.rehearse("dune.my_team.result_daily", Scenario(end="failed", credits=4.0))
        sandbox.fail("status", Fault(status=502))
        ...                                    # a client refreshes the view at sandbox.url, with sandbox.api_key
        assert [charge.credits for charge in sandbox.ledger] == [4.0]

This module knows the names that users import, and where they live.
It must not import any of them before one is used, because pytest imports it at the start of every run."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._catalog import UnknownObjectError
    from ._execution import Charge
    from ._faults import Fault
    from ._sandbox import DuneSandbox, ReceivedRequest
    from ._scenarios import Failure, Scenario

__all__ = ["Charge", "DuneSandbox", "Failure", "Fault", "ReceivedRequest", "Scenario", "UnknownObjectError"]

_HOMES = {
    "Charge": "_execution",
    "DuneSandbox": "_sandbox",
    "Failure": "_scenarios",
    "Fault": "_faults",
    "ReceivedRequest": "_sandbox",
    "Scenario": "_scenarios",
    "UnknownObjectError": "_catalog",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
