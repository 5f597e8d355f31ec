"""Knows how Dune's reference pages look, in our words, and makes some for tests: also the one that tests start from,
because openapi.yaml itself changes.
Must not know what the tools make of them."""

from tests.spec.full import full_spec, part_of
from tools.document import Document, render

CALL = "POST /v1/materialized-views/{name}/refresh"
SPEC = render(part_of(full_spec(), CALL))
PROSE = """> ## Index
> Where everything is.

# Do it

> One operation

<Note>
  * By default, it runs. Pass `{{"performance": "large"}}` otherwise.
</Note>

<RequestExample>
  ```bash cURL theme={null}
  curl -X POST "https://dune.test" -d '{
      "performance": "medium"
    }'
  ```
</RequestExample>

## OpenAPI

"""


def page(spec: str | Document = SPEC, call: str = CALL, fence: str = "````") -> str:
    """Return a page with *spec* in its block."""
    text = spec if isinstance(spec, str) else render(spec)
    return f"{PROSE}{fence}yaml {call}\n{text}{fence}\n"


def spec_of(*calls: str, **schemas: Document) -> Document:
    """Return a spec of operations without anything, and schemas."""
    paths: dict[str, Document] = {}
    for call in calls:
        method, path = call.split()
        paths.setdefault(path, {})[method.lower()] = {"summary": call, "responses": {"200": {"description": "OK"}}}
    document: Document = {"openapi": "3.0.1", "info": {"title": "Test", "version": "1"}, "paths": paths}
    return document | {"components": {"schemas": schemas}}
