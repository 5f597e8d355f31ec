from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.matview_list_element import MatviewListElement


T = TypeVar("T", bound="MatviewListResponse")


@_attrs_define
class MatviewListResponse:
    """One page of a list"""

    materialized_views: list[MatviewListElement] | None | Unset = UNSET
    """ The views of this page """
    next_offset: int | Unset = UNSET
    """ The `offset` of the next page; 0 or absent on the last """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        materialized_views: list[dict[str, Any]] | None | Unset
        if isinstance(self.materialized_views, Unset):
            materialized_views = UNSET
        elif isinstance(self.materialized_views, list):
            materialized_views = []
            for materialized_views_type_0_item_data in self.materialized_views:
                materialized_views_type_0_item = materialized_views_type_0_item_data.to_dict()
                materialized_views.append(materialized_views_type_0_item)

        else:
            materialized_views = self.materialized_views

        next_offset = self.next_offset

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if materialized_views is not UNSET:
            field_dict["materialized_views"] = materialized_views
        if next_offset is not UNSET:
            field_dict["next_offset"] = next_offset

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.matview_list_element import MatviewListElement  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_materialized_views(data: object) -> list[MatviewListElement] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                materialized_views_type_0 = []
                _materialized_views_type_0 = data
                for materialized_views_type_0_item_data in _materialized_views_type_0:
                    materialized_views_type_0_item = MatviewListElement.from_dict(materialized_views_type_0_item_data)

                    materialized_views_type_0.append(materialized_views_type_0_item)

                return materialized_views_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[MatviewListElement] | None | Unset, data)

        materialized_views = _parse_materialized_views(d.pop("materialized_views", UNSET))

        next_offset = d.pop("next_offset", UNSET)

        matview_list_response = cls(
            materialized_views=materialized_views,
            next_offset=next_offset,
        )

        matview_list_response.additional_properties = d
        return matview_list_response

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
