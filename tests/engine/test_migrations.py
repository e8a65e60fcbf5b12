"""Files of every earlier format keep their content, and no upgrade stops halfway."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

import hitl_cli
from hitl_cli.engine import store
from hitl_cli.engine.errors import FileUnusable, StorageFailed
from hitl_cli.engine.server import Server
from hitl_cli.engine.store import FORMAT, migrations, statements
from tests.engine.conftest import START_MS, Clock, Engine, Worker, request
from tests.engine.formats.record import FOLDER, LISTENER
from tests.engine.test_store import refusal
from tests.recovery import processes
from tests.recovery.deaths import Mortal

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDINGS = sorted(FOLDER.glob("*.sql"))
NEWEST = FORMAT
AT_ONCE = 4

recorded = pytest.mark.parametrize("recording", RECORDINGS, ids=[path.stem for path in RECORDINGS])


def restore(recording: Path, path: Path) -> None:
    """Make the file that was recorded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(recording.read_text())
        db.execute("PRAGMA journal_mode = WAL")


def content(path: Path) -> tuple[int, list[str]]:
    """Return the format of a file and all that is in it."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute("PRAGMA user_version").fetchone()[0], list(db.iterdump())


def schema(db: sqlite3.Connection) -> set[str]:
    """Return the statements that a database was made by, however they are laid out."""
    rows = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return {re.sub(r"\s+", " ", sql) for (sql,) in rows}


@pytest.fixture
def upgraded(tmp_path: Path, open_engine: Callable[[Clock], Engine]) -> Callable[[Path], Engine]:
    """Return today's engine on a recorded file, a second after its last request."""

    def opened(recording: Path) -> Engine:
        restore(recording, tmp_path / "data" / "hitl.db")
        return open_engine(Clock(START_MS + 2_000))

    return opened


def test_a_process_upgrades_no_file_by_a_script_that_was_installed_while_it_ran(tmp_path: Path) -> None:
    installed = tmp_path / "hitl_cli"
    shutil.copytree(Path(hitl_cli.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import pathlib, sys; from hitl_cli.engine.server import Server;"
        "pathlib.Path(sys.argv[1]).write_text('CREATE TABLE later (id)'); Server(pathlib.Path('hitl.db'))"
    )
    later = installed / "engine" / "sql" / "9999_later.sql"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, later], env=env, cwd=tmp_path, check=True)
    assert later.exists()
    assert content(tmp_path / "hitl.db")[0] == NEWEST


def test_the_format_is_the_number_of_the_last_script() -> None:
    names = sorted(path.name for path in Path(store.__file__).with_name("sql").glob("*.sql"))
    assert [int(name.partition("_")[0]) for name in names] == [*range(1, FORMAT + 1)]


