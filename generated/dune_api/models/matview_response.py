from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.matview_schedule import MatviewSchedule


T = TypeVar("T", bound="MatviewResponse")


@_attrs_define
class MatviewResponse:
    """A materialized view as it stands"""

    id: str | Unset = UNSET
    """ Dune's own identifier, for its staff alone """
    is_private: bool | Unset = UNSET
    """ Whether only the owner can read it """
    last_execution_ids: list[str] | Unset = UNSET
    """ Its latest executions, newest first """
    owner_team_id: int | Unset = UNSET
    """ The team that owns it, for Dune's staff alone """
    owner_user_id: int | Unset = UNSET
    """ The user that owns it, for Dune's staff alone """
    query_id: int | Unset = UNSET
    """ The query whose result it holds """
    sql_id: str | Unset = UNSET
    """ Its full name """
    table_size_bytes: int | Unset = UNSET
    """ Bytes that its table takes """
    schedule: Any | MatviewSchedule | Unset = UNSET
    """ When Dune refreshes the view by itself """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.matview_schedule import MatviewSchedule  # noqa: PLC0415

        id = self.id

        is_private = self.is_private

        last_execution_ids: list[str] | Unset = UNSET
        if not isinstance(self.last_execution_ids, Unset):
            last_execution_ids = self.last_execution_ids

        owner_team_id = self.owner_team_id

        owner_user_id = self.owner_user_id

        query_id = self.query_id

        sql_id = self.sql_id

        table_size_bytes = self.table_size_bytes

        schedule: Any | dict[str, Any] | Unset
        if isinstance(self.schedule, Unset):
            schedule = UNSET
        elif isinstance(self.schedule, MatviewSchedule):
            schedule = self.schedule.to_dict()
        else:
            schedule = self.schedule

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if id is not UNSET:
            field_dict["id"] = id
        if is_private is not UNSET:
            field_dict["is_private"] = is_private
        if last_execution_ids is not UNSET:
            field_dict["last_execution_ids"] = last_execution_ids
        if owner_team_id is not UNSET:
            field_dict["owner_team_id"] = owner_team_id
        if owner_user_id is not UNSET:
            field_dict["owner_user_id"] = owner_user_id
        if query_id is not UNSET:
            field_dict["query_id"] = query_id
        if sql_id is not UNSET:
            field_dict["sql_id"] = sql_id
        if table_size_bytes is not UNSET:
            field_dict["table_size_bytes"] = table_size_bytes
        if schedule is not UNSET:
            field_dict["schedule"] = schedule

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.matview_schedule import MatviewSchedule  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id", UNSET)

        is_private = d.pop("is_private", UNSET)

        last_execution_ids = cast(list[str], d.pop("last_execution_ids", UNSET))

        owner_team_id = d.pop("owner_team_id", UNSET)

        owner_user_id = d.pop("owner_user_id", UNSET)

        query_id = d.pop("query_id", UNSET)

        sql_id = d.pop("sql_id", UNSET)

        table_size_bytes = d.pop("table_size_bytes", UNSET)

        def _parse_schedule(data: object) -> Any | MatviewSchedule | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                schedule_type_0 = MatviewSchedule.from_dict(data)

                return schedule_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Any | MatviewSchedule | Unset, data)

        schedule = _parse_schedule(d.pop("schedule", UNSET))

        matview_response = cls(
            id=id,
            is_private=is_private,
            last_execution_ids=last_execution_ids,
            owner_team_id=owner_team_id,
            owner_user_id=owner_user_id,
            query_id=query_id,
            sql_id=sql_id,
            table_size_bytes=table_size_bytes,
            schedule=schedule,
        )

        matview_response.additional_properties = d
        return matview_response

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
