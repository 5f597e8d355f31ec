"""Knows how sources become one spec: whole as published, or merged with what there was.
Must not read or write files, nor know what any operation is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tools.document import (
    METHODS,
    Document,
    ToolError,
    copy,
    operations,
    reachable,
    render,
    schemas,
    spread_path_parameters,
)
from tools.pages import Source


@dataclass(frozen=True)
class Merged:
    """The new spec.

    Attributes:
        document: what it says.
        text: what openapi.yaml is to hold: a source's own text, where one has everything.
        providers: for each operation the name of the source that it comes from.
    """

    document: Document
    text: str
    providers: Mapping[str, str]


def merge(old: Document | None, providers: Mapping[str, str], sources: Sequence[Source]) -> Merged:
    """Bring *old* up to date from *sources*; *providers* says for each operation from which source it came before.

    An operation that a source had before and has no longer is gone; those of other sources stay.
    """
    parts = {source.name: _spread(source.document) for source in sources}
    if len(parts) < len(sources):
        names = [source.name for source in sources]
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise ToolError(f"two sources are called {twice}, and could not be told apart later: name each once")
    _require_agreement(parts)
    fresh = {str(each): name for name, part in parts.items() for each in operations(part)}
    before = [] if old is None else [str(each) for each in operations(old)]
    staying = [name for name in before if name not in fresh and providers.get(name) not in parts]
    if not staying and (whole := next((each for each in sources if _has_all(parts[each.name], parts)), None)):
        text = render(whole.document) if whole.text.lstrip().startswith("{") else whole.text
        return Merged(whole.document, text, dict.fromkeys(fresh, whole.name))
    document = _join(None if old is None else _spread(old), staying, parts)
    kept = {name: providers[name] for name in staying if name in providers}
    return Merged(document, render(document), kept | fresh)


def same(one: Document, other: Document) -> bool:
    """Whether two specs say the same; where they say it, and in which order, does not count."""
    return _spread(one) == _spread(other)


def _spread(document: Document) -> Document:
    document = copy(document)
    spread_path_parameters(document)
    return document


def _has_all(one: Document, parts: Mapping[str, Document]) -> bool:
    """Whether *one* has whatever is in *parts*, which agree."""
    return all(
        mine.keys() >= found.keys()
        for part in parts.values()
        for (_, found), mine in ((item, _parts(one).get(item[0], {})) for item in _parts(part).items())
    )


def _parts(document: Document) -> dict[str, Document]:
    """Return what two sources can disagree on, by kind and name."""
    components: dict[str, Document] = document.get("components", {})
    return {"": {str(each): each.content for each in operations(document)}} | components


def _require_agreement(parts: Mapping[str, Document]) -> None:
    """Fail if two of *parts* say different things of one operation, or of one schema."""
    for (one, mine), (other, theirs) in combinations(parts.items(), 2):
        for kind, found in _parts(mine).items():
            for name, content in found.items():
                if _parts(theirs).get(kind, {}).get(name, content) != content:
                    raise ToolError(
                        f"{one} and {other} disagree on {name}. Update from the older one first, and then from the "
                        "newer one: it replaces what the older one says"
                    )


def _join(old: Document | None, staying: Sequence[str], parts: Mapping[str, Document]) -> Document:
    """Join *parts*, and the operations *staying* from *old*, in one order, whatever theirs."""
    # What there is to say beside operations and components is said by the largest of them, its name deciding a tie.
    ordered = sorted(parts, key=lambda name: (len(list(operations(parts[name]))), name))
    documents = [*([] if old is None else [old]), *(parts[name] for name in ordered)]
    document: Document = {}
    for part in sorted(documents, key=lambda part: len(list(operations(part)))):
        document |= {key: value for key, value in part.items() if key not in ("paths", "components")}
    paths: dict[str, Document] = {}
    components: dict[str, Document] = {}
    for part in documents:
        for operation in operations(part):
            if part is not old or str(operation) in staying:
                paths.setdefault(operation.path, {})[operation.method] = operation.content
        for kind, found in part.get("components", {}).items():
            components.setdefault(kind, {}).update(found)
    document["paths"] = {
        path: {method: paths[path][method] for method in METHODS if method in paths[path]} for path in sorted(paths)
    }
    document["components"] = {kind: dict(sorted(found.items())) for kind, found in sorted(components.items())}
    _prune(document, old or {}, {name for part in parts.values() for name in schemas(part)})
    return copy(document)


def _prune(document: Document, old: Document, published: set[str]) -> None:
    """Remove the schemas that only operations of *old* used, which are gone or use others by now."""
    before, now = (set(reachable(each, [each.get("paths")])) for each in (old, document))
    for name in before - now - published:
        del document["components"]["schemas"][name]
