"""The file: who may read it, what is refused, the clock in it, and transactions."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine import disk, store
from hitl_cli.engine.errors import FileUnusable, StorageFailed
from hitl_cli.engine.server import Server
from hitl_cli.engine.store import APPLICATION_ID, FORMAT
from tests.engine.conftest import EXTERNAL, INTERNAL, START_MS, TARGETED, Clock, Engine, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPENS = """
import sys
from pathlib import Path
from hitl_cli.engine.server import Server
Server(Path(sys.argv[1])).close()
"""

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


def sqlite_file(path: Path, *statements: str) -> bytes:
    """Make an SQLite file with these statements and return its bytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    return path.read_bytes()


def refusal(path: Path) -> str:
    """Return the sentence with which the file is refused."""
    with pytest.raises(FileUnusable) as caught:
        Server(path, Clock())
    return str(caught.value)


@pytest.mark.parametrize("there", ["no file", "the file", "the file by both names"])
def test_what_a_process_left_that_was_killed_as_it_made_the_file_is_removed(
    tmp_path: Path, there: str
) -> None:
    path, left = tmp_path / "hitl.db", tmp_path / "hitl.db.new"
    if there == "no file":
        left.touch()
    else:
        Server(path, Clock()).close()
        left.hardlink_to(path) if there == "the file by both names" else left.touch()
    Server(path, Clock()).close()
    assert (left.exists(), path.stat().st_nlink) == (False, 1)


def test_a_file_of_the_user_beside_the_new_one_is_not_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "hitl.db.new"
    before = sqlite_file(theirs, "CREATE TABLE theirs (id)")
    assert str(theirs) in refusal(tmp_path / "hitl.db")
    (tmp_path / "hitl.db").touch()
    Server(tmp_path / "hitl.db", Clock()).close()
    assert theirs.read_bytes() == before


def test_a_new_file_and_its_folder_are_their_owners_alone(engine: Engine) -> None:
    engine.create("p")

    folder = engine.path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}
    assert modes == {"hitl.db": 0o600, "hitl.db-wal": 0o600, "hitl.db-shm": 0o600}


def test_a_new_file_is_created_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    another = threading.Thread(target=lambda: Server(path, Clock()).close())
    with disk.folder_lock(path):
        another.start()
        another.join(0.2)
        assert another.is_alive()
        assert not path.exists() or path.stat().st_size == 0
    another.join()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_thread_that_creates_a_file_drops_no_lock_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hitl.db"
    first: list[Server] = []

    def close(file: int, closing_one: Callable[[int], None] = os.close) -> None:
        """Close what creates the file after another thread, which is as quick as it can be, has opened it."""
        if not first and os.fstat(file).st_ino == (path.stat().st_ino if path.exists() else None):
            first.append(Server(path, Clock()))
        closing_one(file)

    monkeypatch.setattr(os, "close", close)
    with closing(Server(path, Clock())) as second:
        # What ends last removes the log, unless it sees the lock of another process.
        assert subprocess.run([sys.executable, "-c", OPENS, path], check=False).returncode == 0
        for server in [*first, second]:
            server.run_batch([request("promise.create", {"id": "p", "timeoutAt": START_MS + 1})])
            server.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["hitl.db"]


def test_a_file_that_is_restored_while_a_new_one_is_created_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, backup = tmp_path / "hitl.db", tmp_path / "backup.db"
    with closing(Server(backup, Clock())) as server:
        server.run_batch([request("promise.create", {"id": "p", "timeoutAt": START_MS + 1})])

    def close(file: int, closing_one: Callable[[int], None] = os.close) -> None:
        """Restore the file when the new one has been created, and has no name yet."""
        closing_one(file)
        if backup.exists():
            backup.rename(path)

    monkeypatch.setattr(os, "close", close)
    with closing(Server(path, Clock())) as server:
        answers = server.run_batch([request("promise.get", {"id": "p"})]).answers

    assert [status_of(answer) for answer in answers] == [200]
    assert [entry.name for entry in tmp_path.iterdir()] == ["hitl.db"]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    (tmp_path / "hitl.db.new").touch()  # of a process that was killed
    if not links:
        monkeypatch.setattr(os, "link", link)
    Server(tmp_path / "hitl.db", Clock()).close()

    assert [(entry.name, entry.stat().st_nlink) for entry in tmp_path.iterdir()] == [("hitl.db", 1)]


