"""Knows every form in which a spec is found, and everything that is none and is refused.
Must not know what is done with a spec."""

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
import pytest

from tests.spec.pages import CALL, PROSE, SPEC, page, spec_of
from tools import pages
from tools.document import ToolError, render
from tools.pages import Source, read_source

Reading = Callable[..., Source]
Serving = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path) -> Reading:
    """Reads a text as if it were in a file."""

    def reading(text: str | bytes, name: str = "refresh.md") -> Source:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_source(str(path))

    return reading


class Server(ThreadingHTTPServer):
    """A server with one response per path, on the loopback interface."""

    def __init__(self, responses: dict[str, tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.responses = responses

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Responds as configured; a 302 leads to the address in its body."""

    def do_GET(self) -> None:
        """Respond."""
        status, body = cast(Server, self.server).responses.get(self.path, (404, b"<html>not here</html>"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", body.decode())
        if body.startswith(b"\x1f\x8b"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with suppress(ConnectionError):  # whoever asked may have had enough
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """Starts servers that are stopped when the test is over."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[tuple[Server, threading.Thread]] = []

    def start(**responses: tuple[int, bytes]) -> str:
        server = Server({f"/{name}": response for name, response in responses.items()})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server.url

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("fence", ["````", "`````", "~~~~"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_block_of_a_page_is_taken_as_it_stands(read: Reading, fence: str, newline: str) -> None:
    """The content of a page's OpenAPI block is the spec, character for character, on any page."""
    source = read(page(fence=fence).replace("\n", newline))
    assert (source.name, source.text) == ("refresh.md", SPEC)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dune.yaml", SPEC),
        ("dune.yaml", "# A comment first\n---\n" + SPEC),
        ("dune.json", json.dumps(spec_of("GET /a"))),
        ("dune.json", json.dumps(spec_of("GET /a"), indent=2)),
        ("without-an-ending", json.dumps({"paths": {}} | spec_of("GET /a"))),
    ],
)
def test_a_file_is_a_spec_as_it_is(read: Reading, name: str, text: str) -> None:
    """An OpenAPI file in YAML or JSON is taken unchanged, under any name."""
    source = read(text, name)
    assert (source.name, source.text) == (name, text)


def test_a_spec_that_quotes_a_block_is_a_file(read: Reading) -> None:
    """A code block in a description does not make a page of a file, as long as it is not a spec itself."""
    document = spec_of("GET /a")
    document["info"]["description"] = "Like this:\n\n```yaml\nkey: value\n```\n"
    assert read(render(document), "dune.yaml").document == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (PROSE, "has no OpenAPI block, and is no OpenAPI file either"),
        ("{}", "is no OpenAPI 3 document: `openapi` is None"),
        ("<!DOCTYPE html>\n<html><body>502</body></html>", "is an HTML page"),
        ("\n<html>\n<head><title>Just a moment</title></head></html>", "is an HTML page"),
        ('<?xml version="1.0"?><html/>', "is an HTML page"),
        ("<!-- from a cache -->\n<html><body>502</body></html>", "is an HTML page"),
        (PROSE.replace("# Do it", "<Header>Do it</Header>"), "has no OpenAPI block"),
        (page() + page(), "has 2 OpenAPI blocks"),
        (page()[:-6], "breaks off within its OpenAPI block"),
        (page().split("      requestBody")[0], "breaks off within its OpenAPI block"),
        (page(call="GET /v1/elsewhere"), "announces GET /v1/elsewhere, but its OpenAPI block has no such operation"),
        (page("openapi: 3.0.1\npaths: [\n"), "is not valid YAML"),
        (page("openapi: 3.0.1\npaths:\n  /a: {}\n  /a: {}\n"), "/a is there twice"),
        ('{"openapi": "3.0.1", "openapi": "3.0.2"}', "openapi is there twice"),
        ('{"openapi": ', "is not valid JSON"),
        ("openapi: 2\npaths: {}\n", "is no OpenAPI 3 document: `openapi` is 2"),
        ("swagger: '2.0'\npaths: {}\n", "is in Swagger 2.0; OpenAPI 3 is needed"),
        ("openapi: 3.0.1\npaths: {}\n", "describes no operation"),
        ("openapi: 3.0.1\npaths: []\n", "is not laid out as OpenAPI has it"),
        ("openapi: 3.0.1\ninfo: {}\n", "is not laid out as OpenAPI has it"),
        ("openapi: 3.0.1\npaths:\n  /a:\n    get: {}\n", "has an operation without responses"),
        ("openapi: 3.0.1\npaths:\n  /a:\n    get: text\n", "is not laid out as OpenAPI has it"),
    ],
)
def test_what_is_no_spec_is_refused_with_its_reason(read: Reading, text: str, reason: str) -> None:
    """For any other content, the message names the file and the reason."""
    with pytest.raises(ToolError) as caught:
        read(text)
    assert str(caught.value).startswith("refresh.md ")
    assert reason in str(caught.value)


