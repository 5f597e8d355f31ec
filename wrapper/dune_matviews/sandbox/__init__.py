"""A local stand-in for Dune's API, for demos and for tests.

    >>> from dune_matviews import MatviewsClient, RefreshExpiredError
    >>> from dune_matviews.sandbox import DuneSandbox, Fault, Scenario
    >>> with DuneSandbox(speed=100) as sandbox:
    ...     sandbox.rehearse("dune.my_team.result_daily", Scenario(end="expired", credits=4.0))
    ...     sandbox.fail("refresh", Fault(status=502, accepted=True))
    ...     with MatviewsClient(sandbox.api_key, base_url=sandbox.url) as dune:
    ...         try:
    ...             dune.refresh("dune.my_team.result_daily").wait()
    ...         except RefreshExpiredError:
    ...             print([charge.credits for charge in sandbox.ledger])
    [4.0]

This module knows the public names and the modules that define them.
It must not import any of these before its first use: pytest imports this module at the start of every run.
"""

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


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