def test_a_loose_umask_makes_nothing_readable_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Server(tmp_path / "new" / "hitl.db", Clock())) as server:
            server.run_batch([request("promise.create", {"id": "p", "timeoutAt": START_MS + 1})])
            modes = {entry.stat().st_mode & 0o077 for entry in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)

    assert modes == {0}


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    Server(tmp_path / "hitl.db", Clock()).close()

    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_what_was_committed_is_there_when_the_file_is_opened_again(
    engine: Engine, open_engine: Callable[[Clock], Engine]
) -> None:
    engine.hold("t")
    settled = engine.fulfill("t", 1)[1]["promise"]
    engine.server.close()

    assert open_engine(Clock()).promise("t") == settled


def test_every_commit_is_synced_and_so_is_what_others_have_committed_before_it_is_read(
    engine: Engine, open_engine: Callable[[Clock], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.server.store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    other = open_engine(engine.clock)
    synced: list[object] = []
    monkeypatch.setattr(disk.LogFile, "sync", lambda log: synced.append(log))  # noqa: PLW0108 - a method

    def syncs(who: Engine, action: Callable[[], object]) -> bool:
        synced.clear()
        action()
        assert synced in ([], [who.server.store._log_file])
        return bool(synced)

    assert syncs(engine, lambda: engine.create("p"))
    assert not syncs(engine, lambda: engine.promise("p"))
    assert syncs(other, lambda: other.promise("p"))
    assert not syncs(other, lambda: other.promise("p"))
    assert not syncs(other, lambda: other.create("p"))  # it is there
    assert syncs(other, lambda: other.create("q"))
    assert syncs(engine, lambda: engine.promise("p"))


def test_a_disk_that_does_not_confirm_what_was_written_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: disk.LogFile) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log = disk.log_of(engine.path)
    engine.create("before")
    with monkeypatch.context() as broken:
        broken.setattr(disk.LogFile, "sync", fail)
        for _ in range(2):
            with pytest.raises(StorageFailed):
                engine.create("p")
    known = log.read_bytes()
    engine.create("p")
    assert log.read_bytes() == known  # it was there, and what was written again is the same


def test_the_file_says_whose_it_is_and_in_which_format(engine: Engine) -> None:
    assert engine.stored("PRAGMA application_id") == [{"application_id": APPLICATION_ID}]
    assert engine.stored("PRAGMA user_version") == [{"user_version": FORMAT}]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "hitl.db").touch()

    Server(tmp_path / "hitl.db", Clock()).close()

    assert (tmp_path / "hitl.db").stat().st_size > 0


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)

    assert "is not a database" in refusal(path)
    assert path.read_text() == "Dear diary, " * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"],
        ["PRAGMA user_version = 1"],
        ["PRAGMA application_id = 7"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE t (x)"],
    ],
)
def test_another_programs_database_is_refused_untouched(tmp_path: Path, statements: list[str]) -> None:
    path = tmp_path / "other.db"
    before = sqlite_file(path, *statements)

    assert "another program" in refusal(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_programs_database_in_use_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (x)")
        before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if "shm" not in entry.name}

        assert "another program" in refusal(path)

        after = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if "shm" not in entry.name}
        assert after == before


def test_another_programs_database_that_crashed_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with closing(sqlite3.connect(tmp_path / "theirs" / "other.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (x)")
        before = {
            entry.name: entry.read_bytes()
            for entry in (tmp_path / "theirs").iterdir()
            if "shm" not in entry.name
        }
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name, content in before.items():
        (crashed / name).write_bytes(content)

    assert "another program" in refusal(crashed / "other.db")

    assert {name: (crashed / name).read_bytes() for name in before} == before


def test_a_newer_versions_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    Server(path, Clock()).close()
    before = sqlite_file(path, f"PRAGMA user_version = {FORMAT + 1}")

    assert "newer" in refusal(path)
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    Server(path, Clock()).close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))

    assert "damaged" in refusal(path)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "not a folder" in refusal(tmp_path / "file" / "hitl.db")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hitl.db").mkdir()

    assert "is a folder" in refusal(tmp_path / "hitl.db")


@needs_permissions
def test_a_file_that_may_only_be_read_can_be_read_and_a_write_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    path = tmp_path / "hitl.db"
    Server(path, Clock()).close()
    path.chmod(0o400)

    with closing(Server(path, Clock())) as server:
        answer = server.run_batch([request("promise.get", {"id": "p"})]).answers[0]
        assert status_of(answer) == 404
        with pytest.raises(StorageFailed, match="cannot be written"):
            server.run_batch([request("promise.create", {"id": "p", "timeoutAt": START_MS + 1})])


