"""Contains all the data models used in inputs/outputs"""

from .cancel_execution_response import CancelExecutionResponse
from .error_400 import Error400
from .error_401 import Error401
from .error_403 import Error403
from .error_404 import Error404
from .error_500 import Error500
from .error_detail import ErrorDetail
from .execution_error import ExecutionError
from .execution_status_response import ExecutionStatusResponse
from .matview_response import MatviewResponse
from .matview_schedule import MatviewSchedule
from .refresh_request import RefreshRequest
from .refresh_response import RefreshResponse
from .result_metadata import ResultMetadata
from .syntax_error_metadata import SyntaxErrorMetadata

__all__ = (
    "CancelExecutionResponse",
    "Error400",
    "Error401",
    "Error403",
    "Error404",
    "Error500",
    "ErrorDetail",
    "ExecutionError",
    "ExecutionStatusResponse",
    "MatviewResponse",
    "MatviewSchedule",
    "RefreshRequest",
    "RefreshResponse",
    "ResultMetadata",
    "SyntaxErrorMetadata",
)
