"""The merge of several sources with the previous spec: whole, merged, replaced, kept, removed.
Must not know where sources come from."""

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profiles import fewer
from tests.spec.full import full_spec, part_of
from tests.spec.pages import spec_of
from tools.document import Document, ToolError, copy, operations, parse, render, schemas
from tools.merge import Merged, merge, same
from tools.pages import Source


def source(name: str, document: Document, text: str | None = None) -> Source:
    """Return a source as it is read from a YAML file."""
    return Source(name, render(document) if text is None else text, document)


def using(document: Document, call: str, schema: str) -> Document:
    """Let an operation of *document* respond with a schema."""
    method, path = call.split()
    shown = {"$ref": f"#/components/schemas/{schema}"}
    document["paths"][path][method.lower()]["responses"]["200"]["content"] = {"application/json": {"schema": shown}}
    return document


def calls(merged: Merged) -> list[str]:
    """The operations of *merged*."""
    return [str(each) for each in operations(merged.document)]


def test_one_source_with_everything_is_taken_as_published() -> None:
    """A complete source becomes the spec, with its own text and order."""
    text = "# as it came\n" + render(spec_of("GET /b", "GET /a"))
    merged = merge(spec_of("GET /a"), {"GET /a": "other.md"}, [source("dune.yaml", parse("", text), text)])
    assert merged.text == text
    assert merged.providers == {"GET /b": "dune.yaml", "GET /a": "dune.yaml"}


def test_json_is_written_as_yaml_with_its_content_and_order() -> None:
    """A source in JSON keeps its content and its order, and is written so that people can read and compare it."""
    document = full_spec()
    merged = merge(None, {}, [source("dune.json", document, json.dumps(document))])
    assert merged.text == render(document)
    assert json.dumps(parse("", merged.text)) == json.dumps(document)


def test_the_first_source_that_has_everything_is_taken_as_published() -> None:
    """Where one of several sources has all that the others have, it is taken as published."""
    whole, part = source("whole.yaml", spec_of("GET /b", "GET /a")), source("part.md", spec_of("GET /a"))
    for order in ([whole, part], [part, whole]):
        merged = merge(None, {}, order)
        assert merged.text == whole.text
        assert set(merged.providers.values()) == {"whole.yaml"}


def test_a_newer_operation_replaces_its_older_self() -> None:
    """Operations and schemas come from the newer source; missing ones stay, with their source."""
    old = using(spec_of("GET /a", "POST /a", Thing={"type": "object"}), "GET /a", "Thing")
    new = using(spec_of("GET /a", Thing={"type": "object", "description": "newer"}), "GET /a", "Thing")
    new["paths"]["/a"]["get"]["summary"] = "newer"
    merged = merge(old, {"GET /a": "a.md", "POST /a": "b.md"}, [source("a.md", new)])
    assert merged.document["paths"]["/a"] == {"get": new["paths"]["/a"]["get"], "post": old["paths"]["/a"]["post"]}
    assert schemas(merged.document) == schemas(new)
    assert merged.providers == {"GET /a": "a.md", "POST /a": "b.md"}


def test_what_a_source_had_and_has_no_longer_is_gone() -> None:
    """An operation that came from the same source before, and is not in it now, is gone; those of others stay."""
    old = spec_of("GET /a", "GET /b", "GET /c")
    providers = {"GET /a": "dune.json", "GET /b": "dune.json", "GET /c": "c.md"}
    assert calls(merge(old, providers, [source("dune.json", spec_of("GET /a"))])) == ["GET /a", "GET /c"]
    del providers["GET /c"]  # of which nobody knows where it came from
    assert calls(merge(old, providers, [source("dune.json", spec_of("GET /a"))])) == ["GET /a", "GET /c"]


def test_schemas_that_nothing_needs_any_more_are_gone() -> None:
    """A schema leaves with the operations that used it; one that nothing used before stays."""
    old = using(
        spec_of("GET /a", "GET /b", Mine={"$ref": "#/components/schemas/Inner"}, Inner={}, Unused={}), "GET /a", "Mine"
    )
    merged = merge(old, {"GET /b": "b.md"}, [source("a.md", spec_of("GET /a", New={}))])
    assert schemas(merged.document).keys() == {"New", "Unused"}


@pytest.mark.parametrize("shared", ["GET /a", "Thing"])
def test_two_sources_of_one_call_must_not_disagree(shared: str) -> None:
    """Two sources that say different things of one operation or schema are refused by name, and nothing is chosen."""
    one = spec_of("GET /a", "GET /b", Thing={"type": "object"})
    other = copy(one) | {"paths": copy(one["paths"])}
    other["paths"]["/c"] = other["paths"].pop("/b")
    (other["paths"]["/a"]["get"] if shared == "GET /a" else schemas(other)["Thing"])["description"] = "different"
    with pytest.raises(
        ToolError, match=rf"^one\.md and other\.md disagree on {shared}\. Update from the older one first"
    ):
        merge(None, {}, [source("one.md", one), source("other.md", other)])


def test_two_sources_need_two_names() -> None:
    """Sources that would be recorded as one are refused."""
    with pytest.raises(ToolError, match=r"two sources are called a\.md, and could not be distinguished"):
        merge(None, {}, [source("a.md", spec_of("GET /a")), source("a.md", spec_of("GET /b"))])


def test_parameters_of_a_path_stay_with_its_own_operations() -> None:
    """Parameters that one source declares for a whole path do not reach operations of another source."""
    one, other = spec_of("GET /a"), spec_of("POST /a")
    one["paths"]["/a"]["parameters"] = [{"in": "query", "name": "q", "schema": {}}]
    item = merge(None, {}, [source("one.md", one), source("other.md", other)]).document["paths"]["/a"]
    assert (item.get("parameters"), len(item["get"]["parameters"])) == (None, 1)
    assert "parameters" not in item["post"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_sources_does_not_count(order: tuple[int, ...]) -> None:
    """Several sources give the same text in any order."""
    sources = [source("a.md", spec_of("GET /a")), source("b.md", spec_of("GET /b")), source("c.md", spec_of("GET /c"))]
    sources[1].document["info"]["title"] = "Another"
    assert merge(None, {}, [sources[place] for place in order]).text == merge(None, {}, sources).text


FULL = full_spec()
CALLS = [str(each) for each in operations(FULL)]


@fewer(5)
@given(st.data())
def test_pages_in_any_order_and_grouping_give_the_whole(data: st.DataObject) -> None:
    """Page by page or all at once, in any order, even twice, the result is the pages' contents."""
    chosen = data.draw(st.lists(st.sampled_from(CALLS), min_size=2, max_size=6, unique=True))
    pages = [source(f"{place}.md", part_of(FULL, call)) for place, call in enumerate(chosen)]
    at_once = merge(None, {}, pages)
    document: Document | None = None
    providers: dict[str, str] = {}
    for page in data.draw(st.permutations([*pages, pages[0]])):
        merged = merge(document, providers, [page])
        document, providers = merged.document, dict(merged.providers)
    assert document is not None
    assert same(document, at_once.document)
    assert same(document, part_of(FULL, *chosen))
    assert providers == dict(at_once.providers) == {call: f"{place}.md" for place, call in enumerate(chosen)}


@given(st.permutations(list(FULL["paths"])))
def test_order_is_no_content(paths: list[str]) -> None:
    """Two specs that say the same in another order are the same."""
    assert same(FULL, FULL | {"paths": {path: FULL["paths"][path] for path in paths}})
    assert not same(FULL, FULL | {"paths": {path: FULL["paths"][path] for path in paths[1:]}})
