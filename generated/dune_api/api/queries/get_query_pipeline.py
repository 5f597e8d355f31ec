from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error_400 import Error400
from ...models.error_401 import Error401
from ...models.error_404 import Error404
from ...models.error_500 import Error500
from ...models.pipeline_response import PipelineResponse
from ...types import UNSET, Response, Unset


def _get_kwargs(
    query_id: int,
    *,
    performance: str | Unset = UNSET,
    query_parameters: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["performance"] = performance

    params["query_parameters"] = query_parameters

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/query/{query_id}/pipeline".format(
            query_id=quote(str(query_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error400 | Error401 | Error404 | Error500 | PipelineResponse | None:
    if response.status_code == 200:
        response_200 = PipelineResponse.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Error400.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Error401.from_dict(response.json())

        return response_401

    if response.status_code == 404:
        response_404 = Error404.from_dict(response.json())

        return response_404

    if response.status_code == 500:
        response_500 = Error500.from_dict(response.json())

        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error400 | Error401 | Error404 | Error500 | PipelineResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    query_id: int,
    *,
    client: AuthenticatedClient,
    performance: str | Unset = UNSET,
    query_parameters: str | Unset = UNSET,
) -> Response[Error400 | Error401 | Error404 | Error500 | PipelineResponse]:
    """Tells what a query reads

     The materialized views behind a query, directly or not, and how they depend on each other.

    Args:
        query_id (int):
        performance (str | Unset):
        query_parameters (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error400 | Error401 | Error404 | Error500 | PipelineResponse]
    """

    kwargs = _get_kwargs(
        query_id=query_id,
        performance=performance,
        query_parameters=query_parameters,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    query_id: int,
    *,
    client: AuthenticatedClient,
    performance: str | Unset = UNSET,
    query_parameters: str | Unset = UNSET,
) -> Error400 | Error401 | Error404 | Error500 | PipelineResponse | None:
    """Tells what a query reads

     The materialized views behind a query, directly or not, and how they depend on each other.

    Args:
        query_id (int):
        performance (str | Unset):
        query_parameters (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error400 | Error401 | Error404 | Error500 | PipelineResponse
    """

    return sync_detailed(
        query_id=query_id,
        client=client,
        performance=performance,
        query_parameters=query_parameters,
    ).parsed


async def asyncio_detailed(
    query_id: int,
    *,
    client: AuthenticatedClient,
    performance: str | Unset = UNSET,
    query_parameters: str | Unset = UNSET,
) -> Response[Error400 | Error401 | Error404 | Error500 | PipelineResponse]:
    """Tells what a query reads

     The materialized views behind a query, directly or not, and how they depend on each other.

    Args:
        query_id (int):
        performance (str | Unset):
        query_parameters (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error400 | Error401 | Error404 | Error500 | PipelineResponse]
    """

    kwargs = _get_kwargs(
        query_id=query_id,
        performance=performance,
        query_parameters=query_parameters,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    query_id: int,
    *,
    client: AuthenticatedClient,
    performance: str | Unset = UNSET,
    query_parameters: str | Unset = UNSET,
) -> Error400 | Error401 | Error404 | Error500 | PipelineResponse | None:
    """Tells what a query reads

     The materialized views behind a query, directly or not, and how they depend on each other.

    Args:
        query_id (int):
        performance (str | Unset):
        query_parameters (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error400 | Error401 | Error404 | Error500 | PipelineResponse
    """

    return (
        await asyncio_detailed(
            query_id=query_id,
            client=client,
            performance=performance,
            query_parameters=query_parameters,
        )
    ).parsed
