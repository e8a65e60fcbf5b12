"""Two engine processes that answer requests on one file, each answer one write(2): for a test to trace.

    python -m tests.recovery.answering DATABASE ANSWERS TURNS LOG_BYTES [unsynced]

ANSWERS-0 and ANSWERS-1 get one line an answer: the promise, and the mark it was settled with, if it was.
A third process reads what they do, and writes that to ANSWERS-2 in the same way.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

from hitl_cli.engine import write_ahead_log
from hitl_cli.engine.server import Server, encode_request

LIFE_MS = 3_600_000
OK = 200


def create(id: str) -> bytes:
    """Return the request that creates a promise."""
    return encode_request("promise.create", {"id": id, "timeoutAt": 2**50, "tags": {}})


def settle(id: str, mark: str) -> bytes:
    """Return the request that settles a promise."""
    value = {"data": mark, "headers": {"padding": "x" * 500}}
    return encode_request("promise.settle", {"id": id, "state": "resolved", "value": value})


def listen(database: Path, answers: Path, number: int, batches: int, *, synced: bool) -> None:
    """Read what the others settle, and write it down as soon as it can be read."""
    server = opened(database, synced=synced)
    out = os.open(f"{answers}-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    waiting = [[f"p{other}.{batch}.0" for batch in range(batches)] for other in range(number)]
    while any(waiting):
        for ids in filter(None, waiting):
            [raw] = server.run_batch([encode_request("promise.get", {"id": ids[0]})]).answers
            found = json.loads(raw)
            if found["head"]["status"] == OK and found["data"]["promise"]["state"] == "resolved":
                os.write(out, f"{ids.pop(0)} {found['data']['promise']['value']['data']}\n".encode())
    server.close()


def opened(database: Path, *, synced: bool) -> Server:
    """Open the file."""
    server = Server(database)
    if not synced:
        server.store._log_file.sync = lambda: None  # type: ignore[method-assign]
    return server


def answer(database: Path, answers: Path, number: int, batches: int, *, synced: bool) -> None:
    """Create promises and settle them, a few to a batch, and write down each answer once it was given."""
    chance = random.Random(number)
    server = opened(database, synced=synced)
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


PROCESSES = (answer, answer, listen)


def main() -> None:
    """Answer in several processes at once."""
    database, answers = Path(sys.argv[1]), Path(sys.argv[2])
    batches, write_ahead_log.LOG_BYTES = int(sys.argv[3]), int(sys.argv[4])
    for number, work in enumerate(PROCESSES):
        if os.fork() == 0:
            work(database, answers, number, batches, synced=len(sys.argv) == 5)
            os._exit(0)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in PROCESSES]
    sys.exit(max(map(abs, codes)))


if __name__ == "__main__":
    main()
