"""Knows the pipelines that follow from a lineage, as a rule and over a connection.
Must not know how the sandbox finds an order."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews.sandbox import DuneSandbox, Fault, UnknownObjectError
from dune_matviews.sandbox._lineage import Lineage, Source

DAILY, BASE, RAW = (f"dune.my_team.result_{name}" for name in ("daily", "base", "raw"))

# Views v1, v2, … with the queries 1, 2, …; plain queries from 101 on.
sources = st.one_of(st.integers(1, 6).map("v{}".format), st.integers(101, 104))
readings = st.dictionaries(st.one_of(st.integers(1, 6), st.integers(101, 104)), st.lists(sources, max_size=4))


def reads_of(reads: dict[int, list[Source]], source: Source) -> set[Source]:
    """The direct sources of a view or a query."""
    return set(reads.get(int(source[1:]) if isinstance(source, str) else source, []))


def reachable(reads: dict[int, list[Source]], root: Source) -> set[Source]:
    """The direct and indirect sources of a query, and the query itself: grown until nothing is added."""
    found = {root}
    while more := {each for source in found for each in reads_of(reads, source)} - found:
        found |= more
    return found


def is_circular(reads: dict[int, list[Source]], found: set[Source]) -> bool:
    """Whether there is a circle: taking away sources that depend on nothing leaves some."""
    while free := {each for each in found if not reads_of(reads, each) & found}:
        found = found - free
    return bool(found)


@given(reads=readings, query_id=st.integers(1, 6))
def test_a_pipeline_is_all_that_stands_behind_in_order(reads: dict[int, list[Source]], query_id: int) -> None:
    """Its steps are the query, last, and its sources, once each and, unless there is a circle, after their own."""
    lineage = Lineage(lambda name: int(name[1:]))
    for reader, read in reads.items():
        lineage.set(reader, tuple(read))
    steps = lineage.pipeline(query_id)
    found = reachable(reads, query_id)
    by_id = {step.id: step.source for step in steps}
    assert steps[-1].source == query_id
    assert (set(by_id.values()), len(steps)) == (found, len(found))
    for step in steps:
        assert {by_id[each] for each in step.dependencies} == reads_of(reads, step.source)
        assert len(step.dependencies) == len(set(step.dependencies))
    in_order = all(each < step.id for step in steps for each in step.dependencies)
    assert in_order != is_circular(reads, found)


def test_a_lineage_may_be_deep() -> None:
    """Ten thousand layers are only a longer pipeline."""
    lineage = Lineage(lambda name: int(name[1:]))
    for query_id in range(10_000):
        lineage.set(query_id, (f"v{query_id + 1}",))
    assert [step.source for step in lineage.pipeline(0)] == [f"v{number}" for number in range(10_000, 0, -1)] + [0]


def pipeline(client: httpx.Client, query_id: int, **parameters: str) -> list[dict[str, Any]]:
    """The nodes behind a query that must exist."""
    response = client.get(f"/v1/query/{query_id}/pipeline", params=parameters)
    assert response.status_code == 200, response.text
    return list(response.json()["pipeline"]["nodes"])


def query_of(client: httpx.Client, name: str) -> int:
    """The query of a view that must exist."""
    return int(client.get(f"/v1/materialized-views/{name}").json()["query_id"])


def test_a_pipeline_has_views_and_queries(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view is a node to refresh, a query between views one to execute, and so is the query asked for, the last."""
    sandbox.reads(DAILY, BASE, 4711)
    sandbox.reads(4711, RAW)
    sandbox.reads(BASE, RAW)
    query_id = query_of(client, DAILY)
    assert pipeline(client, query_id) == [
        {"id": 1, "dependencies": [], "materialized_view_refresh": {"name": RAW, "performance": "medium"}},
        {"id": 2, "dependencies": [1], "materialized_view_refresh": {"name": BASE, "performance": "medium"}},
        {"id": 3, "dependencies": [1], "query_execution": {"query_id": 4711, "performance": "medium"}},
        {"id": 4, "dependencies": [2, 3], "query_execution": {"query_id": query_id, "performance": "medium"}},
    ]


def test_a_query_that_reads_nothing_is_alone(client: httpx.Client) -> None:
    """The pipeline of a view's query has that query at least."""
    query_id = query_of(client, RAW)
    assert pipeline(client, query_id) == [
        {"id": 1, "dependencies": [], "query_execution": {"query_id": query_id, "performance": "medium"}}
    ]


