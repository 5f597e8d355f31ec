"""What a run is expected to take and to cost, before it is started.

This module must not know how that is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs


class Range(NamedTuple):
    """An expected figure.

    Attributes:
        expected: the median: half of all executions, or runs, stay below.
        low, high: four of five executions, or runs, lie between these.
    """

    expected: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.expected:,.1f} ({self.low:,.1f} to {self.high:,.1f})"


@attrs.frozen(kw_only=True)
class ViewForecast:
    """What a run would do with one view.

    Attributes:
        refreshes: it would be refreshed; False where it is fresh and costs nothing, None where Dune refuses it.
        reason: why, for people; None where there is nothing to say.
        seconds: from its submission to its end; None where nothing is known, or it would not be refreshed.
        cost_credits: its cost in credits; likewise.
        starts_after, ends_after: seconds after the start of the run, as expected.
        known_executions: past successes that say so; 0 where only other views do.
    """

    refreshes: bool | None
    reason: str | None = None
    seconds: Range | None = None
    cost_credits: Range | None = None
    starts_after: float = 0.0
    ends_after: float = 0.0
    known_executions: int = 0


@attrs.frozen(kw_only=True)
class Forecast:
    """What a run of `refresh_all` is expected to take and to cost, from the past executions of its views.

    Attributes:
        views: each view by its name.
        seconds: the whole run, at *max_parallel* executions at once; None where no view has a past.
        cost_credits: the whole run, in credits; likewise.
        critical_path: the views one after another whose times make up that of the run.
        max_parallel: executions at once.
    """

    views: Mapping[str, ViewForecast]
    seconds: Range | None
    cost_credits: Range | None
    critical_path: tuple[str, ...]
    max_parallel: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for `json.dumps`: a range is an object of `expected`, `low` and `high`."""
        return {
            "seconds": self.seconds and self.seconds._asdict(),
            "cost_credits": self.cost_credits and self.cost_credits._asdict(),
            "critical_path": list(self.critical_path),
            "max_parallel": self.max_parallel,
            "views": {
                name: {
                    field: found._asdict() if isinstance(found := getattr(each, field), Range) else found
                    for field in (one.name for one in attrs.fields(ViewForecast))
                }
                for name, each in self.views.items()
            },
        }

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ._notebook import forecast

        return forecast(self)
