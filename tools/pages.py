"""Reads specs from Dune's reference pages in Markdown, and from OpenAPI files in YAML or JSON, local or remote.
Must not know the use of a spec, nor the contents of this one."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.document import METHODS, Document, ToolError, operations, parse, shape

SECONDS = 60
# Dune's whole spec has about 200,000 bytes. A larger response, compressed or not, is not Dune's page.
MOST_BYTES = 10_000_000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# The info string of a page's code block names its operation: `yaml POST /v1/things`.
CALL = re.compile(rf"(?:ya?ml|json)\s(?:.*\s)?(?P<call>(?:{'|'.join(METHODS)})\s+/\S*)", re.IGNORECASE)
SPEC = re.compile(r"""^\s*["']?(openapi|swagger)["']?\s*:""", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """One spec as published.

    Attributes:
        name: its name in the record: an address without secrets, or the bare name of a file.
        text: the spec itself, without the page around it.
        document: the parsed text.
    """

    name: str
    text: str
    document: Document


def read_source(place: str) -> Source:
    """Read the spec at *place*, a path or an address. Anything else is rejected with the reason."""
    if re.match(r"[a-z][a-z0-9+.-]+://", place, re.IGNORECASE):
        parts = urlsplit(place)
        name = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        content = _download(place, name)
    else:
        name, content = Path(place).name, _read(place)
    try:
        page = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ToolError(f"{name} is no text in UTF-8: {problem}") from problem
    text = _spec_in(name, page)
    document = parse(name, text)
    _require_openapi(name, document)
    return Source(name, text, document)


def _read(place: str) -> bytes:
    try:
        return Path(place).read_bytes()
    except FileNotFoundError as problem:
        raise ToolError(f"there is no file {place}") from problem
    except OSError as problem:
        raise ToolError(f"{place} cannot be read: {problem.strerror}") from problem


def _download(place: str, name: str) -> bytes:
    """Fetch *place* over https only: a page altered in transit would become code that people run."""
    if not _is_safe(httpx.URL(place)):
        raise ToolError(f"{name} is not an address that begins with https://")
    content = bytearray()
    try:
        with httpx.stream("GET", place, follow_redirects=True, timeout=SECONDS) as response:
            for passed in (*response.history, response):
                if not _is_safe(passed.url):
                    raise ToolError(f"{name} leads to {passed.url}, which does not begin with https://")
            if response.status_code != 200:
                status = f"{response.status_code} {response.reason_phrase}"
                raise ToolError(f"{name} cannot be fetched: the server responds {status}")
            for part in response.iter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    raise ToolError(f"{name} has more than {MOST_BYTES:,} bytes, which no spec of Dune's has")
    except httpx.HTTPError as problem:
        raise ToolError(f"{name} cannot be fetched: {problem or type(problem).__name__}") from problem
    return bytes(content)


def _is_safe(address: httpx.URL) -> bool:
    return address.scheme == "https" or address.host in LOOPBACK


def _spec_in(name: str, page: str) -> str:
    """Return *page* if it is a spec, or the spec in its OpenAPI block."""
    blocks = [block for block in MarkdownIt("commonmark").parse(page) if _is_spec(block)]
    if not blocks:
        if page.lstrip().startswith("{") or re.search(r"^(openapi|swagger|paths)\s*:", page, re.MULTILINE):
            return page
        raise ToolError(f"{name} {_what_else(page)}")
    if len(blocks) > 1:
        raise ToolError(f"{name} has {len(blocks)} OpenAPI blocks, where a page of Dune's has one")
    return _content(name, blocks[0], page)


def _what_else(page: str) -> str:
    """Describe *page*, which has no spec."""
    if not page.strip():
        return "is empty"
    if re.search(r"^\s*<(!doctype|\?xml)|<(html|head|body)[\s>]", page, re.IGNORECASE):
        return (
            "is an HTML page, as a server sends it for an error or to a browser. Take the page in Markdown: its "
            "address ends in .md"
        )
    return (
        "has no OpenAPI block, and is no OpenAPI file either. A reference page of Dune's has one at its end, after the "
        "heading OpenAPI"
    )


def _is_spec(block: Token) -> bool:
    return block.type == "fence" and bool(CALL.match(block.info) or SPEC.search(block.content))


def _content(name: str, block: Token, page: str) -> str:
    """Return the content of *block*, after checking that it is complete."""
    _, end = block.map or [0, 0]
    closing = re.split(r"\r\n?|\n", page)[end - 1].strip()
    if set(closing) != {block.markup[0]} or len(closing) < len(block.markup):
        raise ToolError(f"{name} breaks off within its OpenAPI block")
    if told := CALL.match(block.info):
        method, path = told["call"].split()
        call = f"{method.upper()} {path}"
        if shape(call) not in {shape(str(each)) for each in operations(parse(name, block.content))}:
            raise ToolError(f"{name} announces {call}, but its OpenAPI block has no such operation")
    return block.content


def _require_openapi(name: str, document: Document) -> None:
    """Fail unless *document* is an OpenAPI document that describes something."""
    if "swagger" in document:
        raise ToolError(f"{name} is in Swagger {document['swagger']}; OpenAPI 3 is needed")
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        raise ToolError(f"{name} is no OpenAPI 3 document: `openapi` is {version!r}")
    try:
        found = list(operations(document))
        whole = all(isinstance(each.content.get("responses"), dict) for each in found)
        assert all(isinstance(part, dict) for part in (document["paths"], document.get("components", {})))  # noqa: S101
    except (AssertionError, AttributeError, KeyError, TypeError) as problem:
        raise ToolError(f"{name} is not laid out as OpenAPI has it: {problem!r}") from problem
    if not found:
        raise ToolError(f"{name} describes no operation")
    if not whole:
        raise ToolError(f"{name} has an operation without responses")
