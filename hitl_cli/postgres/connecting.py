"""Connects to a database, and refuses unsuitable servers: old ones, and poolers in transaction mode."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from hitl_cli.errors import Unreachable

if TYPE_CHECKING:
    from psycopg.abc import ConnParam

OLDEST = 160_000
"""The oldest PostgreSQL that resonate-pg and hitl's schema are for."""

DEFAULTS: dict[str, ConnParam] = {
    "connect_timeout": 10,
    "application_name": "hitl",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Defaults that a URL can change. The loss of the server's machine is noticed after 25 s, not after hours."""

LOOK_S = 0.5
LOOKS = 20
"""How often a notification through a pooler is looked for, each time for LOOK_S."""

LOOKS_AFTER = 4
"""How often more once it was sent."""


def options_of(url: str, **defaults: ConnParam) -> dict[str, Any]:
    """Return the options of a connection. Raises psycopg.ProgrammingError for a URL that cannot be read."""
    return {**DEFAULTS, **defaults, **conninfo_to_dict(url), "autocommit": True}


def connect(url: str) -> psycopg.Connection:
    """Return a connection of a command. Raises psycopg.Error."""
    return psycopg.connect(**options_of(url))


def check_age(connection: psycopg.Connection, name: str) -> None:
    """Raise Unreachable for a PostgreSQL that is too old."""
    version = connection.info.server_version
    if version < OLDEST:
        raise Unreachable(
            f"{name} is PostgreSQL {version // 10_000}, and {OLDEST // 10_000} or newer is needed.",
            code="server-unsuitable",
        )


def check_pooler(connection: psycopg.Connection, pid: int, url: str, name: str) -> None:
    """Raise Unreachable for a pooler that gives each transaction another session.

    A pooler reports a process id of its own instead of the backend's, `pid`. In that case, a LISTEN is tested
    with a NOTIFY from another session: if it does not arrive, the session was not kept.
    """
    if connection.info.backend_pid == pid:
        return
    channel = sql.Identifier(f"hitl_{os.urandom(8).hex()}")
    connection.execute(sql.SQL("LISTEN {}").format(channel))
    with closing(connect(url)) as other:
        other.pgconn.send_query(sql.SQL("NOTIFY {}").format(channel).as_bytes())
        sent = 0
        for _ in range(LOOKS):
            if list(connection.notifies(timeout=LOOK_S, stop_after=1)):
                connection.execute(sql.SQL("UNLISTEN {}").format(channel))
                return
            other.pgconn.consume_input()
            sent += not other.pgconn.is_busy()
            if sent > LOOKS_AFTER:
                break
    if not sent:
        raise Unreachable(f"{name} has no connection left: its pooler lets a second one wait.")
    raise Unreachable(
        f"{name} is a pooler in transaction mode, such as PgBouncer, and hitl needs a session: set"
        " pool_mode = session, or connect to PostgreSQL itself.",
        code="server-unsuitable",
    )
