"""Knows the example: six views in three layers, one of them fresh and one failing.
Must not know how a sandbox works, nor how the views are used."""

from collections.abc import Mapping
from itertools import repeat
from typing import Final

import attrs

from dune_matviews.sandbox import DuneSandbox, Failure, Scenario

__all__ = ["READS", "example"]

READS: Final[Mapping[str, tuple[str, ...]]] = {
    "dune.my_team.result_prices": (),
    "dune.my_team.result_base": (),
    "dune.my_team.result_daily_volume": ("dune.my_team.result_prices", "dune.my_team.result_base"),
    "dune.my_team.result_daily_users": ("dune.my_team.result_base",),
    "dune.my_team.result_weekly": ("dune.my_team.result_daily_volume",),
    "dune.my_team.result_daily": ("dune.my_team.result_daily_volume", "dune.my_team.result_daily_users"),
}
"""The views, each with its sources. They are those of `examples/plan.toml`."""

_HOUR: Final = 3_600.0
_FRESH: Final = "dune.my_team.result_prices"
_FAILING: Final = "dune.my_team.result_daily_users"
# In seconds and credits.
_REFRESHES: Final = {
    "dune.my_team.result_prices": Scenario(pending=0.3, running=1.2, credits=0.8, rows=9_000, bytes=700_000),
    "dune.my_team.result_base": Scenario(pending=0.4, running=1.5, credits=4.5, rows=800_000, bytes=64_000_000),
    "dune.my_team.result_daily_volume": Scenario(pending=0.4, running=2.5, credits=2.25, rows=3_000, bytes=120_000),
    "dune.my_team.result_daily_users": Scenario(pending=0.5, running=1.3, credits=1.75, rows=1_100, bytes=50_000),
    "dune.my_team.result_weekly": Scenario(pending=0.3, running=1.6, credits=0.5, rows=160, bytes=9_000),
    "dune.my_team.result_daily": Scenario(pending=0.3, running=1.2, credits=0.5, rows=1_100, bytes=60_000),
}
_MISTAKE: Final = Failure(message="line 7:12: Column 'wallet' cannot be resolved", line=7, column=12)
_MANY: Final = 1_000  # rehearsed refreshes of each view


def example(*, port: int = 0, speed: float = 1.0) -> DuneSandbox:
    """A sandbox with the views of `READS`, all refreshed yesterday but one, which was refreshed two hours ago.

    The first refresh of `dune.my_team.result_daily_users` fails; all others succeed. *port* and *speed* are those of
    `DuneSandbox`, as are the exceptions.
    """
    sandbox = DuneSandbox(READS, port=port, speed=speed)
    for name, sources in READS.items():
        sandbox.add_view(name, age=2 * _HOUR if name == _FRESH else 26 * _HOUR)
        sandbox.reads(name, *sources)
        if name == _FAILING:
            sandbox.rehearse(name, attrs.evolve(_REFRESHES[name], end="failed", error=_MISTAKE))
        sandbox.rehearse(name, *repeat(_REFRESHES[name], _MANY))
    return sandbox
