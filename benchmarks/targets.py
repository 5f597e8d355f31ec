"""Where the SDK has to be: each target, what was measured for it, and whether that meets it.

This module must not know how anything is measured, nor how it is shown.
"""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A figure that must not be above *limit*."""

    what: str
    measured: float
    limit: float
    digits: int = 2

    @property
    def is_met(self) -> bool:
        """The figure is within its limit."""
        return self.measured <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """The target as cells of a table."""
        measured, limit = (f"{value:,.{self.digits}f}" for value in (self.measured, self.limit))
        return self.what, measured, limit, "yes" if self.is_met else "**no**"
