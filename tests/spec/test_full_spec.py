"""Knows that a client with all operations of an API works, odd ones included, and that the wrapper works on top of it.
Must not know how the rules bring that about."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.spec.conftest import read
from tests.spec.full import full_spec
from tests.spec.on_full_spec import copy_with_full_spec, run_in
from tools.document import operations, shape
from tools.generate import load

# The tests of the wrapper that pass through most of the generated code.
THROUGH_THE_CLIENT = ("test_refreshing.py", "test_views.py", "test_prism.py")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository that was updated from the full spec."""
    return copy_with_full_spec(tmp_path_factory.mktemp("full") / "repository")


def modules(repository: Path) -> dict[str, str]:
    """The module of each request that the client can make: its method and its path, places nameless."""
    found: dict[str, str] = {}
    for path in repository.glob("generated/dune_api/api/*/*.py"):
        if path.stem != "__init__":
            texts = {
                key.value: value for node in ast.walk(ast.parse(path.read_text("utf-8"))) for key, value in pairs(node)
            }
            url = ast.unparse(texts["url"]).split("'")[1]
            found[f"{ast.literal_eval(texts['method']).upper()} {url}"] = f"{path.parent.name}.{path.stem}"
    return found


def pairs(node: ast.AST) -> list[tuple[Any, Any]]:
    """The items of a dictionary."""
    return list(zip(node.keys, node.values, strict=True)) if isinstance(node, ast.Dict) else []


def test_no_operation_is_lost(repository: Path) -> None:
    """Each operation of the spec, and each further body of one, has a module of its own at a readable place."""
    places = modules(repository)
    sent = {shape(call.split("#")[0]) for call in places}
    known = {shape(str(each)) for each in (*operations(full_spec()), *operations(read("additions.yaml")))}
    assert sent == known
    assert len(places) == len(set(places.values())) == len(known) + 2
    assert {
        "GET /v1/execution/{execution_id}/results": "executions.get_execution_results",
        "GET /v1/query/{query_id}": "queries.get_query_by_query_id",
        "POST /v1/table/{namespace}/{table_name}/insert": "table.post_table_insert",
        "POST /v1/table/{namespace}/{table_name}/insert#application/x-ndjson": "table.post_table_insert_as_ndjson",
        "POST /v1/materialized-views/{name}/refresh": "materialized_views.refresh_materialized_view",
    }.items() <= places.items()


def test_no_schema_is_lost(repository: Path) -> None:
    """Each schema with properties has a class, and no two classes one module."""
    document = load(repository).document
    schemas = [schema for schema in document["components"]["schemas"].values() if "properties" in schema]
    files = [path for path in repository.glob("generated/dune_api/models/*.py") if path.stem != "__init__"]
    listed = ast.parse((repository / "generated/dune_api/models/__init__.py").read_text("utf-8"))
    names = [alias.name for node in ast.walk(listed) if isinstance(node, ast.ImportFrom) for alias in node.names]
    imported = set(names) - {"TYPE_CHECKING", "import_module"}
    assert len(files) == len(imported) > len(schemas)


