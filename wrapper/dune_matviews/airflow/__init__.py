"""Refreshes as tasks of Airflow, each paid for once: operators, a task group, a hook with its connection type.

This package knows Airflow 3.3 and the public API of dune_matviews. It must not know how a refresh is sent, nor import
Airflow before one of its names is used: every process of Airflow reads the provider's metadata from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args

from dune_matviews import Plan, __version__

if TYPE_CHECKING:
    from .groups import matview_task_group
    from .hook import DuneHook
    from .operators import RefreshMatviewOperator, RefreshMatviewsOperator

__all__ = [
    "DuneHook",
    "RefreshMatviewOperator",
    "RefreshMatviewsOperator",
    "get_provider_info",
    "matview_task_group",
]

_HOMES = {
    "DuneHook": "hook",
    "RefreshMatviewOperator": "operators",
    "RefreshMatviewsOperator": "operators",
    "matview_task_group": "groups",
}


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, which Airflow finds by the entry point `apache_airflow_provider`."""
    return {
        "package-name": "dune-matviews",
        "name": "Dune materialized views",
        "description": "Refresh the materialized views of `Dune <https://dune.com>`__, each paid for once.",
        "versions": [__version__],
        "extra-links": [f"{__name__}.operators.DuneQueryLink"],
        "connection-types": [
            {
                "connection-type": "dune",
                "hook-class-name": f"{__name__}.hook.DuneHook",
                "hook-name": "Dune",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {"host": "https://api.dune.com"},
                },
                "conn-fields": {
                    "plan": {
                        "label": "Plan",
                        "description": "The account's plan, for the requests a minute to begin with.",
                        "schema": {"type": ["string", "null"], "enum": list(get_args(Plan)), "default": "auto"},
                    }
                },
            }
        ],
    }


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
