from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="BillingPeriod")


@_attrs_define
class BillingPeriod:
    """What was used in one billing period"""

    credits_included: float | Unset = UNSET
    """ Credits that the plan includes """
    credits_used: float | Unset = UNSET
    """ Credits used so far """
    end_date: str | Unset = UNSET
    """ The day on which the period ends """
    start_date: str | Unset = UNSET
    """ The first day of the period """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        credits_included = self.credits_included

        credits_used = self.credits_used

        end_date = self.end_date

        start_date = self.start_date

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if credits_included is not UNSET:
            field_dict["credits_included"] = credits_included
        if credits_used is not UNSET:
            field_dict["credits_used"] = credits_used
        if end_date is not UNSET:
            field_dict["end_date"] = end_date
        if start_date is not UNSET:
            field_dict["start_date"] = start_date

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        credits_included = d.pop("credits_included", UNSET)

        credits_used = d.pop("credits_used", UNSET)

        end_date = d.pop("end_date", UNSET)

        start_date = d.pop("start_date", UNSET)

        billing_period = cls(
            credits_included=credits_included,
            credits_used=credits_used,
            end_date=end_date,
            start_date=start_date,
        )

        billing_period.additional_properties = d
        return billing_period

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
