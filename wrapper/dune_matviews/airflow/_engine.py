"""What this package takes from Airflow, and a clear error where Airflow is missing or too old.

This module must not know what the package does with it.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    from airflow.sdk import (  # type: ignore[attr-defined]  # its stub leaves it out
        NEVER_EXPIRE as NEVER_EXPIRE,  # as old as the state store of tasks
    )
    from airflow.sdk import Asset as Asset
    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import Connection as Connection
    from airflow.sdk import Context as Context
    from airflow.sdk import TaskGroup as TaskGroup
    from airflow.sdk.exceptions import AirflowException as AirflowException
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
except ImportError as problem:
    found = None
    for package in ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk"):
        try:
            found = f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
        break
    needs = "dune_matviews.airflow needs Airflow 3.3 or newer"
    if found is None:
        message = f"{needs}, and none is installed: pip install 'dune-matviews[airflow]'"
    else:
        message = f"{needs}, whose tasks have a state store; {found} is installed"
    raise ImportError(message, name="airflow") from problem
