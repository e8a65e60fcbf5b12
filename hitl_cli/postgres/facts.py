"""Facts about a database for `hitl doctor`. Reading them changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from msgspec import Struct

from hitl_cli.client.connect import shown_url
from hitl_cli.engine.inspection import Counts, Offered, group_of
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.inspected import inspected
from hitl_cli.postgres import schema
from hitl_cli.postgres.client import LISTENERS
from hitl_cli.postgres.connecting import check_age
from hitl_cli.postgres.errors import explained
from hitl_cli.postgres.schema import Installed

CONNECTION = (
    "SELECT current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
    " EXISTS (SELECT FROM pg_roles WHERE rolname = %s),"
    " pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,"
    " (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),"
    " pg_database_size(current_database()),"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - current_setting('reserved_connections')::int"
    " - (SELECT sum(numbackends)::int FROM pg_stat_database)"
)


class Work(Struct, frozen=True, kw_only=True):
    """The promises, tasks and messages. Instants are ms since the epoch."""

    now: int
    counts: Counts
    counted: bool
    """Whether promises were counted; otherwise their number is PostgreSQL's estimate."""
    oldest_waiting: tuple[str, int] | None
    offered: list[Offered]
    lapsed: tuple[int, int] | None
    unfired: tuple[int, int] | None
    """How many deadlines and schedules are due, and since when the first."""
    stranded: list[str]
    stale: list[str]
    """Tables whose statistics are far from their content."""
    cron: str | None
    """How often pg_cron runs resonate-pg's job; None if it does not."""


class Facts(Struct, frozen=True, kw_only=True):
    """The facts about a connection and a database. Sizes are in bytes."""

    installed: Installed
    user: str
    superuser: bool
    role_exists: bool
    read_only: bool
    tls: str | None
    """The version of TLS; None if the connection is not encrypted."""
    verified: bool
    """Whether the certificate and the name of the server were verified."""
    local: bool
    """Whether the connection does not leave this machine."""
    size: int
    connections_left: int
    ahead_ms: int
    """How far the clock of the database is ahead of this machine's."""
    worker: bool | None
    work: Work | None
    """None if hitl's functions are missing, too old, or may not be called."""


class _Found(Struct, frozen=True):
    """The answer of hitl.facts."""

    now: int
    promises: int
    counted: bool
    runs: int | None
    waiting: int
    oldest: tuple[str, int] | None
    tasks: dict[str, int]
    offered: list[tuple[str, int, int]]
    lapsed: tuple[int, int | None]
    unfired: tuple[int, int | None]
    stranded: list[str]
    stale: list[str]
    cron: str | None


_found = msgspec.json.Decoder(inspected(_Found))


def facts(url: str, group: str, *, full: bool) -> Facts:
    """Return the facts about a database. Raises BadServer, Unreachable."""
    name = shown_url(url)
    try:
        with schema.session(url, name) as connection:
            check_age(connection, name)
            return _facts(connection, name, group, full=full)
    except psycopg.Error as error:
        raise explained(error, name) from error


def _facts(connection: psycopg.Connection, name: str, group: str, *, full: bool) -> Facts:
    def row(query: str, *values: object) -> tuple[Any, ...]:
        found = connection.execute(query.encode(), values).fetchone()
        assert found is not None
        return tuple(found)

    installed = schema.look(connection, name)
    user, superuser, role_exists, read_only, tls, size, left = row(CONNECTION, schema.ROLE)
    work, worker, ahead_ms = None, None, 0
    if installed.usable:
        groups = {name for name, _ in connection.execute(LISTENERS, ([group],)).fetchall()}
        before = now_ms()
        found = _found.decode(row("SELECT hitl.facts(%s)::text", full)[0])
        ahead_ms = found.now - before
        work, worker = _work(found, groups), group in groups
    host = connection.info.host
    return Facts(
        installed=installed,
        user=user,
        superuser=superuser,
        role_exists=role_exists,
        read_only=read_only,
        tls=tls,
        verified=_option(connection, b"sslmode") == b"verify-full",
        local=host.startswith(("/", "127.")) or host in ("localhost", "::1"),
        size=size,
        connections_left=left,
        ahead_ms=ahead_ms,
        worker=worker,
        work=work,
    )


def _work(found: _Found, groups: set[str]) -> Work:
    return Work(
        now=found.now,
        counts=Counts(
            promises=found.promises,
            runs=found.runs,
            waiting=found.waiting,
            tasks=found.tasks,
            unfetched=None,
        ),
        counted=found.counted,
        oldest_waiting=found.oldest,
        offered=[
            Offered(address, count, since, heard=group_of(address) in groups)
            for address, count, since in found.offered
        ],
        lapsed=_first(found.lapsed),
        unfired=_first(found.unfired),
        stranded=found.stranded,
        stale=found.stale,
        cron=found.cron,
    )


def _first(counted: tuple[int, int | None]) -> tuple[int, int] | None:
    """Return a count and the first instant; None for a count of 0."""
    count, first = counted
    return None if first is None else (count, first)


def _option(connection: psycopg.Connection, name: bytes) -> bytes | None:
    """Return an option of a connection, from any source (URL, environment, files)."""
    return next((option.val for option in connection.pgconn.info if option.keyword == name), None)
