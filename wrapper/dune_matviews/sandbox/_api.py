"""Knows the rules of every operation: paths, methods, the key, budgets, the size of bodies, the shape of errors.
Must not know the operations themselves, nor sockets or threads."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import attrs

from ._budgets import Budgets
from ._catalog import ForeignObjectError, UnknownObjectError
from ._http import MAX_BODY, Request, Response, error_response
from ._inputs import BadRequestError
from ._operations import OPERATIONS, Account, Context, Operation
from ._world import World

KEY_HEADER: Final = "x-dune-api-key"

# The names of this machine. A web page whose own name resolves to this machine sends that name instead.
_OWN_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]*)?", re.IGNORECASE)

_ROUTES: Final = [(re.compile(re.escape(each.path).replace(r"\{\}", "([^/]+)")), each) for each in OPERATIONS]
_BROKEN_ENCODING: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def named_operation(request: Request) -> str | None:
    """The operation that *request* names; None where it names none, or another host."""
    if _is_foreign(request):
        return None
    return next((each.name for each, _ in _at(request.path) if each.method == request.method), None)


def _is_foreign(request: Request) -> bool:
    """Whether *request* is addressed to another host than this machine."""
    return not _OWN_HOST.fullmatch(request.headers.get("host", "localhost"))


def _at(path: str) -> list[tuple[Operation, tuple[str, ...]]]:
    """The operations at a path, with the segments of the path that fill each `{}`."""
    return [(each, match.groups()) for pattern, each in _ROUTES if (match := pattern.fullmatch(path))]


class Api:
    """Responds to requests as Dune's API does."""

    def __init__(self, world: World, account: Account, budgets: Budgets) -> None:
        self._world = world
        self._account = account
        self._budgets = budgets

    def respond(self, request: Request) -> Response:
        if _is_foreign(request):
            return error_response(403, "the sandbox serves this machine only, and the header Host names another")
        found = _at(request.path)
        if not found:
            return error_response(404, f"the API has no path {request.path}")
        for operation, segments in found:
            if operation.method == request.method:
                return self._run(operation, segments, request)
        allowed = ", ".join(operation.method for operation, _ in found)
        return error_response(405, f"this path allows {allowed}, not {request.method}", {"Allow": allowed})

    def _run(self, operation: Operation, segments: Iterable[str], request: Request) -> Response:
        if request.headers.get(KEY_HEADER) != self._account.key:
            return error_response(401, "Invalid API Key")
        # Counted here, before the request is read: Dune's gateway knows the account by its key alone.
        now = self._world.now()
        seconds = self._budgets.admit(operation.bucket, now)
        limits = self._budgets.headers(operation.bucket, now)
        response = self._counted(operation, segments, request, seconds)
        return attrs.evolve(response, headers={**response.headers, **limits})

    def _counted(self, operation: Operation, segments: Iterable[str], request: Request, seconds: int) -> Response:
        if seconds:
            message = f"Too many requests: the {operation.bucket} budget of this minute is spent"
            return error_response(429, message, {"Retry-After": str(seconds)})
        if len(request.body) > MAX_BODY:
            return error_response(400, f"the body is longer than {MAX_BODY} bytes")
        try:
            return operation.run(Context(self._world, self._account, request), *map(_decoded, segments))
        except BadRequestError as error:
            return error_response(400, str(error))
        except UnknownObjectError:
            return error_response(404, "Object not found")
        except ForeignObjectError as error:
            return error_response(403, str(error))


def _decoded(segment: str) -> str:
    if _BROKEN_ENCODING.search(segment):
        raise BadRequestError("a percent sign in the path must be encoded, as %25")
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise BadRequestError("the path is not percent-encoded UTF-8") from None
