"""Knows the generated client as those use it who import `dune_api` alone: its own functions, which send by themselves.
Must not know how it is generated, nor the wrapper, but for the sandbox that it calls."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from dune_api import AuthenticatedClient
from dune_api.api.account import get_whoami
from dune_api.api.executions import (
    cancel_execution,
    cancel_execution_request,
    get_execution_status,
    get_execution_status_request,
)
from dune_api.api.materialized_views import (
    delete_materialized_view,
    get_materialized_view,
    list_materialized_views,
    refresh_materialized_view,
    upsert_materialized_view,
)
from dune_api.api.queries import get_query_pipeline
from dune_api.api.usage import get_usage
from dune_api.models import (
    CancelExecutionResponse,
    DeleteResponse,
    Error400,
    Error401,
    Error404,
    ExecutionError,
    ExecutionStatusResponse,
    MatviewListElement,
    MatviewListResponse,
    MatviewResponse,
    PipelineNode,
    PipelineResponse,
    RefreshRequest,
    RefreshResponse,
    UpsertRequest,
    UpsertResponse,
    UsageRequest,
    UsageResponse,
    WhoAmIResponse,
)
from dune_matviews.sandbox import DuneSandbox, Failure, Scenario
from dune_matviews.sandbox._operations import OPERATIONS

VIEW = "dune.my_team.result_x"
ID = "01JJX6M1V5Q8W7Z2K3N4P5R6S7"
WAYS = ("sync", "sync_detailed", "asyncio", "asyncio_detailed")

Call = Callable[..., Any]


def connected(sandbox: DuneSandbox, key: str) -> AuthenticatedClient:
    """A generated client as its own documentation makes one."""
    return AuthenticatedClient(
        f"{sandbox.url}/api",
        token=key,
        prefix="",
        auth_header_name="X-Dune-Api-Key",
        httpx_args={"trust_env": False},
    )


@pytest.fixture(params=WAYS)
def through(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Callable[[AuthenticatedClient], Call]]:
    """Makes what calls an operation in one of the four ways that each has, and returns what was read."""
    way: str = request.param
    clients: list[AuthenticatedClient] = []

    def make(client: AuthenticatedClient) -> Call:
        clients.append(client)

        def call(operation: ModuleType, *arguments: Any, **named: Any) -> Any:
            found = getattr(operation, way)(*arguments, client=client, **named)
            if way.startswith("asyncio"):
                found = runner.run(found)
            if not way.endswith("_detailed"):
                return found
            assert found.headers["content-type"] == "application/json"
            assert found.parsed.to_dict() == json.loads(found.content)
            return found.parsed

        return call

    yield make
    for client in clients:
        client.get_httpx_client().close()
        runner.run(client.get_async_httpx_client().aclose())


@pytest.fixture
def call(through: Callable[[AuthenticatedClient], Call], sandbox: DuneSandbox) -> Call:
    """Calls with the right key."""
    return through(connected(sandbox, sandbox.api_key))


def test_every_operation_is_sent_and_read(call: Call, sandbox: DuneSandbox) -> None:
    """Each operation of the sandbox is called by a generated function, and its response read as the model it is."""
    upsert = UpsertRequest(name="result_x", query_id=4711, performance="large", is_private=True)
    created = call(upsert_materialized_view, body=upsert)
    assert isinstance(created, UpsertResponse)
    assert created.name == VIEW

    started = call(refresh_materialized_view, VIEW, body=RefreshRequest(performance="medium"))
    assert isinstance(started, RefreshResponse)
    assert started.sql_id == VIEW
    assert [charge.execution_id for charge in sandbox.ledger] == [created.execution_id, started.execution_id]
    assert [charge.performance for charge in sandbox.ledger] == ["large", "medium"]

    canceled = call(cancel_execution, started.execution_id)
    assert isinstance(canceled, CancelExecutionResponse)
    assert canceled.success is True
    status = call(get_execution_status, started.execution_id)
    assert isinstance(status, ExecutionStatusResponse)
    assert (status.execution_id, status.state) == (started.execution_id, "QUERY_STATE_CANCELED")

    view = call(get_materialized_view, VIEW)
    assert isinstance(view, MatviewResponse)
    assert (view.sql_id, view.query_id, view.is_private) == (VIEW, 4711, True)
    assert view.last_execution_ids == [started.execution_id, created.execution_id]

    listed = call(list_materialized_views, limit=1, offset=0)
    assert isinstance(listed, MatviewListResponse)
    assert isinstance(listed.materialized_views, list)
    (element,) = listed.materialized_views
    assert isinstance(element, MatviewListElement)
    assert element.id == view.id

    sandbox.reads(4711, "dune.my_team.result_base")
    read = call(get_query_pipeline, 4711)
    assert isinstance(read, PipelineResponse)
    assert read.pipeline
    nodes = read.pipeline.nodes
    assert isinstance(nodes, list)
    assert all(isinstance(node, PipelineNode) for node in nodes)

    usage = call(get_usage, body=UsageRequest())
    assert isinstance(usage, UsageResponse)
    assert usage.billing_periods

    whose = call(get_whoami)
    assert isinstance(whose, WhoAmIResponse)
    assert whose.handle

    deleted = call(delete_materialized_view, VIEW)
    assert isinstance(deleted, DeleteResponse)
    assert isinstance(call(get_materialized_view, VIEW), Error404)

    assert {request.operation for request in sandbox.requests} == {each.name for each in OPERATIONS}


def test_a_failure_is_read_with_its_details(call: Call, sandbox: DuneSandbox) -> None:
    """The details of an execution that has failed are models of their own."""
    failed = Scenario(pending=0, running=0, end="failed", error=Failure("syntax_error", "no such", line=3, column=9))
    sandbox.rehearse(VIEW, failed)
    started = call(refresh_materialized_view, VIEW)
    status = call(get_execution_status, started.execution_id)
    assert isinstance(status.error, ExecutionError)
    assert (status.error.type_, status.error.message) == ("syntax_error", "no such")


REFUSED: list[tuple[ModuleType, tuple[Any, ...]]] = [
    (cancel_execution, (ID,)),
    (get_execution_status, (ID,)),
    (delete_materialized_view, (VIEW,)),
    (get_materialized_view, (VIEW,)),
    (list_materialized_views, ()),
    (refresh_materialized_view, (VIEW,)),
    (upsert_materialized_view, ()),
    (get_query_pipeline, (4711,)),
    (get_usage, ()),
    (get_whoami, ()),
]


@pytest.mark.parametrize(("operation", "arguments"), REFUSED)
def test_a_wrong_key_is_read_as_an_error(
    through: Callable[[AuthenticatedClient], Call],
    sandbox: DuneSandbox,
    operation: ModuleType,
    arguments: tuple[Any, ...],
) -> None:
    """Each operation reads the refusal of a key as what it is, and nothing is billed."""
    refused = through(connected(sandbox, "wrong"))(operation, *arguments)
    assert isinstance(refused, Error401)
    assert refused.error == "Invalid API Key"
    assert sandbox.ledger == ()


def test_other_refusals_are_read_as_errors(call: Call, sandbox: DuneSandbox) -> None:
    """A request that is wrong, and an id that nobody knows, are errors of their own models."""
    wrong = call(refresh_materialized_view, VIEW, body=RefreshRequest(performance="huge"))
    assert isinstance(wrong, Error400)
    assert "performance" in str(wrong.error)
    assert isinstance(call(get_execution_status, ID), Error404)
    assert sandbox.ledger == ()


def test_a_name_is_that_of_a_module_and_of_its_builder() -> None:
    """`dune_api.api.executions` has each endpoint by its name, and by another name what builds its request."""
    assert (get_execution_status.__name__, cancel_execution.__name__) == (
        "dune_api.api.executions.get_execution_status",
        "dune_api.api.executions.cancel_execution",
    )
    assert get_execution_status_request("a/b") == {"method": "get", "url": "/v1/execution/a%2Fb/status"}
    assert cancel_execution_request("a/b") == {"method": "post", "url": "/v1/execution/a%2Fb/cancel"}


@pytest.mark.parametrize("name", ["get_execution_status", "get_execution_status_request"])
def test_an_endpoint_is_loaded_alone(name: str) -> None:
    """Neither an endpoint nor its builder brings another endpoint along, and a wrong name is an ordinary error."""
    code = f"""
import sys
from dune_api.api.executions import {name}
print(sorted(name for name in sys.modules if name.startswith("dune_api.api.")))
try:
    from dune_api.api.executions import get_nothing_request
except ImportError as error:
    print(error.name)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.splitlines() == [
        "['dune_api.api.executions', 'dune_api.api.executions.get_execution_status']",
        "dune_api.api.executions",
    ]