def test_the_tier_is_the_one_asked_for(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Each node shows the tier that the pipeline was asked for, and parameters of the query may be given."""
    sandbox.reads(4711, RAW)
    nodes = pipeline(client, 4711, performance="large", query_parameters='{"day": "2026-11-01"}')
    assert nodes[0]["materialized_view_refresh"]["performance"] == nodes[1]["query_execution"]["performance"] == "large"


def names(nodes: list[dict[str, Any]]) -> list[str]:
    """The views among nodes."""
    return [each["materialized_view_refresh"]["name"] for each in nodes if "materialized_view_refresh" in each]


def test_the_last_word_on_a_query_stands(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """New sources replace earlier ones, also by none; a source that is named twice is read once."""
    found = []
    for read in ([BASE, BASE], [RAW], []):
        sandbox.reads(4711, *read)
        found.append(names(pipeline(client, 4711)))
    assert found == [[BASE], [RAW], []]


def test_it_is_the_query_that_reads(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A view with another query has the sources of that query."""
    sandbox.reads(DAILY, BASE)
    sandbox.reads(BASE, RAW)
    sandbox.reads(4711, RAW)
    query_id = query_of(client, DAILY)
    assert names(pipeline(client, query_id)) == [RAW, BASE]
    client.post("/v1/materialized-views", json={"name": "result_base", "query_id": 4712})
    assert names(pipeline(client, query_id)) == [BASE]
    client.post("/v1/materialized-views", json={"name": "result_daily", "query_id": 4711})
    assert names(pipeline(client, query_of(client, DAILY))) == [RAW]


def test_queries_outlive_views(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A query whose view is deleted still has its pipeline, and one that reads a deleted view still names it."""
    sandbox.reads(DAILY, BASE)
    sandbox.reads(BASE, RAW)
    query_id = query_of(client, DAILY)
    for name in (DAILY, BASE):
        client.delete(f"/v1/materialized-views/{name}")
    assert names(pipeline(client, query_id)) == [BASE]


def test_a_foreign_view_is_read_like_any_other(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A query may read views of other accounts, which only their owners may refresh."""
    sandbox.add_view(RAW, owned=False)
    sandbox.reads(DAILY, RAW)
    assert names(pipeline(client, query_of(client, DAILY))) == [RAW]


def test_a_circle_is_told_as_one(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """Views that read each other make nodes that depend on each other."""
    sandbox.reads(DAILY, BASE)
    sandbox.reads(BASE, DAILY)
    nodes = pipeline(client, query_of(client, BASE))
    dependencies = {
        node["materialized_view_refresh"]["name"]: node["dependencies"]
        for node in nodes
        if "query_execution" not in node
    }
    ids = {node["materialized_view_refresh"]["name"]: node["id"] for node in nodes if "query_execution" not in node}
    assert dependencies == {DAILY: [ids[BASE]], BASE: [ids[DAILY]]}


@pytest.mark.parametrize("query_id", ["4712", "0", "-1", "1" + 50 * "0"])
def test_an_unknown_query_is_not_found(client: httpx.Client, query_id: str) -> None:
    """A number that is no query of any view, and was never named, is 404."""
    response = client.get(f"/v1/query/{query_id}/pipeline")
    assert (response.status_code, response.json()) == (404, {"error": "Object not found"})


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("x/pipeline", "a query has a whole number, not 'x'"),
        ("1.0/pipeline", "a query has a whole number, not '1.0'"),
        ("4711/pipeline?performance=small", "performance must be one of medium, large, not 'small'"),
        ("4711/pipeline?query_parameters=x", "query_parameters must be a JSON object, not 'x'"),
        ("4711/pipeline?query_parameters=[]", "query_parameters must be a JSON object, not '[]'"),
        ("4711/pipeline?query_parameters={%22a%22:NaN}", "query_parameters must be a JSON object"),
        ("4711/pipeline?tier=large", "the parameters are performance, query_parameters; there is no 'tier'"),
    ],
)
def test_a_wrong_pipeline_is_refused(sandbox: DuneSandbox, client: httpx.Client, path: str, sentence: str) -> None:
    """A wrong number, tier or parameter is 400."""
    sandbox.reads(4711)
    response = client.get(f"/v1/query/{path}")
    assert response.status_code == 400
    assert sentence in response.json()["error"]


def test_only_what_exists_reads_and_is_read() -> None:
    """A misspelled view is an error in the test that names it; any number is a query."""
    with DuneSandbox([DAILY]) as sandbox:
        for reads in ((DAILY, BASE), (BASE, DAILY), (4711, BASE)):
            with pytest.raises(UnknownObjectError, match="result_base"):
                sandbox.reads(*reads)
        sandbox.reads(DAILY, 4711)


def test_a_pipeline_can_fail(sandbox: DuneSandbox, client: httpx.Client) -> None:
    """A response that Dune's lineage would never give can be rehearsed."""
    sandbox.fail("pipeline", Fault(body=b'{"pipeline": {}}'))
    assert client.get("/v1/query/4711/pipeline").json() == {"pipeline": {}}
