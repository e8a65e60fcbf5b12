"""`hitl backup` and `hitl prune`, as a user runs them, beside a worker."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import HITL, Hitl, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def completed(hitl: Hitl, *ids: str) -> None:
    """Run workflows to their end."""
    for id in ids:
        hitl.ok("start", id)
    hitl.waiting(len(ids))
    hitl.ok("approve", *ids)
    for id in ids:
        hitl.ok("wait", id)


@pytest.mark.only("file", reason="pg_dump copies a database: tests/postgres/test_backup.py")
def test_a_backup_that_is_put_back_goes_on_where_it_was(hitl: Hitl) -> None:
    worker = hitl.worker("--lease", "1s")
    hitl.ok("start", "before")
    hitl.waiting(1)

    said = hitl.ok("backup", "copy.db")

    assert said.startswith(f"{hitl.folder}/copy.db is a verified copy: ")
    hitl.ok("approve", "before", "--data", '"too early"')
    hitl.ok("start", "after")
    worker.stop()
    for path in hitl.folder.glob("hitl.db*"):
        if path.is_file():
            path.unlink()
    shutil.copy(hitl.folder / "copy.db", hitl.database)

    assert [item["id"] for item in hitl.json("pending")] == ["before:1"]
    assert [run["id"] for run in hitl.json("status")] == ["before"]
    hitl.worker()
    hitl.ok("approve", "before", "--data", '"now"')
    assert json.loads(hitl.ok("wait", "before"))["data"] == "now"


@pytest.mark.only("file", reason="pg_dump copies a database: tests/postgres/test_backup.py")
def test_a_backup_says_as_json_what_is_in_it(hitl: Hitl) -> None:
    hitl.ok("start", "a")

    made = hitl.json("backup", "b.db")

    assert made["file"] == str(hitl.folder / "b.db")
    assert made["bytes"] == (hitl.folder / "b.db").stat().st_size
    assert made["rows"]["promises"] == made["rows"]["tasks"] == 1


@pytest.mark.only("file", reason="pg_dump copies a database: tests/postgres/test_backup.py")
def test_a_backup_replaces_nothing_unasked(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    hitl.ok("backup", "b.db")
    before = (hitl.folder / "b.db").read_bytes()
    hitl.ok("start", "b")

    assert "--force" in hitl.fails(4, "backup", "b.db", code="already-exists")
    assert (hitl.folder / "b.db").read_bytes() == before
    hitl.ok("backup", "b.db", "--force")
    assert (hitl.folder / "b.db").read_bytes() != before


@pytest.mark.only("file", reason="pg_dump copies a database: tests/postgres/test_backup.py")
def test_what_cannot_be_backed_up_is_said(hitl: Hitl) -> None:
    assert "no file" in hitl.fails(6, "backup", "b.db", code="file-unusable")
    assert "HTTP" in hitl.fails(2, "backup", "b.db", "-S", "http://127.0.0.1:9", code="bad-server")
    hitl.ok("start", "a")
    hitl.fails(2, "backup", "nowhere/b.db", code="bad-file")
    assert "the database itself" in hitl.fails(1, "backup", "hitl.db", "--force", code="backup-failed")
    hitl.fails(2, "backup", ".")
    assert not (hitl.folder / "b.db").exists()


@pytest.mark.only("file", reason="pg_dump copies a database: tests/postgres/test_backup.py")
def test_a_backup_that_is_told_to_stop_leaves_nothing(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    with closing(sqlite3.connect(hitl.database)) as db:  # so large that copying it takes a while
        db.execute("UPDATE promises SET value = json_object('data', hex(zeroblob(20000000)))")
        db.commit()
    copying = hitl.popen("backup", "b.db")
    try:
        wait_until(lambda: list(hitl.folder.glob(".b.db.*.part")) or copying.poll() is not None)
        copying.send_signal(signal.SIGTERM)
        copying.communicate()
    finally:
        copying.kill()

    assert copying.returncode == 130
    assert [
        path.name for path in hitl.folder.iterdir() if "b.db" in path.name and "hitl" not in path.name
    ] == []


def test_finished_runs_are_removed_and_others_go_on(hitl: Hitl) -> None:
    hitl.worker()
    completed(hitl, "a", "b")
    hitl.ok("start", "waits")
    hitl.waiting(1)
    wait_until(lambda: hitl.json("prune", "--older", "1ms", "--dry-run")["runs"] == 2)

    shown = hitl.ok("prune", "--older", "1ms", "--dry-run")
    assert shown.startswith("would delete 2 runs with ")
    assert {run["id"] for run in hitl.json("status")} == {"a", "b", "waits"}

    done = hitl.json("prune", "--older", "1ms", "--yes")

    assert (done["dry_run"], done["runs"], done["kept"]["live"]) == (False, 2, 1)
    assert [run["id"] for run in hitl.json("status")] == ["waits"]
    hitl.fails(3, "status", "a", code="not-found")
    assert hitl.json("prune", "--older", "1ms", "--yes")["runs"] == 0
    hitl.ok("approve", "waits")
    hitl.ok("wait", "waits")
    assert hitl.ok("start", "a") == "run a started\n"


def test_nothing_is_removed_unasked(hitl: Hitl) -> None:
    hitl.worker()
    completed(hitl, "a")
    hitl.ok("start", "waits")
    hitl.waiting(1)

    assert "--yes" in hitl.fails(2, "prune", "--older", "1ms", code="needs-confirmation")
    assert "HTTP" in hitl.fails(
        2, "prune", "--older", "1ms", "--yes", "-S", "http://127.0.0.1:9", code="bad-server"
    )
    hitl.fails(2, "prune", "--yes")
    hitl.fails(2, "prune", "--older", "soon", "--yes", code="bad-duration")
    assert on_terminal(hitl, "n\n", "prune", "--older", "1ms") == 1
    assert {run["id"] for run in hitl.json("status")} == {"a", "waits"}

    assert on_terminal(hitl, "y\n", "prune", "--older", "1ms") == 0
    assert {run["id"] for run in hitl.json("status")} == {"waits"}


def on_terminal(hitl: Hitl, answer: str, *args: str) -> int:
    """Run a command on a terminal, type an answer to what it asks, and return its exit code."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        return forked.run(
            [HITL, *args], env=hitl.env, cwd=hitl.folder, stdin=theirs, capture_output=True, check=False
        ).returncode
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.only("file", reason="it is about a file")
def test_a_file_that_is_not_there_is_not_created(hitl: Hitl, tmp_path: Path) -> None:
    for command in (["prune", "--older", "1d", "--yes"], ["prune", "--older", "1d", "--dry-run"]):
        assert "no file" in hitl.fails(6, *command, code="file-unusable")
    assert list(tmp_path.iterdir()) == []
