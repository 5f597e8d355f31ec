"""Knows the faults of requests and responses, and the requests that they are meant for.
Must not know sockets, threads or operations."""

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Final

import attrs
from attrs.validators import and_, ge, instance_of, le, lt, optional

from ._http import Response, raw_response

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# The value of a header: Latin-1 without control characters.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def _are_headers(fault: "Fault", attribute: object, headers: Mapping[str, str | None]) -> None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or (value is not None and not _VALUE.fullmatch(value)):
            raise ValueError(f"{name!r}: {value!r} cannot be a header")


def _leaves_nothing_to_shape(fault: "Fault", attribute: object, lost: bool) -> None:
    replaced = fault.status is not None or fault.body is not None or fault.headers
    if lost and (replaced or fault.cut is not None or fault.drip or fault.head_drip):
        raise ValueError("a lost response has no status, body, headers, cut or drip")


def _fits_the_response(fault: "Fault", attribute: object, accepted: bool | None) -> None:
    if accepted is False and not fault.replaces_response:
        raise ValueError("accepted=False needs another response than Dune's: give a status or body, or lost=True")


def _is_for_accepted_work(fault: "Fault", attribute: object, late: float) -> None:
    if late and not (fault.accepted and fault.replaces_response):
        raise ValueError("late needs accepted=True, and a status or body, or lost=True")


@attrs.frozen(kw_only=True)
class Fault:
    """A fault that one request meets.

    *status* and *body* make a response in place of Dune's own; the default of the other is 200, or an empty body.
    *lost* leaves no response at all: the connection is closed.
    *accepted* says whether Dune nevertheless does its work, if the request is a valid one: a refresh is started and
    billed, a cancel ends its execution. By default it does if its own response leaves, however mangled, and does not if
    another response, or none, takes its place.
    *late* is the number of seconds of the sandbox's clock until Dune does that work, behind another response or none.
    The work is done at the first call or request after that time: a poll in between finds nothing.

    The other attributes shape Dune's own response, or the one in its place:

    *headers* are added to those of the response, or replace them; None removes one, such as Date. A body without
    Content-Length ends with the connection.
    *delay* is the number of seconds before the response leaves, or is lost; `math.inf` lasts until the sandbox closes.
    Dune has done its work, and set Date, before.
    *cut* is the number of bytes of the body that leave before the connection is closed; 0 leaves status and headers.
    *drip* and *head_drip* are the seconds before each byte of the body, and of the head.
    *reset* resets the connection (RST) at the end, instead of closing it in order, or keeping it.

    All these seconds are real ones at any speed of the sandbox.

    `Fault()` lets a request pass: after two of them, the third request meets the fault.

    A client cannot tell a refresh that was lost before Dune accepted it from one whose response was lost afterwards. A
    test that nothing is paid twice needs both, and never more than one charge in the ledger:

    - lost before: `Fault(lost=True)`, `Fault(lost=True, reset=True)`, `Fault(status=502)`, and, past the client's
      timeout, `Fault(lost=True, delay=math.inf)`;
    - lost after: each of these with `accepted=True`; Dune's own response mangled, as by `Fault(cut=0)`,
      `Fault(cut=10, reset=True)`, `Fault(delay=60)`, `Fault(drip=1)`; a wrong one, `Fault(accepted=True, body=b"{}")`;
    - lost, and accepted only after the client has begun to poll: `Fault(status=502, accepted=True, late=3)`.
    """

    status: int | None = attrs.field(default=None, validator=optional(and_(instance_of(int), ge(200), le(999))))
    body: bytes | None = attrs.field(default=None, validator=optional(instance_of(bytes)))
    headers: Mapping[str, str | None] = attrs.field(factory=dict[str, str | None], validator=_are_headers)
    delay: float = attrs.field(default=0.0, validator=ge(0))
    cut: int | None = attrs.field(default=None, validator=optional(and_(instance_of(int), ge(0))))
    drip: float = attrs.field(default=0.0, validator=[ge(0), lt(math.inf)])
    head_drip: float = attrs.field(default=0.0, validator=[ge(0), lt(math.inf)])
    reset: bool = False
    lost: bool = attrs.field(default=False, validator=_leaves_nothing_to_shape)
    accepted: bool | None = attrs.field(default=None, validator=_fits_the_response)
    late: float = attrs.field(default=0.0, validator=[ge(0), lt(math.inf), _is_for_accepted_work])

    def __repr__(self) -> str:
        """The call that makes it."""
        values = {each.name: getattr(self, each.name) for each in attrs.fields(Fault)}
        given = [f"{name}={value!r}" for name, value in values.items() if value != getattr(NO_FAULT, name)]
        return f"Fault({', '.join(given)})"

    @property
    def replaces_response(self) -> bool:
        """Whether the client gets another response than Dune's own, or none."""
        return self.lost or self.status is not None or self.body is not None

    @property
    def ends_connection(self) -> bool:
        """Whether the connection is closed after the response."""
        lengthless = any(name.lower() == "content-length" and value is None for name, value in self.headers.items())
        return self.lost or self.reset or self.cut is not None or lengthless


NO_FAULT: Final = Fault()


def response_under(fault: Fault, handle: Callable[[], Response]) -> Response | None:
    """The response to a request that meets *fault*, or None; *handle* does the work and returns Dune's own response.

    Late work is left to the caller.
    """
    if not fault.replaces_response:
        return handle()
    if fault.accepted and not fault.late:
        handle()
    if fault.lost:
        return None
    return raw_response(200 if fault.status is None else fault.status, fault.body or b"")


class LateWork:
    """Work that is done after its response has left."""

    def __init__(self) -> None:
        self._ahead: list[tuple[float, Callable[[], object]]] = []

    def add(self, due: float, work: Callable[[], object]) -> None:
        self._ahead.append((due, work))

    def catch_up(self, now: int) -> None:
        """Do the work that is due, the earliest first."""
        due = sorted((each for each in self._ahead if each[0] <= now), key=itemgetter(0))
        self._ahead = [each for each in self._ahead if each[0] > now]
        for _, work in due:
            work()


class FaultQueue:
    """The faults that later requests will meet. *operations* are the names of operations."""

    def __init__(self, operations: Iterable[str]) -> None:
        self._ahead: dict[str | None, deque[Fault]] = {name: deque() for name in (*operations, None)}

    def add(self, operation: str | None, faults: Iterable[Fault]) -> None:
        if operation not in self._ahead:
            words = ", ".join(filter(None, self._ahead))
            raise ValueError(f"operation must be one of {words}, or None for any of them, not {operation!r}")
        self._ahead[operation].extend(faults)

    def take(self, operation: str) -> Fault:
        """The fault for a request of *operation*: the next of its own, else the next for any operation."""
        ahead = self._ahead[operation] or self._ahead[None]
        return ahead.popleft() if ahead else NO_FAULT

    def pending(self) -> tuple[tuple[str | None, Fault], ...]:
        """The faults that no request has met, without those that let a request pass."""
        return tuple((name, fault) for name, ahead in self._ahead.items() for fault in ahead if fault != NO_FAULT)
