from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="WhoAmIResponse")


@_attrs_define
class WhoAmIResponse:
    """The account of a key"""

    api_key_id: str | Unset = UNSET
    """ The key, by an id that is no secret """
    created_by: int | Unset = UNSET
    """ The user who made the key """
    customer_id: str | Unset = UNSET
    """ The account, as `user_` or `team_` and its number """
    handle: str | Unset = UNSET
    """ The account's name in addresses and in names of views """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        api_key_id = self.api_key_id

        created_by = self.created_by

        customer_id = self.customer_id

        handle = self.handle

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if api_key_id is not UNSET:
            field_dict["api_key_id"] = api_key_id
        if created_by is not UNSET:
            field_dict["created_by"] = created_by
        if customer_id is not UNSET:
            field_dict["customer_id"] = customer_id
        if handle is not UNSET:
            field_dict["handle"] = handle

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        api_key_id = d.pop("api_key_id", UNSET)

        created_by = d.pop("created_by", UNSET)

        customer_id = d.pop("customer_id", UNSET)

        handle = d.pop("handle", UNSET)

        who_am_i_response = cls(
            api_key_id=api_key_id,
            created_by=created_by,
            customer_id=customer_id,
            handle=handle,
        )

        who_am_i_response.additional_properties = d
        return who_am_i_response

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
