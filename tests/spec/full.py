"""An invented spec of a whole API in Dune's manner: some 35 operations, with every known oddity.
Must not know what the tools make of it.

It is shaped as a converter from Swagger 2.0 leaves it: bodies as `*/*`, the key as two parameters of each operation,
nothing required, and, here and there, what is plainly wrong. Nobody has to keep it like Dune's; it has to stay odd."""

from typing import Any

from tools.document import Document, copy, operations, reachable
from tools.document import schemas as schemas_of

JSON = "application/json"
TEXT: Document = {"type": "string"}
WHOLE: Document = {"type": "integer"}
FLAG: Document = {"type": "boolean"}
MOMENT: Document = {"type": "string", "format": "date-time"}
ERRORS = ("400", "401", "404", "500")
BINARY: Document = {"type": "string", "format": "binary"}


def ref(name: str) -> Document:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(items: Document) -> Document:
    """A list."""
    return {"type": "array", "items": items}


def thing(**properties: Document) -> Document:
    """An object, of which nothing is required."""
    return {"properties": properties, "type": "object"}


def parameter(place: str, name: str, schema: Document = TEXT) -> Document:
    """A parameter."""
    required = {"required": True} if place != "query" else {}
    return {"description": f"The {name}", "in": place, "name": name, **required, "schema": schema}


def body(schema: Document, *media_types: str) -> Document:
    """A body, as the converter leaves it."""
    content = {media_type: {"schema": schema} for media_type in media_types or ("*/*",)}
    return {"content": content, "description": "The body", "x-originalParamName": "body"}


def response(schema: Document | None, *media_types: str) -> Document:
    """A response."""
    if schema is None:
        return {"description": "OK"}
    return {"content": {each: {"schema": schema} for each in media_types or (JSON,)}, "description": "OK"}


def operation(
    summary: str,
    *parameters: Document,
    sends: Document | None = None,
    responses: Document | None = None,
    more: Document | None = None,
    errors: tuple[str, ...] = ERRORS,
) -> Document:
    """One operation, with the key and the errors that all have."""
    key = [
        parameter("header", "X-Dune-Api-Key"),
        {"description": "The key in the address", "in": "query", "name": "api_key", "schema": TEXT},
    ]
    codes = {code: response(ref(f"models.Error{code}")) for code in errors}
    content: Document = {"summary": summary, "description": summary, "parameters": [*parameters, *key]}
    if sends is not None:
        content["requestBody"] = sends
    return content | {"responses": {"200": responses or response(None), **(more or {}), **codes}}


VIEW, EXECUTION, QUERY = (
    parameter("path", "name"),
    parameter("path", "execution_id"),
    parameter("path", "query_id", WHOLE),
)
PAGE = (parameter("query", "limit"), parameter("query", "offset"))
RESULTS = (parameter("query", "limit", WHOLE), parameter("query", "filters"), parameter("query", "columns"))
TABLE = (parameter("path", "namespace"), parameter("path", "table_name"))


def views() -> Document:
    """The operations on views, which additions.yaml has too, declared as Dune does, wrongly in places."""
    return {
        "/v1/materialized-views": {
            "get": operation("Lists views", *PAGE, responses=response(ref("matviews.MatviewsListResponse"))),
            "post": operation(
                "Upserts a view",
                VIEW,  # for which the path has no place
                sends=body(ref("matviews.MatviewsUpsertRequest")),
                responses=response(ref("matviews.MatviewsUpsertResponse")),
            ),
        },
        "/v1/materialized-views/{name}": {
            "get": operation(
                "Gets a view", VIEW, responses=response(ref("matviews.MatviewsGetResponse")), errors=(*ERRORS, "403")
            ),
            "delete": operation(
                "Deletes a view",
                VIEW,
                responses=response(ref("matviews.MatviewsDeleteResponse")),
                errors=(*ERRORS, "403"),
            ),
        },
    }


