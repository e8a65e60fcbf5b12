"""Checkpoints of a long history, on a file and on PostgreSQL: python -m bench.ledger [-S URL].

A million finished runs with a decision each, spread over a year, then a thousand new decisions. Printed is
how long each step takes, the CPU of this process, and its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sqlite3
import subprocess
import tempfile
import time
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

from bench import history
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import lineage
from hitl_cli.client.wire import EXTERNAL, Audit, encode
from hitl_cli.ledger import Ledger
from hitl_cli.ledger.log import Log
from hitl_cli.ledger.receipts import is_included
from hitl_cli.people.actor import Actor
from hitl_cli.proof.checkpoint import CheckpointSigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

YEAR_MS = 365 * 86_400_000
NEW = 1_000
AT_ONCE = 1_000
SPREAD = "UPDATE promises SET settled_at = settled_at - ? + seq * (? / (SELECT max(seq) FROM promises))"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-S", "--server", metavar="URL", help="an empty PostgreSQL with both schemas")
    parser.add_argument("--decisions", type=int, default=1_000_000, metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place, url = Path(folder), given.server
        if url is None:
            url = f"sqlite:///{place / 'hitl.db'}"
            with connect(url) as client:
                decide(client, "old", given.decisions)
            with contextlib.closing(sqlite3.connect(place / "hitl.db", isolation_level=None)) as db:
                db.execute(SPREAD, (YEAR_MS, YEAR_MS - 86_400_000))
        else:
            history.add(url, given.decisions, int(time.time() * 1_000) - 86_400_000)
        with connect(url) as client:
            measure(client, place)


def decide(client: Client, name: str, count: int) -> None:
    """Ask and decide requests."""
    end, now = client.now() + YEAR_MS, client.now()
    value = encode(True, Audit(id="0" * 32, by="lead", via="cli", at=now).headers())
    for some in batched(range(count), AT_ONCE):
        requests = []
        for n in some:
            id = f"{name}-{n:07}"
            data = {"id": id, "timeoutAt": end, "param": encode({"prompt": f"Deploy {id} to production?"})}
            tags = lineage(id, scope="global") | EXTERNAL
            requests.append(ProtocolRequest("promise.create", {**data, "tags": tags}))
            settled = {"id": id, "state": "resolved", "value": value}
            requests.append(ProtocolRequest("promise.settle", settled))
        client.call_many(requests)


def measure(client: Client, folder: Path) -> None:
    """Print how long checkpoints and checks take."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "key")]
    subprocess.run(command, check=True)
    public = " ".join((folder / "key.pub").read_text().split()[:2])
    signer = CheckpointSigner(key=folder / "key", known=(public,))
    ledger = Ledger(client, Actor(person="ops", via="bench"))
    first = timed("first checkpoint", lambda: ledger.checkpoint(signer))
    since = client.now()
    decide(client, "new", NEW)
    second = timed(f"checkpoint of {NEW:,} new", lambda: ledger.checkpoint(signer))
    both = [first, second]
    timed("verify what is new", lambda: checked(ledger, both, public, since))
    leaf = next(Log(client).pieces()).leaves[-1]
    receipt = timed("receipt of one", lambda: ledger.receipt(leaf.id, signer.known, second))
    assert is_included(receipt, second)
    timed("verify all", lambda: checked(ledger, both, public, None))
    print(f"{second.size:,} leaves, load {os.getloadavg()[0]:.1f}")


def checked(ledger: Ledger, checkpoints: list, public: str, since: int | None) -> None:  # type: ignore[type-arg]
    """Check the history; it must be as it was signed."""
    check = ledger.check(checkpoints, (public,), since)
    assert list(check.findings()) == []
    assert [one.why for one in check.checkpoints] == [None, None]


def timed[T](what: str, action: Callable[[], T]) -> T:
    """Print how long an action takes, and return its result."""
    began, used = time.monotonic(), time.process_time()
    result = action()
    took, cpu = time.monotonic() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {took:.2f} s, {cpu:.2f} s of CPU, {memory:.0f} MB", flush=True)
    return result


if __name__ == "__main__":
    main()
