"""What an error of PostgreSQL means to a person: one sentence, and what to do about it.

An error while connecting has no SQLSTATE, only the text of libpq, which the server may have translated. What
is not recognised is shown as it came.
"""

from __future__ import annotations

import psycopg

from hitl_cli.errors import BadServer, HitlError, Unreachable

MISSING = frozenset({"3F000", "42883", "42P01", "42703"})
"""SQLSTATEs of a schema, function, table or column that does not exist."""

PREFIXES = ("connection failed: ", "connection is bad: ")

SHOWN = ("invalid URI query parameter", "invalid sslmode value", "missing key/value separator")
"""How errors begin that quote nothing secret of a URL."""

GUIDE = "docs/guides/postgres.md"


def explained(error: psycopg.Error, name: str) -> HitlError:
    """Return what an error means; `name` is the server's, without secrets."""
    text = str(error).strip()
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    first = text.partition("\n")[0] or type(error).__name__
    why = first.rpartition("FATAL:")[2].strip() or first
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        shown = why if why.startswith(SHOWN) else "it is no URL for PostgreSQL"  # others quote a part of it
        return BadServer(f"the URL of {name} cannot be used: {shown}.")
    match error.sqlstate:
        case state if state in MISSING:
            return _incomplete(first, name)
        case "42501":
            return Unreachable(
                f"this user may not use Resonate in {name}: {why}. Its owner runs: GRANT resonate_worker TO"
                " the user",
                code="access-refused",
            )
        case "25006":
            return Unreachable(
                f"{name} takes no writes: it is a standby, or set to read only.", code="read-only"
            )
    if "password authentication failed" in text or "no password supplied" in text:
        return Unreachable(
            f"{name} refused the user or the password. Set PGPASSWORD, or use ~/.pgpass or the URL.",
            code="access-refused",
        )
    if "database" in why and "does not exist" in why:
        return Unreachable(
            f"{name} does not exist: {why}. Create the database, and apply resonate.sql to it.",
            code="not-prepared",
        )
    if "SSL" in text or "certificate" in text or "pg_hba.conf" in text:
        return Unreachable(f"{name} cannot be reached safely: {why}. See sslmode and sslrootcert in {GUIDE}.")
    if "too many" in text or "connection slots" in text:
        return Unreachable(f"{name} has no connection left: {why}.")
    return Unreachable(f"{name} cannot be reached: {why.rstrip('.')}.")


def _incomplete(first: str, name: str) -> HitlError:
    """Return the error for a database where something is missing."""
    if "resonate" in first and "hitl" not in first:
        return Unreachable(
            f"{name} has no Resonate in it: apply resonate.sql of resonatehq/resonate-pg, then run hitl"
            " postgres install.",
            code="not-prepared",
        )
    return Unreachable(
        f"{name} lacks hitl's schema. The owner of the schema resonate runs: hitl postgres install",
        code="not-prepared",
    )
