from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.execution_error import ExecutionError
    from ..models.result_metadata import ResultMetadata


T = TypeVar("T", bound="ExecutionStatusResponse")


@_attrs_define
class ExecutionStatusResponse:
    """An execution as it stands; what does not apply yet is absent"""

    cancelled_at: str | Unset = UNSET
    """ When the execution was cancelled """
    execution_cost_credits: float | Unset = UNSET
    """ Credits used so far; it grows while the execution runs """
    execution_ended_at: str | Unset = UNSET
    """ When the execution ended """
    execution_id: str | Unset = UNSET
    """ The execution that this is the status of """
    execution_started_at: str | Unset = UNSET
    """ When the execution left the queue """
    expires_at: str | Unset = UNSET
    """ When the stored result expires """
    is_execution_finished: bool | Unset = UNSET
    """ Whether the state is final """
    max_inflight_interactive_executions: int | Unset = UNSET
    """ Executions that the account may have in flight at once """
    max_inflight_interactive_reached: int | Unset = UNSET
    """ Executions in flight, given once that limit is reached """
    query_id: int | Unset = UNSET
    """ The query that is executed """
    queue_position: int | Unset = UNSET
    """ Place in the queue, while the execution waits """
    state: str | Unset = UNSET
    """ Where the execution stands, for good once `is_execution_finished` is true. Dune adds states from time to
    time. Known values: `QUERY_STATE_PENDING`, `QUERY_STATE_EXECUTING`, `QUERY_STATE_COMPLETED`,
    `QUERY_STATE_COMPLETED_PARTIAL`, `QUERY_STATE_FAILED`, `QUERY_STATE_CANCELED`, `QUERY_STATE_EXPIRED`. """
    submitted_at: str | Unset = UNSET
    """ When Dune accepted the execution """
    error: ExecutionError | None | str | Unset = UNSET
    """ Why the execution failed """
    result_metadata: Any | ResultMetadata | Unset = UNSET
    """ Size and columns of the result """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.execution_error import ExecutionError  # noqa: PLC0415
        from ..models.result_metadata import ResultMetadata  # noqa: PLC0415

        cancelled_at = self.cancelled_at

        execution_cost_credits = self.execution_cost_credits

        execution_ended_at = self.execution_ended_at

        execution_id = self.execution_id

        execution_started_at = self.execution_started_at

        expires_at = self.expires_at

        is_execution_finished = self.is_execution_finished

        max_inflight_interactive_executions = self.max_inflight_interactive_executions

        max_inflight_interactive_reached = self.max_inflight_interactive_reached

        query_id = self.query_id

        queue_position = self.queue_position

        state = self.state

        submitted_at = self.submitted_at

        error: dict[str, Any] | None | str | Unset
        if isinstance(self.error, Unset):
            error = UNSET
        elif isinstance(self.error, ExecutionError):
            error = self.error.to_dict()
        else:
            error = self.error

        result_metadata: Any | dict[str, Any] | Unset
        if isinstance(self.result_metadata, Unset):
            result_metadata = UNSET
        elif isinstance(self.result_metadata, ResultMetadata):
            result_metadata = self.result_metadata.to_dict()
        else:
            result_metadata = self.result_metadata

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if cancelled_at is not UNSET:
            field_dict["cancelled_at"] = cancelled_at
        if execution_cost_credits is not UNSET:
            field_dict["execution_cost_credits"] = execution_cost_credits
        if execution_ended_at is not UNSET:
            field_dict["execution_ended_at"] = execution_ended_at
        if execution_id is not UNSET:
            field_dict["execution_id"] = execution_id
        if execution_started_at is not UNSET:
            field_dict["execution_started_at"] = execution_started_at
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if is_execution_finished is not UNSET:
            field_dict["is_execution_finished"] = is_execution_finished
        if max_inflight_interactive_executions is not UNSET:
            field_dict["max_inflight_interactive_executions"] = max_inflight_interactive_executions
        if max_inflight_interactive_reached is not UNSET:
            field_dict["max_inflight_interactive_reached"] = max_inflight_interactive_reached
        if query_id is not UNSET:
            field_dict["query_id"] = query_id
        if queue_position is not UNSET:
            field_dict["queue_position"] = queue_position
        if state is not UNSET:
            field_dict["state"] = state
        if submitted_at is not UNSET:
            field_dict["submitted_at"] = submitted_at
        if error is not UNSET:
            field_dict["error"] = error
        if result_metadata is not UNSET:
            field_dict["result_metadata"] = result_metadata

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.execution_error import ExecutionError  # noqa: PLC0415
        from ..models.result_metadata import ResultMetadata  # noqa: PLC0415

        d = dict(src_dict)
        cancelled_at = d.pop("cancelled_at", UNSET)

        execution_cost_credits = d.pop("execution_cost_credits", UNSET)

        execution_ended_at = d.pop("execution_ended_at", UNSET)

        execution_id = d.pop("execution_id", UNSET)

        execution_started_at = d.pop("execution_started_at", UNSET)

        expires_at = d.pop("expires_at", UNSET)

        is_execution_finished = d.pop("is_execution_finished", UNSET)

        max_inflight_interactive_executions = d.pop("max_inflight_interactive_executions", UNSET)

        max_inflight_interactive_reached = d.pop("max_inflight_interactive_reached", UNSET)

        query_id = d.pop("query_id", UNSET)

        queue_position = d.pop("queue_position", UNSET)

        state = d.pop("state", UNSET)

        submitted_at = d.pop("submitted_at", UNSET)

        def _parse_error(data: object) -> ExecutionError | None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                error_type_0 = ExecutionError.from_dict(data)

                return error_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ExecutionError | None | str | Unset, data)

        error = _parse_error(d.pop("error", UNSET))

        def _parse_result_metadata(data: object) -> Any | ResultMetadata | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                result_metadata_type_0 = ResultMetadata.from_dict(data)

                return result_metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Any | ResultMetadata | Unset, data)

        result_metadata = _parse_result_metadata(d.pop("result_metadata", UNSET))

        execution_status_response = cls(
            cancelled_at=cancelled_at,
            execution_cost_credits=execution_cost_credits,
            execution_ended_at=execution_ended_at,
            execution_id=execution_id,
            execution_started_at=execution_started_at,
            expires_at=expires_at,
            is_execution_finished=is_execution_finished,
            max_inflight_interactive_executions=max_inflight_interactive_executions,
            max_inflight_interactive_reached=max_inflight_interactive_reached,
            query_id=query_id,
            queue_position=queue_position,
            state=state,
            submitted_at=submitted_at,
            error=error,
            result_metadata=result_metadata,
        )

        execution_status_response.additional_properties = d
        return execution_status_response

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
