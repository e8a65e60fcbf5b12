"""Many processes at once, and some that hold on to the file: everybody is served, or told why not."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import call
from hitl_cli.engine import store, write_ahead_log
from hitl_cli.engine.server import Server, encode_request
from hitl_cli.inbox.pending import pending
from tests.acting import approval, decide
from tests.conftest import PATIENCE_S, wait_until
from tests.recovery.processes import PROCESSES, start, work
from tests.recovery.storm import run_command
from tests.recovery.test_races import blocking
from tests.worker.watching import STEPS, begin, promise_of, result_of, waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Barrier, Event
    from pathlib import Path

    from tests.conftest import Hitl

pytestmark = pytest.mark.only("file", reason="is about locks and the log of SQLite")

CROWD = 64
DECISIONS = 3
"""Of each process in the crowd."""

COMMITS = int(os.environ.get("HITL_LOG_COMMITS", "600"))
"""Of each writer; each writes some 40 kB to the log."""

WRITERS = 2
READERS = 3
IMPATIENCE_S = 0.5


def decide_some(database: Path, number: int, line: Barrier) -> None:
    """Create promises and decide them, at the same time as all others."""
    line.wait(PATIENCE_S * 2)
    with EmbeddedClient(database) as client:
        for n in range(DECISIONS):
            client.call_many([blocking(f"p{number}:{n}", client.now() + 3_600_000)])
            decide(client, f"p{number}:{n}", approval(by="ada", via="test", data=n))


def test_64_processes_on_one_new_file_are_all_served(hitl: Hitl) -> None:
    line = PROCESSES.Barrier(CROWD)
    crowd = [start(decide_some, hitl.database, number, line) for number in range(CROWD)]
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * CROWD
    with hitl.client() as client:
        for number in range(CROWD):
            for n in range(DECISIONS):
                assert promise_of(client, f"p{number}:{n}").state == "resolved"
    is_sound(hitl.database)


# The log


def hold(database: Path, how: str, held: Event, enough: Event) -> None:
    """Hold a transaction open until it is enough: one that reads, or one that writes."""
    with closing(sqlite3.connect(database, timeout=PATIENCE_S, isolation_level=None)) as db:
        db.execute(how)
        count = db.execute("SELECT count(*) FROM promises").fetchone()
        held.set()
        enough.wait(PATIENCE_S * 2)
        assert db.execute("SELECT count(*) FROM promises").fetchone() == count
        db.execute("ROLLBACK")


class Holding:
    """Another process that holds the file."""

    def __init__(self, database: Path, how: str) -> None:
        held, self._enough = PROCESSES.Event(), PROCESSES.Event()
        self._process = start(hold, database, how, held, self._enough)
        assert held.wait(PATIENCE_S)

    def end(self) -> None:
        """Let go of the file."""
        self._enough.set()
        self._process.join()
        assert self._process.exitcode == 0


def log_bytes(database: Path) -> int:
    """Return the size of the log."""
    try:
        return database.with_name(f"{database.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def test_while_a_reader_holds_on_to_the_past_all_are_served_and_then_the_log_is_short_again(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_ahead_log, "LOG_BYTES", 200_000)
    monkeypatch.setattr(write_ahead_log, "RETRY_S", 0.05)
    with hitl.client() as client:
        client.call_many([blocking("p0", client.now() + 3_600_000)])
        reader = Holding(hitl.database, "BEGIN")
        count = 0

        def add() -> int:
            nonlocal count
            count += 1
            client.call_many([blocking(f"p{count}", client.now() + 3_600_000)])
            return log_bytes(hitl.database)

        while add() < 5 * write_ahead_log.LOG_BYTES:
            pass
        assert len(pending(client, limit=None)[0]) == count + 1
        reader.end()
        wait_until(lambda: add() <= write_ahead_log.LOG_BYTES)
        for _ in range(100):
            assert add() < 2 * write_ahead_log.LOG_BYTES
        assert len(pending(client, limit=None)[0]) == count + 1


def write_much(database: Path, number: int, commits: int) -> None:
    """Commit many times, alone each time."""
    with closing(Server(database)) as server:
        for n in range(commits // 2):
            create = {"id": f"w{number}.{n}", "timeoutAt": 2**50, "tags": {"resonate:external": "true"}}
            server.run_batch([encode_request("promise.create", create)])
            settle = {"id": f"w{number}.{n}", "state": "resolved"}
            server.run_batch([encode_request("promise.settle", settle)])


def read_much(database: Path, enough: Event) -> None:
    """Read page after page without a pause, until it is enough or the test was killed."""
    test = multiprocessing.parent_process()
    assert test is not None
    with EmbeddedClient(database) as client:
        while not enough.is_set() and test.is_alive():
            call(client, "promise.search", state="resolved", limit=100)


def test_the_log_stays_bounded_while_many_write_and_read_without_a_pause(hitl: Hitl) -> None:
    enough = PROCESSES.Event()
    Server(hitl.database).close()
    readers = [start(read_much, hitl.database, enough) for _ in range(READERS)]
    writers = [start(write_much, hitl.database, number, COMMITS) for number in range(WRITERS)]
    longest = 0
    while any(writer.is_alive() for writer in writers):
        longest = max(longest, log_bytes(hitl.database))
        time.sleep(0.002)
    enough.set()
    for process in [*readers, *writers]:
        process.join()
        assert process.exitcode == 0
    print(f"{WRITERS * COMMITS} commits; the log was {longest / 2**20:.1f} MiB at most")
    assert longest < 5 * write_ahead_log.LOG_BYTES
    is_sound(hitl.database)


# A writer that does not end


def unwilling_to_wait(function: Callable[..., None], *args: Any) -> None:
    """Be a process that waits only a moment for another one's lock."""
    store.LOCK_WAIT_S = IMPATIENCE_S
    function(*args)


def test_while_another_program_holds_the_lock_readers_are_served_writers_told_and_then_all_goes_on(
    hitl: Hitl,
) -> None:
    worker = start(unwilling_to_wait, work, hitl.database, STEPS, 1_000, {})
    try:
        with hitl.client() as client:
            begin(client, "r", "approval", "r")
            waiting(client)
            holder = Holding(hitl.database, "BEGIN IMMEDIATE")
            code, said = command(hitl, "approve", "r", impatient=True)
            assert code == 6
            assert "locked by another process" in said
            assert "Nothing was changed" in said
            assert [item.id for item in pending(client)[0]] == ["r:1"]
            holder.end()
            assert command(hitl, "approve", "r")[0] == 0
            result_of(client, "r")
            begin(client, "next", "approval", "next")
            waiting(client)
    finally:
        worker.kill()
        worker.join()


def command(hitl: Hitl, *args: str, impatient: bool = False) -> tuple[int | None, str]:
    """Run a command, and return its exit code and what it complained of."""
    out, err = hitl.folder / "out", hitl.folder / "err"
    how = (unwilling_to_wait, run_command) if impatient else (run_command,)
    process: BaseProcess = start(*how, hitl.env, out, err, *args)
    process.join()
    return process.exitcode, err.read_text()


def is_sound(database: Path) -> None:
    """Check that a file is whole."""
    with closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
