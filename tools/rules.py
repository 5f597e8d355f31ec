"""The corrections that apply to every operation of Dune's API, including new ones.
Must not know any operation by name: a correction of a single operation belongs in the overlay.

Without them the generator, sometimes silently, drops constructs it does not understand, or writes code that cannot run.
This module has the rules for parameters and descriptions. Those for bodies and responses are in `media`, for schemas in
`leniency`, and for names in `naming`."""

import re
from collections.abc import Callable

from tools.document import Document, Operation, operations, resolve, spread_path_parameters
from tools.leniency import mend_schemas, read_responses_leniently
from tools.media import name_bodies, name_responses, split_bodies
from tools.naming import name_operations, words

KEY_HEADER = "X-Dune-Api-Key"
KEY_PARAMETERS = {("header", KEY_HEADER.lower()), ("query", "api_key")}
# OpenAPI says that header parameters of these names are ignored.
NOT_PARAMETERS = {("header", "accept"), ("header", "authorization"), ("header", "content-type")}
# The generated functions have variables of these names.
TAKEN = {"body", "cookies", "headers", "params"}
PLACE = re.compile(r"\{(.*?)\}")


def apply_rules(document: Document) -> list[str]:
    """Apply every rule to every operation of *document*, in place, and return a line for each correction."""
    report = [
        f"{path}: the parameters of the path are now of each operation" for path in spread_path_parameters(document)
    ]
    report += mend_schemas(document)
    for operation in operations(document):
        for rule in (
            name_bodies,  # before the rule that removes the header, which may name the media types
            give_parameters_schemas,
            drop_non_parameters,
            drop_repeated_parameters,
            drop_hiding_parameters,
            match_path_parameters,
            require_key_once,
            name_responses,
            drop_echo,
        ):
            report += [f"{operation}: {done}" for done in rule(document, operation)]
    report += name_operations(document)
    report += split_bodies(document)
    report += read_responses_leniently(document)
    return [f"rule: {line}" for line in report]


def give_parameters_schemas(document: Document, operation: Operation) -> list[str]:
    """Give a schema to a parameter without one, which the generator would silently skip."""
    report: list[str] = []
    for parameter in operation.content.get("parameters", []):
        declared = resolve(document, parameter)
        if "schema" in declared:
            continue
        contents = list(declared.pop("content", {}).values())
        # Swagger 2.0 put the schema's keys beside the name.
        moved = {key: declared.pop(key) for key in ("type", "format", "items", "enum", "default") if key in declared}
        declared["schema"] = (contents[0].get("schema") if contents else moved) or {"type": "string"}
        report.append(f"the parameter {declared['name']} has no schema, and is given {declared['schema']}")
    return report


def drop_non_parameters(document: Document, operation: Operation) -> list[str]:
    """Remove header parameters that the body or the key already determines: sent twice, they could contradict it."""
    dropped = _drop_parameters(document, operation, lambda place, name: (place, name.lower()) in NOT_PARAMETERS)
    return [f"the header {name} is no parameter, and is removed" for name in dropped]


def drop_repeated_parameters(document: Document, operation: Operation) -> list[str]:
    """Remove a duplicate parameter, for which the generator would drop the operation."""
    seen: set[tuple[str, str]] = set()

    def again(place: str, name: str) -> bool:
        known = (place, name) in seen
        seen.add((place, name))
        return known

    dropped = _drop_parameters(document, operation, again)
    return [f"the parameter {name} is there twice, and once now" for name in dropped]


def drop_hiding_parameters(document: Document, operation: Operation) -> list[str]:
    """Remove a parameter whose name collides with a variable of the generated code, which would send that instead."""
    dropped = _drop_parameters(document, operation, lambda place, name: place != "path" and words(name) in TAKEN)
    return [f"the generated code cannot pass a parameter called {name}, which is removed" for name in dropped]


def match_path_parameters(document: Document, operation: Operation) -> list[str]:
    """Keep only path parameters with a place in the path; for any other, the generator drops the operation.

    A parameter spelled differently from the path, `queryId` for `query_id`, is renamed; others are removed."""
    places = PLACE.findall(operation.path)
    parameters = operation.content.setdefault("parameters", [])
    declared = [found for each in parameters if (found := resolve(document, each))["in"] == "path"]
    known = {parameter["name"] for parameter in declared}
    report: list[str] = []
    for place in (place for place in places if place not in known):
        schema: Document = {"type": "string"}
        for parameter in declared:
            if parameter["name"] not in places and words(parameter["name"]) == words(place):
                schema = parameter.get("schema", schema)
        parameters.append({"in": "path", "name": place, "required": True, "schema": schema})
        report.append(f"the parameter {place} of the path was not declared, and is {schema.get('type', 'open')} now")
    stray = _drop_parameters(document, operation, lambda place, name: place == "path" and name not in places)
    if stray:
        report.append(f"the path has no place for the parameter {', '.join(stray)}, which is removed")
    for parameter in (resolve(document, each) for each in operation.content["parameters"]):
        if parameter["in"] == "path":
            parameter["required"] = True
    if not operation.content["parameters"]:
        del operation.content["parameters"]
    return report


def require_key_once(document: Document, operation: Operation) -> list[str]:
    """Replace parameters for the key by a security scheme. One of them would put the key into URLs, and so into
    logs."""
    if not _drop_parameters(document, operation, lambda place, name: (place, name.lower()) in KEY_PARAMETERS):
        return []
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["apiKey"] = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
    document["security"] = [{"apiKey": []}]
    # Repeated on the operation, because the generator looks only there.
    operation.content["security"] = [{"apiKey": []}]
    return [f"the key is the security scheme {KEY_HEADER} in place of parameters"]


def drop_echo(document: Document, operation: Operation) -> list[str]:
    """Remove a description that repeats the summary: the generator writes both into each docstring."""
    if "summary" not in operation.content or operation.content["summary"] != operation.content.get("description"):
        return []
    del operation.content["description"]
    return ["the description only repeats the summary, and is removed"]


def _drop_parameters(document: Document, operation: Operation, unwanted: Callable[[str, str], bool]) -> list[str]:
    """Remove the parameters that are *unwanted* by place and name, and return their names."""
    kept: list[Document] = []
    dropped: list[str] = []
    for parameter in operation.content.get("parameters", []):
        declared = resolve(document, parameter)
        if unwanted(declared["in"], declared["name"]):
            dropped.append(declared["name"])
        else:
            kept.append(parameter)
    if dropped:
        operation.content["parameters"] = kept
    return dropped
