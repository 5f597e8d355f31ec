"""The sandbox as a process of its own: prints its URL, serves until its standard input ends, then prints its ledger.

It knows which faults there are, and must not know what its clients do.
"""

from __future__ import annotations

import json
import random
import sys

from dune_matviews.sandbox import DuneSandbox, Fault

REQUESTS = 200_000
"""More than a scenario makes; of these, a share meets a fault."""

SHARE = 0.05

FAULTS = [
    *(Fault(status=status, accepted=accepted) for status in (500, 502, 503, 520) for accepted in (True, False)),
    *(Fault(lost=True, reset=reset, accepted=accepted) for reset in (True, False) for accepted in (True, False)),
    *(Fault(lost=True, delay=3, accepted=accepted) for accepted in (True, False)),
    *(Fault(status=429, body=b"{}", headers={"Retry-After": after}) for after in ("0", "0.2", "soon")),
    Fault(status=502, accepted=True, late=1),
    Fault(delay=0.5),
    Fault(delay=3),
    Fault(cut=0),
    Fault(cut=10),
    Fault(cut=10, reset=True),
    Fault(drip=0.05),
    Fault(head_drip=0.05),
    Fault(body=b"{", accepted=True),
    Fault(body=b"<html>", accepted=True),
    Fault(body=b"x" * 2_000_000, accepted=True),
    Fault(body=b"no gzip", headers={"Content-Encoding": "gzip"}, accepted=True),
    Fault(headers={"Connection": "close"}),
]


def main(seed: int) -> None:
    """Serve."""
    chance = random.Random(seed)
    with DuneSandbox(speed=1000) as sandbox:
        sandbox.fail(None, *(chance.choice(FAULTS) if chance.random() < SHARE else Fault() for _ in range(REQUESTS)))
        print(sandbox.url, flush=True)
        sys.stdin.read()
        charges = [(charge.name, charge.execution_id) for charge in sandbox.ledger]
        print(json.dumps({"charges": charges, "requests": len(sandbox.requests)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
