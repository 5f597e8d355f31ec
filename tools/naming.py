"""Names each operation after its path, so that its module is unique and easy to find.
Must not know any operation by name, nor its contents.

`GET /v1/query/{query_id}/results` is `queries.get_query_results`, and `GET /v1/datasets/{slug}` is
`datasets.get_datasets_by_slug`. A name depends only on the operation's own method and path, so it is stable when Dune
adds others."""

import re

from tools.document import Document, Operation, operations


def name_operations(document: Document) -> list[str]:
    """Give a tag and an id to each operation without one, and distinct ids to operations that share one."""
    report: list[str] = []
    tags: dict[str, str] = {}
    for operation in operations(document):
        if given := operation.content.get("tags"):
            tags.setdefault(_segments(operation)[0], given[0])
    taken: set[str] = set()
    unnamed: set[str] = set()
    for operation in operations(document):
        name = operation.content.get("operationId")
        if name and words(name) not in taken:
            taken.add(words(name))
        else:
            unnamed.add(str(operation))
    for operation in operations(document):
        content = operation.content
        content["tags"] = content.get("tags") or [tags.get(first := _segments(operation)[0], _bare(first))]
        if str(operation) in unnamed:
            content["operationId"] = _free(_names(operation), taken)
            report.append(f"{operation}: its name is {content['tags'][0]}.{content['operationId']}")
    return report


def words(name: str) -> str:
    """Return *name* in a canonical spelling: `queryId`, `query_id` and `Query-ID` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _segments(operation: Operation) -> list[str]:
    """Return the parts of the path as Python names, without the leading version; parameters keep their braces."""
    found = [part for part in operation.path.split("/") if part and not re.fullmatch(r"v\d+", part)]
    return [part if "{" in part else re.sub(r"\W+", "_", part) for part in found] or ["root"]


def _names(operation: Operation) -> list[str]:
    """Return names for *operation*, the shortest first."""
    parts = _segments(operation)
    fixed = [part for part in parts if "{" not in part]
    last = [f"by_{_bare(parts[-1])}"] if "{" in parts[-1] else []
    return ["_".join([operation.method, *fixed, *last]), "_".join([operation.method, *map(_bare, parts)])]


def _bare(part: str) -> str:
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part)
    return re.sub(r"\W+", "_", spelled).strip("_").lower()


def _free(names: list[str], taken: set[str]) -> str:
    """Take and return the first free one of *names*, or the last with a number."""
    numbered = (f"{names[-1]}_{number}" for number in range(2, len(taken) + 3))
    name = next(name for name in (*names, *numbered) if words(name) not in taken)
    taken.add(words(name))
    return name
