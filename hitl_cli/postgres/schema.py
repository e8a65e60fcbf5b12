"""The schema `hitl` in a database: its scripts, its installation, and the installed version."""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg
from msgspec import Struct
from psycopg import sql

from hitl_cli.client.connect import shown_url
from hitl_cli.errors import BadInput, NotDone
from hitl_cli.postgres import VERSION
from hitl_cli.postgres.connecting import OLDEST, check_pooler, connect
from hitl_cli.postgres.errors import explained

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "resonate_worker"
"""The role that resonate-pg makes for workers."""

CALLED = (
    "hitl.version()",
    "hitl.many(text[])",
    "hitl.take(text[], text, bigint, int, text[], text[])",
    "hitl.tick()",
    "hitl.care()",
    "hitl.fire(text, bigint, bigint[], bigint)",
    "hitl.announce(text, text[])",
    "hitl.workers()",
    "hitl.others(text[])",
    "hitl.prune(jsonb, bigint, bigint, boolean)",
    "hitl.facts(boolean)",
)
"""The functions that clients and workers call."""

NEEDED_FUNCTIONS = (
    "resonate.resonate_rpc(jsonb)",
    "resonate.promise_create(text, bigint, jsonb, jsonb, bigint)",
    "resonate.task_acquire(text, int, text, bigint, bigint)",
    "resonate.task_halt(text, bigint)",
    "resonate.outbox_channel(text)",
    "resonate._lock(text)",
    "resonate._expand(text, text, bigint)",
    "resonate._on_promise_timeout(text, bigint)",
    "resonate._on_task_retry_timeout(text, bigint)",
    "resonate._on_task_lease_timeout(text, bigint)",
    "resonate._on_schedule_timeout(text, bigint)",
    "resonate._promise_json(resonate.promises, bigint)",
    "resonate._task_json(resonate.tasks)",
    "resonate._schedule_json(resonate.schedules)",
)
NEEDED_COLUMNS = (
    *(
        f"promises.{name}"
        for name in ("target", "origin_id", "parent_id", "branch_id", "is_timer", "external")
    ),
    *(
        f"promises.{name}"
        for name in ("param_headers", "param_data", "value_headers", "timeout_at", "settled_at")
    ),
    *(f"tasks.{name}" for name in ("state", "version", "timeout_at")),
    *(f"outbox.{name}" for name in ("key", "kind", "address", "task_id", "version", "promise", "seq")),
)
"""The parts of resonate-pg that hitl uses. Its version is not checked: it stayed the same through changes."""

INDEX = re.compile(r"CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)")


class Script(Struct, frozen=True):
    """A numbered script."""

    number: int
    name: str
    text: str

    @property
    def statements(self) -> list[str]:
        """The parts to send: a transaction as a whole, any other statement by itself."""
        if "\nBEGIN;" in self.text:
            return [self.text]
        lines = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        return [part.strip() for part in lines.split(";\n") if part.strip()]


