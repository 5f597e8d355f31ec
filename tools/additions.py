"""Completes Dune's spec from our additions, and drops an entry of ours once Dune publishes its own.
Must not know any operation or schema by name.

The client uses the names in our entry, for path parameters and for schemas. If Dune publishes the same call under other
names, ours are kept, so neither the overlay nor users of the client notice. The contents are Dune's: a property that
Dune does not declare disappears, unless our entry marks it as known to be missing, with `x-unpublished: true`."""

import re

from tools.document import (
    SCHEMAS,
    Corrected,
    Document,
    Operation,
    copy,
    nodes,
    operations,
    schema_name,
    schemas,
    shape,
    spread_path_parameters,
)

UNPUBLISHED = "x-unpublished"


def complete(published: Document, additions: Document) -> Corrected:
    """Add the operations and schemas of *additions* that *published* lacks; the others are dropped, and reported."""
    document, ours = copy(published), copy(additions)
    theirs = document.setdefault("components", {}).setdefault("schemas", {})
    spread = spread_path_parameters(document)
    report = [f"rule: {path}: the parameters of the path are now of each operation" for path in spread]
    for operation in list(operations(ours)):
        if (same := _same_call(document, operation)) is None:
            document["paths"].setdefault(operation.path, {})[operation.method] = operation.content
            continue
        report.append(f"additions.yaml: {operation} is published now; our entry is dropped")
        if same.path != operation.path:
            _keep_path(document, operation, same)
            report.append(f"additions.yaml: {same} is {operation} to the client, as it was before")
        report += _keep_names(document, ours, operation, same)
    report += [
        f"additions.yaml: {name} is published now; our entry is dropped" for name in schemas(ours) if name in theirs
    ]
    report += _fill(ours, theirs)
    document["components"]["schemas"] = schemas(ours) | theirs
    for node in nodes(document["components"]["schemas"]):
        node.pop(UNPUBLISHED, None)
    return Corrected(document, report)


def keep_path(document: Document, call: str) -> tuple[Document, str | None]:
    """Return *document* with the operation *call* under that path, and its name in *document* if different."""
    method, path = call.split(" ", 1)
    ours = Operation(method.lower(), path, {})
    theirs = _same_call(document, ours)
    if theirs is None or theirs.path == path:
        return document, None
    document = copy(document)
    spread_path_parameters(document)
    _keep_path(document, ours, next(each for each in operations(document) if str(each) == str(theirs)))
    return document, str(theirs)


def _same_call(document: Document, ours: Operation) -> Operation | None:
    """Find the operation with the same method and path as *ours*, whatever the names of its parameters."""
    return next((each for each in operations(document) if shape(str(each)) == shape(str(ours))), None)


def _keep_path(document: Document, ours: Operation, theirs: Operation) -> None:
    """Rename the path parameters of *theirs* to the names in *ours*."""
    item = document["paths"][theirs.path]
    document["paths"].setdefault(ours.path, {})[ours.method] = item.pop(theirs.method)
    if not item:
        del document["paths"][theirs.path]
    names = dict(zip(re.findall(r"\{(.*?)\}", theirs.path), re.findall(r"\{(.*?)\}", ours.path), strict=True))
    for parameter in theirs.content.get("parameters", []):
        if parameter.get("in") == "path":
            parameter["name"] = names.get(parameter["name"], parameter["name"])


def _keep_names(document: Document, ours: Document, mine: Operation, theirs: Operation) -> list[str]:
    """Rename the request and response schemas of *theirs* to the names in *mine*, throughout *document*."""
    match = _Match(ours, document)
    for old, new in _contents(mine.content, theirs.content):
        for media_type in new.values():
            if "schema" in media_type:
                match.compare(next(iter(old.values()))["schema"], media_type, "schema")
    for node in nodes(document):
        name = str(node.get("$ref", "")).removeprefix(SCHEMAS)
        if name in match.names:
            node["$ref"] = SCHEMAS + match.names[name]
    for name, kept in match.names.items():
        schemas(document)[kept] = schemas(document).pop(name)
    return [
        f"additions.yaml: the schema {name} is {kept} to the client, as it was before"
        for name, kept in match.names.items()
    ]


def _contents(mine: Document, theirs: Document) -> list[tuple[Document, Document]]:
    """Pair the request bodies, and the responses, of two declarations of one operation."""
    pairs = [(mine.get("requestBody", {}), theirs.get("requestBody", {}))]
    responses = theirs.get("responses", {})
    pairs += [(response, responses[code]) for code, response in mine.get("responses", {}).items() if code in responses]
    return [(old["content"], new["content"]) for old, new in pairs if "content" in old and "content" in new]


class _Match:
    """Walks two declarations of one thing side by side, ours and Dune's.

    Attributes:
        names: our name for each of Dune's schemas.
    """

    def __init__(self, ours: Document, theirs: Document) -> None:
        self._ours = ours
        self._theirs = theirs
        self._seen: set[str] = set()
        self.names: dict[str, str] = {}

    def compare(self, mine: Document, holder: Document, key: str) -> None:
        """Note our names for the schema at *holder[key]* and those within it, and name those that Dune left unnamed."""
        my_name, their_name = schema_name(mine), schema_name(holder[key])
        if my_name in self._seen:
            return
        if my_name is not None:
            self._seen.add(my_name)
            self._name(my_name, their_name, holder, key)
        inner, outer = self._declared(self._ours, mine), self._declared(self._theirs, holder[key])
        for name in inner.get("properties", {}):
            if name in outer.get("properties", {}):
                self.compare(inner["properties"][name], outer["properties"], name)
        if "items" in inner and "items" in outer:
            self.compare(inner["items"], outer, "items")

    def _name(self, mine: str, theirs: str | None, holder: Document, key: str) -> None:
        known = schemas(self._theirs)
        if mine in known or theirs in self.names or theirs in schemas(self._ours):
            return
        if theirs is not None:
            self.names[theirs] = mine
        elif "properties" in holder[key]:
            known[mine] = holder[key]
            holder[key] = {"$ref": SCHEMAS + mine}

    def _declared(self, document: Document, node: Document) -> Document:
        name = schema_name(node)
        return node if name is None else schemas(document).get(name, {})


def _fill(ours: Document, theirs: Document) -> list[str]:
    """Add the properties known to be missing from Dune's schemas."""
    report: list[str] = []
    for name, schema in schemas(ours).items():
        for key, content in schema.get("properties", {}).items():
            if name in theirs and content.get(UNPUBLISHED) and key not in theirs[name].setdefault("properties", {}):
                theirs[name]["properties"][key] = content
                report.append(f"additions.yaml: {name} is published without {key}, which is ours still")
    return report