@needs_permissions
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    Server(path, Clock()).close()
    path.chmod(0)

    assert "cannot be written" in refusal(path)


@needs_permissions
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "permission denied" in refusal(tmp_path / "hitl.db")
    finally:
        tmp_path.chmod(0o700)


def test_opening_a_file_writes_nothing_and_waits_for_no_writer(
    engine: Engine, open_engine: Callable[[Clock], Engine]
) -> None:
    engine.create("p")
    before = engine.server.store.data_version()

    with engine.server.store.transaction(engine.clock, write=True):
        reader = open_engine(engine.clock)
        assert reader.promise("p")["state"] == "pending"

    assert engine.server.store.data_version() == before
    assert engine.stored("PRAGMA auto_vacuum") == [{"auto_vacuum": 2}]


class _BusyAtFirst:
    """A connection to a file that another process repairs after a crash when it is first asked."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._asked = 0

    def execute(self, sql: str) -> sqlite3.Cursor:
        self._asked += 1
        if self._asked == 1:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error
        return self._db.execute(sql)


@pytest.mark.parametrize("look", ["data_version", "waiting_counts", "space"])
def test_a_look_at_a_file_that_another_process_repairs_waits_for_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    engine.create("p")
    opened = engine.server.store
    seen = getattr(opened, look)()
    monkeypatch.setattr(opened, "_db", _BusyAtFirst(opened._db))

    assert getattr(opened, look)() == seen


def test_many_can_open_a_new_file_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def use(path: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            with closing(Server(path, Clock())) as server:
                server.run_batch([request("promise.create", {"id": "p", "timeoutAt": START_MS + 1})])
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    for n in range(10):
        together = threading.Barrier(6)
        threads = [
            threading.Thread(target=use, args=(tmp_path / str(n) / "hitl.db", together)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failures == []


def test_time_never_goes_back_between_processes(open_engine: Callable[[Clock], Engine]) -> None:
    ahead, behind = open_engine(Clock(START_MS + 500)), open_engine(Clock(START_MS))
    ahead.create("first")

    assert behind.create("second", life=60_000)["createdAt"] == START_MS + 500
    assert behind.run_batch().now == START_MS + 500


def test_what_one_process_saw_expire_is_expired_for_one_whose_clock_is_behind(
    open_engine: Callable[[Clock], Engine],
) -> None:
    ahead, behind = open_engine(Clock(START_MS + 500)), open_engine(Clock(START_MS))
    behind.create("step", INTERNAL, life=100)

    assert ahead.promise("step")["state"] == "rejected_timedout"
    assert behind.settle("step")["state"] == "rejected_timedout"


def test_time_never_goes_back_when_the_file_is_opened_again(open_engine: Callable[[Clock], Engine]) -> None:
    first = open_engine(Clock(START_MS + 500))
    first.create("p")
    first.server.close()

    assert open_engine(Clock(START_MS)).create("q", life=60_000)["createdAt"] == START_MS + 500


def test_a_read_only_batch_materialises_a_passed_deadline(engine: Engine) -> None:
    engine.create("step", INTERNAL, life=10)
    engine.create("other")
    engine.clock.advance(10)

    answers = engine.batch(request("promise.get", {"id": "other"}), request("promise.get", {"id": "step"}))

    assert [data["promise"]["state"] for _, data in answers] == ["pending", "rejected_timedout"]
    assert engine.stored("SELECT state FROM promises WHERE id = 'step'") == [{"state": "rejected_timedout"}]


def test_a_read_waits_for_no_writer(engine: Engine, open_engine: Callable[[Clock], Engine]) -> None:
    engine.create("p")
    reader = open_engine(engine.clock)

    with engine.server.store.transaction(engine.clock, write=True) as tx:
        tx.add_listener(1, "http://x")
        assert reader.promise("p")["state"] == "pending"
        assert reader.ok("promise.search")["promises"] != []


MALFORMED = [
    "",
    "{",
    "[]",
    "null",
    '{"kind": "promise.get", "data": null}',
    '{"kind": "promise.get", "data": {"id": 7}}',
    '{"kind": "promise.create", "data": {"id": "x"}}',
    '{"kind": "schedule.create", "data": {}}',
    '{"kind": "debug.forget"}',
    '{"kind": "promise.create", "data": {"id": "x", "timeoutAt": 1e400}}',
    '{"kind": "promise.search", "data": {"cursor": "' + "9" * 30 + '"}}',
    '{"kind": "task.search", "data": {"cursor": "' + "9" * 30 + '"}}',
    '{"kind": "promise.create", "data": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"kind": "promise.create", "data": {"id": "x", "timeoutAt": 1, "tags": {"a": "\\ud800"}}}',
    b'{"kind": "promise.create", "data": {"id": "\xff", "timeoutAt": 1}}',
    b"\xff\xfe",
    "\ud800",
]


@pytest.mark.parametrize("malformed", MALFORMED, ids=range(len(MALFORMED)))
def test_a_request_that_fails_does_not_undo_its_neighbours(engine: Engine, malformed: Any) -> None:
    def create(id: str) -> str:
        return request("promise.create", {"id": id, "timeoutAt": START_MS + 10, "tags": EXTERNAL})

    batch = engine.server.run_batch([create("a"), malformed, create("b")])

    statuses = [status_of(raw) for raw in batch.answers]
    assert statuses == [200, 400, 200]
    assert [row["id"] for row in engine.stored("SELECT id FROM promises")] == ["a", "b"]


def status_of(raw: bytes) -> int:
    """Return the status of an answer."""
    status = json.loads(raw)["head"]["status"]
    assert isinstance(status, int)
    return status


def test_a_conflict_in_a_batch_does_not_undo_its_neighbours(engine: Engine) -> None:
    engine.hold("t")
    release = request("task.release", {"id": "t", "version": 9})
    create = request("promise.create", {"id": "p", "timeoutAt": START_MS + 10})

    assert [status for status, _ in engine.batch(create, release)] == [200, 409]
    assert engine.status("promise.get", id="p") == 200


def test_requests_of_one_batch_see_each_other_and_happen_at_one_instant(
    open_engine: Callable[[Clock], Engine],
) -> None:
    class Hurried(Clock):
        def __call__(self) -> int:
            self.advance(1)
            return self.now

    engine = open_engine(Hurried())
    create = {"id": "p", "timeoutAt": START_MS + 1_000, "tags": EXTERNAL}
    settle = {"id": "p", "state": "resolved"}

    answers = engine.batch(request("promise.create", create), request("promise.settle", settle))

    created, settled = (data["promise"] for _, data in answers)
    assert settled["settledAt"] == created["createdAt"]


def test_a_failed_write_is_a_sentence_and_changes_nothing(
    engine: Engine, open_engine: Callable[[Clock], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.create("p")
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.0)
    other = open_engine(engine.clock)

    with (
        engine.server.store.transaction(engine.clock, write=True),
        pytest.raises(StorageFailed, match="locked by another process"),
    ):
        other.settle("p")

    assert other.promise("p")["state"] == "pending"
    assert other.settle("p")["state"] == "resolved"


def test_a_full_disk_is_a_sentence_and_changes_nothing(engine: Engine) -> None:
    engine.create("p")
    db = engine.server.store._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    big = {"id": "big", "timeoutAt": START_MS + 1, "param": {"data": "x" * 1_000_000}}

    with pytest.raises(StorageFailed, match="is full"):
        engine.run_batch(
            request("promise.settle", {"id": "p", "state": "resolved"}), request("promise.create", big)
        )

    assert engine.promise("p")["state"] == "pending"


def test_the_number_that_changes_when_others_commit_does_not_change_by_reading(
    engine: Engine, open_engine: Callable[[Clock], Engine]
) -> None:
    other = open_engine(engine.clock)
    before = engine.server.store.data_version()
    engine.status("promise.get", id="p")
    other.status("promise.get", id="p")
    assert engine.server.store.data_version() == before

    other.create("p", TARGETED)

    assert engine.server.store.data_version() != before


def test_a_batch_in_which_nothing_happens_writes_nothing(
    engine: Engine, open_engine: Callable[[Clock], Engine]
) -> None:
    engine.create("t", TARGETED)
    other = open_engine(engine.clock)
    before = other.server.store.data_version()
    engine.clock.advance(1)

    engine.run_batch()
    engine.run_batch(request("task.heartbeat", {"pid": "w", "tasks": []}))

    assert other.server.store.data_version() == before