def executions() -> Document:
    """The operations on executions: two that additions.yaml has too, and results as JSON, text and CSV."""
    path = "/v1/execution/{execution_id}"
    return {
        f"{path}/status": {
            # Declared for all operations of the path, and once more for the operation itself.
            "parameters": [EXECUTION],
            "get": operation("Gets a status", EXECUTION, responses=response(ref("models.GetExecutionStatusResponse"))),
        },
        f"{path}/cancel": {
            "post": operation("Cancels", EXECUTION, responses=response(ref("models.CancelQueryExecutionResponse")))
        },
        f"{path}/results": {
            "get": operation(
                "Gets a result",
                EXECUTION,
                *RESULTS,
                parameter("query", "allow_partial_results", FLAG),
                responses=response(ref("models.ExecutionResultResponse")),
            )
        },
        f"{path}/results/csv": {
            "get": operation("Gets a result as CSV", EXECUTION, *RESULTS, responses=response(BINARY, "text/csv"))
        },
        f"{path}/results/text": {
            "get": operation("Prints a result", EXECUTION, responses=response(TEXT, "text/plain"))
        },
        "/v1/sql/execute": {
            "post": operation(
                "Runs SQL",
                sends=body(ref("models.ExecuteSQLRequest")),
                responses=response(ref("models.ExecuteSQLResponse")),
            )
        },
    }


def queries() -> Document:
    """The operations on queries, whose paths say `{queryId}` where their parameters say `query_id`, and the reverse."""
    return {
        "/v1/query": {
            "post": operation(
                "Creates a query",
                sends=body(ref("models.CreateQueryRequest")),
                responses=response(ref("models.CreateQueryResponse")),
                more={"201": response(ref("models.QueryCreated"))},
            )
        },
        "/v1/queries": {
            "get": operation("Lists queries", *PAGE, responses=response(ref("models.ListQueriesResponse")))
        },
        "/v1/query/{queryId}": {
            "get": operation("Gets a query", QUERY, responses=response(ref("models.Query"))),
            "patch": operation(
                "Updates a query",
                parameter("path", "queryId", WHOLE),
                parameter("path", "query_id", WHOLE),
                sends=body(ref("models.UpdateQueryRequest"), JSON, "*/*"),
                responses=response(ref("models.QueryResult")),
            ),
        },
        "/v1/query/{queryId}/archive": {
            "post": operation("Archives", parameter("path", "queryId"), responses=response(ref("models.QueryResult")))
        },
        "/v1/query/{queryId}/private": {
            "post": operation(
                "Hides", QUERY, parameter("query", "query_id"), responses=response(ref("models.QueryResult"))
            )
        },
        "/v1/query/{query_id}/execute": {
            "post": operation(
                "Executes a query",
                QUERY,
                sends=body(ref("models.ExecuteQueryRequest")),
                responses=response(ref("models.ExecuteQueryResponse")),
            )
        },
        "/v1/query/{query_id}/results": {
            "get": operation(
                "Gets the latest result",
                QUERY,
                *RESULTS,
                {"in": "query", "name": "sample_count", "type": "integer"},  # as in Swagger 2.0
                responses=response(ref("models.ExecutionResultResponse")),
            )
        },
        "/v1/query/{query_id}/results/csv": {
            "get": operation(
                "Gets the latest result as CSV", QUERY, *RESULTS, responses=response(TEXT, "text/csv", JSON)
            )
        },
        "/v1/query/{queryId}/pipeline": {
            "get": operation(
                "Shows what a query reads",
                parameter("path", "queryId", WHOLE),
                parameter("query", "performance", {"type": "string", "enum": ["medium", "large"]}),
                parameter("query", "query_parameters"),
                responses=response(ref("models.GetPipelineResponse")),
            )
        },
        "/v1/query/{query_id}/pipeline/execute": {
            "post": operation(
                "Runs all that a query reads",
                QUERY,
                sends=body(ref("models.ExecutePipelineRequest")),
                responses=response(ref("models.PipelineExecutionResponse")),
            )
        },
        "/v1/pipelines/executions/{pipeline_execution_id}/status": {
            "get": operation(
                "Gets a pipeline's status",
                parameter("path", "pipeline_execution_id"),
                responses=response(ref("models.PipelineStatus"), "*/*"),
            )
        },
    }