def test_a_process_reads_no_script_to_open_a_file_of_this_format(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    Server(path).close()
    installed = tmp_path / "hitl_cli"
    shutil.copytree(Path(hitl_cli.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(installed / "engine" / "sql")
    code = "import sys, pathlib; from hitl_cli.engine.server import Server; Server(pathlib.Path(sys.argv[1]))"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, path], env=env, cwd=tmp_path, check=True)
    assert content(path)[0] == NEWEST


def test_a_file_is_not_made_by_too_few_scripts(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    with patch.object(store, "migrations", lambda: migrations()[:-1]), pytest.raises(FileUnusable):
        Server(path)
    Server(path).close()
    assert content(path)[0] == NEWEST


def test_every_earlier_format_is_recorded() -> None:
    assert {int(path.stem) for path in RECORDINGS} >= set(range(1, NEWEST))


@recorded
def test_a_script_that_files_were_made_with_is_never_changed(recording: Path, tmp_path: Path) -> None:
    restore(recording, tmp_path / "then.db")
    with closing(sqlite3.connect(tmp_path / "then.db")) as then, closing(sqlite3.connect(":memory:")) as now:
        for script in migrations()[: int(recording.stem)]:
            for statement in statements(script):
                now.execute(statement)

        assert schema(now) == schema(then)


@recorded
def test_an_upgraded_file_is_made_like_a_new_one(
    recording: Path, upgraded: Callable[[Path], Engine], tmp_path: Path
) -> None:
    engine = upgraded(recording)
    Server(tmp_path / "new.db", Clock()).close()

    with closing(sqlite3.connect(engine.path)) as old, closing(sqlite3.connect(tmp_path / "new.db")) as new:
        assert schema(old) == schema(new)
    assert content(engine.path)[0] == NEWEST


@recorded
def test_every_promise_is_there(recording: Path, upgraded: Callable[[Path], Engine], tmp_path: Path) -> None:
    restore(recording, tmp_path / "before.db")
    with closing(sqlite3.connect(tmp_path / "before.db")) as db:
        db.row_factory = sqlite3.Row
        before = {row["id"]: dict(row) for row in db.execute("SELECT * FROM promises")}
    engine = upgraded(recording)

    for id, row in before.items():
        promise = engine.promise(id)
        overdue = row["state"] == "pending" and row["timeout_at"] <= engine.clock.now
        assert promise["state"] == ("rejected_timedout" if overdue else row["state"])
        assert (promise["createdAt"], promise["timeoutAt"]) == (row["created_at"], row["timeout_at"])
        for name in ("param", "value", "tags"):
            assert engine.stored(f"SELECT {name} FROM promises WHERE id = ?", id) == [{name: row[name]}]
    assert len(before) > 10


@recorded
def test_tasks_go_on(recording: Path, upgraded: Callable[[Path], Engine]) -> None:
    engine = upgraded(recording)

    assert [id for id, _ in engine.offers()] == ["offered"]
    assert engine.task("held")["pid"] == "w1"
    assert engine.fulfill("held", 1)[0] == 200
    engine.settle("waits:1")
    engine.settle("both:2")
    engine.ok("task.continue", id="halted")
    assert sorted(engine.offers()) == [("both", 1), ("halted", 1), ("waits", 1)]
    _, data = engine.acquire("waits", 1)
    assert [promise["id"] for promise in data["preload"]] == ["waits:1"]

    engine.clock.advance(18_000)
    assert "delayed" in [id for id, _ in engine.offers()]
    engine.clock.advance(10_000)
    assert engine.promise("timer")["state"] == "resolved"


@recorded
def test_who_listens_is_told(recording: Path, upgraded: Callable[[Path], Engine]) -> None:
    engine = upgraded(recording)
    engine.settle("heard")

    messages = engine.fetch(Worker(takes=[LISTENER]))

    assert sorted(m["data"]["promise"]["id"] for m in messages if m["kind"] == "unblock") == [
        "heard",
        "unheard",
    ]


@recorded
def test_what_can_be_searched_is_found(recording: Path, upgraded: Callable[[Path], Engine]) -> None:
    engine = upgraded(recording)

    def ids(**query: Any) -> list[str]:
        return [promise["id"] for promise in engine.ok("promise.search", **query)["promises"]]

    assert ids(tags={"hitl:assignee": "a@example.org"}) == ["asked"]
    assert ids(state="pending", tags={"resonate:external": "true"}) == [
        *("waits:1", "both:1", "both:2", "asked", "heard", "last")
    ]
    assert ids(state="resolved", root=True) == ["done"]
    assert ids(sort="-settled") == ["unheard", "rejected"]


@recorded
def test_schedules_fire(recording: Path, upgraded: Callable[[Path], Engine]) -> None:
    if int(recording.stem) < 2:
        pytest.skip("there were none in that format")
    engine = upgraded(recording)
    engine.clock.now = 7_200_000

    assert "nightly-7200000" in [id for id, _ in engine.offers()]


@recorded
def test_time_does_not_go_back_by_an_upgrade(
    recording: Path, tmp_path: Path, open_engine: Callable[[Clock], Engine]
) -> None:
    restore(recording, tmp_path / "data" / "hitl.db")

    assert open_engine(Clock(START_MS)).create("new")["createdAt"] >= START_MS + 1_000


def open_and_die_at(path: Path, statement: int) -> None:
    """Open the file, and be killed in place of the nth statement that this takes."""
    Mortal.statements_left = statement
    with patch("sqlite3.connect", partial(sqlite3.connect, factory=Mortal)):
        Server(path, Clock()).close()


def test_an_upgrade_that_is_killed_leaves_the_old_format_whole(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    restore(RECORDINGS[0], path)
    before = content(path)
    statement = 0
    while True:
        process = processes.start(open_and_die_at, path, statement)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        statement += 3  # every third will do: each takes a process of its own
        found = content(path)
        assert found == before or found[0] == NEWEST
    assert statement > 20
    assert content(path)[0] == NEWEST


def open_once(path: Path) -> None:
    """Open the file and ask something."""
    with closing(Server(path, Clock())) as server:
        server.run_batch([request("promise.create", {"id": "new", "timeoutAt": START_MS + 9_000})])


def test_processes_that_upgrade_a_file_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db"
    restore(RECORDINGS[0], path)
    together = [processes.start(open_once, path) for _ in range(AT_ONCE)]
    for process in together:
        process.join()

    assert [process.exitcode for process in together] == [0] * AT_ONCE
    format_found, dump = content(path)
    assert format_found == NEWEST
    assert sum('INTO "promises"' in line for line in dump) == 19


def newer(path: Path) -> None:
    """Make a file as a newer version might leave it."""
    Server(path, Clock()).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {NEWEST + 1}")
        db.execute("CREATE TABLE something_new (x)")


def bytes_in(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder, without SQLite's shared memory, which readers write to."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def test_a_newer_file_in_use_is_refused_untouched(tmp_path: Path) -> None:
    newer(tmp_path / "hitl.db")
    with closing(sqlite3.connect(tmp_path / "hitl.db", isolation_level=None)) as user:
        user.execute("INSERT INTO something_new VALUES (1)")
        before = bytes_in(tmp_path)
        assert before["hitl.db-wal"]

        assert "newer hitl" in refusal(tmp_path / "hitl.db")

        assert bytes_in(tmp_path) == before


def test_a_newer_file_that_crashed_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "crashed").mkdir()
    newer(tmp_path / "theirs" / "hitl.db")
    with closing(sqlite3.connect(tmp_path / "theirs" / "hitl.db", isolation_level=None)) as user:
        user.execute("INSERT INTO something_new VALUES (1)")
        before = bytes_in(tmp_path / "theirs")
    for name, found in before.items():
        (tmp_path / "crashed" / name).write_bytes(found)

    assert "newer hitl" in refusal(tmp_path / "crashed" / "hitl.db")

    assert bytes_in(tmp_path / "crashed") == before


def test_who_has_the_file_open_while_a_newer_version_upgrades_it_changes_nothing_more(engine: Engine) -> None:
    engine.create("p")
    with closing(sqlite3.connect(engine.path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {NEWEST + 1}")
    before = content(engine.path)

    for kind in ("promise.get", "promise.settle"):
        with pytest.raises(StorageFailed, match="upgraded by a newer hitl"):
            engine.send(kind, id="p", state="resolved")

    assert content(engine.path) == before
