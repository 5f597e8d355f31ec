"""Knows the corrections that hold for any operation of Dune's API, also for one that nobody has looked at yet.
Must not know any operation by name: what is wrong with one alone belongs in the overlay."""

from collections.abc import Callable

from tools.document import Document, Operation, operations, resolve

KEY_HEADER = "X-Dune-Api-Key"
KEY_PARAMETERS = {("header", KEY_HEADER.lower()), ("query", "api_key")}


def apply_rules(document: Document) -> list[str]:
    """Apply every rule to every operation of *document*, in place, and return a line for each time that one acted."""
    rules = (name_media_type, drop_stray_path_parameters, require_key_once, drop_echo)
    return [
        f"rule: {operation}: {done}"
        for operation in operations(document)
        for rule in rules
        if (done := rule(document, operation))
    ]


def name_media_type(document: Document, operation: Operation) -> str | None:
    """Give a request body that is declared as `*/*`, which the generator drops, the media type that it must mean."""
    body = resolve(document, operation.content.get("requestBody", {}))
    content = body.get("content", {})
    if "*/*" not in content:
        return None
    declared = content.pop("*/*")
    if _is_object(document, declared.get("schema", {})):
        content.setdefault("application/json", declared)
        return "the body declared as */* is application/json"
    # Bytes are sent only of what is declared as binary: for any other schema the generator writes code that cannot run.
    content.setdefault("application/octet-stream", {"schema": {"type": "string", "format": "binary"}})
    return "the body declared as */* is no object, so application/octet-stream"


def drop_stray_path_parameters(document: Document, operation: Operation) -> str | None:
    """Remove the path parameters that the path has no place for; for one of them the generator drops the operation."""
    stray = _drop_parameters(
        document, operation, lambda place, name: place == "path" and f"{{{name}}}" not in operation.path
    )
    return f"the path has no place for the parameter {', '.join(stray)}, which is removed" if stray else None


def require_key_once(document: Document, operation: Operation) -> str | None:
    """Make the key a security scheme in place of parameters, one of which would write it into URLs and so into logs."""
    if not _drop_parameters(document, operation, lambda place, name: (place, name.lower()) in KEY_PARAMETERS):
        return None
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["apiKey"] = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
    document["security"] = [{"apiKey": []}]
    # Said again on the operation, because the generator looks only there.
    operation.content["security"] = [{"apiKey": []}]
    return f"the key is the security scheme {KEY_HEADER} in place of parameters"


def drop_echo(document: Document, operation: Operation) -> str | None:
    """Remove a description that only repeats the summary: the generator writes both into each docstring."""
    if "summary" not in operation.content or operation.content["summary"] != operation.content.get("description"):
        return None
    del operation.content["description"]
    return "the description only repeats the summary, and is removed"


def _drop_parameters(document: Document, operation: Operation, unwanted: Callable[[str, str], bool]) -> list[str]:
    """Remove the parameters that are *unwanted* by place and name, and return the names of those removed."""
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


def _is_object(document: Document, schema: Document) -> bool:
    """Whether *schema* describes a JSON object, be it through the schemas that it combines."""
    schema = resolve(document, schema)
    if schema.get("type") == "object" or "properties" in schema:
        return True
    return any(_is_object(document, part) for how in ("allOf", "anyOf", "oneOf") for part in schema.get(how, []))
