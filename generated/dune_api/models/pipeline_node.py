from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.pipeline_execution import PipelineExecution
    from ..models.pipeline_refresh import PipelineRefresh


T = TypeVar("T", bound="PipelineNode")


@_attrs_define
class PipelineNode:
    """One step of a pipeline, which is a view to refresh, or a query to execute"""

    dependencies: list[int] | None | Unset = UNSET
    """ The nodes that have to be done before """
    id: int | Unset = UNSET
    """ Number of the node in its pipeline """
    materialized_view_refresh: Any | PipelineRefresh | Unset = UNSET
    """ The view to refresh, if that is what the node does """
    query_execution: Any | PipelineExecution | Unset = UNSET
    """ The query to execute, if that is what the node does """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.pipeline_execution import PipelineExecution  # noqa: PLC0415
        from ..models.pipeline_refresh import PipelineRefresh  # noqa: PLC0415

        dependencies: list[int] | None | Unset
        if isinstance(self.dependencies, Unset):
            dependencies = UNSET
        elif isinstance(self.dependencies, list):
            dependencies = self.dependencies

        else:
            dependencies = self.dependencies

        id = self.id

        materialized_view_refresh: Any | dict[str, Any] | Unset
        if isinstance(self.materialized_view_refresh, Unset):
            materialized_view_refresh = UNSET
        elif isinstance(self.materialized_view_refresh, PipelineRefresh):
            materialized_view_refresh = self.materialized_view_refresh.to_dict()
        else:
            materialized_view_refresh = self.materialized_view_refresh

        query_execution: Any | dict[str, Any] | Unset
        if isinstance(self.query_execution, Unset):
            query_execution = UNSET
        elif isinstance(self.query_execution, PipelineExecution):
            query_execution = self.query_execution.to_dict()
        else:
            query_execution = self.query_execution

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if dependencies is not UNSET:
            field_dict["dependencies"] = dependencies
        if id is not UNSET:
            field_dict["id"] = id
        if materialized_view_refresh is not UNSET:
            field_dict["materialized_view_refresh"] = materialized_view_refresh
        if query_execution is not UNSET:
            field_dict["query_execution"] = query_execution

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.pipeline_execution import PipelineExecution  # noqa: PLC0415
        from ..models.pipeline_refresh import PipelineRefresh  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_dependencies(data: object) -> list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                dependencies_type_0 = cast(list[int], data)

                return dependencies_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | Unset, data)

        dependencies = _parse_dependencies(d.pop("dependencies", UNSET))

        id = d.pop("id", UNSET)

        def _parse_materialized_view_refresh(data: object) -> Any | PipelineRefresh | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                materialized_view_refresh_type_0 = PipelineRefresh.from_dict(data)

                return materialized_view_refresh_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Any | PipelineRefresh | Unset, data)

        materialized_view_refresh = _parse_materialized_view_refresh(d.pop("materialized_view_refresh", UNSET))

        def _parse_query_execution(data: object) -> Any | PipelineExecution | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                query_execution_type_0 = PipelineExecution.from_dict(data)

                return query_execution_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Any | PipelineExecution | Unset, data)

        query_execution = _parse_query_execution(d.pop("query_execution", UNSET))

        pipeline_node = cls(
            dependencies=dependencies,
            id=id,
            materialized_view_refresh=materialized_view_refresh,
            query_execution=query_execution,
        )

        pipeline_node.additional_properties = d
        return pipeline_node

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