def tables() -> Document:
    """The operations on uploaded tables: CSV, JSON lines and bytes sent, with a 201 response."""
    content_type = parameter("header", "Content-Type", {"type": "string", "enum": ["text/csv", "application/x-ndjson"]})
    inserted = response(ref("models.InsertResponse"))
    return {
        "/v1/uploads": {
            "get": operation("Lists tables", *PAGE, responses=response(ref("models.TableList"))),
            "post": operation(
                "Creates a table",
                sends=body(ref("models.CreateTableRequest")),
                responses=response(ref("models.CreateTableResponse")),
                more={"201": response(ref("models.CreateTableResponse")), "409": response(TEXT, "text/plain")},
            ),
        },
        "/v1/uploads/csv": {"post": operation("Uploads CSV", sends=body(ref("models.UploadCSVRequest")))},
        "/v1/uploads/{namespace}/{table_name}": {
            "delete": operation("Deletes a table", *TABLE, more={"204": response(None)})
        },
        "/v1/uploads/{namespace}/{table_name}/clear": {"post": operation("Empties a table", *TABLE)},
        "/v1/uploads/{namespace}/{table_name}/insert": {
            "post": operation("Inserts rows", *TABLE, content_type, sends=body(TEXT), responses=inserted)
        },
        # As it was called before, and declared otherwise.
        "/v1/table/{namespace}/{table_name}/insert": {
            "post": operation(
                "Inserts rows",
                *TABLE,
                content_type,
                sends=body(BINARY, "text/csv", "application/x-ndjson"),
                responses=inserted,
            )
        },
        "/v1/table/{namespace}/{table_name}/raw": {
            "put": operation("Replaces a table", *TABLE, sends=body(BINARY, "application/octet-stream")),
            "get": operation("Reads a table", *TABLE, responses=response({"type": "file"}, "application/zip")),
        },
        "/v1/table/{namespace}/{table_name}/note": {
            "put": operation("Notes something", *TABLE, sends=body(TEXT, "text/plain"), responses=response(None))
        },
    }


def others() -> Document:
    """The other operations: data sets, visualizations, usage."""
    return {
        "/v1/usage": {
            "post": operation(
                "Tells the usage",
                sends=body(ref("models.GetUsageRequest")),
                responses=response(ref("models.GetUsageResponse")),
            )
        },
        "/v1/datasets": {
            "get": operation(
                "Lists data sets",
                *PAGE,
                parameter("query", "type", {"type": "string", "enum": ["spell", "decoded", "uploaded"]}),
                parameter("query", "type", {"type": "string"}),
                responses=response(ref("models.DatasetList")),
            )
        },
        "/v1/datasets/{slug}": {
            "get": operation("Gets a data set", parameter("path", "slug"), responses=response(ref("models.Dataset")))
        },
        "/v1/datasets/search": {
            "post": operation(
                "Finds data sets", sends=body(ref("models.Search")), responses=response(ref("models.DatasetList"))
            )
        },
        "/v1/visualizations/{visualization_id}": {
            "get": operation("Gets a chart", parameter("path", "id", WHOLE), responses=response(ref("models.Chart"))),
            "put": operation(
                "Changes a chart",
                parameter("path", "visualization_id", WHOLE),
                sends=body(thing(name=TEXT, options=thing(kind=TEXT))),
                responses=response(thing(id=WHOLE)),
            ),
            "delete": operation(
                "Deletes a chart", parameter("path", "visualization_id"), responses=response(TEXT, "*/*")
            ),
        },
        "/v1/visualizations/{visualization_id}/image": {
            "get": operation(
                "Draws a chart", parameter("path", "visualization_id"), responses=response(BINARY, "image/png")
            )
        },
        "/v1/whoami": {
            "get": operation("Tells whose the key is", responses=response(thing(customer_id=TEXT)), errors=())
        },
    }


