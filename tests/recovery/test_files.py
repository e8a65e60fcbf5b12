"""The file under running processes: a full disk, a lost permission, another file in its place."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Hitl, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.only("file", reason="damages and removes the files")

DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Hitl]:
    """The command, with its database on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs mount")
    if done.returncode != 0:
        pytest.skip(f"may not mount a disk: {done.stderr.strip()}")
    command = Hitl(tmp_path)
    command.place(folder / "hitl.db")
    try:
        yield command
        for worker in command.workers:
            worker.kill()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write to a file until the disk is full."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1))
    return filler


def test_a_disk_that_is_full_is_said_and_once_there_is_room_everything_goes_on(small_disk: Hitl) -> None:
    hitl = small_disk
    worker = hitl.worker("--lease", "500ms")
    hitl.ok("start", "before")
    hitl.waiting()
    filler = fill(hitl.database.parent)
    refused: list[str] = []

    def full() -> bool:
        done = hitl.run("start", f"r{len(refused)}", "--deadline", "30d")
        refused.append("" if done.returncode == 0 else done.stderr)
        return done.returncode != 0

    wait_until(full)  # the log has some room in itself
    assert "disk" in refused[-1]
    assert "full" in refused[-1]
    assert "Traceback" not in refused[-1]
    assert "full" in hitl.fails(6, "approve", "before", code="storage-failed")

    filler.unlink()
    hitl.ok("approve", "before")
    assert "completed" in hitl.ok("wait", "before", "--timeout", "30s")
    hitl.ok("start", "after")
    hitl.waiting(len(refused))  # all that were answered, and the last one
    assert worker.stop() == 0
    is_sound(hitl.database)


@pytest.fixture
def bound(hitl: Hitl) -> Hitl:
    """The command, bound by permissions, as it is not where root runs it."""
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may do everything, and there is no setpriv to take that away")
        hitl.command = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *hitl.command]
    return hitl


def test_a_permission_that_is_lost_is_said_and_once_it_is_back_everything_goes_on(bound: Hitl) -> None:
    hitl = bound
    worker = hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()

    hitl.database.chmod(stat.S_IRUSR)
    assert "cannot be written" in hitl.fails(6, "approve", "a", code="storage-failed")
    hitl.database.chmod(0)
    assert "cannot be written" in hitl.fails(6, "pending", code="file-unusable")
    hitl.database.chmod(stat.S_IRUSR | stat.S_IWUSR)
    hitl.folder.chmod(0)
    assert "hitl.db" in hitl.fails(6, "pending", code="file-unusable", cwd=Path("/"))
    hitl.folder.chmod(stat.S_IRWXU)

    hitl.ok("approve", "a")
    assert "completed" in hitl.ok("wait", "a", "--timeout", "30s")
    assert worker.stop() == 0


def test_a_file_that_may_only_be_read_can_be_read_and_then_written_once_its_permission_is_back(
    bound: Hitl,
) -> None:
    hitl = bound
    hitl.ok("ask", "ok?", "--to", "bob", "--id", "a", "--no-wait")

    hitl.database.chmod(stat.S_IRUSR)
    assert [item["id"] for item in hitl.waiting()] == ["a"]
    assert "cannot be written" in hitl.fails(6, "approve", "a", "--as", "bob", code="storage-failed")
    hitl.database.chmod(stat.S_IRUSR | stat.S_IWUSR)

    hitl.ok("approve", "a", "--as", "bob")
    assert hitl.waiting(0) == []


def test_a_symbolic_link_to_the_file_is_another_name_of_it(hitl: Hitl) -> None:
    target = hitl.folder / "elsewhere" / "real.db"
    target.parent.mkdir()
    hitl.database.symlink_to(target)
    hitl.ok("ask", "ok?", "--id", "by-link", "--no-wait")
    link = hitl.database
    hitl.place(target)
    hitl.ok("ask", "ok?", "--id", "by-name", "--no-wait")
    hitl.ok("ask", "ok?", "--id", "by-link-again", "--no-wait", "-S", f"sqlite:///{link}")

    assert {item["id"] for item in hitl.waiting(3)} == {"by-link", "by-name", "by-link-again"}
    assert not [entry for entry in link.parent.glob(f"{link.name}*") if entry != link]


