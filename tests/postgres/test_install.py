"""hitl postgres install and status: by the owner, by a stranger, twice, and where something is missing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.client.protocol import call
from hitl_cli.errors import NotDone, Unreachable
from hitl_cli.postgres import schema
from hitl_cli.postgres.client import PostgresClient
from tests.postgres.cluster import PASSWORD, apply_resonate, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster


@pytest.fixture
def bare(postgres: Cluster) -> Iterator[str]:
    """A database with the schema of resonate-pg alone."""
    url = postgres.create()
    apply_resonate(url)
    yield url
    postgres.drop(url)


def role(url: str, name: str, *members_of: str) -> str:
    """Return the URL of the database for a new user."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}".encode())
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
        for group in members_of:
            connection.execute(f"GRANT {group} TO {name}".encode())
    return url.replace("//postgres:", f"//{name}:")


def test_without_it_every_command_says_what_to_do(hitl: Hitl, bare: str) -> None:
    hitl.use(bare)
    assert "hitl postgres install" in hitl.fails(6, "pending", code="not-prepared")
    assert "hitl postgres install" in hitl.fails(6, "worker", code="not-prepared")
    assert hitl.run("postgres", "status").returncode == 1
    hitl.ok("postgres", "install")
    assert hitl.json("postgres", "status")["problems"] == []
    hitl.ok("pending")


def test_an_empty_database_is_said_to_need_resonate_first(hitl: Hitl, postgres: Cluster) -> None:
    hitl.use(url := postgres.create())
    try:
        for args in (["pending"], ["worker"]):
            told = hitl.fails(6, *args, code="not-prepared")
            assert 0 < told.index("resonate.sql") < told.index("hitl postgres install")
    finally:
        postgres.drop(url)


def test_it_may_be_installed_twice_and_resonate_applied_again(bare: str) -> None:
    first = schema.install(bare)
    assert schema.install(bare) == first
    apply_resonate(bare)
    assert schema.inspect(bare) == first
    assert first.problems == []


def test_what_is_printed_for_psql_installs_the_same(bare: str) -> None:
    with pytest.raises(Unreachable) as refused:
        PostgresClient(bare)
    assert refused.value.code == "not-prepared"
    subprocess.run(
        [wheel() / "psql", "-v", "ON_ERROR_STOP=1", "-q", bare],
        input=schema.printed("resonate_worker"),
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        text=True,
        check=True,
    )
    assert schema.inspect(bare).problems == []


def test_a_stranger_may_not_install_and_changes_nothing(bare: str) -> None:
    stranger = role(bare, "stranger")
    with pytest.raises(NotDone, match="--print"):
        schema.install(stranger)
    assert schema.inspect(stranger).version == 0


def test_a_member_of_the_workers_role_may_do_all_that_commands_do(database: str) -> None:
    member = role(database, "clerk", "resonate_worker")
    with PostgresClient(member) as client:
        created = call(client, "promise.create", id="a", timeoutAt=4_000_000_000_000, tags={})
        assert created.status == 200
        assert client.listeners() == []
    with psycopg.connect(member) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT count(*) FROM resonate.promises")


def test_who_has_no_rights_is_told(hitl: Hitl, database: str) -> None:
    hitl.use(role(database, "nobody_special"))
    assert "GRANT resonate_worker" in hitl.fails(6, "pending", code="access-refused")


def test_a_resonate_that_was_applied_in_part_is_refused(postgres: Cluster) -> None:
    url = postgres.create()
    apply_resonate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER FUNCTION resonate.resonate_rpc(jsonb) SECURITY INVOKER")
        connection.execute("ALTER TABLE resonate.promises DROP COLUMN external CASCADE")
    with pytest.raises(NotDone, match=r"SECURITY DEFINER.*promises\.external"):
        schema.install(url)
    postgres.drop(url)
