"""Knows what can go wrong with a request and its answer, and which requests it is meant for.
Must not know sockets or threads, nor what any operation does."""

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
# What a header's value may hold: Latin-1 without control characters.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def _are_headers(fault: "Fault", attribute: object, headers: Mapping[str, str | None]) -> None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or (value is not None and not _VALUE.fullmatch(value)):
            raise ValueError(f"no header can be {name!r}: {value!r}")


def _leaves_nothing_to_shape(fault: "Fault", attribute: object, lost: bool) -> None:
    replaced = fault.status is not None or fault.body is not None or fault.headers
    if lost and (replaced or fault.cut is not None or fault.drip or fault.head_drip):
        raise ValueError("where the answer is lost, it has no status, body, headers, cut or drip")


def _fits_the_answer(fault: "Fault", attribute: object, accepted: bool | None) -> None:
    if accepted is False and not fault.replaces_response:
        raise ValueError("Dune's true answer leaves only where it did the work: give a status or body, or lost=True")


def _is_for_accepted_work(fault: "Fault", attribute: object, late: float) -> None:
    if late and not (fault.accepted and fault.replaces_response):
        raise ValueError("only work that is accepted behind another answer, or none, can be done late")


@attrs.frozen(kw_only=True)
class Fault:
    """What goes wrong with one request.

    *status* and *body* make an answer in place of Dune's true one; either alone means an empty body, or 200.
    *lost* leaves no answer at all: the connection is closed.
    *accepted* says whether Dune does its work all the same, if the request is a valid one: a refresh is started and
    billed, a cancel ends its execution. By default it does where its true answer leaves, however mangled, and does not
    where another answer, or none, takes its place.
    *late* is how many seconds of the sandbox's clock pass before that work is done behind another answer, or none. It
    is done then, or whenever the sandbox is next asked for anything: a client that looks in between finds nothing.

    The rest applies to the true answer, or to the one in its place:

    *headers* are added to the answer's own, or take their place; None leaves one out, such as Date. A body without
    Content-Length ends where the connection does.
    *delay* is how many seconds pass before the answer leaves, or is lost; `math.inf` lasts until the sandbox closes.
    The work is done, and Date is set, before them.
    *cut* is how many bytes of the body leave before the connection is closed: with 0, status and headers only.
    *drip* and *head_drip* are the seconds before each byte of the body, and of what precedes it.
    *reset* resets the connection (RST) after whatever leaves, instead of closing it in order, or keeping it.

    All these seconds are real ones, whatever the sandbox's speed.

    `Fault()` lets a request pass: after two of them it is the third that fails.

    To a client, a refresh that got lost before Dune accepted it looks like one whose answer got lost afterwards.
    A test that nothing is paid twice wants both, and never more than one charge in the ledger:

    - lost before: `Fault(lost=True)`, `Fault(lost=True, reset=True)`, `Fault(status=502)`, and, past the client's
      timeout, `Fault(lost=True, delay=math.inf)`;
    - lost after: each of these with `accepted=True`; the true answer mangled, as by `Fault(cut=0)`,
      `Fault(cut=10, reset=True)`, `Fault(delay=60)`, `Fault(drip=1)`; a wrong one, `Fault(accepted=True, body=b"{}")`;
    - lost, and accepted when the client has looked already: `Fault(status=502, accepted=True, late=3)`.
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
    accepted: bool | None = attrs.field(default=None, validator=_fits_the_answer)
    late: float = attrs.field(default=0.0, validator=[ge(0), lt(math.inf), _is_for_accepted_work])

    def __repr__(self) -> str:
        """The call that makes it."""
        values = {each.name: getattr(self, each.name) for each in attrs.fields(Fault)}
        given = [f"{name}={value!r}" for name, value in values.items() if value != getattr(NO_FAULT, name)]
        return f"Fault({', '.join(given)})"

    @property
    def replaces_response(self) -> bool:
        """Whether the client gets something else than Dune's true answer, or nothing."""
        return self.lost or self.status is not None or self.body is not None

    @property
    def ends_connection(self) -> bool:
        """Whether no other request can follow on the connection."""
        lengthless = any(name.lower() == "content-length" and value is None for name, value in self.headers.items())
        return self.lost or self.reset or self.cut is not None or lengthless


NO_FAULT: Final = Fault()


def response_under(fault: Fault, handle: Callable[[], Response]) -> Response | None:
    """The answer to a request that meets *fault*, None for no answer; *handle* does the work and answers truly.

    Late work is the caller's to do.
    """
    if not fault.replaces_response:
        return handle()
    if fault.accepted and not fault.late:
        handle()
    if fault.lost:
        return None
    return raw_response(200 if fault.status is None else fault.status, fault.body or b"")


class LateWork:
    """What is done only after its answer has left."""

    def __init__(self) -> None:
        self._ahead: list[tuple[float, Callable[[], object]]] = []

    def add(self, due: float, work: Callable[[], object]) -> None:
        self._ahead.append((due, work))

    def catch_up(self, now: int) -> None:
        """Does what is due, in the order in which that came about."""
        due = sorted((each for each in self._ahead if each[0] <= now), key=itemgetter(0))
        self._ahead = [each for each in self._ahead if each[0] > now]
        for _, work in due:
            work()


class FaultQueue:
    """The faults that requests are still to meet. *operations* are the words that name an operation."""

    def __init__(self, operations: Iterable[str]) -> None:
        self._ahead: dict[str | None, deque[Fault]] = {name: deque() for name in (*operations, None)}

    def add(self, operation: str | None, faults: Iterable[Fault]) -> None:
        if operation not in self._ahead:
            words = ", ".join(filter(None, self._ahead))
            raise ValueError(f"an operation is one of {words}, or None for any of them; not {operation!r}")
        self._ahead[operation].extend(faults)

    def take(self, operation: str) -> Fault:
        """The fault for the next request of *operation*: one of its own, else one for any."""
        ahead = self._ahead[operation] or self._ahead[None]
        return ahead.popleft() if ahead else NO_FAULT

    def pending(self) -> tuple[tuple[str | None, Fault], ...]:
        """The faults that no request has met, each after its operation; those that let requests pass are none."""
        return tuple((name, fault) for name, ahead in self._ahead.items() for fault in ahead if fault != NO_FAULT)