@pytest.fixture
def other(tmp_path: Path) -> Hitl:
    """Another database, with a run that waits for a worker."""
    command = Hitl(tmp_path / "other")
    command.folder.mkdir()
    command.ok("start", "of-the-other")
    return command


def test_a_file_that_is_replaced_is_said_and_the_worker_goes_on_with_the_new_one(
    hitl: Hitl, other: Hitl
) -> None:
    hitl.place(hitl.folder / "data" / "hitl.db")
    worker = hitl.worker()
    hitl.ok("start", "of-the-first")
    hitl.waiting()
    waits = hitl.popen("wait", "of-the-first")
    watches(hitl)

    hitl.database.parent.rename(hitl.folder / "before")
    other.folder.rename(hitl.database.parent)

    worker.complained("was replaced by another file")
    assert waits.wait(30) == 6
    assert "was replaced by another file" in waits.communicate()[1]
    assert [item["id"] for item in hitl.waiting()] == ["of-the-other:1"]
    hitl.ok("approve", "of-the-other")
    assert "completed" in hitl.ok("wait", "of-the-other", "--timeout", "30s")
    assert worker.stop() == 0
    is_sound(hitl.database)


def test_a_file_that_is_replaced_beside_the_log_of_the_former_one_is_not_touched(
    hitl: Hitl, other: Hitl
) -> None:
    worker = hitl.worker()
    hitl.ok("start", "of-the-first")
    hitl.waiting()
    content = other.database.read_bytes()

    other.database.replace(hitl.database)

    worker.complained("hitl.db-wal belongs to the former file")
    assert hitl.database.read_bytes() == content
    for end in ("-shm", "-wal"):
        hitl.database.with_name(f"hitl.db{end}").unlink()
    assert [item["id"] for item in hitl.waiting()] == ["of-the-other:1"]
    hitl.ok("approve", "of-the-other")
    assert "completed" in hitl.ok("wait", "of-the-other", "--timeout", "30s")
    assert worker.stop() == 0
    is_sound(hitl.database)


def test_a_file_that_is_removed_is_said_and_the_worker_goes_on_once_there_is_one_again(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    waits = hitl.popen("wait", "a")
    watches(hitl)
    kept = hitl.folder / "kept"
    kept.mkdir()
    files = [hitl.database.with_name(f"hitl.db{end}") for end in ("", "-wal", "-shm")]

    for file in files:
        file.rename(kept / file.name)
    worker.complained("was removed")
    assert waits.wait(30) == 6
    assert "was removed" in waits.communicate()[1]
    assert not hitl.database.exists()  # nobody made an empty one in its place
    for file in files:
        (kept / file.name).rename(file)

    hitl.ok("approve", "a")
    assert "completed" in hitl.ok("wait", "a", "--timeout", "30s")
    assert worker.stop() == 0


def test_a_log_that_is_removed_is_said_and_what_was_committed_is_kept(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()

    hitl.database.with_name("hitl.db-wal").unlink()

    worker.complained("hitl.db-wal was removed")
    assert [item["id"] for item in hitl.waiting()] == ["a:1"]
    hitl.ok("approve", "a")
    assert "completed" in hitl.ok("wait", "a", "--timeout", "30s")
    assert worker.stop() == 0


def watches(hitl: Hitl) -> None:
    """Wait until a command has hung its bell: it has looked, and waits."""
    bells = hitl.database.with_name("hitl.db-bells")
    wait_until(lambda: any(bell.name.startswith("~") for bell in bells.iterdir()))


def is_sound(database: Path) -> None:
    """Check that a file is whole."""
    with closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
