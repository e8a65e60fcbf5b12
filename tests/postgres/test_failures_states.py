"""Each state of a database that hitl cannot use, as commands, workers and the gateway tell it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.postgres.cluster import PASSWORD, cluster
from tests.postgres.test_failures import APP, all_end, ran, start_many
from tests.postgres.test_install import role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster


def told_everywhere(hitl: Hitl, code: str) -> None:
    """Check that commands and workers end with exit 6 and a code, and that a gateway answers 503 with it."""
    for command in (("pending",), ("start", "x"), ("worker",), ("wait", "x"), ("ask", "Go?")):
        assert PASSWORD not in hitl.fails(6, *command, code=code)
    gateway = begin_gateway(hitl)
    hitl.workers.append(gateway)
    assert gateway.get("/health").status == 200
    assert gateway.get("/ready").status == 503
    listed = gateway.get("/api/v1/requests", Accept="application/json")
    assert (listed.status, listed.json["code"]) == (503, code)
    assert PASSWORD not in listed.text
    assert gateway.get("/").status == 503
    gateway.stop()  # it would take connections, of which there may be few


def test_no_schema(hitl: Hitl, postgres: Cluster) -> None:
    hitl.use(postgres.create())
    told_everywhere(hitl, "not-prepared")


def test_an_older_schema_of_hitl(hitl: Hitl, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE OR REPLACE FUNCTION hitl.version() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    hitl.use(database)
    told_everywhere(hitl, "not-prepared")


def test_a_schema_of_which_a_part_is_missing(hitl: Hitl, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP FUNCTION hitl.many(text[])")
    hitl.use(database)
    hitl.fails(6, "pending", code="not-prepared")
    assert hitl.run("postgres", "status").returncode == 1
    hitl.ok("postgres", "install")
    hitl.ok("pending")


def test_another_schema_of_that_name(hitl: Hitl, postgres: Cluster) -> None:
    hitl.use(postgres.create())
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA resonate CREATE TABLE promises (id int)")
    told_everywhere(hitl, "not-prepared")
    assert "lacks" in hitl.fails(1, "postgres", "install", code="not-prepared")


def test_a_user_without_rights(hitl: Hitl, database: str) -> None:
    hitl.use(role(database, "nobody_at_all"))
    told_everywhere(hitl, "access-refused")


def test_a_user_who_may_not_connect(hitl: Hitl, database: str) -> None:
    stranger = role(database, "outsider")
    with psycopg.connect(database, autocommit=True) as connection:
        name = psycopg.sql.Identifier(database.rpartition("/")[2])
        connection.execute(psycopg.sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
    hitl.use(stranger)
    told_everywhere(hitl, "access-refused")


def test_a_server_that_is_stopped_has_no_slots_or_takes_no_writes(hitl: Hitl) -> None:
    # One of them is kept by `Cluster.execute`.
    with cluster(max_connections="9", superuser_reserved_connections="0") as server:
        server.prepare_template()
        hitl.use(server.create_installed())
        (hitl.folder / "app.py").write_text(APP)
        hitl.ok("ask", "Later?", "--id", "later", "--no-wait")
        with ExitStack() as held:
            for _ in range(8):
                held.enter_context(psycopg.connect(server.url("postgres")))
            told_everywhere(hitl, "server-unreachable")
        name = psycopg.sql.Identifier(hitl.url.rpartition("/")[2])
        read_only = psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        server.execute(read_only.format(name, True))
        for command in (("start", "x"), ("worker",), ("approve", "later"), ("ask", "Go?")):
            hitl.fails(6, *command, code="read-only")
        hitl.ok("pending")
        gateway = begin_gateway(hitl)
        hitl.workers.append(gateway)
        refused = gateway.post("/api/v1/requests/later/decision", {"verdict": "approve"})
        assert (refused.status, refused.json["code"]) == (503, "read-only")
        gateway.stop()
        server.execute(read_only.format(name, False))
        server.stop("fast")
        told_everywhere(hitl, "server-unreachable")
        server.start()


@pytest.mark.parametrize(
    "options",
    ["sslmode=maybe", "port=99999", "port=x", "target_session_attrs=some", "keepalives=x", "port=1,2,3"],
)
def test_an_option_with_a_wrong_value_is_a_wrong_url(hitl: Hitl, database: str, options: str) -> None:
    hitl.use(f"{database}?{options}")
    assert PASSWORD not in hitl.fails(2, "pending", code="bad-server")


# A full disk


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system in memory; skip without the right to mount it."""
    folder = Path(tempfile.mkdtemp(prefix="hitl-disk-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Write until nothing fits."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def keep_log_elsewhere(server: Cluster, folder: Path) -> None:
    """Have the write-ahead log on a disk of its own: such a server goes on while the other disk is full."""
    log = server.data / "pg_wal"
    server.stop("fast")
    shutil.copytree(log, folder / "log")
    for path in (folder, folder / "log", *(folder / "log").rglob("*")):
        server.own(path)
    shutil.rmtree(log)
    log.symlink_to(folder / "log")
    server.start()


def test_a_full_disk(hitl: Hitl) -> None:
    with (
        small_disk("200m") as disk,
        tempfile.TemporaryDirectory(prefix="hitl-log-") as log,
        cluster(within=disk) as server,
    ):
        keep_log_elsewhere(server, Path(log))
        server.prepare_template()
        hitl.use(server.create_installed())
        (hitl.folder / "app.py").write_text(APP)
        hitl.ok("ask", "Later?", "--id", "later", "--no-wait")
        worker = hitl.worker("--app", "app.py")
        slow = start_many(hitl, "slow", 30)
        wait_until(lambda: len(ran(hitl)) == len(slow))
        filler = fill(disk)
        big = f"a={'x' * 100_000}"
        numbers = itertools.count()

        def refused() -> bool:
            started = ("start", f"x{next(numbers)}", "--kwarg", big, "--workflow", "quick")
            done = hitl.run(*started, env={"HITL_DEBUG": "1"})
            return done.returncode == 6 and "code: server-failed" in done.stderr

        wait_until(refused)
        hitl.ok("pending")
        threading.Event().wait(5)  # so long that the steps in hand end meanwhile
        filler.unlink()
        all_end(hitl, slow)
        hitl.ok("approve", "later")
        assert sorted(id for id in ran(hitl) if id.startswith("slow")) == sorted(slow)
        assert worker.stop() == 0
        assert "the database cannot answer" in "".join(worker.errors)
