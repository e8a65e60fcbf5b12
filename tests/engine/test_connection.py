"""Processes, threads and forks that end while others use the file: none takes the log from another."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine import disk
from hitl_cli.engine.errors import FileMoved
from hitl_cli.engine.store import Store
from tests.engine.conftest import Clock, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANOTHER = """
import json, sys
from pathlib import Path
from hitl_cli.engine.backup import back_up
from hitl_cli.engine.server import Server

path = Path(sys.argv[1])
server = None
for line in sys.stdin:
    match line.split():
        case ["open"]:
            server = Server(path)
        case ["create", id]:
            create = {"kind": "promise.create", "data": {"id": id, "timeoutAt": 10**14}}
            server.run_batch([json.dumps(create)] )
        case ["close"]:
            server.close()
        case ["backup"]:
            back_up(path, path.with_name("copy.db"), replace=True, progress=lambda *_: None)
    print("done", flush=True)
"""

FORKS = """
import json, os, sys, threading
from pathlib import Path
from hitl_cli.engine.server import Server

def create(id):
    create = {"kind": "promise.create", "data": {"id": id, "timeoutAt": 10**14}}
    return b'"status":200' in server.run_batch([json.dumps(create)]).answers[0]

def child(end):
    if (pid := os.fork()) == 0:
        end()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

server = Server(Path(sys.argv[1]))
idle = Server(Path(sys.argv[1]))
assert create("parent-1")
child(lambda: None)
child(server.close)
assert create("parent-2")
child(lambda: create("child-1") or os._exit(1))
assert create("parent-3")
if (pid := os.fork()) == 0:
    os.setsid()
    sys.stdin.readline()
    sys.exit(0 if create("child-2") and (server.close() or True) else 1)
server.close()
idle.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


FORKS_BESIDE_A_TRANSACTION = """
import os, sys, threading, time
from pathlib import Path
from hitl_cli.engine import connection
from hitl_cli.engine.server import Server

def change(server, id, ready=None):
    with server.store.transaction(lambda: 1, write=True) as tx:
        tx.add_listener(0, id)
        if ready is not None:
            ready.set()
            while not connection._fork_lock.locked():
                time.sleep(0.001)

begun = threading.Event()
server, other = Server(Path(sys.argv[1])), Server(Path(sys.argv[1]))
thread = threading.Thread(target=change, args=(server, "thread", begun))
thread.start()
begun.wait()
if (pid := os.fork()) == 0:
    change(server, "child-1")
    change(other, "child-2")
    os._exit(len(connection._leaked))
thread.join()
assert os.waitpid(pid, 0)[1] == 0
server.close()
other.close()
"""


class Another:
    """Another process, which does with the file what it is told."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ANOTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, what: str) -> None:
        """Let it do something, and wait until it has."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def end(self) -> None:
        """End it."""
        self._process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, in a folder of its own."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "hitl.db"


@pytest.fixture
def another(path: Path) -> Iterator[Another]:
    """Another process at the file."""
    process = Another(path)
    yield process
    process.end()


@pytest.fixture
def engines(path: Path) -> Iterator[list[Engine]]:
    """Two connections of this process, which has lost its locks: it has read the file itself."""
    opened = [Engine(path, Clock()), Engine(path, Clock())]
    for n, engine in enumerate(opened):
        engine.create(f"first-{n}")
    path.read_bytes()
    yield opened
    for engine in opened:
        engine.server.close()


