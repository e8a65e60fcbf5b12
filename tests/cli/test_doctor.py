"""`hitl doctor`: each thing that can be wrong is said, with what to do, and nothing is changed by looking."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hitl_cli.admin.doctor import judge_file_system
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine import inspection
from hitl_cli.engine.inspection import file_system
from hitl_cli.engine.store import FORMAT
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.conftest import HITL, NOBODY, PATIENCE_S, Hitl, WorkerProcess

pytestmark = pytest.mark.only("file", reason="tests/postgres/test_doctor.py has what a database can have")

DAY_MS = 86_400_000


def change(path: Path, *statements: str) -> None:
    """Make the file as some mishap would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def found(hitl: Hitl, code: int = 0, *args: str) -> dict[str, Any]:
    """Return the findings, by name; of several with a name the worst."""
    done = hitl.run("doctor", "--json", *args)
    assert done.returncode == code, done.stdout + done.stderr
    worst: dict[str, Any] = {}
    for finding in json.loads(done.stdout)["findings"]:
        if finding["name"] not in worst or finding["level"] != "ok":
            worst[finding["name"]] = finding
    return worst


def test_all_is_well_with_a_file_in_use(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting(1)

    report = hitl.json("doctor")

    assert {finding["level"] for finding in report["findings"]} <= {"ok"}
    assert report["reachable"] is report["worker"] is True
    file = report["file"]
    assert (file["runs"], file["waiting"]) == (1, 1)
    assert file["format"] == FORMAT
    assert file["damage"] == []
    assert file["oldest_waiting"]["id"] == "a:1"
    assert set(file["tasks"]) == {"suspended"}
    assert "a worker is listening for group default" in hitl.ok("doctor")


def test_looking_changes_nothing(hitl: Hitl) -> None:
    hitl.ok("doctor")
    assert not hitl.database.exists()

    an_hour_ago = now_ms() - 3_600_000
    with EmbeddedClient(hitl.database, clock=lambda: an_hour_ago) as client:
        Runs(client, NOBODY).start(RunSpec(id="a"), deadline_ms=1_000)
    before = hitl.database.read_bytes()
    hitl.ok("doctor")
    hitl.ok("doctor", "--full")

    assert hitl.database.read_bytes() == before
    with closing(sqlite3.connect(hitl.database)) as db:
        assert db.execute("SELECT state FROM promises").fetchone() == ("pending",)


def test_a_file_of_an_earlier_format_is_not_upgraded_by_looking(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    change(hitl.database, "PRAGMA user_version = 1")

    finding = found(hitl)["format"]

    assert finding["level"] == "warning"
    assert "hitl backup" in finding["advice"]
    with closing(sqlite3.connect(hitl.database)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_work_that_nobody_takes_is_said(hitl: Hitl) -> None:
    hitl.ok("start", "a", "--group", "night shift")

    finding = found(hitl)["offers"]

    assert finding["level"] == "warning"
    assert finding["advice"] == "start one: hitl worker --group 'night shift'"


def test_work_that_a_worker_leaves_is_said(hitl: Hitl) -> None:
    hitl.ok("start", "a", "--workflow", "unknown")
    worker = hitl.worker()
    worker.said("not served here")
    change(hitl.database, f"UPDATE tasks SET due = due - {DAY_MS}")

    finding = found(hitl)["offers"]

    assert finding["level"] == "warning"


def test_leases_that_nobody_took_over_are_said(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    change(hitl.database, "UPDATE tasks SET state = 'acquired', version = 1, pid = 'w', ttl = 1, due = 1")

    assert found(hitl)["leases"]["level"] == "warning"


def test_a_run_that_nothing_will_resume_is_an_error(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    change(hitl.database, "UPDATE tasks SET state = 'suspended', due = NULL")

    finding = found(hitl, 1)["suspended"]

    assert finding["level"] == "error"
    assert finding["text"].endswith(": a")


def test_a_clock_behind_the_file_is_said(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    now = time.time_ns() // 1_000_000
    change(hitl.database, f"UPDATE clock SET now = {now + 60_000}")
    assert found(hitl)["clock"]["level"] == "warning"

    change(hitl.database, f"UPDATE clock SET now = {now + 400 * DAY_MS}")
    assert found(hitl, 1)["clock"]["level"] == "error"


def test_a_file_and_a_folder_that_others_may_write_are_said(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    assert "permissions" not in found(hitl)

    hitl.database.chmod(0o666)
    assert "chmod 600" in found(hitl)["permissions"]["advice"]

    hitl.database.chmod(0o600)
    hitl.folder.chmod(0o777)
    assert "chmod 700" in found(hitl)["permissions"]["advice"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_file_that_may_not_be_written_is_an_error(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    hitl.database.chmod(0o400)

    assert found(hitl, 1)["permissions"]["level"] == "error"


def test_a_file_that_is_locked_is_an_error(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    with closing(sqlite3.connect(hitl.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert "locked" in found(hitl, 1)["permissions"]["text"]


def test_damage_is_an_error_and_said_with_what_to_do(hitl: Hitl) -> None:
    hitl.ok("start", "--stdin", stdin="\n".join(f"run-{n}" for n in range(500)))
    change(hitl.database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(sqlite3.connect(hitl.database)) as db:
        [page] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'unblocks'").fetchone()
    content = bytearray(hitl.database.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    hitl.database.write_bytes(content)

    done = hitl.run("doctor")

    assert done.returncode in (1, 6)
    assert "damaged" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_is_no_database_of_ours_is_said_with_the_settings_that_named_it(hitl: Hitl) -> None:
    hitl.database.write_text("Dear diary, " * 100)

    done = hitl.run("doctor")

    assert done.returncode == 6
    assert "(HITL_SERVER)" in done.stdout
    assert "error   file" in done.stdout
    assert hitl.database.read_text().startswith("Dear diary")


def test_a_large_file_is_not_read_whole_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hitl = Hitl(tmp_path)
    hitl.ok("start", "a")
    monkeypatch.setattr(inspection, "QUICK_CHECK_BYTES", 0)
    now = time.time_ns() // 1_000_000

    assert inspection.inspect(hitl.database, now).damage is None
    assert inspection.inspect(hitl.database, now, full=True).damage == []


def test_counting_stops_when_it_takes_long(hitl: Hitl, monkeypatch: pytest.MonkeyPatch) -> None:
    hitl.ok("start", "--stdin", stdin="\n".join(f"run-{n}" for n in range(500)))
    monkeypatch.setattr(inspection, "BUDGET_S", -1.0)
    monkeypatch.setattr(inspection, "LOOK_STEPS", 10)

    found = inspection.inspect(hitl.database, time.time_ns() // 1_000_000)

    assert found.counts is not None
    assert found.counts.runs is None
    assert found.damage is None


MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
server:/export /srv/team\040files nfs4 rw 0 0
proc /proc proc rw 0 0
/dev/sdb1 /srv ext4 rw 0 0
"""


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert file_system(Path("/srv/team files/hitl.db"), mounts) == "nfs4"
    assert file_system(Path("/srv/teamwork/hitl.db"), mounts) == "ext4"
    assert file_system(Path("/srv/x"), tmp_path / "none") is None


def test_a_network_file_system_is_warned_of(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    seen = msgspec.structs.replace(inspection.inspect(hitl.database, 0), file_system="nfs4", disk_free=10**12)

    assert [finding.level for finding in judge_file_system(seen, 0)] == ["warning", "ok"]
    for shared in ("fakeowner", "fuse.grpcfuse", "virtiofs", "9p"):  # Docker Desktop's
        found = judge_file_system(msgspec.structs.replace(seen, file_system=shared), 0)
        [told, _] = found
        assert told.level == "warning"
        assert told.text.startswith(f"{shared} ")
    full = msgspec.structs.replace(seen, file_system="ext4", disk_free=1_000)
    assert [finding.level for finding in judge_file_system(full, 0)] == ["error"]


def server(hitl: Hitl) -> WorkerProcess:
    """Start `hitl server` on the database, on any port."""
    started = WorkerProcess([HITL, "server", "--port", "0"], hitl.env, hitl.folder)
    hitl.workers.append(started)
    started.said("serving")
    return started


def test_a_server_over_http_is_asked_what_the_protocol_tells(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    hitl.worker()
    hitl.waiting(1)
    url = server(hitl).said("serving").split(" on ")[1].split()[0]

    report = hitl.json("doctor", "-S", url)

    findings = {finding["name"]: finding for finding in report["findings"]}
    assert report["reachable"] is True
    assert report["worker"] is None
    assert findings["server"]["text"] == f"{url} answers"
    assert findings["waiting"]["text"] == "1 request is waiting for a decision"


def test_a_server_ends_when_a_newer_version_upgrades_its_file(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    serving = server(hitl)
    change(hitl.database, "PRAGMA user_version = 999")

    serving.complained("upgraded by a newer hitl")

    assert serving.process.wait(PATIENCE_S) == 6