PROGRAM = """
import asyncio, json, httpx
from io import BytesIO
from dune_api import AuthenticatedClient
from dune_api.types import File
from dune_api import models
from dune_api.api.executions import *
from dune_api.api.executions import get_execution_results, get_execution_results_csv, get_execution_results_text
from dune_api.api.queries import post_query, get_query_by_query_id, post_query_private
from dune_api.api.table import get_table_raw, post_table_insert, post_table_insert_as_ndjson, put_table_note
from dune_api.api.uploads import post_uploads, post_uploads_insert_as_ndjson
from dune_api.api.visualizations import delete_visualizations_by_visualization_id, get_visualizations_image

seen, responses = [], {}

class Transport(httpx.MockTransport):
    async def handle_async_request(self, request):
        await request.aread()
        return respond(request)

def respond(request):
    path, media_type = request.url.raw_path.decode(), request.headers.get("content-type")
    seen.append([request.method, path, media_type, request.read().decode()])
    return responses["next"]

client = AuthenticatedClient(
    base_url="https://dune.test/api", token="secret", prefix="", auth_header_name="X-Dune-Api-Key",
    httpx_args={"transport": Transport(respond)},
)

def call(module, *arguments, told, **named):
    responses["next"] = told
    parsed = module.sync_detailed(*arguments, client=client, **named).parsed
    return parsed.payload.read().decode() if isinstance(parsed, File) else parsed

def rows():
    return File(payload=BytesIO(b"a,b"))

def ok(**content):
    return httpx.Response(200, json=content)

told = [
    call(get_execution_results_csv, "E", limit=5, told=httpx.Response(200, text="a,b\\n1,2")),
    call(get_execution_results_text, "E", told=httpx.Response(200, text="a b")),
    call(get_table_raw, "n", "t", told=httpx.Response(200, content=b"PK")),
    call(get_visualizations_image, "7", told=httpx.Response(200, content=b"PNG")),
    call(delete_visualizations_by_visualization_id, "7", told=httpx.Response(200, text="gone")),
    call(post_table_insert, "n", "t", body=rows(), told=ok(rows_written=1)).rows_written,
    call(post_table_insert_as_ndjson, "n", "t", body=rows(), told=ok(rows_written=1)).rows_written,
    call(post_uploads_insert_as_ndjson, "n", "t", body=rows(), told=ok(rows_written=1)).rows_written,
    call(put_table_note, "n", "t", body=rows(), told=httpx.Response(200)),
    call(post_query, body=models.ModelsCreateQueryRequest(name="q"), told=ok(query_id=1)).query_id,
    call(post_query, told=httpx.Response(201, json={"queryId": 2, "query_id": 3})).to_dict(),
    call(post_uploads, told=httpx.Response(409, text="exists")),
    call(get_query_by_query_id, 7, told=ok(owner="me", result={"rows": 4})).result.rows,
    call(post_query_private, 7, query_id_query="8", told=ok()).to_dict(),
    call(get_execution_results, "E", told=ok(state="NEW", submitted_at="soon")).to_dict(),
]

async def insert():
    async with client:
        return await post_table_insert.asyncio("n", "t", client=client, body=rows())

responses["next"] = ok(rows_written=2)
told.append(asyncio.run(insert()).rows_written)
print(json.dumps([told, seen]))
"""


def test_odd_operations_send_and_read_what_they_should(repository: Path) -> None:
    """CSV, text and bytes go under their own media types, also with await, and are read as such; 201 beside 200."""
    done = run_in(repository, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    told, seen = json.loads(done.stdout)
    assert told == [
        "a,b\n1,2",
        "a b",
        "PK",
        "PNG",
        "gone",
        1,
        1,
        1,
        None,
        1,
        {"queryId": 2, "query_id": 3},
        "exists",
        4,
        {},
        {"state": "NEW", "submitted_at": "soon"},
        2,
    ]
    assert [request for request in seen if request[0] in ("POST", "PUT")] == [
        ["POST", "/api/v1/table/n/t/insert", "text/csv", "a,b"],
        ["POST", "/api/v1/table/n/t/insert", "application/x-ndjson", "a,b"],
        ["POST", "/api/v1/uploads/n/t/insert", "application/x-ndjson", "a,b"],
        ["PUT", "/api/v1/table/n/t/note", "text/plain", "a,b"],
        ["POST", "/api/v1/query", "application/json", '{"name":"q"}'],
        ["POST", "/api/v1/query", "application/json", ""],
        ["POST", "/api/v1/uploads", "application/json", ""],
        ["POST", "/api/v1/query/7/private?query_id=8", None, ""],
        ["POST", "/api/v1/table/n/t/insert", "text/csv", "a,b"],
    ]
    assert seen[0][:2] == ["GET", "/api/v1/execution/E/results/csv?limit=5"]


# The generated code is not annotated to the wrapper's strictness, and otherwise has no errors either.
LENIENT = "\n".join(
    f"{option} = false"
    for option in ("disallow_untyped_calls", "disallow_untyped_defs", "disallow_incomplete_defs", "warn_return_any")
)


def test_all_of_it_is_typed(repository: Path) -> None:
    """The generated code has no type error, and neither has the wrapper on top of it, as strict as ever."""
    settings = (repository / "pyproject.toml").read_text("utf-8").replace('follow_imports = "silent"', LENIENT)
    assert LENIENT in settings
    (repository / "mypy.toml").write_text(settings, "utf-8")
    checked = ("wrapper", "generated/dune_api")
    done = run_in(repository, "-m", "mypy", "--config-file=mypy.toml", "--cache-dir=.mypy_cache", *checked)
    assert done.returncode == 0, done.stdout


def test_the_wrapper_works_unchanged(repository: Path) -> None:
    """The wrapper's tests pass on top of it as they are; `make test-full` runs all of them, and for both clients."""
    tests = [f"tests/clients/{name}" for name in THROUGH_THE_CLIENT]
    done = run_in(repository, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not async", *tests)
    assert done.returncode == 0, done.stdout[-3000:]