def ids(path: Path) -> list[str]:
    """Return the ids in a file that is whole."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in db.execute("SELECT id FROM promises ORDER BY id")]


def remove_log(path: Path) -> None:
    """Have another program open the file and end as the last one, which removes the log."""
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM clock').fetchall()"
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert not path.with_name("hitl.db-wal").exists()


@pytest.mark.parametrize("steps", [["open", "create x", "close"], ["backup"]])
def test_a_process_that_ends_leaves_the_log_to_one_that_has_lost_its_locks(
    engines: list[Engine], another: Another, path: Path, steps: list[str]
) -> None:
    log = path.with_name("hitl.db-wal").stat().st_ino

    for step in steps:
        another(step)

    assert path.with_name("hitl.db-wal").stat().st_ino == log
    for n, engine in enumerate(engines):
        engine.create(f"then-{n}")
        engine.server.close()
    assert {entry.name for entry in path.parent.iterdir()} <= {"hitl.db", "copy.db"}
    assert {"first-0", "first-1", "then-0", "then-1"} <= set(ids(path))


def test_a_process_whose_log_another_program_has_removed_goes_on_with_all_its_connections(
    engines: list[Engine], another: Another, path: Path
) -> None:
    first, idle = engines
    remove_log(path)

    with pytest.raises(FileMoved):
        first.create("told")
    first.create("then-0")
    another("open")
    another("create other-0")
    first.create("then-1")
    idle.create("then-2")
    another("create other-1")
    first.create("then-3")
    another("close")

    for engine in engines:
        engine.server.close()
    assert ids(path) == [
        "first-0", "first-1", "other-0", "other-1", "then-0", "then-1", "then-2", "then-3",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["uses it", "closes it"])
def test_a_process_without_its_log_overwrites_nothing_that_others_have_written_since(
    engines: list[Engine], another: Another, path: Path, how: str
) -> None:
    first = engines[0]
    remove_log(path)
    another("open")
    for n in range(100):
        another(f"create other-{n}")
    another("close")

    if how == "uses it":
        with pytest.raises(FileMoved):
            first.create("told")
        first.create("then")
    for engine in engines:
        engine.server.close()

    expected = {"first-0", "first-1", *(f"other-{n}" for n in range(100))}
    assert set(ids(path)) == expected | ({"then"} if how == "uses it" else set())


def test_a_process_without_its_log_does_not_remove_that_of_a_process_that_was_killed(
    engines: list[Engine], another: Another, path: Path
) -> None:
    remove_log(path)
    another("open")
    another("create other")
    another._process.kill()

    for engine in engines:
        engine.server.close()

    assert ids(path) == ["first-0", "first-1", "other"]


@pytest.mark.parametrize("gone", [["-wal"], ["-shm"], ["-wal", "-shm"]])
@pytest.mark.parametrize("how", ["uses it", "closes it"])
def test_what_was_committed_is_kept_when_somebody_deletes_the_log_or_its_index(
    engines: list[Engine], path: Path, gone: list[str], how: str
) -> None:
    for end in gone:
        path.with_name(f"hitl.db{end}").unlink()

    if how == "uses it":
        with pytest.raises(FileMoved):
            engines[0].create("told")
        engines[0].create("then")
        engines[1].create("then-too")
    for engine in engines:
        engine.server.close()

    new = ["then", "then-too"] if how == "uses it" else []
    assert ids(path) == ["first-0", "first-1", *new]


def test_a_log_that_is_removed_as_a_file_is_opened_is_no_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last process to use the file ends meanwhile."""
    log, may_access = disk.log_of(path), os.access
    Store(path).close()
    log.touch()

    def ends_meanwhile(looked_at: Path, mode: int) -> bool:
        log.unlink(missing_ok=True)
        return may_access(looked_at, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", ends_meanwhile)
        Store(path).close()
    assert path.exists()
    assert not log.exists()


def test_a_forked_process_has_connections_of_its_own(another: Another, path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKS, path], stdin=subprocess.PIPE)
    another("open")
    another("close")
    parent.communicate(b"\n")

    assert parent.returncode == 0
    assert {"child-1", "child-2", "parent-1", "parent-2", "parent-3"} == set(ids(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["hitl.db"]


def test_a_fork_waits_for_the_transaction_of_another_thread(path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS_BESIDE_A_TRANSACTION, path], check=True, timeout=60
    )

    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT address FROM listeners ORDER BY address").fetchall()
    assert found == [("child-1",), ("child-2",), ("thread",)]
