"""Helpers for tests of single executions: a view, the ways a request fails, and a refresh as a flow.

It must not know how any flow decides.
"""

from __future__ import annotations

from typing import Any

from dune_matviews import ExecutionStatus, RateLimitError, RequestFailedError, ServerError, UnexpectedResponseError
from dune_matviews._execution.journal import Journal
from dune_matviews._execution.session import Session
from dune_matviews._execution.starting import start
from dune_matviews._execution.watching import Watch, watch
from dune_matviews._execution.wish import Wish
from dune_matviews._flow.effects import Flow
from tests.simulation import Dune

VIEW = "dune.my_team.result_x"
REFUSED_CONNECTION = RequestFailedError("connection refused", sent=False)
LOST = RequestFailedError("no response within 10 s", sent=True)
BAD_GATEWAY = ServerError("Bad Gateway", status_code=502)
GATEWAY_TIMEOUT = ServerError("Gateway Timeout", status_code=504)
UNREADABLE = UnexpectedResponseError("the body is no JSON", status_code=200)


def refresh(session: Session, view: str = VIEW, *, journal: Journal | None = None, **terms: Any) -> Flow[str]:
    """A refresh on the terms of a `Wish`: the id of the execution that was started or found."""
    begun = yield from start(session, Wish(view=view, **terms), journal)
    assert begun.execution_id is not None
    return begun.execution_id


def started(dune: Dune, view: str = VIEW) -> str:
    """An execution of another client, begun now."""
    return dune.run(refresh(dune.session(), view))


def limited(seconds: float | None) -> RateLimitError:
    """A 429 that asks for so long a pause."""
    return RateLimitError("Too Many Requests", status_code=429, retry_after=seconds)


def billed(dune: Dune) -> int:
    """How many executions were accepted."""
    return len(dune.ledger)


def sent(dune: Dune, what: str = "refresh") -> int:
    """How many such requests arrived."""
    return sum(request.what.startswith(what) for request in dune.seen)


def follow(session: Session, execution_id: str, **terms: Any) -> Flow[ExecutionStatus]:
    """Poll an execution to its end, on the terms of a `Watch`; from now on, and ours, if nothing else is said."""
    defaults: dict[str, Any] = {"how": "response", "since": session.clock()}
    return watch(session, Watch(execution_id=execution_id, **defaults | terms))
