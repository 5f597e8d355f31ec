"""Takes an operation apart: its parameters, its descriptions, and everything else besides requests and responses.
Must not know how two operations are compared."""

from tools.document import Document, resolve
from tools.telling import code

NONE: Document = {}
# The keys of an operation, and of each of its parts, that have their own comparison.
OPERATION = ("parameters", "requestBody", "responses", "summary", "description", "deprecated")
PART = ("content", "deprecated", "description", "in", "name", "required", "schema")


def parameters(document: Document, content: Document) -> dict[tuple[str, str], Document]:
    """Return the parameters of the operation *content*, by place and name."""
    found = (resolve(document, each) for each in content.get("parameters", ()))
    return {(each["in"], each["name"]): each for each in found}


def texts(document: Document, content: Document) -> dict[str, object]:
    """Return the descriptions of the operation *content* and its parts."""
    found: dict[str, object] = {f"its {key}": content.get(key) for key in ("summary", "description")}
    return found | {
        f"the description of {what}": part.get("description") for what, part in _parts(document, content).items()
    }


def remainders(document: Document, content: Document) -> dict[str, Document]:
    """Return the remaining keys of the operation *content* and its parts, which have no comparison of their own."""
    found = {"": {key: value for key, value in content.items() if key not in OPERATION}}
    for what, part in _parts(document, content).items():
        found[f"{what}: "] = {key: value for key, value in part.items() if key not in PART}
        for media_type, each in part.get("content", NONE).items():
            found[f"{what} as {code(media_type)}: "] = {key: value for key, value in each.items() if key != "schema"}
    return found


def _parts(document: Document, content: Document) -> dict[str, Document]:
    found = {"the body": resolve(document, content.get("requestBody", NONE))}
    found |= {
        f"response {code(status)}": resolve(document, each) for status, each in content.get("responses", NONE).items()
    }
    return found | {
        f"parameter {code(name)} ({code(place)})": each for (place, name), each in parameters(document, content).items()
    }