def schemas() -> Document:
    """The schemas: those that additions.yaml has too, declared as Dune might, and some that clash."""
    errors = {f"models.Error{code}": thing(error=TEXT | {"example": "No"}) for code in (400, 401, 403, 404, 500)}
    shared = errors | {
        "matviews.MatviewsRefreshRequest": thing(
            performance=TEXT | {"description": "The tier. Accepts `small`, `medium`, `large`."}
        ),
        "matviews.MatviewsRefreshResponse": thing(execution_id=TEXT, sql_id=TEXT),
        # Without the schedule, which is newer.
        "matviews.MatviewsGetResponse": thing(
            id=TEXT,
            is_private=FLAG,
            last_execution_ids=many(TEXT),
            owner_team_id=WHOLE,
            owner_user_id=WHOLE,
            query_id=WHOLE,
            sql_id=TEXT,
            table_size_bytes=WHOLE,
        ),
        "matviews.MatviewsListResponse": thing(
            materialized_views=many(ref("matviews.MatviewListElement")), next_offset=WHOLE
        ),
        "matviews.MatviewListElement": thing(
            id=TEXT, is_private=FLAG, query_id=WHOLE, sql_id=TEXT, table_size_bytes=WHOLE
        ),
        "matviews.MatviewsUpsertRequest": thing(
            cron_expression=TEXT, expires_at=TEXT, is_private=FLAG, name=TEXT, performance=TEXT, query_id=WHOLE
        ),
        "matviews.MatviewsUpsertResponse": thing(execution_id=TEXT, name=TEXT),
        "matviews.MatviewsDeleteResponse": thing(message=TEXT),
        "models.CancelQueryExecutionResponse": thing(success=FLAG),
        "models.GetExecutionStatusResponse": thing(
            cancelled_at=MOMENT,
            error={"allOf": [ref("models.QueryResultError")], "description": "Why it failed"},
            execution_cost_credits={"type": "number"},
            execution_ended_at=MOMENT,
            execution_id=TEXT,
            execution_started_at=MOMENT,
            expires_at=MOMENT,
            is_execution_finished=FLAG,
            max_inflight_interactive_executions=WHOLE,
            max_inflight_interactive_reached=WHOLE,
            query_id=WHOLE,
            queryId=WHOLE,  # as it was spelled before
            queue_position=WHOLE,
            result_metadata=ref("models.ExecutionResultMetadata"),
            state=TEXT
            | {
                "enum": [
                    "QUERY_STATE_PENDING",
                    "QUERY_STATE_EXECUTING",
                    "QUERY_STATE_COMPLETED",
                    "QUERY_STATE_COMPLETED_PARTIAL",
                    "QUERY_STATE_FAILED",
                    "QUERY_STATE_CANCELED",
                    "QUERY_STATE_EXPIRED",
                ]
            },
            submitted_at=MOMENT,
        )
        | {"required": ["execution_id", "state"]},
        "models.QueryResultError": thing(message=TEXT, metadata=ref("models.SyntaxErrorMetadata"), type=TEXT),
        "models.SyntaxErrorMetadata": thing(column=WHOLE, line=WHOLE),
        "models.ExecutionResultMetadata": thing(
            column_names=many(TEXT),
            column_types=many(TEXT),
            datapoint_count=WHOLE,
            execution_time_millis=WHOLE,
            pending_time_millis=WHOLE,
            result_set_bytes=WHOLE,
            row_count=WHOLE,
            total_result_set_bytes=WHOLE,
            total_row_count=WHOLE,
        ),
        "models.GetUsageRequest": thing(end_date=TEXT, start_date=TEXT),
        "models.GetUsageResponse": thing(
            billing_periods=many(ref("models.BillingPeriod")),
            bytes_allowed=WHOLE,
            bytes_used=WHOLE,
            private_dashboards=WHOLE,
            private_queries=WHOLE,
        ),
        "models.BillingPeriod": thing(
            credits_included={"type": "number"}, credits_used={"type": "number"}, end_date=TEXT, start_date=TEXT
        ),
        # By other names than ours.
        "models.GetPipelineResponse": thing(pipeline=ref("models.PipelineGraph")),
        "models.PipelineGraph": thing(nodes=many(ref("models.PipelineGraphNode"))),
        "models.PipelineGraphNode": thing(
            dependencies=many(WHOLE),
            id=WHOLE,
            materialized_view_refresh=ref("models.PipelineViewNode"),
            query_execution=ref("models.PipelineQueryNode"),
        ),
        "models.PipelineViewNode": thing(name=TEXT, performance=TEXT),
        "models.PipelineQueryNode": thing(performance=TEXT, query_id=WHOLE),
    }
    return dict(sorted((shared | _new_schemas()).items()))


