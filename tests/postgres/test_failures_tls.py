"""TLS, with an authority of the tests' own, against a PostgreSQL that is built with it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from hitl_cli.postgres import connecting
from tests.postgres.certificates import Authority
from tests.postgres.cluster import PASSWORD, binaries, cluster
from tests.postgres.test_worker import APP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

DEBIAN = Path("/usr/lib/postgresql")
CONNECTED = ("server-unsuitable", "not-prepared")
"""Codes of errors that only who is connected is told: it is too old, or has no schema."""

ANY = "host all all all scram-sha-256"


def programs() -> Path:
    """Return the programs of a PostgreSQL with TLS, the newest one; skip without one."""
    installed = sorted(DEBIAN.glob("*/bin"), key=lambda found: int(found.parent.name), reverse=True)
    for each in (binaries(), *installed):
        if (each / "postgres").exists() and b"libssl" in (each / "postgres").read_bytes():
            return each
    pytest.skip("no PostgreSQL with TLS here: install Debian's, or name its programs in HITL_POSTGRES_BIN")


class Secured:
    """A server with TLS and the name localhost, its authority, and another one."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.server = server
        self.ours, self.other = Authority(folder / "ours"), Authority(folder / "other")
        certificate, key = self.ours.sign("localhost")
        for name, file in (
            ("server.pem", certificate),
            ("server.key", key),
            ("ca.pem", self.ours.certificate),
        ):
            server.write(server.data / name, file.read_text())
        server.settings |= {
            "ssl_cert_file": "server.pem",
            "ssl_key_file": "server.key",
            "ssl_ca_file": "ca.pem",
        }
        self._let_in(ANY, tls=True)

    @contextmanager
    def demanding(self, rule: str, *, tls: bool = True) -> Iterator[None]:
        """Have the server let in by one rule of pg_hba.conf alone."""
        self._let_in(rule, tls=tls)
        yield
        self._let_in(ANY, tls=True)

    def _let_in(self, rule: str, *, tls: bool) -> None:
        self.server.write(self.server.data / "pg_hba.conf", f"{rule}\n")
        self.server.stop("fast")
        self.server.settings["ssl"] = "on" if tls else "off"
        self.server.start()

    def url(self, host: str = "localhost", database: str = "postgres", **options: Any) -> str:
        """Return the URL with options."""
        asked = "&".join(f"{name}={value}" for name, value in options.items())
        return self.server.url(database).replace("127.0.0.1", host) + f"?{asked}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with cluster(programs()) as server:
        yield Secured(server, tmp_path_factory.mktemp("tls"))


def told(hitl: Hitl, url: str) -> tuple[str, str]:
    """Return the code and the sentence of the error of a command."""
    hitl.use(url)
    done = hitl.run("pending", env={"HITL_DEBUG": "1"})
    sentence, _, code = done.stderr.rpartition("code: ")
    assert done.returncode == 6, done.stderr
    assert PASSWORD not in done.stderr
    return code.strip(), sentence


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_what_verifies_nothing_connects(hitl: Hitl, secured: Secured, mode: str) -> None:
    assert told(hitl, secured.url(sslmode=mode))[0] in CONNECTED
    hidden = mode in ("prefer", "require")
    with connecting.connect(secured.url(sslmode=mode)) as connection:
        assert connection.pgconn.ssl_in_use == hidden


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_what_verifies_needs_the_authority(hitl: Hitl, secured: Secured, mode: str, tmp_path: Path) -> None:
    ours, other = secured.ours.certificate, secured.other.certificate
    assert told(hitl, secured.url(sslmode=mode, sslrootcert=ours))[0] in CONNECTED
    for wrong in (other, tmp_path / "missing.pem", "system"):
        code, sentence = told(hitl, secured.url(sslmode="verify-full", sslrootcert=wrong))
        assert code == "server-unreachable"
        assert "sslrootcert" in sentence


def test_only_verify_full_checks_the_name(hitl: Hitl, secured: Secured) -> None:
    ours = secured.ours.certificate
    assert told(hitl, secured.url("127.0.0.1", sslmode="verify-ca", sslrootcert=ours))[0] in CONNECTED
    code, sentence = told(hitl, secured.url("127.0.0.1", sslmode="verify-full", sslrootcert=ours))
    assert code == "server-unreachable"
    assert "does not match host name" in sentence


def test_a_server_without_tls_where_the_url_demands_it(hitl: Hitl, secured: Secured) -> None:
    with secured.demanding(ANY, tls=False):
        for mode in ("require", "verify-ca", "verify-full"):
            code, sentence = told(hitl, secured.url(sslmode=mode, sslrootcert=secured.ours.certificate))
            assert code == "server-unreachable"
            assert "sslmode" in sentence
        assert told(hitl, secured.url(sslmode="prefer"))[0] in CONNECTED


def test_a_server_that_demands_tls(hitl: Hitl, secured: Secured) -> None:
    with secured.demanding(f"hostssl{ANY.removeprefix('host')}"):
        code, sentence = told(hitl, secured.url(sslmode="disable"))
        assert code == "server-unreachable"
        assert "sslmode" in sentence
        assert told(hitl, secured.url(sslmode="require"))[0] in CONNECTED


def test_a_server_that_demands_a_certificate_of_the_client(
    hitl: Hitl, secured: Secured, tmp_path: Path
) -> None:
    with secured.demanding("hostssl all all all cert"):
        certificate, key = secured.ours.sign("postgres")
        assert told(hitl, secured.url(sslmode="require", sslcert=certificate, sslkey=key))[0] in CONNECTED
        strange, strange_key = secured.other.sign("postgres")
        wrong, wrong_key = secured.ours.sign("someone")
        open_key = tmp_path / "open.key"
        open_key.write_text(key.read_text())
        open_key.chmod(0o644)
        for changed, code in (
            ({}, "server-unreachable"),
            ({"sslcert": strange, "sslkey": strange_key}, "server-unreachable"),
            ({"sslcert": certificate, "sslkey": tmp_path / "missing.key"}, "server-unreachable"),
            ({"sslcert": certificate, "sslkey": open_key}, "server-unreachable"),
            ({"sslcert": certificate, "sslkey": wrong_key}, "server-unreachable"),
            ({"sslcert": wrong, "sslkey": wrong_key}, "access-refused"),
        ):
            given, sentence = told(hitl, secured.url("localhost", "postgres", sslmode="require", **changed))
            assert given == code, sentence
            assert "sslcert" in sentence or code == "access-refused"


def test_a_worker_and_commands_run_verified(hitl: Hitl, secured: Secured) -> None:
    with connecting.connect(secured.url()) as connection:
        if connection.info.server_version < connecting.OLDEST:
            pytest.skip("the PostgreSQL with TLS here is older than 16: name another in HITL_POSTGRES_BIN")
    secured.server.prepare_template()
    database = secured.server.create_installed().rpartition("/")[2]
    hitl.use(secured.url("localhost", database, sslmode="verify-full", sslrootcert=secured.ours.certificate))
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "q", "--workflow", "quick", "--wait")
    with psycopg.connect(hitl.url) as connection:
        row = connection.execute("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                                 " WHERE application_name LIKE 'hitl%'").fetchone()  # fmt: skip
    assert row == (True,)
    assert worker.stop() == 0


def test_an_old_server_is_refused(hitl: Hitl, secured: Secured) -> None:
    with connecting.connect(secured.url()) as connection:
        old = connection.info.server_version < connecting.OLDEST
    code, sentence = told(hitl, secured.url())
    assert code == ("server-unsuitable" if old else "not-prepared")
    assert not old or "16 or newer" in sentence