class Installed(Struct, frozen=True, kw_only=True):
    """What is installed. `version` is 0 without the schema hitl; `missing` are parts of resonate-pg."""

    name: str
    server_version: str
    resonate: bool
    version: int
    missing: tuple[str, ...]
    lost: tuple[str, ...]
    """The functions of hitl that are missing, although its schema is there."""
    may_use: bool
    may_install: bool
    bad_indexes: tuple[str, ...]
    pg_cron: bool

    @property
    def needed(self) -> int:
        """The version that this hitl needs."""
        return VERSION

    @property
    def usable(self) -> bool:
        """Whether commands work there."""
        return (
            self.resonate and not self.missing and self.version >= VERSION and not self.lost and self.may_use
        )

    @property
    def problems(self) -> list[str]:
        """The problems that keep hitl from working there, as sentences."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        if not self.resonate:
            yield "it has no schema resonate: apply resonate.sql of resonatehq/resonate-pg"
            return
        if self.missing:
            yield f"its schema resonate lacks {', '.join(self.missing)}: another version, or incomplete"
        if self.version == 0:
            yield "it lacks hitl's schema: run hitl postgres install"
        elif self.version < VERSION:
            yield f"hitl's schema is version {self.version}, not {VERSION}: run hitl postgres install"
        elif self.lost:
            yield f"hitl's schema lacks {', '.join(self.lost)}: run hitl postgres install"
        elif not self.may_use:
            yield f"this user may not call hitl's functions: GRANT {ROLE} TO the user"
        if self.version and self.bad_indexes:
            yield f"indexes are missing or invalid: {', '.join(self.bad_indexes)}: run hitl postgres install"


def scripts() -> list[Script]:
    """Return all scripts, in order."""
    folder = files("hitl_cli.postgres") / "sql"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda f: f.name)
    return [Script(int(each.name[:3]), each.name, each.read_text("utf-8")) for each in found]


def printed(role: str) -> str:
    """Return the SQL that installs everything, for psql."""
    parts = [f"-- {script.name}\n{script.text}" for script in scripts()]
    grants = ";\n".join(statement.as_string() for statement in _grants(role))
    return "\n".join((*parts, f"-- rights\n{grants};\n"))


def inspect(url: str) -> Installed:
    """Return what is installed in a database. Raises BadServer, Unreachable."""
    name = shown_url(url)
    try:
        with session(url, name) as connection:
            return look(connection, name)
    except psycopg.Error as error:
        raise explained(error, name) from error


def install(url: str, role: str = ROLE) -> Installed:
    """Bring a database to VERSION, and return what is installed. Raises BadServer, Unreachable, NotDone.

    The schema is not used before it is complete. After a failure, the next call continues.
    """
    name = shown_url(url)
    try:
        with session(url, name) as connection:
            found = look(connection, name)
            _refuse(found, role, connection)
            connection.execute("SELECT pg_advisory_lock(7107111, 3)")  # for two that install at once
            for index in found.bad_indexes:
                connection.execute(sql.SQL("DROP INDEX IF EXISTS resonate.{}").format(sql.Identifier(index)))
            for script in scripts():
                for statement in script.statements:
                    connection.execute(statement.encode())
            for grant in _grants(role):
                connection.execute(grant)
            return look(connection, name)
    except psycopg.Error as error:
        raise explained(error, name) from error


@contextmanager
def session(url: str, name: str) -> Iterator[psycopg.Connection]:
    """Open a connection that keeps its session. Raises Unreachable (behind a pooler), psycopg.Error."""
    with connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        check_pooler(connection, row[0], url, name)
        yield connection


def _refuse(found: Installed, role: str, connection: psycopg.Connection) -> None:
    """Raise NotDone if nothing can be installed, BadInput for a role that does not exist."""
    if not found.resonate or found.missing:
        raise NotDone(f"{found.name}: {found.problems[0]}. Nothing was changed.", code="not-prepared")
    if int(found.server_version.partition(".")[0]) < OLDEST // 10_000:
        raise NotDone(
            f"{found.name} is PostgreSQL {found.server_version}, and {OLDEST // 10_000} or newer is needed."
            " Nothing was changed.",
            code="not-prepared",
        )
    if not found.may_install:
        raise NotDone(
            f"this user does not own the schema resonate of {found.name}, or may not create a schema. Nothing"
            " was changed. Its owner runs: hitl postgres install --print | psql",
            code="not-prepared",
        )
    if found.version > VERSION:
        raise NotDone(
            f"{found.name} has version {found.version} of hitl's schema, newer than this hitl ({VERSION})."
            " Nothing was changed.",
            code="not-prepared",
        )
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if known is None:
        raise BadInput(f"there is no role {role}: create it first. Nothing was changed.", code="bad-name")


def _grants(role: str) -> Iterator[sql.Composed]:
    """Yield the statements that give a role exactly the rights that workers and commands need."""
    named = sql.Identifier(role)
    yield sql.SQL("GRANT USAGE ON SCHEMA hitl TO {}").format(named)
    called = sql.SQL(", ").join(map(sql.SQL, CALLED))
    yield sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(called, named)


def look(connection: psycopg.Connection, name: str) -> Installed:
    """Return what is installed in the database of a connection. Raises psycopg.Error."""

    def one(query: str, *values: object) -> object:
        row = connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    schema = one("SELECT oid FROM pg_namespace WHERE nspname = 'resonate'")
    version, may_use, found = _hitl(connection)
    return Installed(
        name=name,
        server_version=str(one("SHOW server_version")).partition(" ")[0],
        resonate=schema is not None,
        version=version,
        missing=() if schema is None else tuple(_missing(connection)),
        lost=tuple(each for each in CALLED if version and _named(each) not in found),
        may_use=may_use,
        may_install=bool(
            one(
                "SELECT bool_and(pg_has_role(c.relowner, 'USAGE'))"
                " AND (has_database_privilege(current_database(), 'CREATE')"
                " OR to_regnamespace('hitl') IS NOT NULL)"
                " FROM pg_class c WHERE c.relnamespace = to_regnamespace('resonate') AND c.relkind = 'r'"
            )
        ),
        bad_indexes=tuple(_bad_indexes(connection)) if schema is not None else (),
        pg_cron=bool(one("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron')")),
    )


def _hitl(connection: psycopg.Connection) -> tuple[int, bool, set[str]]:
    """Return the version of hitl's schema, whether this user may call its functions, and their names.

    The version is 0 without the schema. It is read from the function's text in the catalogue, which needs no
    rights on the schema.
    """
    rows = connection.execute(
        "SELECT p.proname, p.prosrc, has_schema_privilege(n.oid, 'USAGE')"
        " AND has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'hitl' AND p.proname = ANY (%s)",
        ([_named(each) for each in CALLED],),
    ).fetchall()
    version = next((re.search("[0-9]+", source) for name, source, _ in rows if name == "version"), None)
    may_use = bool(rows) and all(may for *_, may in rows)
    return int(version[0]) if version else 0, may_use, {name for name, *_ in rows}


def _named(function: str) -> str:
    """Return the name of a function without its schema and arguments."""
    return function.partition(".")[2].partition("(")[0]


def _missing(connection: psycopg.Connection) -> Iterator[str]:
    """Yield the parts of resonate-pg that hitl uses and the database lacks, by its catalogue."""
    rows = connection.execute(
        "SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.prosecdef, p.proname"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'resonate'"
    ).fetchall()
    names = {name for *_, name in rows}
    for function in NEEDED_FUNCTIONS:
        if _named(function) not in names:
            yield function
    if any(name == "resonate_rpc" and not definer for _, definer, name in rows):
        yield "SECURITY DEFINER of resonate_rpc"
    columns = connection.execute(
        "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'resonate' AND a.attnum > 0"
    ).fetchall()
    yield from sorted(set(NEEDED_COLUMNS) - {column for (column,) in columns})


def _bad_indexes(connection: psycopg.Connection) -> Iterator[str]:
    """Yield the indexes that are missing, or were left unfinished."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON"
        " n.oid = c.relnamespace WHERE n.nspname = 'resonate' AND i.indisvalid"
    ).fetchall()
    there = {name for (name,) in rows}
    for script in scripts():
        yield from (name for name in INDEX.findall(script.text) if name not in there)
