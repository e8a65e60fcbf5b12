"""Errors of a server that cannot be used; none shows a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.client.connect import shown_url
from tests.postgres.cluster import PASSWORD, cluster, free_port

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ((PASSWORD, "wrong-password"), "access-refused", "PGPASSWORD"),
        (("postgres:", "nobody_at_all:"), "access-refused", "PGPASSWORD"),
        (("/t", "/no_such_t"), "not-prepared", "does not exist"),
        (("127.0.0.1", "host.invalid"), "server-unreachable", "cannot be reached"),
    ],
)
def test_a_wrong_part_of_the_url(
    hitl: Hitl, database: str, change: tuple[str, str], code: str, said: str
) -> None:
    scheme, _, rest = database.partition("://")
    hitl.use(f"{scheme}://{rest.replace(*change)}")
    told = hitl.fails(6, "pending", code=code)
    assert said in told
    assert PASSWORD not in told
    assert "wrong-password" not in told


def test_an_option_that_does_not_exist_is_a_wrong_url(hitl: Hitl, database: str) -> None:
    hitl.use(f"{database}?foo=bar")
    assert PASSWORD not in hitl.fails(2, "pending", code="bad-server")
    hitl.use(database.replace(PASSWORD, "pass/word@host"))
    assert "word" not in hitl.fails(2, "pending", code="bad-server").replace("password", "")


def test_nothing_that_listens(hitl: Hitl) -> None:
    hitl.use(f"postgresql://someone:{PASSWORD}@127.0.0.1:{free_port()}/hitl")
    assert PASSWORD not in hitl.fails(6, "pending", code="server-unreachable")


def test_tls_that_the_server_lacks(hitl: Hitl, database: str) -> None:
    hitl.use(f"{database}?sslmode=require")
    assert "sslmode" in hitl.fails(6, "pending", code="server-unreachable")


def test_a_database_that_takes_no_writes(hitl: Hitl, database: str, postgres: Cluster) -> None:
    hitl.use(database)
    name = database.rpartition("/")[2]
    postgres.execute(
        psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            psycopg.sql.Identifier(name)
        )
    )
    hitl.fails(6, "start", "x", code="read-only")
    hitl.ok("pending")


def test_no_connection_left(hitl: Hitl) -> None:
    with cluster(max_connections="4", superuser_reserved_connections="0") as small:
        url = small.url("postgres")
        held = [psycopg.connect(url) for _ in range(4)]
        hitl.use(url)
        assert "no connection left" in hitl.fails(6, "pending", code="server-unreachable")
        for connection in held:
            connection.close()


def test_no_command_shows_the_password(hitl: Hitl, database: str) -> None:
    hitl.use(database)
    worker = hitl.worker()
    said = [
        hitl.run("doctor"),
        hitl.run("doctor", "--json"),
        hitl.run("postgres", "status"),
        hitl.run("postgres", "status", "--json"),
        hitl.run("server"),
        hitl.run("backup", "copy.db"),
        hitl.run("start", "x"),
    ]
    worker.stop()
    everything = "".join(done.stdout + done.stderr for done in said) + "".join(worker.lines + worker.errors)
    assert "127.0.0.1" in everything
    assert PASSWORD not in everything


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@db/x?sslpassword=secret&host=/run", "postgresql://me@db/x?host=/run"),
        ("http://me:secret@db:1/x?token=secret", "http://me@db:1/x"),
        ("postgresql://me:sec/ret@db/x", "postgresql://…"),
        ("postgresql://me:sec?ret@db/x", "postgresql://…"),
        ("postgresql://me:sec@ret@db/x", "postgresql://…"),
        ("sqlite:///a:b@c", "sqlite:///a:b@c"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
