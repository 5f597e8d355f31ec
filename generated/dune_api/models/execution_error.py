from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.syntax_error_metadata import SyntaxErrorMetadata


T = TypeVar("T", bound="ExecutionError")


@_attrs_define
class ExecutionError:
    """Why an execution failed"""

    message: str | Unset = UNSET
    """ What went wrong, in the engine's words """
    type_: str | Unset = UNSET
    """ Kind of failure """
    metadata: Any | SyntaxErrorMetadata | Unset = UNSET
    """ Where in the query's text the error lies """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.syntax_error_metadata import SyntaxErrorMetadata  # noqa: PLC0415

        message = self.message

        type_ = self.type_

        metadata: Any | dict[str, Any] | Unset
        if isinstance(self.metadata, Unset):
            metadata = UNSET
        elif isinstance(self.metadata, SyntaxErrorMetadata):
            metadata = self.metadata.to_dict()
        else:
            metadata = self.metadata

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if message is not UNSET:
            field_dict["message"] = message
        if type_ is not UNSET:
            field_dict["type"] = type_
        if metadata is not UNSET:
            field_dict["metadata"] = metadata

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.syntax_error_metadata import SyntaxErrorMetadata  # noqa: PLC0415

        d = dict(src_dict)
        message = d.pop("message", UNSET)

        type_ = d.pop("type", UNSET)

        def _parse_metadata(data: object) -> Any | SyntaxErrorMetadata | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                metadata_type_0 = SyntaxErrorMetadata.from_dict(data)

                return metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Any | SyntaxErrorMetadata | Unset, data)

        metadata = _parse_metadata(d.pop("metadata", UNSET))

        execution_error = cls(
            message=message,
            type_=type_,
            metadata=metadata,
        )

        execution_error.additional_properties = d
        return execution_error

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
