"""Two engine processes that answer requests on one file, each answer one write(2): for a test to trace.

    python -m tests.recovery.answering DATABASE ANSWERS TURNS LOG_BYTES SYNCHRONOUS

ANSWERS-0 and ANSWERS-1 get one line an answer: the promise, and the mark it was settled with, if it was.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from hitl_cli.engine import write_ahead_log
from hitl_cli.engine.server import Server, encode_request

LIFE_MS = 3_600_000
PROCESSES = 2


def create(id: str) -> bytes:
    """Return the request that creates a promise."""
    return encode_request("promise.create", {"id": id, "timeoutAt": 2**50, "tags": {}})


def settle(id: str, mark: str) -> bytes:
    """Return the request that settles a promise."""
    value = {"data": mark, "headers": {"padding": "x" * 500}}
    return encode_request("promise.settle", {"id": id, "state": "resolved", "value": value})


def answer(database: Path, answers: Path, number: int, batches: int, synchronous: str) -> None:
    """Create promises and settle them, a few to a batch, and write down each answer once it was given."""
    chance = random.Random(number)
    server = Server(database)
    if synchronous != "FULL":
        server.store._db.execute(f"PRAGMA synchronous = {synchronous}")
    out = os.open(f"{answers}-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for batch in range(batches):
        ids = [f"p{number}.{batch}.{n}" for n in range(chance.randrange(1, 6))]
        for requests, lines in (
            ([create(id) for id in ids], [f"{id}\n" for id in ids]),
            ([settle(id, f"m-{id}") for id in ids], [f"{id} m-{id}\n" for id in ids]),
        ):
            server.run_batch(requests)
            for line in lines:
                os.write(out, line.encode())
    server.close()


def main() -> None:
    """Answer in several processes at once."""
    database, answers = Path(sys.argv[1]), Path(sys.argv[2])
    batches, write_ahead_log.LOG_BYTES = int(sys.argv[3]), int(sys.argv[4])
    for number in range(PROCESSES):
        if os.fork() == 0:
            answer(database, answers, number, batches, sys.argv[5])
            os._exit(0)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(PROCESSES)]
    sys.exit(max(map(abs, codes)))


if __name__ == "__main__":
    main()