def test_bytes_that_are_no_text_are_refused(read: Reading) -> None:
    """A file in another encoding is refused by its name."""
    with pytest.raises(ToolError, match=r"refresh\.md is no text in UTF-8"):
        read(b"\xff\xfe\x00")


def test_a_mark_of_the_encoding_is_no_content(read: Reading) -> None:
    """A byte order mark is dropped."""
    assert read(b"\xef\xbb\xbf" + SPEC.encode()).text == SPEC


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A path that leads nowhere, or to a folder, is named as it was given."""
    with pytest.raises(ToolError, match=f"there is no file {tmp_path}/none.md"):
        read_source(f"{tmp_path}/none.md")
    with pytest.raises(ToolError, match=f"{tmp_path} cannot be read: Is a directory"):
        read_source(str(tmp_path))


def test_an_address_is_read_as_a_file_is(serve: Serving) -> None:
    """A page is fetched, over redirects, and is recorded by the address that was given."""
    url = serve(there=(302, b"/page.md"), **{"page.md": (200, page().encode())})
    assert read_source(f"{url}/there") == Source(f"{url}/there", SPEC, read_source(f"{url}/page.md").document)


def test_no_secret_of_an_address_is_recorded(serve: Serving) -> None:
    """Credentials and a fragment in an address are not recorded."""
    url = serve(spec=(200, SPEC.encode()))
    assert read_source(f"{url.replace('//', '//user:secret@')}/spec#OpenAPI").name == f"{url}/spec"


@pytest.mark.parametrize(("status", "phrase"), [(404, "Not Found"), (503, "Service Unavailable")])
def test_a_response_that_is_no_success_is_told(serve: Serving, status: int, phrase: str) -> None:
    """A server's refusal is reported with its status, for any body."""
    url = serve(spec=(status, SPEC.encode()))
    with pytest.raises(ToolError, match=f"{url}/spec cannot be fetched: the server responds {status} {phrase}"):
        read_source(f"{url}/spec")


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a response, the error names the address and the reason."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/spec"
    with pytest.raises(ToolError, match=f"{url} cannot be fetched: .*[Cc]onnect"):
        read_source(url)


@pytest.mark.parametrize("place", ["http://dune.test/spec", "ftp://dune.test/spec", "file:///etc/hosts"])
def test_only_https_is_trusted(place: str) -> None:
    """An address that is open to tampering is rejected before any request."""
    with pytest.raises(ToolError, match="is not an address that begins with https://"):
        read_source(place)


@pytest.mark.parametrize("way", [["http://dune.test/spec"], ["http://dune.test/spec", "https://dune.test/there"]])
def test_a_redirect_away_from_https_is_refused(way: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to or from such an address is rejected as well."""

    @contextmanager
    def leading_astray(method: str, url: str, **options: object) -> Iterator[httpx.Response]:
        *before, last = (httpx.Response(200, text=SPEC, request=httpx.Request(method, each)) for each in way)
        last.history = before
        yield last

    monkeypatch.setattr(httpx, "stream", leading_astray)
    with pytest.raises(ToolError, match=r"leads to http://dune\.test/spec, which does not begin with https://"):
        read_source("https://dune.test/spec")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_download_is_capped(pack: Callable[[bytes], bytes], serve: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response larger than any spec, even once unpacked, is cut off."""
    monkeypatch.setattr(pages, "MOST_BYTES", 100_000)
    url = serve(fits=(200, pack(SPEC.encode())), endless=(200, pack(SPEC.encode() + b" " * 1_000_000)))
    assert read_source(f"{url}/fits").text == SPEC
    with pytest.raises(ToolError, match=f"{url}/endless has more than 100,000 bytes, which no spec of Dune's has"):
        read_source(f"{url}/endless")


@pytest.mark.parametrize(
    "call", [CALL.replace("POST", "post"), f"openapi.json {CALL}", CALL.replace("{name}", "{view}"), "", "title"]
)
def test_the_block_is_announced_in_several_ways(read: Reading, call: str) -> None:
    """The operation that a page announces may be spelled in either case, stand after a file's name, or be missing."""
    assert read(page(call=call)).text == SPEC


def test_a_page_may_show_html(read: Reading) -> None:
    """Samples in other languages, HTML among them, do not hide the block."""
    assert read("```html\n<html><body></body></html>\n```\n" + page()).text == SPEC
