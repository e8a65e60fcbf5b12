"""Writes a file of today's format as SQL, for the day when there is a newer one.

    python -m tests.engine.formats.record

Run it once before a new script is added to hitl_cli/engine/sql, and commit what it writes: the tests
open it with every later engine. A recording is never written again.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from hitl_cli.engine.store import APPLICATION_ID, FORMAT
from tests.engine.conftest import EXTERNAL, INTERNAL, TARGETED, TIMER, Clock, Engine, Worker

FOLDER = Path(__file__).parent
LISTENER = "poll://uni@people/p1"


def fill(engine: Engine) -> None:
    """Bring promises and tasks into every state that can be told apart."""
    engine.hold("done")
    engine.fence("done", 1, "promise.create", id="done:1", timeoutAt=engine.clock.now + 9_000, tags=INTERNAL)
    engine.fence("done", 1, "promise.settle", id="done:1", state="resolved", value={"data": "IjEi"})
    engine.fulfill("done", 1)

    engine.hold("held", ttl=50_000)
    for run, awaited in (("waits", ["waits:1"]), ("both", ["both:1", "both:2"])):
        engine.hold(run)
        for id in awaited:
            create = {"id": id, "timeoutAt": engine.clock.now + 40_000, "tags": EXTERNAL}
            engine.fence(run, 1, "promise.create", **create, param={"data": "InBsZWFzZSI="})
        engine.suspend(run, 1, *awaited)

    engine.create("offered", TARGETED)
    engine.create("delayed", TARGETED | {"resonate:delay": str(engine.clock.now + 20_000)})
    engine.hold("halted")
    engine.ok("task.halt", id="halted")

    engine.create("asked", EXTERNAL | {"hitl:request": "1", "hitl:assignee": "a@example.org"})
    engine.create("rejected", EXTERNAL)
    engine.settle("rejected", "rejected")
    engine.create("timer", TIMER, life=30_000)
    engine.create("step", INTERNAL, life=100)

    engine.create("heard", EXTERNAL)
    engine.ok("promise.register_listener", awaited="heard", address=LISTENER)
    engine.create("unheard", EXTERNAL)
    engine.ok("promise.register_listener", awaited="unheard", address=LISTENER)
    engine.settle("unheard")

    engine.ok(
        "schedule.create",
        id="nightly",
        cron="0 2 * * *",
        promiseId="nightly-{{.timestamp}}",
        promiseTimeout=60_000,
        promiseTags=TARGETED,
    )

    engine.clock.advance(1_000)
    engine.create("last")
    engine.fetch(Worker(takes=["poll://any@nobody"]))


def main() -> None:
    """Record today's format."""
    path = FOLDER / f"{FORMAT:04}.sql"
    if path.exists():
        sys.exit(f"{path} is recorded already")
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder) / "hitl.db", Clock())
        fill(engine)
        engine.server.close()
        with closing(sqlite3.connect(engine.path)) as db:
            dump = "\n".join(db.iterdump())
    header = f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {FORMAT};\n"
    path.write_text(f"{header}{dump}\n")


if __name__ == "__main__":
    main()
