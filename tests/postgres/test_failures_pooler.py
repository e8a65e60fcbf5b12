"""PgBouncer between hitl and the database: in session mode all works, in transaction mode hitl refuses."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.errors import Unreachable
from hitl_cli.postgres.client import PostgresClient
from tests.conftest import PATIENCE_S, wait_until
from tests.postgres.cluster import PASSWORD, free_port
from tests.postgres.programs import program
from tests.postgres.test_worker import APP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

SETTINGS = """
[databases]
* = host=127.0.0.1 port={behind}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
"""


@contextmanager
def pgbouncer(server: Cluster, database: str, mode: str, size: int = 20) -> Iterator[str]:
    """Run one in front of a server; yield the URL of the database through it."""
    port = free_port()
    unpacked = os.environ.get("HITL_DEBIAN")
    with tempfile.TemporaryDirectory(prefix="hitl-pooler-") as name:
        folder = Path(name)
        server.own(folder)
        server.write(folder / "users", f'"postgres" "{PASSWORD}"\n')
        settings = SETTINGS.format(behind=server.port, port=port, folder=folder, mode=mode, size=size)
        command = [program("pgbouncer"), str(server.write(folder / "settings", settings))]
        env = {"LD_LIBRARY_PATH": f"{unpacked}/usr/lib/x86_64-linux-gnu"} if unpacked else {}
        with subprocess.Popen(
            command, user=server.user, cwd="/", env=env, stderr=subprocess.DEVNULL
        ) as running:
            through = database.replace(f":{server.port}/", f":{port}/")

            def answers() -> bool:
                try:
                    psycopg.connect(through).close()
                except psycopg.Error:
                    return False
                return True

            try:
                wait_until(answers)
                yield through
            finally:
                running.terminate()


def test_sessions_of_a_pooler_serve(hitl: Hitl, postgres: Cluster, database: str) -> None:
    (hitl.folder / "app.py").write_text(APP)
    with pgbouncer(postgres, database, "session") as url:
        hitl.use(url)
        worker = hitl.worker("--app", "app.py")
        hitl.ok("start", "q", "--workflow", "quick", "--wait")
        hitl.ok("ask", "Now?", "--id", "d", "--deadline", "1s", "--no-wait")
        hitl.fails(5, "wait", "d", "--timeout", "20s")
        assert worker.stop() == 0


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_of_transactions_is_refused(hitl: Hitl, postgres: Cluster, database: str, mode: str) -> None:
    with pgbouncer(postgres, database, mode) as url:
        hitl.use(url)
        for command in (("pending",), ("worker",), ("wait", "x"), ("postgres", "status")):
            assert PASSWORD not in hitl.fails(6, *command, code="server-unsuitable")


def test_a_pooler_of_transactions_is_found_out_while_others_use_it(postgres: Cluster, database: str) -> None:
    with pgbouncer(postgres, database, "transaction", size=3) as url:
        busy, stop = threading.Event(), threading.Event()

        def use() -> None:
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
                while not stop.is_set():
                    other.execute("SELECT pg_sleep(random() / 100)")
                    busy.set()

        others = [threading.Thread(target=use) for _ in range(3)]
        for other in others:
            other.start()
        try:
            assert busy.wait(PATIENCE_S)
            for _ in range(5):
                with pytest.raises(Unreachable) as refused:
                    PostgresClient(url)
                assert refused.value.code == "server-unsuitable"
        finally:
            stop.set()
            for other in others:
                other.join()


def test_a_pooler_without_a_second_connection_is_no_pooler_of_transactions(
    postgres: Cluster, database: str
) -> None:
    with pgbouncer(postgres, database, "session", size=1) as url, pytest.raises(Unreachable) as refused:
        PostgresClient(url)
    assert refused.value.code == "server-unreachable"
