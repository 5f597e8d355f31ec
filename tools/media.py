"""Normalizes media types so that the generator can send every body and read every response.
Must not know any operation by name, nor its other faults.

The generator reads JSON, text and bytes. It takes only the first media type of a response, and of several bodies with
the same Python type it sends the last. So each response gets one media type here, and an operation with several bodies
becomes several operations that differ only in the body."""

import re
from typing import cast

from tools.document import COMBINATIONS, Document, Operation, copy, operations, resolve

JSON = "application/json"
BYTES = "application/octet-stream"
# Not plain `text/plain`: a body may have that name, and the generator decides by name how to treat it.
TEXT = "text/plain; charset=utf-8"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
BINARY: Document = {"type": "string", "format": "binary"}


def kind(media_type: str) -> str:
    """Tell whether *media_type* is `json`, `form`, `text`, `bytes` or, for one that can be any of them, `any`."""
    name = media_type.split(";")[0].strip().lower()
    if name == "*/*":
        return "any"
    if name == JSON or name.endswith("+json"):
        return "json"
    if name in FORMS:
        return "form"
    return "text" if name.startswith("text/") else "bytes"


def name_bodies(document: Document, operation: Operation) -> list[str]:
    """Give each body its intended media type, and a binary schema unless it is JSON or a form."""
    content = resolve(document, operation.content.get("requestBody", {})).get("content", {})
    report: list[str] = []
    for declared in list(content):
        schema = content[declared].get("schema")
        if kind(declared) == "any":
            del content[declared]
            names = [JSON] if _is_object(document, schema or {}) else _told_by_header(document, operation) or [BYTES]
            for name in names:
                content.setdefault(name, {"schema": schema if name == JSON else copy(BINARY)})
            what = "is" if names == [JSON] else "is no object, so"
            report.append(f"the body declared as */* {what} {', '.join(names)}")
        elif kind(declared) == "json" and _is_binary(document, schema):
            del content[declared]
            content.setdefault(BYTES, {"schema": copy(BINARY)})
            report.append(f"the body declared as {declared} is bytes, so {BYTES}")
        elif kind(declared) in ("text", "bytes") and not _is_binary(document, schema):
            # Only binary schemas are sent as bytes: for any other, the generated code cannot run.
            content[declared]["schema"] = copy(BINARY)
            report.append(f"the body declared as {declared} is sent as the bytes that it is")
        elif schema is None:
            content[declared]["schema"] = {}
            report.append(f"the body declared as {declared} has no schema, and takes anything")
    return report


def name_responses(document: Document, operation: Operation) -> list[str]:
    """Give each response one media type that the generator reads reliably."""
    report: list[str] = []
    responses = operation.content.get("responses", {})
    for code in [code for code in responses if code != code.upper() and code != "default"]:
        responses[code.upper()] = responses.pop(code)
    for code in responses:
        response = resolve(document, responses[code])
        content = response.get("content")
        if not content:
            continue
        settled = [(declared, *_read_as(document, declared, content[declared].get("schema"))) for declared in content]
        settled.sort(key=lambda each: [JSON, TEXT, BYTES].index(each[1]))
        chosen, name, schema = settled[0]
        response["content"] = {name: {"schema": schema}}
        if len(settled) > 1:
            report.append(f"the response {code} is read as {chosen} alone, out of {', '.join(content)}")
        elif response["content"] != content and not (name == TEXT and content == {"text/plain": {"schema": schema}}):
            report.append(f"the response {code} declared as {chosen} is read as {name}")
    return report


def split_bodies(document: Document) -> list[str]:
    """Split an operation into one operation per request body.

    They differ by a fragment in the path, `/v1/things#text/csv`, which is never sent."""
    report: list[str] = []
    for operation in list(operations(document)):
        body = resolve(document, operation.content.get("requestBody", {}))
        content = cast(Document, body.get("content", {}))
        if len(content) < 2:
            continue
        first = next((name for name in content if kind(name) == "json"), next(iter(content)))
        for name in content:
            twin = operation.content if name == first else copy(operation.content)
            twin["requestBody"] = {**body, "content": {name: content[name]}}
            if name != first:
                twin["operationId"] = f"{operation.content['operationId']}_as_{_suffix(name)}"
                document["paths"].setdefault(f"{operation.path}#{name}", {})[operation.method] = twin
                report.append(f"{operation}: the body as {name} is sent by {twin['operationId']}")
    return report


def _suffix(media_type: str) -> str:
    name = {FORMS[0]: "form", FORMS[1]: "multipart", BYTES: "bytes"}.get(media_type.split(";")[0].strip())
    return name or re.sub(r"\W+", "_", media_type.split(";")[0].split("/")[-1].removeprefix("x-")).strip("_").lower()


def _told_by_header(document: Document, operation: Operation) -> list[str]:
    """Return the media types listed by a parameter `Content-Type`."""
    for parameter in operation.content.get("parameters", []):
        declared = resolve(document, parameter)
        if (declared["in"], declared["name"].lower()) == ("header", "content-type"):
            told = resolve(document, declared.get("schema", declared))
            return [name for name in told.get("enum", [told.get("default")]) if isinstance(name, str) and "/" in name]
    return []


def _read_as(document: Document, declared: str, schema: Document | None) -> tuple[str, Document]:
    """Return the media type and schema for reading a response."""
    if kind(declared) == "bytes" or _is_binary(document, schema):
        # `text/csv` with a binary schema is read as text.
        return (TEXT, {"type": "string"}) if kind(declared) == "text" else (BYTES, copy(BINARY))
    is_text = schema is not None and resolve(document, schema).get("type") == "string"
    if kind(declared) == "text" or (kind(declared) == "any" and is_text):
        return TEXT, {"type": "string"}
    return JSON, {} if schema is None else schema


def _is_binary(document: Document, schema: Document | None) -> bool:
    return schema is not None and resolve(document, schema).get("format") == "binary"


def _is_object(document: Document, schema: Document) -> bool:
    """Whether *schema* describes a JSON object, directly or through combined schemas."""
    schema = resolve(document, schema)
    if schema.get("type") == "object" or "properties" in schema:
        return True
    return any(_is_object(document, part) for how in COMBINATIONS for part in schema.get(how, []))
