"""Knows what the corrections are for: what the generated client accepts, sends and asks its caller for.
Must not know how it is generated."""

import inspect
import json
from typing import Any

import httpx
import pytest

from dune_api import AuthenticatedClient
from dune_api.api.executions import cancel_execution, get_execution_status
from dune_api.api.materialized_views import refresh_materialized_view
from dune_api.models import (
    Error400,
    Error401,
    Error404,
    Error500,
    ErrorDetail,
    ExecutionError,
    ExecutionStatusResponse,
    RefreshRequest,
    RefreshResponse,
    ResultMetadata,
    SyntaxErrorMetadata,
)

MALFORMED = [None, "text", "", 7, 1.5, True, [], [1, "a"], [{"type": "x"}]]


@pytest.mark.parametrize("detail", MALFORMED)
@pytest.mark.parametrize("name", ["error", "result_metadata"])
def test_a_malformed_detail_never_hides_the_state(name: str, detail: Any) -> None:
    """Whatever stands in place of a nested object, the status is read, and the value is kept as it came."""
    body = {"state": "QUERY_STATE_FAILED", "is_execution_finished": True, name: detail}
    status = ExecutionStatusResponse.from_dict(body)
    assert status.state == "QUERY_STATE_FAILED"
    assert getattr(status, name) == detail
    assert status.to_dict() == body


@pytest.mark.parametrize("detail", MALFORMED)
def test_a_malformed_position_never_hides_the_message(detail: Any) -> None:
    """Whatever stands in place of an error's metadata, the error is read as one, and the value is kept as it came."""
    body = {"state": "QUERY_STATE_FAILED", "error": {"message": "no such table", "metadata": detail}}
    status = ExecutionStatusResponse.from_dict(body)
    assert isinstance(status.error, ExecutionError)
    assert status.error.message == "no such table"
    assert status.error.metadata == detail
    assert status.to_dict() == body


def test_well_formed_details_are_models() -> None:
    """Where the details come as declared, they are models, and fields that nobody declared are kept."""
    status = ExecutionStatusResponse.from_dict(
        {
            "error": {"type": "syntax_error", "metadata": {"line": 3, "column": 14, "new": 1}},
            "result_metadata": {"row_count": 10},
        }
    )
    assert isinstance(status.error, ExecutionError)
    assert isinstance(status.error.metadata, SyntaxErrorMetadata)
    assert (status.error.metadata.line, status.error.metadata.column) == (3, 14)
    assert status.error.metadata["new"] == 1
    assert isinstance(status.result_metadata, ResultMetadata)
    assert status.result_metadata.row_count == 10


@pytest.mark.parametrize("model", [Error400, Error401, Error404, Error500])
def test_an_error_body_is_text_or_object(model: type[Error400 | Error401 | Error404 | Error500]) -> None:
    """Both forms of a refusal are read, and neither a third one nor null makes the model raise."""
    assert model.from_dict({"error": "Bad Request"}).error == "Bad Request"
    assert model.from_dict({"error": {"message": "no"}}).error == ErrorDetail(message="no")
    for malformed in MALFORMED:
        assert model.from_dict({"error": malformed}).to_dict() == {"error": malformed}


@pytest.mark.parametrize("performance", ["small", "large", "a tier of tomorrow"])
def test_the_refresh_is_sent_as_json(performance: str) -> None:
    """A refresh is sent with `Content-Type: application/json`, and with the tier as it was given."""
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"execution_id": "01HZ", "sql_id": "dune.my_team.result_x"})

    client = AuthenticatedClient(
        base_url="https://dune.test/api",
        token="secret",
        prefix="",
        auth_header_name="X-Dune-Api-Key",
        httpx_args={"transport": httpx.MockTransport(respond)},
    )
    body = RefreshRequest(performance=performance)
    response = refresh_materialized_view.sync_detailed('dune."21co".result/x', client=client, body=body)

    assert response.parsed == RefreshResponse(execution_id="01HZ", sql_id="dune.my_team.result_x")
    (request,) = sent
    assert request.method == "POST"
    assert str(request.url) == "https://dune.test/api/v1/materialized-views/dune.%2221co%22.result%2Fx/refresh"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Dune-Api-Key"] == "secret"
    assert json.loads(request.content) == {"performance": performance}


def test_the_key_is_no_parameter() -> None:
    """The generated functions take the key from an authenticated client, and from nowhere else."""
    for module, parameters in {
        refresh_materialized_view: ["name", "client", "body"],
        get_execution_status: ["execution_id", "client"],
        cancel_execution: ["execution_id", "client"],
    }.items():
        for function in (module.sync_detailed, module.asyncio_detailed):
            signature = inspect.signature(function)
            assert list(signature.parameters) == parameters
            assert signature.parameters["client"].annotation is AuthenticatedClient
