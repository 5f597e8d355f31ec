"""Lists the parts of the spec that the wrapper relies on: operations, and the properties it sends and reads.
Must not know how the spec is checked against them (tools/facts.py), nor import the wrapper.

Types are OpenAPI's, and classes are those of `dune_api.models`; `[string]` is a list. Tests compare the tables with the
code.
"""

OPERATIONS = {
    "POST /v1/materialized-views/{name}/refresh": {
        "takes": {"name": "string"},
        "sends": "RefreshRequest",
        "responds": {"200": "RefreshResponse"},
    },
    "GET /v1/execution/{execution_id}/status": {
        "takes": {"execution_id": "string"},
        "responds": {"200": "ExecutionStatusResponse"},
    },
    "POST /v1/execution/{execution_id}/cancel": {
        "takes": {"execution_id": "string"},
        "responds": {"200": "CancelExecutionResponse"},
    },
    "GET /v1/materialized-views": {
        "takes": {"limit": "integer", "offset": "integer"},
        "responds": {"200": "MatviewListResponse"},
    },
    "POST /v1/materialized-views": {"sends": "UpsertRequest", "responds": {"200": "UpsertResponse"}},
    "GET /v1/materialized-views/{name}": {"takes": {"name": "string"}, "responds": {"200": "MatviewResponse"}},
    "DELETE /v1/materialized-views/{name}": {"takes": {"name": "string"}, "responds": {"200": "DeleteResponse"}},
    "GET /v1/query/{query_id}/pipeline": {"takes": {"query_id": "integer"}, "responds": {"200": "PipelineResponse"}},
    "POST /v1/usage": {"sends": "UsageRequest", "responds": {"200": "UsageResponse"}},
    "GET /whoami": {"responds": {"200": "WhoAmIResponse"}},
}
SENDS = {
    "RefreshRequest": {"performance": "string"},
    "UpsertRequest": {
        "name": "string",
        "query_id": "integer",
        "is_private": "boolean",
        "performance": "string",
        "cron_expression": "string",
        "expires_at": "string",
    },
    "UsageRequest": {},
}

READS = {
    "RefreshResponse": {"execution_id": "string"},
    "UpsertResponse": {"execution_id": "string", "name": "string"},
    "CancelExecutionResponse": {"success": "boolean"},
    "DeleteResponse": {},
    "MatviewResponse": {
        "sql_id": "string",
        "query_id": "integer",
        "is_private": "boolean",
        "table_size_bytes": "integer",
        "last_execution_ids": "[string]",
        "schedule": "MatviewSchedule",
    },
    "MatviewSchedule": {
        "cron_expression": "string",
        "performance": "string",
        "next_execution_time": "string",
        "expires_at": "string",
    },
    "MatviewListResponse": {"materialized_views": "[MatviewListElement]", "next_offset": "integer"},
    "MatviewListElement": {
        "sql_id": "string",
        "query_id": "integer",
        "is_private": "boolean",
        "table_size_bytes": "integer",
    },
    "PipelineResponse": {"pipeline": "Pipeline"},
    "Pipeline": {"nodes": "[PipelineNode]"},
    "PipelineNode": {
        "id": "integer",
        "dependencies": "[integer]",
        "materialized_view_refresh": "PipelineRefresh",
        "query_execution": "PipelineExecution",
    },
    "PipelineRefresh": {"name": "string"},
    "PipelineExecution": {},
    "UsageResponse": {"billing_periods": "[BillingPeriod]"},
    "BillingPeriod": {
        "start_date": "string",
        "end_date": "string",
        "credits_used": "number",
        "credits_included": "number",
    },
    "WhoAmIResponse": {
        "handle": "string",
        "customer_id": "string",
        "api_key_id": "string",
        "created_by": "integer",
    },
    "ExecutionStatusResponse": {
        "state": "string",
        "is_execution_finished": "boolean",
        "query_id": "integer",
        "queue_position": "integer",
        "submitted_at": "string",
        "execution_started_at": "string",
        "execution_ended_at": "string",
        "expires_at": "string",
        "cancelled_at": "string",
        "execution_cost_credits": "number",
        "error": "ExecutionError",
        "result_metadata": "ResultMetadata",
    },
    "ExecutionError": {"type": "string", "message": "string", "metadata": "SyntaxErrorMetadata"},
    "SyntaxErrorMetadata": {"line": "integer", "column": "integer"},
    "ResultMetadata": {
        "row_count": "integer",
        "total_row_count": "integer",
        "result_set_bytes": "integer",
        "total_result_set_bytes": "integer",
    },
}

TIER_SENTENCE = "Accepts `small`, `medium`, `large`."
"""The spec's description of `performance`; `_tiers.py` relies on it."""
