"""A copy of the file: whole, checked, private, and never half under its name."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine import backup
from hitl_cli.engine.backup import back_up
from hitl_cli.engine.errors import AlreadyThere, BackupFailed, FileUnusable
from hitl_cli.engine.server import Server
from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import wait_until
from tests.engine.conftest import EXTERNAL, Clock, Engine, Worker, request
from tests.engine.formats.record import fill
from tests.recovery import processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAR_MS = 2**45


def silent(done: int, size: int) -> None:
    """Hear how far it is, and say nothing."""


def dump(path: Path) -> list[str]:
    """Return all that is in a file."""
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def test_a_copy_has_all_that_is_in_the_file_and_needs_no_file_beside_it(
    engine: Engine, tmp_path: Path
) -> None:
    fill(engine)

    made = back_up(engine.path, tmp_path / "copies.db", replace=False, progress=silent)

    assert dump(made.path) == dump(engine.path)
    assert made.rows["promises"] == 18
    assert made.size == made.path.stat().st_size
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copies.db", "data"]


def test_a_loose_umask_makes_no_copy_readable_to_others(engine: Engine, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = back_up(engine.path, tmp_path / "b.db", replace=False, progress=silent)
    finally:
        os.umask(before)

    assert made.path.stat().st_mode & 0o777 == 0o600


def test_a_copy_goes_on_where_the_file_was(engine: Engine, tmp_path: Path) -> None:
    fill(engine)
    made = back_up(engine.path, tmp_path / "b.db", replace=False, progress=silent)
    engine.settle("waits:1", "rejected")

    restored = Engine(made.path, engine.clock)
    try:
        assert restored.promise("waits:1")["state"] == "pending"
        restored.settle("waits:1")
        assert ("waits", 1) in restored.offers()
        assert len(restored.fetch(Worker(takes=["poll://uni@people/p1"]))) == 1
    finally:
        restored.server.close()


def test_what_is_committed_while_it_is_copied_neither_waits_nor_spoils_the_copy(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    fill(engine)
    before = dump(engine.path)
    names = itertools.count()

    def meanwhile(_done: int, _size: int) -> None:
        engine.create(f"meanwhile-{next(names)}")

    made = back_up(engine.path, tmp_path / "b.db", replace=False, progress=meanwhile)

    assert next(names) > 10
    assert dump(made.path) == before


def write_on(path: Path) -> None:
    """Commit without a pause, until killed."""
    server = Server(path)
    for n in itertools.count():
        server.run_batch(
            [request("promise.create", {"id": f"{os.getpid()}-{n}", "timeoutAt": FAR_MS, "tags": EXTERNAL})]
        )


def _promises(engine: Engine) -> int:
    return int(engine.stored("SELECT count(*) AS n FROM promises")[0]["n"])


def _copy_once_there_are_more(engine: Engine, target: Path) -> backup.Backup:
    """Copy when others have written since now: a busy machine may let them rest for the time of a copy."""
    before = _promises(engine)
    wait_until(lambda: _promises(engine) > before)
    return back_up(engine.path, target, replace=False, progress=silent)


def test_a_copy_is_finished_while_other_processes_write_without_a_pause(
    engine: Engine, tmp_path: Path
) -> None:
    engine.clock.now = now_ms()
    writers = [processes.start(write_on, engine.path) for _ in range(2)]
    try:
        wait_until(lambda: _promises(engine) > 100)
        made = [_copy_once_there_are_more(engine, tmp_path / f"{n}.db") for n in range(3)]
    finally:
        for writer in writers:
            writer.kill()
            writer.join()

    assert made[0].rows["promises"] < made[1].rows["promises"] < made[2].rows["promises"]


def test_a_file_that_is_there_is_not_replaced_unasked(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    target.write_text("a letter")

    with pytest.raises(AlreadyThere):
        back_up(engine.path, target, replace=False, progress=silent)
    assert target.read_text() == "a letter"

    back_up(engine.path, target, replace=True, progress=silent)
    assert dump(target) == dump(engine.path)


def test_a_file_that_appears_meanwhile_is_not_replaced(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "b.db"

    def meanwhile(_done: int, _size: int) -> None:
        target.write_text("a letter")

    with pytest.raises(AlreadyThere):
        back_up(engine.path, target, replace=False, progress=meanwhile)

    assert target.read_text() == "a letter"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.db", "data"]


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_the_database_itself_is_never_the_target(engine: Engine, end: str) -> None:
    engine.create("p")
    target = engine.path.with_name(engine.path.name + end)

    with pytest.raises(BackupFailed, match="the database itself"):
        back_up(engine.path, target, replace=True, progress=silent)

    assert engine.promise("p")["state"] == "pending"


def test_a_link_to_the_database_is_never_the_target(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "hard").hardlink_to(engine.path)
    (tmp_path / "soft").symlink_to(engine.path)

    for name in ("hard", "soft"):
        with pytest.raises(BackupFailed, match="the database itself"):
            back_up(engine.path, tmp_path / name, replace=True, progress=silent)


def test_another_database_in_use_is_not_replaced(engine: Engine, tmp_path: Path) -> None:
    other = Engine(tmp_path / "other.db", Clock())
    other.create("p")
    try:
        with pytest.raises(BackupFailed, match="in use"):
            back_up(engine.path, other.path, replace=True, progress=silent)
        assert other.promise("p")["state"] == "pending"
    finally:
        other.server.close()


def test_a_damaged_file_is_not_kept_as_a_copy(engine: Engine, tmp_path: Path) -> None:
    for n in range(300):
        engine.create(f"p-{n}")
    path, pages = engine.path, engine.stored("PRAGMA page_count")[0]["page_count"]
    engine.server.close()
    content = bytearray(path.read_bytes())
    middle = 4096 * (pages // 2)
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)

    with pytest.raises((BackupFailed, FileUnusable), match="damaged"):
        back_up(path, tmp_path / "b.db", replace=False, progress=silent)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_disk_without_room_is_not_filled(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "SPARE_BYTES", 2**62)

    with pytest.raises(BackupFailed, match="bytes left"):
        back_up(engine.path, tmp_path / "b.db", replace=False, progress=silent)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_file_that_is_not_there_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable):
        back_up(tmp_path / "none.db", tmp_path / "b.db", replace=False, progress=silent)

    assert list(tmp_path.iterdir()) == []


def test_a_file_of_an_earlier_format_is_copied_as_it_is(tmp_path: Path) -> None:
    from tests.engine.test_migrations import RECORDINGS, restore

    restore(RECORDINGS[0], tmp_path / "old.db")

    made = back_up(tmp_path / "old.db", tmp_path / "b.db", replace=False, progress=silent)

    assert dump(made.path) == dump(tmp_path / "old.db")


def copy_and_die(source: Path, target: Path, steps: int) -> None:
    """Copy page by page, and be killed after so many."""
    backup.STEP_PAGES = 1
    left = itertools.count(steps, -1)

    def progress(_done: int, _size: int) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    back_up(source, target, replace=False, progress=progress)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_copy_that_is_killed_leaves_nothing_under_its_name(
    engine: Engine, tmp_path: Path, steps: int
) -> None:
    fill(engine)
    target = tmp_path / "b.db"

    process = processes.start(copy_and_die, engine.path, target, steps)
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert not target.exists()
    back_up(engine.path, target, replace=False, progress=silent)
    assert dump(target) == dump(engine.path)


def test_every_step_can_be_interrupted_and_leaves_nothing(
    engine: Engine, tmp_path: Path, open_engine: Callable[[Clock], Engine]
) -> None:
    fill(engine)

    def interrupted(_done: int, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(engine.path, tmp_path / "b.db", replace=False, progress=interrupted)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
    assert open_engine(engine.clock).create("after")["state"] == "pending"