def _new_schemas() -> Document:
    tier = TEXT | {"enum": ["medium", "large"]}
    return {
        "models.ExecutionResultResponse": thing(
            execution_id=TEXT,
            next_uri=TEXT,
            result=thing(metadata=ref("models.ExecutionResultMetadata"), rows=many({"type": "object"})),
            state=TEXT | {"enum": ["QUERY_STATE_COMPLETED", "QUERY_STATE_FAILED"]},
            submitted_at=MOMENT,
        ),
        "models.ExecuteSQLRequest": thing(performance=tier, sql=TEXT) | {"required": ["sql"]},
        "models.ExecuteSQLResponse": thing(execution_id=TEXT, state=TEXT),
        "models.ExecuteQueryRequest": thing(performance=tier, query_parameters={"type": "object"}),
        "models.ExecuteQueryResponse": thing(execution_id=TEXT, state=TEXT),
        "models.ExecutePipelineRequest": thing(performance=tier),
        "models.PipelineExecutionResponse": thing(pipeline_execution_id=TEXT),
        "models.PipelineStatus": thing(
            node_executions=many(thing(id=WHOLE, status=TEXT)), status=TEXT, queryId=WHOLE, query_id=WHOLE
        ),
        "models.CreateQueryRequest": thing(
            name=TEXT, parameters=many(ref("models.Parameter")), query_sql=TEXT, tags={"type": "array"}
        ),
        "models.CreateQueryResponse": thing(query_id=WHOLE),
        "models.QueryCreated": thing(queryId=WHOLE, query_id=WHOLE),
        "models.UpdateQueryRequest": thing(name=TEXT, query_sql=TEXT),
        "models.Parameter": thing(
            enumOptions=many(TEXT), key=TEXT, type=TEXT | {"enum": ["text", "number", "TEXT"]}, value=TEXT
        )
        | {"title": "models.Query"},
        # Three ways to one class: a schema, another spelled otherwise, and an object within a third.
        "models.Query": thing(name=TEXT, owner=TEXT, query_id=WHOLE, result=thing(rows=WHOLE)),
        "models.QueryResult": thing(query_id=WHOLE),
        "models.Query_Result": thing(rows=many(TEXT)),
        "models.queryResult": thing(text=TEXT),
        "Error400": thing(reason=TEXT),  # whose class is ours for models.Error400
        "models.ListQueriesResponse": thing(queries=many(ref("models.Query")), total=WHOLE),
        "models.TableList": thing(next_offset=WHOLE, tables=many(thing(full_name=TEXT, size=WHOLE))),
        "models.CreateTableRequest": thing(
            namespace=TEXT, schema=many(thing(name=TEXT, nullable=FLAG, type=TEXT)), table_name=TEXT
        ),
        "models.CreateTableResponse": thing(already_existed=FLAG, full_name=TEXT, problem=ref("models.Query_Result")),
        "models.UploadCSVRequest": thing(data=TEXT, table_name=TEXT, why=ref("models.queryResult")),
        "models.InsertResponse": thing(bytes_written=WHOLE, rows_written=WHOLE, trouble=ref("Error400")),
        "models.DatasetList": thing(datasets=many(ref("models.Dataset")), total=WHOLE),
        "models.Dataset": thing(
            columns=many(thing(name=TEXT, type=TEXT)), full_name=TEXT, updated_at=MOMENT, visibility=TEXT
        ),
        "models.Search": thing(categories=many(TEXT | {"enum": ["canonical", "decoded"]}), text=TEXT),
        "models.Chart": thing(created_at=MOMENT, id=WHOLE, options={"type": "object"}),
    }


def full_spec() -> dict[str, Any]:
    """Return the whole spec."""
    refresh = operation(
        "Refreshes a view",
        VIEW,
        sends=body(ref("matviews.MatviewsRefreshRequest")),
        responses=response(ref("matviews.MatviewsRefreshResponse")),
    )
    return {
        "components": {"schemas": schemas()},
        "info": {"contact": {}, "description": "Dune API", "title": "DuneAPI", "version": "1.0"},
        "openapi": "3.0.1",
        "paths": executions()
        | views()
        | {"/v1/materialized-views/{name}/refresh": {"post": refresh}}
        | queries()
        | tables()
        | others(),
        "security": [],
        "servers": [{"url": "https://api.dune.com/api"}],
        "x-original-swagger-version": "2.0",
    }


def part_of(document: Document, *calls: str) -> Document:
    """Return the operations *calls* of *document* as a page of Dune's has them: with the schemas that they need."""
    part = copy(document)
    for operation in list(operations(part)):
        if str(operation) not in calls:
            del part["paths"][operation.path][operation.method]
    part["paths"] = {path: item for path, item in part["paths"].items() if item.keys() - {"parameters"}}
    needed = set(reachable(part, [part["paths"]]))
    part["components"]["schemas"] = {name: each for name, each in schemas_of(part).items() if name in needed}
    return part
