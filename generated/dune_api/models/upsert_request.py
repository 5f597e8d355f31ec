from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="UpsertRequest")


@_attrs_define
class UpsertRequest:
    """What a materialized view is to be, as a whole"""

    cron_expression: str | Unset = UNSET
    """ When Dune refreshes it by itself, in five fields, from each 15 minutes to once a week """
    expires_at: str | Unset = UNSET
    """ When that schedule ends; only with a `cron_expression` """
    is_private: bool | Unset = UNSET
    """ Whether only the owner can read it """
    name: str | Unset = UNSET
    """ Its bare name, without the account's """
    performance: str | Unset = UNSET
    """ Performance tier of the execution, and of those by schedule """
    query_id: int | Unset = UNSET
    """ The query whose result it will hold, which is saved, without parameters, and of the same account """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cron_expression = self.cron_expression

        expires_at = self.expires_at

        is_private = self.is_private

        name = self.name

        performance = self.performance

        query_id = self.query_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if cron_expression is not UNSET:
            field_dict["cron_expression"] = cron_expression
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if is_private is not UNSET:
            field_dict["is_private"] = is_private
        if name is not UNSET:
            field_dict["name"] = name
        if performance is not UNSET:
            field_dict["performance"] = performance
        if query_id is not UNSET:
            field_dict["query_id"] = query_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        cron_expression = d.pop("cron_expression", UNSET)

        expires_at = d.pop("expires_at", UNSET)

        is_private = d.pop("is_private", UNSET)

        name = d.pop("name", UNSET)

        performance = d.pop("performance", UNSET)

        query_id = d.pop("query_id", UNSET)

        upsert_request = cls(
            cron_expression=cron_expression,
            expires_at=expires_at,
            is_private=is_private,
            name=name,
            performance=performance,
            query_id=query_id,
        )

        upsert_request.additional_properties = d
        return upsert_request

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
