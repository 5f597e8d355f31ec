"""The task group: a task for each view of a plan file, in the order in which views read each other.

This module must not know how a view is refreshed. A DAG is parsed without Dune: the plan file says everything.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from dune_matviews import InvalidArgumentError
from dune_matviews.plan import read_plan

from ._engine import TaskGroup
from .operators import RefreshMatviewOperator

_OF_A_TASK = {"performance", "retry_failed"}
_ELSEWHERE = {"journal"}  # the tasks' own is in their state store


def matview_task_group(plan: str | PathLike[str], *, group_id: str = "matviews", **arguments: Any) -> TaskGroup:
    """A `RefreshMatviewOperator` for each view of a plan file; a view that reads others comes after them.

    Args:
        plan: the plan file. `dune-matviews lineage NAME --format toml` writes one from what Dune knows.
        group_id: the group's id. The tasks' ids are the views' names without the account's part.
        arguments: for every task, such as `dune_conn_id`, `deferrable` or `retries`; they count more than the plan's.

    Raises:
        InvalidArgumentError: the file cannot be read or has mistakes, or sets what holds for a run as a whole.
    """
    read = read_plan(plan)
    if whole := sorted(set(read.options) - _OF_A_TASK - _ELSEWHERE):
        raise InvalidArgumentError(
            f"{plan}: {', '.join(whole)} would hold for the run as a whole, and each view is a task of its own. "
            "Take it out, or use RefreshMatviewsOperator(plan=…)."
        )
    tiers = read.options.get("performance", {})
    of_plan = {"retry_failed": read.options.get("retry_failed", False)}
    with TaskGroup(group_id) as group:
        tasks = {
            name: RefreshMatviewOperator(
                task_id=name, view=name, **{"performance": tiers.get(name), **of_plan, **arguments}
            )
            for name in read.views
        }
        for name, reads in read.views.items():
            for upstream in reads:
                tasks[upstream] >> tasks[name]
    return group
