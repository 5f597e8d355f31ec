"""Makes one spec of several sources: a whole spec as published, or parts merged into the previous one.
Must not read or write files, nor know the meaning of any operation."""

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
        document: its content.
        text: the new text of openapi.yaml: that of a source, if one source has everything.
        providers: the name of the source of each operation.
    """

    document: Document
    text: str
    providers: Mapping[str, str]


def merge(old: Document | None, providers: Mapping[str, str], sources: Sequence[Source]) -> Merged:
    """Update *old* from *sources*. *providers* maps each operation to its previous source.

    An operation that its source no longer has is removed; operations of other sources stay.
    """
    parts = {source.name: _spread(source.document) for source in sources}
    if len(parts) < len(sources):
        names = [source.name for source in sources]
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise ToolError(f"two sources are called {twice}, and could not be distinguished later: rename one")
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
    """Whether two specs have the same content, regardless of order and placement."""
    return _spread(one) == _spread(other)


def _spread(document: Document) -> Document:
    document = copy(document)
    spread_path_parameters(document)
    return document


def _has_all(one: Document, parts: Mapping[str, Document]) -> bool:
    """Whether *one* contains everything in *parts*, which agree with each other."""
    return all(
        mine.keys() >= found.keys()
        for part in parts.values()
        for (_, found), mine in ((item, _parts(one).get(item[0], {})) for item in _parts(part).items())
    )


def _parts(document: Document) -> dict[str, Document]:
    """Return the parts on which two sources can disagree, by kind and name."""
    components: dict[str, Document] = document.get("components", {})
    return {"": {str(each): each.content for each in operations(document)}} | components


def _require_agreement(parts: Mapping[str, Document]) -> None:
    """Fail if two of *parts* define one operation or schema differently."""
    for (one, mine), (other, theirs) in combinations(parts.items(), 2):
        for kind, found in _parts(mine).items():
            for name, content in found.items():
                if _parts(theirs).get(kind, {}).get(name, content) != content:
                    raise ToolError(
                        f"{one} and {other} disagree on {name}. Update from the older one first, and then from the "
                        "newer one, which takes precedence"
                    )


def _join(old: Document | None, staying: Sequence[str], parts: Mapping[str, Document]) -> Document:
    """Join *parts* and the operations *staying* from *old*, in a fixed order."""
    # Everything besides operations and components comes from the largest part; its name decides a tie.
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
    """Remove the schemas that no operation uses any more."""
    before, now = (set(reachable(each, [each.get("paths")])) for each in (old, document))
    for name in before - now - published:
        del document["components"]["schemas"][name]
