"""Contains all the data models used in inputs/outputs; each is imported when it is first used"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .billing_period import BillingPeriod
    from .cancel_execution_response import CancelExecutionResponse
    from .delete_response import DeleteResponse
    from .error_400 import Error400
    from .error_401 import Error401
    from .error_403 import Error403
    from .error_404 import Error404
    from .error_500 import Error500
    from .error_detail import ErrorDetail
    from .execution_error import ExecutionError
    from .execution_status_response import ExecutionStatusResponse
    from .matview_list_element import MatviewListElement
    from .matview_list_response import MatviewListResponse
    from .matview_response import MatviewResponse
    from .matview_schedule import MatviewSchedule
    from .pipeline import Pipeline
    from .pipeline_execution import PipelineExecution
    from .pipeline_node import PipelineNode
    from .pipeline_refresh import PipelineRefresh
    from .pipeline_response import PipelineResponse
    from .refresh_request import RefreshRequest
    from .refresh_response import RefreshResponse
    from .result_metadata import ResultMetadata
    from .syntax_error_metadata import SyntaxErrorMetadata
    from .upsert_request import UpsertRequest
    from .upsert_response import UpsertResponse
    from .usage_request import UsageRequest
    from .usage_response import UsageResponse
    from .who_am_i_response import WhoAmIResponse
else:
    from importlib import import_module

    _MODULES = {
        "BillingPeriod": ".billing_period",
        "CancelExecutionResponse": ".cancel_execution_response",
        "DeleteResponse": ".delete_response",
        "Error400": ".error_400",
        "Error401": ".error_401",
        "Error403": ".error_403",
        "Error404": ".error_404",
        "Error500": ".error_500",
        "ErrorDetail": ".error_detail",
        "ExecutionError": ".execution_error",
        "ExecutionStatusResponse": ".execution_status_response",
        "MatviewListElement": ".matview_list_element",
        "MatviewListResponse": ".matview_list_response",
        "MatviewResponse": ".matview_response",
        "MatviewSchedule": ".matview_schedule",
        "Pipeline": ".pipeline",
        "PipelineExecution": ".pipeline_execution",
        "PipelineNode": ".pipeline_node",
        "PipelineRefresh": ".pipeline_refresh",
        "PipelineResponse": ".pipeline_response",
        "RefreshRequest": ".refresh_request",
        "RefreshResponse": ".refresh_response",
        "ResultMetadata": ".result_metadata",
        "SyntaxErrorMetadata": ".syntax_error_metadata",
        "UpsertRequest": ".upsert_request",
        "UpsertResponse": ".upsert_response",
        "UsageRequest": ".usage_request",
        "UsageResponse": ".usage_response",
        "WhoAmIResponse": ".who_am_i_response",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = model = getattr(import_module(_MODULES[name], __name__), name)
        return model


__all__ = (
    "BillingPeriod",
    "CancelExecutionResponse",
    "DeleteResponse",
    "Error400",
    "Error401",
    "Error403",
    "Error404",
    "Error500",
    "ErrorDetail",
    "ExecutionError",
    "ExecutionStatusResponse",
    "MatviewListElement",
    "MatviewListResponse",
    "MatviewResponse",
    "MatviewSchedule",
    "Pipeline",
    "PipelineExecution",
    "PipelineNode",
    "PipelineRefresh",
    "PipelineResponse",
    "RefreshRequest",
    "RefreshResponse",
    "ResultMetadata",
    "SyntaxErrorMetadata",
    "UpsertRequest",
    "UpsertResponse",
    "UsageRequest",
    "UsageResponse",
    "WhoAmIResponse",
)
