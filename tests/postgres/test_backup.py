"""hitl backup on a database: the commands that it names copy it, and the copy works."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from hitl_cli.postgres.backup import CHECKED, commands
from tests.postgres.cluster import PASSWORD, binaries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl


def test_the_commands_copy_the_database_and_what_is_restored_goes_on(hitl: Hitl, database: str) -> None:
    hitl.use(database)
    worker = hitl.worker()
    hitl.ok("start", "before")
    hitl.waiting(1)
    hitl.ok("schedule", "add", "nightly", "0 2 * * *", "--workflow", "approval")
    worker.stop()
    told = hitl.fails(2, "backup", "copy.dump", code="bad-server")
    assert PASSWORD not in told
    lines = [line.strip() for line in told.splitlines()[1:] if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == ["pg_dump", "psql", "pg_restore", "hitl", "hitl"]
    env = {**hitl.env, "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"}
    try:
        for line in lines[:3]:
            program, *args = shlex.split(line)
            subprocess.run([binaries() / program, *args], env=env, cwd=hitl.folder, check=True)
        check = shlex.split(lines[3])[-1]
        hitl.env["PGPASSWORD"] = PASSWORD
        assert hitl.json("postgres", "status", "-S", check)["problems"] == []
        assert [item["id"] for item in hitl.json("pending", "-S", check)] == ["before:1"]
        assert [one["id"] for one in hitl.json("schedule", "list", "-S", check)] == ["nightly"]
        hitl.use(check)
        hitl.worker()
        hitl.ok("approve", "before")
        hitl.ok("wait", "before")
    finally:
        for running in hitl.workers:
            running.kill()
        subprocess.run(
            [binaries() / "psql", database, "-c", f"DROP DATABASE IF EXISTS {CHECKED} WITH (FORCE)"],
            env=env,
            check=True,
        )


def test_the_commands_have_what_is_needed_to_connect_and_no_secret(tmp_path: Path) -> None:
    url = "postgresql://ops:secret@db.example.com/a%20b?sslmode=verify-full&sslrootcert=/ca.pem&sslpassword=secret"
    named = commands(url, tmp_path / "a b.dump")
    assert "secret" not in "".join(named)
    for command in named:
        assert "sslmode=verify-full&sslrootcert=/ca.pem" in shlex.join(shlex.split(command))
    assert named[0].endswith(
        "'postgresql://ops@db.example.com/a%20b?sslmode=verify-full&sslrootcert=/ca.pem'"
    )
    url = "postgresql://ops@/?host=/var/run/postgresql&dbname=hitl"
    assert "dbname=hitl" in commands(url, tmp_path)[0]
    assert commands(url, tmp_path)[3].endswith(f"/{CHECKED}?host=/var/run/postgresql'")
