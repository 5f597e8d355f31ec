"""Knows how media types are named so that bodies and answers can be sent and read, for any operation.
Must not know any operation by name, nor what else is wrong with one.

The generator reads JSON, texts and bytes. It takes the first media type of an answer and passes over the others; of
several bodies it sends whichever comes last with the same Python type. So each answer has one media type here, and an
operation that takes several bodies becomes several operations, which send the same request but for the body."""

import re
from typing import cast

from tools.document import COMBINATIONS, Document, Operation, copy, operations, resolve

JSON = "application/json"
BYTES = "application/octet-stream"
# Not plain `text/plain`: a body may have that name, and what a body is called decides how the generator takes it.
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
    """Give each body the media type that it must mean, and bytes for a schema to each that is neither JSON nor form."""
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
            # Bytes are sent only of what is declared as binary: for any other schema the generated code cannot run.
            content[declared]["schema"] = copy(BINARY)
            report.append(f"the body declared as {declared} is sent as the bytes that it is")
        elif schema is None:
            content[declared]["schema"] = {}
            report.append(f"the body declared as {declared} has no schema, and takes anything")
    return report


def name_answers(document: Document, operation: Operation) -> list[str]:
    """Give each answer one media type, of which it is certain how it is read."""
    report: list[str] = []
    answers = operation.content.get("responses", {})
    for code in [code for code in answers if code != code.upper() and code != "default"]:
        answers[code.upper()] = answers.pop(code)
    for code in answers:
        answer = resolve(document, answers[code])
        content = answer.get("content")
        if not content:
            continue
        settled = [(declared, *_read_as(document, declared, content[declared].get("schema"))) for declared in content]
        settled.sort(key=lambda each: [JSON, TEXT, BYTES].index(each[1]))
        chosen, name, schema = settled[0]
        answer["content"] = {name: {"schema": schema}}
        if len(settled) > 1:
            report.append(f"the answer {code} is read as {chosen} alone, out of {', '.join(content)}")
        elif answer["content"] != content and not (name == TEXT and content == {"text/plain": {"schema": schema}}):
            report.append(f"the answer {code} declared as {chosen} is read as {name}")
    return report


def split_bodies(document: Document) -> list[str]:
    """Make an operation of each further body that an operation takes.

    What tells them apart is a fragment, `/v1/things#text/csv`, which is never sent."""
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
    """Return the media types that a parameter `Content-Type` lists."""
    for parameter in operation.content.get("parameters", []):
        declared = resolve(document, parameter)
        if (declared["in"], declared["name"].lower()) == ("header", "content-type"):
            told = resolve(document, declared.get("schema", declared))
            return [name for name in told.get("enum", [told.get("default")]) if isinstance(name, str) and "/" in name]
    return []


def _read_as(document: Document, declared: str, schema: Document | None) -> tuple[str, Document]:
    """Return the media type and the schema by which an answer is read."""
    if kind(declared) == "bytes" or _is_binary(document, schema):
        # A text has no bytes to be read: `text/csv` with a binary schema is a text.
        return (TEXT, {"type": "string"}) if kind(declared) == "text" else (BYTES, copy(BINARY))
    is_text = schema is not None and resolve(document, schema).get("type") == "string"
    if kind(declared) == "text" or (kind(declared) == "any" and is_text):
        return TEXT, {"type": "string"}
    return JSON, {} if schema is None else schema


def _is_binary(document: Document, schema: Document | None) -> bool:
    return schema is not None and resolve(document, schema).get("format") == "binary"


def _is_object(document: Document, schema: Document) -> bool:
    """Whether *schema* describes a JSON object, be it through the schemas that it combines."""
    schema = resolve(document, schema)
    if schema.get("type") == "object" or "properties" in schema:
        return True
    return any(_is_object(document, part) for how in COMBINATIONS for part in schema.get(how, []))
