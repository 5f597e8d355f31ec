"""Contains all the data models used in inputs/outputs"""

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
)
