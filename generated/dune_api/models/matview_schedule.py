from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="MatviewSchedule")


@_attrs_define
class MatviewSchedule:
    """When Dune refreshes a view by itself"""

    cron_expression: str | Unset = UNSET
    """ Five fields """
    expires_at: str | Unset = UNSET
    """ When the schedule ends """
    next_execution_time: str | Unset = UNSET
    """ When the next refresh is due """
    performance: str | Unset = UNSET
    """ Performance tier of the refreshes """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cron_expression = self.cron_expression

        expires_at = self.expires_at

        next_execution_time = self.next_execution_time

        performance = self.performance

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if cron_expression is not UNSET:
            field_dict["cron_expression"] = cron_expression
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if next_execution_time is not UNSET:
            field_dict["next_execution_time"] = next_execution_time
        if performance is not UNSET:
            field_dict["performance"] = performance

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        cron_expression = d.pop("cron_expression", UNSET)

        expires_at = d.pop("expires_at", UNSET)

        next_execution_time = d.pop("next_execution_time", UNSET)

        performance = d.pop("performance", UNSET)

        matview_schedule = cls(
            cron_expression=cron_expression,
            expires_at=expires_at,
            next_execution_time=next_execution_time,
            performance=performance,
        )

        matview_schedule.additional_properties = d
        return matview_schedule

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
